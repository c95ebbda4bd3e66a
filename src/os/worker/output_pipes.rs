//! The pipes through which workers' output comes.
//!
//! The worker's end is an ordinary pipe, which blocks its writer while it is full; ours does not block. The two ends
//! have separate open file descriptions, so their flags can differ (pipe(7)).

use super::epoll_set::EpollSet;
use crate::os::process::privileges;
use crate::os::process::spawn::duplicate_above;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::epoll::{EpollEvent, EpollFlags};
use std::collections::VecDeque;
use std::io::{self, PipeReader};
use std::os::fd::{AsFd, OwnedFd, RawFd};
use std::task::{Context, Poll};

/// The most pipes taken from the kernel at once. It moves reported ones behind the others.
const AT_ONCE: usize = 16;

/// Opens a pipe: our end, and the worker's, whose number is at least `least`, above those that the worker uses. It
/// belongs to the worker's user and group, without which the worker could not open its own `/dev/stdout`.
///
/// # Errors
/// As pipe(2) and fcntl(2).
pub fn open(least: RawFd, owner: Option<(u32, u32)>) -> io::Result<(PipeReader, OwnedFd)> {
    let (reader, writer) = privileges::acting_for(owner, io::pipe)?;
    fcntl(&reader, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
    Ok((reader, duplicate_above(writer.as_fd(), least)?))
}

/// The pipes that are read from, each by its key.
#[derive(Debug)]
pub struct OutputPipes {
    set: EpollSet,
    /// Keys that the kernel has reported and [`take`](Self::take) has not returned.
    told: VecDeque<u64>,
}

impl OutputPipes {
    /// Makes an empty set. Must be called inside the runtime.
    ///
    /// # Errors
    /// As epoll_create1(2) and epoll_ctl(2).
    pub fn new() -> io::Result<Self> {
        Ok(Self { set: EpollSet::new()?, told: VecDeque::new() })
    }

    /// Adds a pipe.
    ///
    /// # Errors
    /// As epoll_ctl(2).
    pub fn watch(&self, reader: &PipeReader, key: u64) -> io::Result<()> {
        self.set.add(reader, EpollEvent::new(EpollFlags::EPOLLIN, key))
    }

    /// Removes a pipe. Closing it is not enough: a child may have a copy until it executes.
    pub fn forget(&self, reader: &PipeReader) {
        let _gone = self.set.delete(reader);
    }

    /// Ready when a pipe may have something to read.
    pub fn poll_ready(&self, cx: &mut Context<'_>) -> Poll<()> {
        if self.told.is_empty() { self.set.poll_ready(cx) } else { Poll::Ready(()) }
    }

    /// The key of the next pipe that can be read or has ended, in turn. It may be forgotten already.
    pub fn take(&mut self) -> Option<u64> {
        if self.told.is_empty() {
            let mut events = [EpollEvent::empty(); AT_ONCE];
            let count = self.set.take(&mut events);
            self.told.extend(events.iter().take(count).map(EpollEvent::data));
        }
        self.told.pop_front()
    }
}
