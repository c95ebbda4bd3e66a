//! A resumable look at a worker and its descendants.

use super::marks::{Mark, is_denied, marks};
use crate::core::Pid;
use crate::os::call;
use crate::os::process::proc;
use crate::os::socket::inode_of;
use crate::os::socket::listen::SocketId;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

/// The most processes, and the most descriptors or polled entries, that are looked at.
const MOST_PROCESSES: usize = 64;
const MOST_FDS: usize = 1024;

/// The time for one call. It covers at least one process, or `LEAST_FDS` descriptors; the next call continues.
pub(super) const BUDGET: Duration = Duration::from_millis(2);
const LEAST_FDS: usize = 64;

/// After this time the call ends at any descriptor: an epoll(7) set may be large.
const MOST_BUDGET: Duration = Duration::from_millis(10);

/// The progress of a look.
#[derive(Debug)]
pub(super) struct Walk {
    worker: Pid,
    family: Vec<Pid>,
    /// The index of the process in `family`, and of its next descriptor.
    place: usize,
    entry: usize,
    /// Whether the process holds a listener.
    holds_listener: bool,
    /// The other sockets of the family.
    pub(super) others: Vec<u64>,
    /// The marks, if a listener was found in an epoll(7) set.
    pub(super) marks: Vec<Mark>,
}

/// The result of a step.
pub(super) enum Gone {
    Found,
    Refused,
    /// This process is done.
    On,
    /// All processes are done.
    Through,
    OutOfTime,
}

impl Walk {
    pub(super) fn new(worker: Pid) -> Self {
        let family = vec![worker];
        let (others, marks) = (Vec::new(), Vec::new());
        Self { worker, family, place: 0, entry: 0, holds_listener: false, others, marks }
    }

    /// Looks at the next process.
    pub(super) fn go_on(&mut self, listeners: &[SocketId], begin: Instant) -> Gone {
        let Some(&pid) = self.family.get(self.place) else { return Gone::Through };
        match self.look_at_descriptors(pid, listeners, begin) {
            Ok(Gone::On) => {}
            Ok(gone) => return gone,
            Err(error) if is_denied(&error) && pid == self.worker => return Gone::Refused,
            // A descendant that is gone, or that changed its user.
            Err(_) => self.holds_listener = false,
        }
        // Only a process that holds a listener can have a thread that waits for it.
        if self.holds_listener {
            match threads_accept(pid, listeners) {
                Ok(true) => return Gone::Found,
                Ok(false) => {}
                Err(Unreadable) => return Gone::Refused,
            }
        }
        if self.family.len() < MOST_PROCESSES {
            self.family.extend(proc::children(pid));
        }
        (self.place, self.entry, self.holds_listener) = (self.place.saturating_add(1), 0, false);
        Gone::On
    }

    fn look_at_descriptors(&mut self, pid: Pid, listeners: &[SocketId], begin: Instant) -> io::Result<Gone> {
        let entries = fs::read_dir(format!("/proc/{pid}/fd"))?;
        for (seen, entry) in entries.take(MOST_FDS).skip(self.entry).enumerate() {
            let least = if begin.elapsed() >= MOST_BUDGET { 1 } else { LEAST_FDS };
            if seen >= least && begin.elapsed() >= BUDGET {
                return Ok(Gone::OutOfTime);
            }
            let entry = entry?;
            self.entry = self.entry.saturating_add(1);
            let target = match fs::read_link(entry.path()) {
                Ok(target) => target,
                Err(error) if is_denied(&error) => return Err(error),
                // Closed meanwhile; the others still count.
                Err(_) => continue,
            };
            if target == Path::new("anon_inode:[eventpoll]") {
                self.marks = marks(pid, &entry.file_name(), listeners);
                if !self.marks.is_empty() {
                    return Ok(Gone::Found);
                }
            }
            match inode_of(&target) {
                Some(inode) if listeners.iter().any(|listener| listener.inode == inode) => {
                    self.holds_listener = true;
                }
                Some(inode) => self.others.push(inode),
                None => {}
            }
        }
        Ok(Gone::On)
    }
}

fn is_listener(pid: Pid, fd: u64, listeners: &[SocketId]) -> bool {
    socket_inode(pid, fd).is_some_and(|inode| listeners.iter().any(|listener| listener.inode == inode))
}

fn socket_inode(pid: Pid, fd: u64) -> Option<u64> {
    inode_of(&fs::read_link(format!("/proc/{pid}/fd/{fd}")).ok()?)
}

/// A filter refuses the call that reads a process's memory, for every process.
#[derive(Debug, PartialEq, Eq)]
struct Unreadable;

fn threads_accept(pid: Pid, listeners: &[SocketId]) -> Result<bool, Unreadable> {
    let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else { return Ok(false) };
    for thread in threads.flatten().take(MOST_FDS) {
        let call = fs::read_to_string(thread.path().join("syscall")).ok();
        if let Some(call) = call.as_deref().and_then(Call::parse)
            && call.waits_for(pid, listeners)?
        {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The system call in which a thread sleeps, with its first two arguments.
#[derive(Debug, PartialEq, Eq)]
struct Call {
    number: i64,
    first: u64,
    second: u64,
}

impl Call {
    /// Parses `43 0x3 0x7ffd... 0x...`; `running` and `-1 ...` are no calls.
    fn parse(text: &str) -> Option<Self> {
        let mut fields = text.split_ascii_whitespace();
        let number = fields.next()?.parse().ok()?;
        let mut hex = || u64::from_str_radix(fields.next()?.strip_prefix("0x")?, 16).ok();
        Some(Self { number, first: hex()?, second: hex()? })
    }

    fn waits_for(&self, pid: Pid, listeners: &[SocketId]) -> Result<bool, Unreadable> {
        if [libc::SYS_accept, libc::SYS_accept4].contains(&self.number) {
            return Ok(is_listener(pid, self.first, listeners));
        }
        let waited_for = if is_poll(self.number) {
            polled(pid, self.first, self.second)?
        } else if is_select(self.number) {
            selected(pid, self.first, self.second)?
        } else {
            None
        };
        Ok(waited_for.unwrap_or_default().into_iter().any(|fd| is_listener(pid, fd, listeners)))
    }
}

#[cfg(target_arch = "x86_64")]
fn is_poll(number: i64) -> bool {
    [libc::SYS_poll, libc::SYS_ppoll].contains(&number)
}

#[cfg(target_arch = "x86_64")]
fn is_select(number: i64) -> bool {
    [libc::SYS_select, libc::SYS_pselect6].contains(&number)
}

// Newer architectures have only the variants with a signal mask.
#[cfg(not(target_arch = "x86_64"))]
fn is_poll(number: i64) -> bool {
    number == libc::SYS_ppoll
}

#[cfg(not(target_arch = "x86_64"))]
fn is_select(number: i64) -> bool {
    number == libc::SYS_pselect6
}

/// The descriptors in an array of `struct pollfd` in a process's memory.
fn polled(pid: Pid, address: u64, count: u64) -> Result<Option<Vec<u64>>, Unreadable> {
    let count = usize::try_from(count).unwrap_or(MOST_FDS).min(MOST_FDS);
    let memory = read_memory(pid, address, count.saturating_mul(8))?;
    let fd = |entry: &[u8]| u64::try_from(i32::from_ne_bytes(entry.get(..4)?.try_into().ok()?)).ok();
    Ok(memory.map(|memory| memory.chunks_exact(8).filter_map(fd).collect()))
}

/// The descriptors in the read set, one bit each, in a process's memory.
fn selected(pid: Pid, count: u64, address: u64) -> Result<Option<Vec<u64>>, Unreadable> {
    let count = usize::try_from(count).unwrap_or(MOST_FDS).min(MOST_FDS);
    let Some(memory) = read_memory(pid, address, count.div_ceil(64).saturating_mul(8))? else {
        return Ok(None);
    };
    let is_set = |fd: usize| memory.get(fd / 8).is_some_and(|byte| byte >> (fd % 8) & 1 == 1);
    Ok(Some((0..count).filter(|fd| is_set(*fd)).filter_map(|fd| u64::try_from(fd).ok()).collect()))
}

/// `None` if the kernel denies it or nothing is mapped at the address.
fn read_memory(pid: Pid, address: u64, length: usize) -> Result<Option<Vec<u8>>, Unreadable> {
    let mut bytes = vec![0; length];
    let Ok(memory) = File::open(format!("/proc/{pid}/mem")) else { return Ok(None) };
    match memory.read_exact_at(&mut bytes, address) {
        Ok(()) => Ok(Some(bytes)),
        // The kernel's own denial comes from open(2); this one is a filter's.
        Err(error) if call::is_refused(call::errno(&error)) => Err(Unreadable),
        Err(_) => Ok(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_lines_are_understood() {
        assert_eq!(Call::parse("43 0x3 0x7f 0x0 0x0"), Some(Call { number: 43, first: 3, second: 0x7f }));
        assert_eq!(Call::parse("running"), None);
        assert_eq!(Call::parse("-1 0x7ffc 0x7f"), Some(Call { number: -1, first: 0x7ffc, second: 0x7f }));
    }
}
