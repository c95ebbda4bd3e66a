//! The socket at which workers tell of themselves (`$NOTIFY_SOCKET`, sd_notify(3)).

use super::signals::watch;
use super::socket::taker::Taker;
use nix::sys::socket::{self, AddressFamily, SockFlag, SockType, UnixAddr, sockopt};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::task::{Context, Poll, ready};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

pub use super::socket::taker::Datagram;

/// Longer datagrams are cut: the notices we understand are short.
pub const LONGEST: usize = 4096;

/// The receiving end. It has an abstract name that the kernel chose, so it needs no writable path.
pub struct NotifySocket {
    fd: AsyncFd<OwnedFd>,
    taker: Taker,
    name: String,
}

impl NotifySocket {
    /// Opens it. Must be called inside the runtime.
    ///
    /// # Errors
    /// As socket(2), bind(2) and epoll_ctl(2).
    pub fn open() -> io::Result<Self> {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let fd = socket::socket(AddressFamily::Unix, SockType::Datagram, flags, None)?;
        socket::setsockopt(&fd, sockopt::PassCred, &true)?;
        // An address without a path asks the kernel for a free abstract name (unix(7), "Autobind feature").
        socket::bind(fd.as_raw_fd(), &UnixAddr::new_unnamed())?;
        Self::take_over(fd)
    }

    /// The one that another program of ours opened in this process. Must be called inside the runtime.
    ///
    /// # Errors
    /// As getsockname(2) and epoll_ctl(2).
    pub fn take_over(fd: OwnedFd) -> io::Result<Self> {
        let bound: UnixAddr = socket::getsockname(fd.as_raw_fd())?;
        let name = bound.as_abstract().ok_or(io::ErrorKind::AddrNotAvailable)?;
        let name = format!("@{}", String::from_utf8_lossy(name));
        Ok(Self { fd: watch(fd)?, taker: Taker::default(), name })
    }

    /// The value for `$NOTIFY_SOCKET`: `@` stands for the zero byte of an abstract name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Ready when there is something to take. Not while a child takes descriptors: its end is news of another kind.
    pub fn poll_ready(&self, cx: &mut Context<'_>) -> Poll<()> {
        if self.taker.is_held() {
            return Poll::Pending;
        }
        if let Ok(mut guard) = ready!(self.fd.poll_read_ready(cx)) {
            guard.retain_ready();
        }
        Poll::Ready(())
    }

    /// Takes one datagram that waits; `None` when there is none. Descriptors sent along are closed by a child, which is
    /// what the sender of `BARRIER=1` waits for, and until it has ended none is taken; we store none (`FDSTORE=1`).
    pub fn take(&self) -> Option<Datagram> {
        self.fd.try_io(Interest::READABLE, |fd| self.taker.take(fd.as_fd(), LONGEST)).ok()
    }
}

impl AsFd for NotifySocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.get_ref().as_fd()
    }
}
