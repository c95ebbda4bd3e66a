//! Noticing that a worker has shut a listener down for everybody (shutdown(2)): the kernel then reports `EPOLLHUP`.

use super::epoll_set::EpollSet;
use nix::sys::epoll::{EpollEvent, EpollFlags};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::task::{Context, Poll};

/// Listeners, watched for that and nothing else.
#[derive(Debug)]
pub struct ShutWatch {
    set: EpollSet,
    watched: Vec<RawFd>,
}

impl ShutWatch {
    /// Watches nothing yet. Must be called inside the runtime.
    ///
    /// # Errors
    /// As epoll_create1(2) and epoll_ctl(2).
    pub fn new() -> io::Result<Self> {
        Ok(Self { set: EpollSet::new()?, watched: Vec::new() })
    }

    /// Watches these too, but for those it watches already. They are not to be closed.
    ///
    /// # Errors
    /// As epoll_ctl(2), the first.
    pub fn watch<'a>(&mut self, listeners: impl IntoIterator<Item = BorrowedFd<'a>>) -> io::Result<()> {
        for listener in listeners {
            if !self.watched.contains(&listener.as_raw_fd()) {
                // Told once each time: one that cannot listen again would wake us for ever.
                self.set.add(listener, EpollEvent::new(EpollFlags::EPOLLET, 0))?;
                self.watched.push(listener.as_raw_fd());
            }
        }
        Ok(())
    }

    /// Ready when one may have been shut down.
    pub fn poll_ready(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.set.poll_ready(cx)
    }

    /// Whether one has been shut down since this was asked last.
    pub fn take(&self) -> bool {
        let mut events = [EpollEvent::empty(); 32];
        self.set.take(&mut events) > 0
    }
}
