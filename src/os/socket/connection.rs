//! Connections over unix sockets whose peer may pass us descriptors.

use super::passed;
use nix::errno::Errno;
use nix::sys::socket::{self, AddressFamily, MsgFlags, Shutdown, SockFlag, SockType, UnixAddr, sockopt};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::Path;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::UnixStream;

pub trait ByteStream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<T: AsyncRead + AsyncWrite + Unpin + Send> ByteStream for T {}

/// Wraps a connection so that no passed descriptor gets into our hands. Returns it unchanged where the kernel refuses
/// passed descriptors. Must be called inside the runtime.
///
/// # Errors
/// If the runtime cannot watch it.
pub fn guard(stream: UnixStream) -> io::Result<Box<dyn ByteStream>> {
    if passed::are_refused(&stream) {
        return Ok(Box::new(stream));
    }
    // Earlier data may carry descriptors.
    Ok(Box::new(Guarded::new(OwnedFd::from(stream.into_std()?))?))
}

/// Connects to a server that is not trusted. Must be called inside the runtime.
///
/// # Errors
/// As socket(2) and connect(2).
pub async fn connect(path: &Path) -> io::Result<Box<dyn ByteStream>> {
    let address = UnixAddr::new(path)?;
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let fd = socket::socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
    let _looked_at_instead = passed::refuse(&fd, true);
    socket::connect(fd.as_raw_fd(), &address)?;
    if passed::are_refused(&fd) {
        return Ok(Box::new(UnixStream::from_std(fd.into())?));
    }
    Ok(Box::new(Guarded::new(fd)?))
}

/// A connection that is peeked at before each read. It ends when descriptors arrive.
#[derive(Debug)]
struct Guarded(Option<AsyncFd<OwnedFd>>);

impl Guarded {
    fn new(fd: OwnedFd) -> io::Result<Self> {
        // Otherwise a read drops an urgent byte, and what comes with it, without showing them (`SO_OOBINLINE`).
        let inline = socket::setsockopt(&fd, sockopt::OobInline, &true);
        match inline.map_err(io::Error::from) {
            // SAFETY: an OwnedFd keeps its number for as long as the AsyncFd holds it.
            Ok(()) => match unsafe { AsyncFd::register(fd) } {
                Ok(fd) => Ok(Self(Some(fd))),
                Err(error) => {
                    let (fd, error) = error.into_parts();
                    passed::let_go(fd);
                    Err(error)
                }
            },
            Err(error) => {
                passed::let_go(fd);
                Err(error)
            }
        }
    }

    fn fd(&self) -> io::Result<&AsyncFd<OwnedFd>> {
        self.0.as_ref().ok_or_else(|| io::ErrorKind::NotConnected.into())
    }
}

impl Drop for Guarded {
    fn drop(&mut self) {
        if let Some(fd) = self.0.take() {
            passed::let_go(fd.into_inner());
        }
    }
}

fn read(fd: &OwnedFd, buffer: &mut [u8]) -> io::Result<usize> {
    let head = passed::peek(fd.as_fd(), buffer, false)?;
    if head.carries {
        return Err(io::ErrorKind::ConnectionAborted.into());
    }
    match buffer.get_mut(..head.length) {
        Some(seen) if !seen.is_empty() => passed::take(fd.as_fd(), seen),
        Some(_) | None => Ok(0),
    }
}

impl AsyncRead for Guarded {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let fd = self.fd()?;
        loop {
            let mut guard = ready!(fd.poll_read_ready(cx))?;
            let room = buf.initialize_unfilled();
            if let Ok(length) = guard.try_io(|fd| read(fd.get_ref(), room)) {
                buf.advance(length?);
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl AsyncWrite for Guarded {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let fd = self.fd()?;
        loop {
            let mut guard = ready!(fd.poll_write_ready(cx))?;
            let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
            let send = |fd: &AsyncFd<OwnedFd>| Ok(socket::send(fd.get_ref().as_raw_fd(), bytes, flags)?);
            if let Ok(sent) = guard.try_io(send) {
                return Poll::Ready(sent);
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = socket::shutdown(self.fd()?.get_ref().as_raw_fd(), Shutdown::Write);
        Poll::Ready(match result {
            Ok(()) | Err(Errno::ENOTCONN) => Ok(()),
            Err(error) => Err(error.into()),
        })
    }
}
