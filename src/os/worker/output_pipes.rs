//! Pipes through which workers' output comes.
//!
//! The worker's end is an ordinary pipe, on which a write waits while nothing reads; ours does not wait. Each end has
//! its own open file, so the one can differ from the other (pipe(7)).

use super::epoll_set::EpollSet;
use crate::os::process::privileges;
use crate::os::process::spawn::duplicate_above;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::epoll::{EpollEvent, EpollFlags};
use std::collections::VecDeque;
use std::io::{self, PipeReader};
use std::os::fd::{AsFd, OwnedFd, RawFd};
use std::task::{Context, Poll};

/// Pipes taken from the kernel at once. It puts those it has told of behind the others.
const AT_ONCE: usize = 16;

/// Opens a pipe: our end, and the worker's, whose number is at least `least`, out of the way of those that the worker
/// will see. It belongs to the user and group that the worker runs as, or it could not open its own `/dev/stdout`.
///
/// # Errors
/// As pipe(2) and fcntl(2).
pub fn open(least: RawFd, owner: Option<(u32, u32)>) -> io::Result<(PipeReader, OwnedFd)> {
    let (reader, writer) = privileges::acting_for(owner, io::pipe)?;
    fcntl(&reader, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
    Ok((reader, duplicate_above(writer.as_fd(), least)?))
}

/// Those that are read from, each by its key.
#[derive(Debug)]
pub struct OutputPipes {
    set: EpollSet,
    /// What the kernel has told of and was not looked at yet.
    told: VecDeque<u64>,
}

impl OutputPipes {
    /// None yet. Must be called inside the runtime.
    ///
    /// # Errors
    /// As epoll_create1(2) and epoll_ctl(2).
    pub fn new() -> io::Result<Self> {
        Ok(Self { set: EpollSet::new()?, told: VecDeque::new() })
    }

    /// Reads from this one too.
    ///
    /// # Errors
    /// As epoll_ctl(2).
    pub fn watch(&self, reader: &PipeReader, key: u64) -> io::Result<()> {
        self.set.add(reader, EpollEvent::new(EpollFlags::EPOLLIN, key))
    }

    /// Reads from this one no more: a child may have a copy of it, until it executes.
    pub fn forget(&self, reader: &PipeReader) {
        let _gone = self.set.delete(reader);
    }

    /// Ready when there may be something to read.
    pub fn poll_ready(&self, cx: &mut Context<'_>) -> Poll<()> {
        if self.told.is_empty() { self.set.poll_ready(cx) } else { Poll::Ready(()) }
    }

    /// The key of the next pipe from which there is something to read, or that has ended; it may be forgotten already.
    /// All have their turn.
    pub fn take(&mut self) -> Option<u64> {
        if self.told.is_empty() {
            let mut events = [EpollEvent::empty(); AT_ONCE];
            let count = self.set.take(&mut events);
            self.told.extend(events.iter().take(count).map(EpollEvent::data));
        }
        self.told.pop_front()
    }
}
