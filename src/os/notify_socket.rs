//! The socket at which workers tell of themselves (`$NOTIFY_SOCKET`, sd_notify(3)).

use super::call::{self, named};
use super::signals::watch;
use nix::cmsg_space;
use nix::sys::socket::{
    self, AddressFamily, ControlMessageOwned, MsgFlags, SockFlag, SockType, UnixAddr, UnixCredentials,
    sockopt,
};
use std::io::{self, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::task::{Context, Poll, ready};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::core::Pid;

/// Longer datagrams are cut: the notices we understand are short.
pub const LONGEST: usize = 4096;

/// No message carries more (unix(7), `SCM_MAX_FD`).
const MOST_DESCRIPTORS: usize = 253;

/// A datagram and who sent it, as the kernel vouches (`SCM_CREDENTIALS`, unix(7)).
#[derive(Debug)]
pub struct Datagram {
    /// The process that sent it, in our PID namespace.
    pub sender: Pid,
    /// What it said.
    pub text: Vec<u8>,
}

/// The receiving end. It has an abstract name that the kernel chose, so it needs no writable path.
pub struct NotifySocket {
    fd: AsyncFd<OwnedFd>,
    name: String,
}

impl NotifySocket {
    /// Opens it. Must be called inside the runtime.
    ///
    /// # Errors
    /// As socket(2), bind(2) and epoll_ctl(2).
    pub fn open() -> io::Result<Self> {
        call::may_receive()?;
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let fd = named("socket", socket::socket(AddressFamily::Unix, SockType::Datagram, flags, None))?;
        named("setsockopt", socket::setsockopt(&fd, sockopt::PassCred, &true))?;
        // An address without a path asks the kernel for a free abstract name (unix(7), "Autobind feature").
        named("bind", socket::bind(fd.as_raw_fd(), &UnixAddr::new_unnamed()))?;
        Self::take_over(fd)
    }

    /// The one that another program of ours opened in this process. Must be called inside the runtime.
    ///
    /// # Errors
    /// As getsockname(2) and epoll_ctl(2).
    pub fn take_over(fd: OwnedFd) -> io::Result<Self> {
        let bound: UnixAddr = named("getsockname", socket::getsockname(fd.as_raw_fd()))?;
        let name = bound.as_abstract().ok_or(io::ErrorKind::AddrNotAvailable)?;
        let name = format!("@{}", String::from_utf8_lossy(name));
        Ok(Self { fd: watch(fd)?, name })
    }

    /// The value for `$NOTIFY_SOCKET`: `@` stands for the zero byte of an abstract name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Ready when there is something to take.
    pub fn poll_ready(&self, cx: &mut Context<'_>) -> Poll<()> {
        if let Ok(mut guard) = ready!(self.fd.poll_read_ready(cx)) {
            guard.retain_ready();
        }
        Poll::Ready(())
    }

    /// Takes one datagram that waits; `None` when there is none. Descriptors sent along are closed, which is what the
    /// sender of `BARRIER=1` waits for; we store none (`FDSTORE=1`).
    pub fn take(&self) -> Option<Datagram> {
        self.fd.try_io(Interest::READABLE, |fd| receive(fd.as_raw_fd())).ok()
    }
}

fn receive(fd: i32) -> io::Result<Datagram> {
    let mut text = vec![0; LONGEST];
    let mut parts = [IoSliceMut::new(&mut text)];
    let mut control = cmsg_space!(UnixCredentials, [RawFd; MOST_DESCRIPTORS]);
    let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_CMSG_CLOEXEC;
    let message = socket::recvmsg::<()>(fd, &mut parts, Some(&mut control), flags)?;
    let mut sender = None;
    for part in message.cmsgs()? {
        match part {
            ControlMessageOwned::ScmCredentials(credentials) => sender = Some(Pid(credentials.pid())),
            ControlMessageOwned::ScmRights(fds) => {
                for fd in fds {
                    // SAFETY: the kernel has just given it to us, and to nobody else.
                    drop(unsafe { OwnedFd::from_raw_fd(fd) });
                }
            }
            _ => {}
        }
    }
    let length = message.bytes;
    text.truncate(length);
    // 0 is no process we can see, hence nobody's worker.
    Ok(Datagram { sender: sender.unwrap_or(Pid(0)), text })
}

impl AsFd for NotifySocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.get_ref().as_fd()
    }
}
