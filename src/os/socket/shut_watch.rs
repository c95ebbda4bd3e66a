//! Noticing that a worker has shut a listener down for everybody (shutdown(2)): the kernel then reports `EPOLLHUP`, at
//! once, and in the order in which that happened.

use crate::os::worker::epoll_set::EpollSet;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use std::io;
use std::os::fd::BorrowedFd;
use std::task::{Context, Poll};

/// Listeners, watched for that and nothing else.
#[derive(Debug)]
pub struct ShutSet(Epoll);

impl ShutSet {
    /// Watches nothing yet.
    ///
    /// # Errors
    /// As epoll_create1(2).
    pub fn new() -> io::Result<Self> {
        Ok(Self(Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?))
    }

    /// Watches this one too, under this name. It is not to be closed.
    ///
    /// # Errors
    /// As epoll_ctl(2).
    pub fn watch(&self, listener: BorrowedFd<'_>, name: u64) -> io::Result<()> {
        // Told once each time: one that cannot listen again would wake us for ever.
        Ok(self.0.add(listener, EpollEvent::new(EpollFlags::EPOLLET, name))?)
    }

    /// Those that have been shut down since this was asked last, the first one first.
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

/// Wakes the loop for what a [`ShutSet`] has to tell.
#[derive(Debug)]
pub struct ShutWatch(EpollSet);

impl ShutWatch {
    /// Of this set. Must be called inside the runtime.
    ///
    /// # Errors
    /// As fcntl(2) and epoll_ctl(2).
    pub fn new(set: &ShutSet) -> io::Result<Self> {
        Ok(Self(EpollSet::sharing(&set.0)?))
    }

    /// Ready when one may have been shut down.
    pub fn poll_ready(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.0.poll_ready(cx)
    }

    /// Whether the set has perhaps something to tell. It is about to be asked: [`poll_ready`](Self::poll_ready) waits for
    /// what comes from now on.
    #[must_use]
    pub fn is_heard(&self) -> bool {
        self.0.clear()
    }
}
