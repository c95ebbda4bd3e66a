//! Readiness without cooperation: is this worker waiting for connections?
//!
//! Four marks, any of which will do, in the worker or a descendant: an epoll set that holds the
//! listener (`tfd:` lines of `/proc/PID/fdinfo/*`, proc(5)); a thread that sleeps in accept(2) on it; a
//! thread that sleeps in poll(2) or select(2) on it; a connection that came in through it, for under
//! load a worker never sleeps. They appear within milliseconds of the first possible answer, and only
//! after the application's own start-up.

use super::connections;
use super::listen::{Listener, SocketId};
use super::proc;
use crate::address::Address;
use crate::core::Pid;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::time::Instant;

/// More processes, descriptors or polled entries than this are not looked at.
const MOST_PROCESSES: usize = 64;
const MOST_FDS: usize = 1024;

/// Asking for the connections takes a millisecond or more where the kernel's table is large. It is
/// followed by a pause so many times as long.
const PAUSE: u32 = 20;

/// What a look at a worker found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// It waits for connections, or has one.
    Accepting,
    /// It does not, or not yet.
    NotYet,
    /// The kernel does not let us look: it runs as another user.
    Refused,
}

/// Looks at workers.
#[derive(Debug)]
pub struct Observer {
    listeners: Vec<SocketId>,
    addresses: Vec<Address>,
    /// When the kernel may be asked for connections again.
    ask_at: Instant,
}

impl Observer {
    /// Sees who waits for these.
    #[must_use]
    pub fn new(listeners: &[Listener]) -> Self {
        Self {
            listeners: listeners.iter().filter_map(|listener| listener.id().ok()).collect(),
            addresses: listeners.iter().map(|listener| listener.address().clone()).collect(),
            ask_at: Instant::now(),
        }
    }

    /// Looks at a worker and its descendants. Takes some 10 to 60 microseconds a process.
    #[must_use]
    pub fn look(&mut self, worker: Pid) -> Seen {
        let mut family = vec![worker];
        let mut others = Vec::new();
        let mut next = 0usize;
        while let Some(&pid) = family.get(next) {
            match is_accepting(pid, &self.listeners, &mut others) {
                Ok(true) => return Seen::Accepting,
                Ok(false) => {}
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied && pid == worker => {
                    return Seen::Refused;
                }
                // A descendant that is gone, or that changed its user.
                Err(_) => {}
            }
            if family.len() < MOST_PROCESSES {
                family.extend(proc::children(pid));
            }
            next = next.saturating_add(1);
        }
        if self.came_in(&others) { Seen::Accepting } else { Seen::NotYet }
    }

    /// Whether one of these sockets is a connection to a listener of ours.
    fn came_in(&mut self, sockets: &[u64]) -> bool {
        let begin = Instant::now();
        if sockets.is_empty() || begin < self.ask_at {
            return false;
        }
        let accepted = connections::accepted(&self.addresses);
        let pause = begin.elapsed() * PAUSE;
        self.ask_at = begin.checked_add(pause).unwrap_or(begin);
        sockets.iter().any(|socket| accepted.contains(socket))
    }
}

/// Looks at one process; adds the sockets it has, but for the listeners, to `others`.
fn is_accepting(pid: Pid, listeners: &[SocketId], others: &mut Vec<u64>) -> io::Result<bool> {
    let mut holds_listener = false;
    for entry in fs::read_dir(format!("/proc/{pid}/fdinfo"))?.flatten().take(MOST_FDS) {
        let info = match fs::read_to_string(entry.path()) {
            Ok(info) => info,
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => return Err(error),
            // Closed meanwhile; the others are still worth a look.
            Err(_) => continue,
        };
        if info.lines().filter_map(epoll_target).any(|target| listeners.contains(&target)) {
            return Ok(true);
        }
        let fd = entry.file_name().to_str().and_then(|name| name.parse().ok());
        match fd.and_then(|fd| socket_inode(pid, fd)) {
            Some(inode) if listeners.iter().any(|listener| listener.inode == inode) => holds_listener = true,
            Some(inode) => others.push(inode),
            None => {}
        }
    }
    // Threads are looked at only where one could be waiting for the listener.
    Ok(holds_listener && threads_accept(pid, listeners))
}

/// The target of a line `tfd: 7 events: 19 data: 7  pos:0 ino:2f3a sdev:8`.
fn epoll_target(line: &str) -> Option<SocketId> {
    let line = line.strip_prefix("tfd:")?;
    let field = |name| {
        let value = line.split_ascii_whitespace().find_map(|field| field.strip_prefix(name))?;
        u64::from_str_radix(value, 16).ok()
    };
    Some(SocketId { inode: field("ino:")?, device: field("sdev:")? })
}

fn is_listener(pid: Pid, fd: u64, listeners: &[SocketId]) -> bool {
    socket_inode(pid, fd).is_some_and(|inode| listeners.iter().any(|listener| listener.inode == inode))
}

fn socket_inode(pid: Pid, fd: u64) -> Option<u64> {
    let target = fs::read_link(format!("/proc/{pid}/fd/{fd}")).ok()?;
    target.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
}

fn threads_accept(pid: Pid, listeners: &[SocketId]) -> bool {
    let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else { return false };
    threads.flatten().take(MOST_FDS).any(|thread| {
        let call = fs::read_to_string(thread.path().join("syscall")).ok();
        call.as_deref().and_then(Call::parse).is_some_and(|call| call.waits_for(pid, listeners))
    })
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

    fn waits_for(&self, pid: Pid, listeners: &[SocketId]) -> bool {
        if [libc::SYS_accept, libc::SYS_accept4].contains(&self.number) {
            return is_listener(pid, self.first, listeners);
        }
        let waited_for = if is_poll(self.number) {
            polled(pid, self.first, self.second)
        } else if is_select(self.number) {
            selected(pid, self.first, self.second)
        } else {
            None
        };
        waited_for.unwrap_or_default().into_iter().any(|fd| is_listener(pid, fd, listeners))
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
fn polled(pid: Pid, address: u64, count: u64) -> Option<Vec<u64>> {
    let count = usize::try_from(count).ok()?.min(MOST_FDS);
    let memory = read_memory(pid, address, count.checked_mul(8)?)?;
    let fd = |entry: &[u8]| u64::try_from(i32::from_ne_bytes(entry.get(..4)?.try_into().ok()?)).ok();
    Some(memory.chunks_exact(8).filter_map(fd).collect())
}

/// The descriptors of the read set, a bit each, in the memory of a process.
fn selected(pid: Pid, count: u64, address: u64) -> Option<Vec<u64>> {
    let count = usize::try_from(count).ok()?.min(MOST_FDS);
    let memory = read_memory(pid, address, count.div_ceil(64).checked_mul(8)?)?;
    let is_set = |fd: usize| memory.get(fd / 8).is_some_and(|byte| byte >> (fd % 8) & 1 == 1);
    Some((0..count).filter(|fd| is_set(*fd)).filter_map(|fd| u64::try_from(fd).ok()).collect())
}

fn read_memory(pid: Pid, address: u64, length: usize) -> Option<Vec<u8>> {
    let mut bytes = vec![0; length];
    File::open(format!("/proc/{pid}/mem")).ok()?.read_exact_at(&mut bytes, address).ok()?;
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_lines_are_understood() {
        let line = "tfd:        7 events:       19 data:                7  pos:0 ino:2f3a sdev:8";
        assert_eq!(epoll_target(line), Some(SocketId { inode: 0x2f3a, device: 8 }));
        assert_eq!(epoll_target("pos:\t0"), None);
        assert_eq!(Call::parse("43 0x3 0x7f 0x0 0x0"), Some(Call { number: 43, first: 3, second: 0x7f }));
        assert_eq!(Call::parse("running"), None);
        assert_eq!(Call::parse("-1 0x7ffc 0x7f"), Some(Call { number: -1, first: 0x7ffc, second: 0x7f }));
    }
}
