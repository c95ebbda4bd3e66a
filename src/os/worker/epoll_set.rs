//! An epoll(7) set registered with the runtime: many descriptors that come and go, behind one.

use crate::os::call::named;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollTimeout};
use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::task::{Context, Poll, ready};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

#[derive(Debug)]
pub struct EpollSet(AsyncFd<WatchedSet>);

/// The set as a type that the runtime accepts.
#[derive(Debug)]
struct WatchedSet(Epoll);

impl AsRawFd for WatchedSet {
    fn as_raw_fd(&self) -> RawFd {
        self.0.0.as_raw_fd()
    }
}

impl EpollSet {
    /// Makes an empty set. Must be called inside the runtime.
    ///
    /// # Errors
    /// As epoll_create1(2) and epoll_ctl(2).
    pub fn new() -> io::Result<Self> {
        Self::register(named("epoll_create1", Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC))?)
    }

    /// Registers a copy of that set's descriptor. Must be called inside the runtime.
    ///
    /// # Errors
    /// As fcntl(2) and epoll_ctl(2).
    pub fn sharing(set: &Epoll) -> io::Result<Self> {
        Self::register(Epoll(named("fcntl", set.0.try_clone())?))
    }

    fn register(set: Epoll) -> io::Result<Self> {
        let set = WatchedSet(set);
        // SAFETY: the set owns its descriptor, and never replaces it.
        let registered = unsafe { AsyncFd::register_with_interest(set, Interest::READABLE) };
        named("epoll_ctl", registered).map(Self)
    }

    /// Adds a descriptor.
    ///
    /// # Errors
    /// As epoll_ctl(2).
    pub fn add(&self, fd: impl AsFd, event: EpollEvent) -> io::Result<()> {
        named("epoll_ctl", self.0.get_ref().0.add(fd, event))
    }

    /// Changes the events of a descriptor in the set; unlike a new one, that takes no memory.
    ///
    /// # Errors
    /// As epoll_ctl(2).
    pub fn change(&self, fd: impl AsFd, mut event: EpollEvent) -> io::Result<()> {
        named("epoll_ctl", self.0.get_ref().0.modify(fd, &mut event))
    }

    /// Removes a descriptor.
    ///
    /// # Errors
    /// As epoll_ctl(2).
    pub fn delete(&self, fd: impl AsFd) -> io::Result<()> {
        Ok(self.0.get_ref().0.delete(fd)?)
    }

    /// Ready when [`take`](Self::take) may find an event.
    pub fn poll_ready(&self, cx: &mut Context<'_>) -> Poll<()> {
        if let Ok(mut guard) = ready!(self.0.poll_read_ready(cx)) {
            guard.retain_ready();
        }
        Poll::Ready(())
    }

    /// Makes [`poll_ready`](Self::poll_ready) wait for later events. Returns whether it was ready.
    pub fn clear(&self) -> bool {
        let mut was_ready = false;
        let _nothing = self.0.try_io(Interest::READABLE, |_| {
            was_ready = true;
            Err::<(), _>(io::ErrorKind::WouldBlock.into())
        });
        was_ready
    }

    /// Writes events to the beginning of `events` without waiting, and returns their number. Only after it has returned
    /// 0 does [`poll_ready`](Self::poll_ready) wait.
    pub fn take(&self, events: &mut [EpollEvent]) -> usize {
        let taken =
            self.0.try_io(Interest::READABLE, |set| match set.0.wait(events, EpollTimeout::ZERO)? {
                0 => Err(io::ErrorKind::WouldBlock.into()),
                count => Ok(count),
            });
        taken.unwrap_or(0)
    }
}
