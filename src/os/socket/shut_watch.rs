//! Notices that a worker has shut a listener down for all holders (shutdown(2)): the kernel reports `EPOLLHUP` at once,
//! in the order of the shutdowns.

use crate::os::worker::epoll_set::EpollSet;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use std::io;
use std::os::fd::BorrowedFd;
use std::task::{Context, Poll};

/// The watched listeners.
#[derive(Debug)]
pub struct ShutSet(Epoll);

impl ShutSet {
    /// Makes an empty set.
    ///
    /// # Errors
    /// As epoll_create1(2).
    pub fn new() -> io::Result<Self> {
        Ok(Self(Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?))
    }

    /// Adds a listener under this name. It must stay open.
    ///
    /// # Errors
    /// As epoll_ctl(2).
    pub fn watch(&self, listener: BorrowedFd<'_>, name: u64) -> io::Result<()> {
        // Edge-triggered: a listener that cannot listen again would wake us for ever.
        Ok(self.0.add(listener, EpollEvent::new(EpollFlags::EPOLLET, name))?)
    }

    /// The names of the listeners that were shut down since the last call, in order.
    #[must_use]
    pub fn take(&self) -> Vec<u64> {
        let mut names = Vec::new();
        loop {
            let mut events = [EpollEvent::empty(); 32];
            let count = self.0.wait(&mut events, EpollTimeout::ZERO).unwrap_or(0);
            names.extend(events.iter().take(count).map(EpollEvent::data));
            if count < events.len() {
                return names;
            }
        }
    }
}

/// Wakes the loop when a [`ShutSet`] has something to report.
#[derive(Debug)]
pub struct ShutWatch(EpollSet);

impl ShutWatch {
    /// Wakes for this set. Must be called inside the runtime.
    ///
    /// # Errors
    /// As fcntl(2) and epoll_ctl(2).
    pub fn new(set: &ShutSet) -> io::Result<Self> {
        Ok(Self(EpollSet::sharing(&set.0)?))
    }

    /// Ready when a listener may have been shut down.
    pub fn poll_ready(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.0.poll_ready(cx)
    }

    /// Whether the set may have something to report. Call it before reading the set: [`poll_ready`](Self::poll_ready)
    /// then waits for later events.
    #[must_use]
    pub fn is_heard(&self) -> bool {
        self.0.clear()
    }
}
