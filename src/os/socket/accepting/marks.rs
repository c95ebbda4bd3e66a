//! The marks of a waiting worker, and whether they still hold.

use crate::core::Pid;
use crate::os::call;
use crate::os::socket::inode_of;
use crate::os::socket::listen::SocketId;
use nix::errno::Errno;
use std::ffi::OsStr;
use std::fmt::Display;
use std::fs;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// A listener of a worker, and the length of its queue.
#[derive(Clone, Copy, Debug)]
pub struct OwnListener<'a> {
    pub id: SocketId,
    /// Our own descriptor of it.
    pub fd: BorrowedFd<'a>,
    /// The number of waiting connections.
    pub waiting: u32,
}

/// An epoll(7) set in which a process waits for a listener, and the descriptor number by which the listener was added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    pid: Pid,
    set: u32,
    target: u32,
    pub(super) listener: SocketId,
}

/// Whether a mark still holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stands {
    Yes,
    No,
    NotShown,
}

/// `KCMP_EPOLL_TFD`: compares a file of the first process with a target in an epoll set of the second.
const KCMP_EPOLL_TFD: libc::c_int = 7;

/// `struct kcmp_epoll_slot`.
#[repr(C)]
struct EpollSlot {
    set: u32,
    target: u32,
    /// The index among targets with the same number: the number was closed and reused.
    nth: u32,
}

/// The most targets with the same number that are compared.
const MOST_ALIKE: u32 = 8;

/// The marks in this epoll(7) set for these listeners, one each.
pub(super) fn marks(pid: Pid, set: &OsStr, listeners: &[SocketId]) -> Vec<Mark> {
    let Some(set) = set.to_str().and_then(|set| set.parse::<u32>().ok()) else { return Vec::new() };
    let mut marks: Vec<Mark> = Vec::new();
    for (target, listener) in epoll_targets(pid, set).unwrap_or_default() {
        if listeners.contains(&listener) && marks.iter().all(|mark| mark.listener != listener) {
            marks.push(Mark { pid, set, target, listener });
        }
    }
    marks
}

impl Mark {
    pub(super) fn stands(&self, listener: BorrowedFd<'_>) -> Stands {
        match self.is_target(listener) {
            Ok(true) => Stands::Yes,
            // A kernel without KCMP_EPOLL_TFD answers with an error too.
            Ok(false) | Err(_) => self.is_listed(),
        }
    }

    /// Whether its process lives and has closed the listener of that number, rather than pausing.
    pub(super) fn is_closed(&self) -> bool {
        match fs::read_link(format!("/proc/{}/fd/{}", self.pid, self.target)) {
            Ok(target) => inode_of(&target) != Some(self.listener.inode),
            Err(_) => fs::exists(format!("/proc/{}/fd/{}", self.pid, self.set)).unwrap_or(false),
        }
    }

    /// Asks by kcmp(2).
    fn is_target(&self, listener: BorrowedFd<'_>) -> nix::Result<bool> {
        for nth in 0..MOST_ALIKE {
            let slot = EpollSlot { set: self.set, target: self.target, nth };
            // SAFETY: the kernel reads the slot.
            let answer = unsafe {
                libc::syscall(
                    libc::SYS_kcmp,
                    libc::getpid(),
                    self.pid.0,
                    KCMP_EPOLL_TFD,
                    listener.as_raw_fd(),
                    &raw const slot,
                )
            };
            match Errno::result(answer) {
                Ok(0) => return Ok(true),
                Ok(_) => {}
                Err(Errno::ENOENT | Errno::ESRCH | Errno::EBADF) => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        Ok(false)
    }

    /// Asks by /proc.
    fn is_listed(&self) -> Stands {
        match epoll_targets(self.pid, self.set) {
            Ok(targets) if targets.iter().any(|(_, target)| *target == self.listener) => Stands::Yes,
            Ok(_) => Stands::No,
            Err(error) if is_denied(&error) => Stands::NotShown,
            Err(_) => Stands::No,
        }
    }
}

/// The targets of a process's epoll(7) set, given by its descriptor: the number by which each was added, and the
/// socket.
pub fn epoll_targets(pid: Pid, set: impl Display) -> io::Result<Vec<(u32, SocketId)>> {
    let info = fs::read_to_string(format!("/proc/{pid}/fdinfo/{set}"))?;
    let target = |line| Some((epoll_number(line)?, epoll_target(line)?));
    Ok(info.lines().filter_map(target).collect())
}

/// The 7 in the line `tfd: 7 events: 19 ...`.
fn epoll_number(line: &str) -> Option<u32> {
    line.strip_prefix("tfd:")?.split_ascii_whitespace().next()?.parse().ok()
}

/// The target in the line `tfd: 7 events: 19 data: 7  pos:0 ino:2f3a sdev:8`.
fn epoll_target(line: &str) -> Option<SocketId> {
    let line = line.strip_prefix("tfd:")?;
    let field = |name| {
        let value = line.split_ascii_whitespace().find_map(|field| field.strip_prefix(name))?;
        u64::from_str_radix(value, 16).ok()
    };
    Some(SocketId { inode: field("ino:")?, device: field("sdev:")? })
}

/// Whether a look was denied by the kernel or a filter, rather than its object gone.
pub(super) fn is_denied(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::PermissionDenied || call::is_refused(call::errno(error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_lines_are_understood() {
        let line = "tfd:        7 events:       19 data:                7  pos:0 ino:2f3a sdev:8";
        assert_eq!(epoll_target(line), Some(SocketId { inode: 0x2f3a, device: 8 }));
        assert_eq!(epoll_target("pos:\t0"), None);
    }
}
