//! Wakes the loop when something comes into the queue of a listener: once, until it is watched again (epoll(7),
//! `EPOLLONESHOT`).

use crate::os::worker::epoll_set::EpollSet;
use nix::sys::epoll::{EpollEvent, EpollFlags};
use std::io;
use std::os::fd::BorrowedFd;
use std::task::{Context, Poll};

/// Queues of listeners, by lane.
#[derive(Debug)]
pub struct QueueWatch(EpollSet);

impl QueueWatch {
    /// Watches nothing yet. Must be called inside the runtime.
    ///
    /// # Errors
    /// As epoll_create1(2) and epoll_ctl(2).
    pub fn new() -> io::Result<Self> {
        EpollSet::new().map(Self)
    }

    /// Watches this listener of this lane until something waits there; if something does, that is told at once.
    ///
    /// # Errors
    /// As epoll_ctl(2).
    pub fn watch(&self, listener: BorrowedFd<'_>, lane: u32) -> io::Result<()> {
        let event = || EpollEvent::new(EpollFlags::EPOLLIN | EpollFlags::EPOLLONESHOT, lane.into());
        // It is there but for the first time.
        self.0.change(listener, event()).or_else(|_| self.0.add(listener, event()))
    }

    /// Ready when there may be something to take.
    pub fn poll_ready(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.0.poll_ready(cx)
    }

    /// The lanes into which something came. Each listener is told once, so it comes to an end.
    #[must_use]
    pub fn take(&self) -> Vec<u32> {
        let mut lanes = Vec::new();
        let mut events = [EpollEvent::empty(); 32];
        loop {
            match self.0.take(&mut events) {
                0 => return lanes,
                count => {
                    let told = events.iter().take(count).map(EpollEvent::data);
                    lanes.extend(told.filter_map(|lane| u32::try_from(lane).ok()));
                }
            }
        }
    }
}
