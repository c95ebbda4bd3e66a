//! Where a worker was seen to wait, and whether it still does.

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

/// A listener of a worker, and what waits there.
#[derive(Clone, Copy, Debug)]
pub struct OwnListener<'a> {
    /// How others name it.
    pub id: SocketId,
    /// Our copy.
    pub fd: BorrowedFd<'a>,
    /// How many connections wait.
    pub waiting: u32,
}

/// Where a process waits for a listener: a set of epoll(7), and the number by which the listener was put into it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    pid: Pid,
    set: u32,
    target: u32,
    pub(super) listener: SocketId,
}

/// What a mark says by now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stands {
    Yes,
    No,
    NotShown,
}

/// `KCMP_EPOLL_TFD`: compares a file of the first process to a target of a set of the second.
const KCMP_EPOLL_TFD: libc::c_int = 7;

/// `struct kcmp_epoll_slot`.
#[repr(C)]
struct EpollSlot {
    set: u32,
    target: u32,
    /// Of those with the same number: they were closed, and the number was given again.
    nth: u32,
}

/// The most targets with the same number that are looked at.
const MOST_ALIKE: u32 = 8;

/// The marks of a process's set of epoll(7), by its number, for these listeners; one each.
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
            // A kernel that does not know what it is asked has no other word for that.
            Ok(false) | Err(_) => self.is_listed(),
        }
    }

    /// Whether its process lives, and has closed the listener by that number: it does not pause.
    pub(super) fn is_closed(&self) -> bool {
        match fs::read_link(format!("/proc/{}/fd/{}", self.pid, self.target)) {
            Ok(target) => inode_of(&target) != Some(self.listener.inode),
            Err(_) => fs::exists(format!("/proc/{}/fd/{}", self.pid, self.set)).unwrap_or(false),
        }
    }

    /// Asks kcmp(2).
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

    /// Reads what /proc tells of the set.
    fn is_listed(&self) -> Stands {
        match epoll_targets(self.pid, self.set) {
            Ok(targets) if targets.iter().any(|(_, target)| *target == self.listener) => Stands::Yes,
            Ok(_) => Stands::No,
            Err(error) if is_denied(&error) => Stands::NotShown,
            Err(_) => Stands::No,
        }
    }
}

/// The targets of a process's set of epoll(7), by the number of its descriptor: under which number each was put into it, and
/// what it is.
pub fn epoll_targets(pid: Pid, set: impl Display) -> io::Result<Vec<(u32, SocketId)>> {
    let info = fs::read_to_string(format!("/proc/{pid}/fdinfo/{set}"))?;
    let target = |line| Some((epoll_number(line)?, epoll_target(line)?));
    Ok(info.lines().filter_map(target).collect())
}

/// The 7 of a line `tfd: 7 events: 19 ...`.
fn epoll_number(line: &str) -> Option<u32> {
    line.strip_prefix("tfd:")?.split_ascii_whitespace().next()?.parse().ok()
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

/// Whether a look is not allowed, by the kernel's rules or by a filter, rather than at something that is gone.
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
