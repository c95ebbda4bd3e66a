//! Noticing that a worker has shut a listener down for everybody (shutdown(2)): the kernel then reports `EPOLLHUP`.

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::task::{Context, Poll, ready};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Listeners, watched for that and nothing else.
#[derive(Debug)]
pub struct ShutWatch {
    set: AsyncFd<Set>,
    watched: Vec<RawFd>,
}

/// As the runtime wants to have it.
#[derive(Debug)]
struct Set(Epoll);

impl AsRawFd for Set {
    fn as_raw_fd(&self) -> RawFd {
        self.0.0.as_raw_fd()
    }
}

impl ShutWatch {
    /// Watches nothing yet. Must be called inside the runtime.
    ///
    /// # Errors
    /// As epoll_create1(2) and epoll_ctl(2).
    pub fn new() -> io::Result<Self> {
        let set = Set(Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?);
        // SAFETY: the set owns its descriptor, and nobody exchanges it.
        let set = unsafe { AsyncFd::register_with_interest(set, Interest::READABLE) }?;
        Ok(Self { set, watched: Vec::new() })
    }

    /// Watches these too, but for those it watches already. They are not to be closed.
    ///
    /// # Errors
    /// As epoll_ctl(2), the first.
    pub fn watch<'a>(&mut self, listeners: impl IntoIterator<Item = BorrowedFd<'a>>) -> io::Result<()> {
        for listener in listeners {
            if !self.watched.contains(&listener.as_raw_fd()) {
                // Told once each time: one that cannot listen again would wake us for ever.
                self.set.get_ref().0.add(listener, EpollEvent::new(EpollFlags::EPOLLET, 0))?;
                self.watched.push(listener.as_raw_fd());
            }
        }
        Ok(())
    }

    /// Ready when one may have been shut down.
    pub fn poll_ready(&self, cx: &mut Context<'_>) -> Poll<()> {
        if let Ok(mut guard) = ready!(self.set.poll_read_ready(cx)) {
            guard.retain_ready();
        }
        Poll::Ready(())
    }

    /// Whether one has been shut down since this was asked last.
    pub fn take(&self) -> bool {
        let mut events = [EpollEvent::empty(); 32];
        let told =
            self.set.try_io(Interest::READABLE, |set| match set.0.wait(&mut events, EpollTimeout::ZERO)? {
                0 => Err(io::ErrorKind::WouldBlock.into()),
                count => Ok(count),
            });
        told.is_ok()
    }
}
