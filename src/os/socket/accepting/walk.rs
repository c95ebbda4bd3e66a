//! A look at a worker and its descendants.

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

/// More processes, descriptors or polled entries than this are not looked at.
const MOST_PROCESSES: usize = 64;
const MOST_FDS: usize = 1024;

/// A look is cut short after this time, but has gone on by a process, or by `LEAST_FDS` descriptors, at least: what is
/// left is looked at the next time.
pub(super) const BUDGET: Duration = Duration::from_millis(2);
const LEAST_FDS: usize = 64;

/// Beyond this it is cut short after any descriptor: a set of epoll(7) may be large.
const MOST_BUDGET: Duration = Duration::from_millis(10);

/// A look at a worker and its descendants, and how far it has come.
#[derive(Debug)]
pub(super) struct Walk {
    worker: Pid,
    family: Vec<Pid>,
    /// Which of the family is looked at, and which of its descriptors is next.
    place: usize,
    entry: usize,
    /// Whether it holds a listener.
    holds_listener: bool,
    /// The sockets the family has, but for the listeners.
    pub(super) others: Vec<u64>,
    /// Where it waits, if it was found in a set of epoll(7).
    pub(super) marks: Vec<Mark>,
}

/// What a step of a walk came to.
pub(super) enum Gone {
    Found,
    Refused,
    /// On to the next process.
    On,
    /// There is no next.
    Through,
    OutOfTime,
}

impl Walk {
    pub(super) fn new(worker: Pid) -> Self {
        let family = vec![worker];
        let (others, marks) = (Vec::new(), Vec::new());
        Self { worker, family, place: 0, entry: 0, holds_listener: false, others, marks }
    }

    /// Looks at one process.
    pub(super) fn go_on(&mut self, listeners: &[SocketId], begin: Instant) -> Gone {
        let Some(&pid) = self.family.get(self.place) else { return Gone::Through };
        match self.look_at_descriptors(pid, listeners, begin) {
            Ok(Gone::On) => {}
            Ok(gone) => return gone,
            Err(error) if is_denied(&error) && pid == self.worker => return Gone::Refused,
            // A descendant that is gone, or that changed its user.
            Err(_) => self.holds_listener = false,
        }
        // Threads are looked at only where one could be waiting for the listener.
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
                // Closed meanwhile; the others are still worth a look.
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

/// A filter refuses the call by which the memory of a process is read, whosever.
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

/// The system call a thread sleeps in: its number and first two arguments.
#[derive(Debug, PartialEq, Eq)]
struct Call {
    number: i64,
    first: u64,
    second: u64,
}

impl Call {
    /// `43 0x3 0x7ffd... 0x...`; `running` and `-1 ...` are no calls.
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

// Newer architectures have only the calls with a signal mask.
#[cfg(not(target_arch = "x86_64"))]
fn is_poll(number: i64) -> bool {
    number == libc::SYS_ppoll
}

#[cfg(not(target_arch = "x86_64"))]
fn is_select(number: i64) -> bool {
    number == libc::SYS_pselect6
}

/// The descriptors of an array of `struct pollfd` in the memory of a process.
fn polled(pid: Pid, address: u64, count: u64) -> Result<Option<Vec<u64>>, Unreadable> {
    let count = usize::try_from(count).unwrap_or(MOST_FDS).min(MOST_FDS);
    let memory = read_memory(pid, address, count.saturating_mul(8))?;
    let fd = |entry: &[u8]| u64::try_from(i32::from_ne_bytes(entry.get(..4)?.try_into().ok()?)).ok();
    Ok(memory.map(|memory| memory.chunks_exact(8).filter_map(fd).collect()))
}

/// The descriptors of the read set, a bit each, in the memory of a process.
fn selected(pid: Pid, count: u64, address: u64) -> Result<Option<Vec<u64>>, Unreadable> {
    let count = usize::try_from(count).unwrap_or(MOST_FDS).min(MOST_FDS);
    let Some(memory) = read_memory(pid, address, count.div_ceil(64).saturating_mul(8))? else {
        return Ok(None);
    };
    let is_set = |fd: usize| memory.get(fd / 8).is_some_and(|byte| byte >> (fd % 8) & 1 == 1);
    Ok(Some((0..count).filter(|fd| is_set(*fd)).filter_map(|fd| u64::try_from(fd).ok()).collect()))
}

/// `None` where the kernel does not let us, or there is nothing at the address.
fn read_memory(pid: Pid, address: u64, length: usize) -> Result<Option<Vec<u8>>, Unreadable> {
    let mut bytes = vec![0; length];
    let Ok(memory) = File::open(format!("/proc/{pid}/mem")) else { return Ok(None) };
    match memory.read_exact_at(&mut bytes, address) {
        Ok(()) => Ok(Some(bytes)),
        // Of a file that is open the kernel does not say so.
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
