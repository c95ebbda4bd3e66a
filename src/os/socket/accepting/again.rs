//! Whether a worker waits for connections as it did: where it was seen to wait is asked again, which costs a microsecond
//! (kcmp(2)), and only if it does not is everything looked at.
//!
//! A worker that was never seen in a set of epoll(7) is not judged: one that is busy shows nothing, like one that has left.

use super::{BUDGET, Gone, Observer, Walk, costing, epoll_targets, inode_of, is_denied};
use crate::core::Pid;
use crate::core::event::Found;
use crate::os::process::{privileges, proc};
use crate::os::socket::listen::SocketId;
use nix::errno::Errno;
use std::ffi::OsStr;
use std::fs;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::time::{Duration, Instant};

/// A listener of a worker, and what waits there.
#[derive(Clone, Copy, Debug)]
pub struct Own<'a> {
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
    listener: SocketId,
}

/// What a mark says by now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stands {
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

/// So many with the same number are looked at.
const MOST_ALIKE: u32 = 8;

impl Observer {
    /// Looks whether a worker that is ready waits for connections to these listeners: to those where something waits, or
    /// else to all. Returns what it cost too, in processor time.
    #[must_use]
    pub fn look_again(&mut self, worker: Pid, listeners: &[Own<'_>]) -> (Found, Duration) {
        costing(|| {
            if !proc::is_ours() || listeners.is_empty() {
                return Found::Unknown;
            }
            privileges::acting_for(self.ids, || self.found(worker, listeners))
        })
    }

    fn found(&mut self, worker: Pid, listeners: &[Own<'_>]) -> Found {
        let Some(marks) = self.marks.get(&worker) else {
            let all = listeners.iter().map(|own| own.id).collect();
            return match self.search(worker, all) {
                // A thread that waits is no mark that stays.
                Found::Accepts if self.marks.contains_key(&worker) => Found::Accepts,
                Found::NotAll => Found::NotAll,
                Found::Accepts | Found::Absent | Found::Left | Found::Unknown => Found::Unknown,
            };
        };
        let marked = |own: &&Own<'_>| marks.iter().any(|mark| mark.listener == own.id);
        let asked: Vec<&Own<'_>> = listeners.iter().filter(marked).collect();
        let any_waits = asked.iter().any(|own| own.waiting > 0);
        let mut lost = Vec::new();
        for own in asked.into_iter().filter(|own| own.waiting > 0 || !any_waits) {
            let mut stand =
                marks.iter().filter(|mark| mark.listener == own.id).map(|mark| mark.stands(own.fd));
            match stand.find(|stands| *stands != Stands::No) {
                Some(Stands::Yes) => {}
                Some(Stands::NotShown) => return Found::Unknown,
                Some(Stands::No) | None => lost.push(own.id),
            }
        }
        if lost.is_empty() {
            self.again.remove(&worker);
            return Found::Accepts;
        }
        let lost_marks: Vec<Mark> =
            marks.iter().filter(|mark| lost.contains(&mark.listener)).copied().collect();
        match self.search(worker, lost) {
            Found::Absent if lost_marks.iter().all(Mark::is_closed) => Found::Left,
            found => found,
        }
    }

    /// Looks at everything, within the budget.
    fn search(&mut self, worker: Pid, listeners: Vec<SocketId>) -> Found {
        let begin = Instant::now();
        let begun = self.again.remove(&worker).filter(|(of, _)| *of == listeners);
        let mut walk = begun.map_or_else(|| Walk::new(worker), |(_, walk)| walk);
        loop {
            match walk.go_on(&listeners, begin) {
                Gone::Found => {
                    self.remember(worker, walk.marks);
                    return Found::Accepts;
                }
                Gone::Refused => return Found::Unknown,
                Gone::Through => return Found::Absent,
                Gone::On if begin.elapsed() < BUDGET => {}
                Gone::On | Gone::OutOfTime => {
                    self.again.insert(worker, (listeners, walk));
                    return Found::NotAll;
                }
            }
        }
    }

    /// Where a worker was seen to wait. What is known of its other listeners stays.
    pub(super) fn remember(&mut self, worker: Pid, marks: Vec<Mark>) {
        if marks.is_empty() {
            return;
        }
        let known = self.marks.entry(worker).or_default();
        known.retain(|old| marks.iter().all(|new| new.listener != old.listener));
        known.extend(marks);
    }
}

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
    fn stands(&self, listener: BorrowedFd<'_>) -> Stands {
        match self.is_target(listener) {
            Ok(true) => Stands::Yes,
            // A kernel that does not know what it is asked has no other word for that.
            Ok(false) | Err(_) => self.is_listed(),
        }
    }

    /// Whether its process lives, and has closed the listener by that number: it does not pause.
    fn is_closed(&self) -> bool {
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
