//! Wakes the loop when a connection enters a listener's queue: once, until it is watched again (epoll(7),
//! `EPOLLONESHOT`).

use crate::os::worker::epoll_set::EpollSet;
use nix::sys::epoll::{EpollEvent, EpollFlags};
use std::io;
use std::os::fd::BorrowedFd;
use std::task::{Context, Poll};

/// The watched queues, by lane.
#[derive(Debug)]
pub struct QueueWatch(EpollSet);

impl QueueWatch {
    /// Must be called inside the runtime.
    ///
    /// # Errors
    /// As epoll_create1(2) and epoll_ctl(2).
    pub fn new() -> io::Result<Self> {
        EpollSet::new().map(Self)
    }

    /// Watches a listener of this lane until a connection waits there. If one waits already, that is reported at once.
    ///
    /// # Errors
    /// As epoll_ctl(2).
    pub fn watch(&self, listener: BorrowedFd<'_>, lane: u32) -> io::Result<()> {
        let event = || EpollEvent::new(EpollFlags::EPOLLIN | EpollFlags::EPOLLONESHOT, lane.into());
        // It is in the set already, except the first time.
        self.0.change(listener, event()).or_else(|_| self.0.add(listener, event()))
    }

    /// Ready when [`take`](Self::take) may find a lane.
    pub fn poll_ready(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.0.poll_ready(cx)
    }

    /// The lanes whose queue was entered. Each is reported once, so the loop ends.
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
