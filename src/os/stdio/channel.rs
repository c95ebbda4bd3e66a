//! Writes to a standard stream without ever waiting for its reader.
//!
//! `O_NONBLOCK` on the descriptor is not possible: it belongs to the open file description, which the workers share. So
//! each write is non-blocking by itself, or uses an open file of our own.

use super::terminal::is_controlling;
use std::ffi::{CStr, CString};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

/// A pipe takes up to this many bytes at once or none (pipe(7), `PIPE_BUF`).
pub const AT_ONCE: usize = 4096;

pub const STDERR: RawFd = libc::STDERR_FILENO;

pub const STDIN: RawFd = libc::STDIN_FILENO;

/// A name of our terminal that can be opened even if the terminal belongs to another user.
const OWN_TERMINAL: &CStr = c"/dev/tty";

/// How to write to a stream.
#[derive(Debug)]
enum ChannelKind {
    /// A file has no reader to wait for.
    File,
    /// A pipe; `RWF_NOWAIT` works, as far as is known.
    Pipe,
    /// A pipe without `RWF_NOWAIT`: POLLOUT means that a whole `PIPE_BUF` fits (poll(2)).
    OldPipe,
    Socket,
    /// A terminal or another device, opened again with `O_NONBLOCK`: there POLLOUT means only that something fits.
    Own(OwnedFd),
    /// A device that cannot be opened again.
    Closed,
}

/// A standard stream.
#[derive(Debug)]
pub struct Channel {
    fd: RawFd,
    kind: ChannelKind,
}

impl Channel {
    /// The stream of this number: 1 is stdout, 2 is stderr.
    #[must_use]
    pub fn of(fd: RawFd) -> Self {
        let mode = stat(fd).map_or(0, |stat| stat.st_mode);
        let kind = match mode & libc::S_IFMT {
            libc::S_IFREG => ChannelKind::File,
            libc::S_IFIFO => ChannelKind::Pipe,
            libc::S_IFSOCK => ChannelKind::Socket,
            _ => open_again(fd).map_or(ChannelKind::Closed, ChannelKind::Own),
        };
        Self { fd, kind }
    }

    /// Whether there is no way to write without waiting.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        matches!(self.kind, ChannelKind::Closed)
    }

    /// Writes as much as fits without waiting. A pipe takes up to [`AT_ONCE`] bytes at once or none.
    ///
    /// # Errors
    /// As write(2); `WouldBlock` if nothing fits.
    pub fn write_now(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if matches!(self.kind, ChannelKind::Pipe) {
            let part = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
            // SAFETY: one part, with its length; offset -1 means the current position.
            let wrote = unsafe { libc::pwritev2(self.fd, &raw const part, 1, -1, libc::RWF_NOWAIT) };
            if let Ok(wrote) = usize::try_from(wrote) {
                return Ok(wrote);
            }
            let error = io::Error::last_os_error();
            match error.raw_os_error() {
                Some(libc::EOPNOTSUPP | libc::ENOSYS | libc::EINVAL | libc::ESPIPE) => {
                    self.kind = ChannelKind::OldPipe;
                }
                Some(_) | None => return Err(error),
            }
        }
        match &self.kind {
            ChannelKind::File => write(self.fd, bytes),
            ChannelKind::OldPipe if has_room(self.fd) => {
                write(self.fd, bytes.get(..AT_ONCE).unwrap_or(bytes))
            }
            ChannelKind::Socket => send(self.fd, bytes),
            ChannelKind::Own(fd) => write(fd.as_raw_fd(), bytes),
            ChannelKind::Pipe | ChannelKind::OldPipe | ChannelKind::Closed => {
                Err(io::ErrorKind::WouldBlock.into())
            }
        }
    }

    /// Writes, and waits for room if there is no other way.
    ///
    /// # Errors
    /// As [`write_now`](Self::write_now).
    pub fn write_or_wait(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.is_closed() { write(self.fd, bytes) } else { self.write_now(bytes) }
    }
}

/// The descriptor to poll for room.
impl AsRawFd for Channel {
    fn as_raw_fd(&self) -> RawFd {
        match &self.kind {
            ChannelKind::Own(fd) => fd.as_raw_fd(),
            ChannelKind::File
            | ChannelKind::Pipe
            | ChannelKind::OldPipe
            | ChannelKind::Socket
            | ChannelKind::Closed => self.fd,
        }
    }
}

/// Whether two descriptors refer to the same file, pipe, socket or terminal.
#[must_use]
pub fn are_same(one: RawFd, other: RawFd) -> bool {
    let identity = |fd| stat(fd).map(|stat| (stat.st_dev, stat.st_ino, stat.st_rdev));
    identity(one).is_some_and(|one| Some(one) == identity(other))
}

fn stat(fd: RawFd) -> Option<libc::stat> {
    let mut stat = MaybeUninit::<libc::stat>::zeroed();
    // SAFETY: `stat` has room for the answer, and is plain integers.
    unsafe { (libc::fstat(fd, stat.as_mut_ptr()) == 0).then(|| stat.assume_init()) }
}

fn open_again(fd: RawFd) -> Option<OwnedFd> {
    let name = CString::new(format!("/proc/self/fd/{fd}")).ok()?;
    open(&name).or_else(|| open(OWN_TERMINAL).filter(|own| are_same_terminal(own.as_raw_fd(), fd)))
}

/// Whether both are the same terminal. Where the kernel does not say which one each is (gVisor lacks `TIOCGDEV`), only
/// if both are our session's controlling terminal.
fn are_same_terminal(one: RawFd, other: RawFd) -> bool {
    match (device(one), device(other)) {
        (Some(one), Some(other)) => one == other,
        (None, _) | (_, None) => is_controlling(one) && is_controlling(other),
    }
}

fn open(name: &CStr) -> Option<OwnedFd> {
    let flags = libc::O_WRONLY | libc::O_NONBLOCK | libc::O_NOCTTY | libc::O_CLOEXEC;
    // SAFETY: a C string.
    let fd = unsafe { libc::open(name.as_ptr(), flags) };
    // SAFETY: the kernel has just given us this descriptor.
    (fd >= 0).then(|| unsafe { OwnedFd::from_raw_fd(fd) })
}

/// The device number of a terminal (`TIOCGDEV`, ioctl_tty(2)): `/dev/tty` itself has another.
fn device(fd: RawFd) -> Option<u32> {
    let mut device = 0u32;
    // SAFETY: the call writes one integer.
    (unsafe { libc::ioctl(fd, libc::TIOCGDEV as _, &raw mut device) } == 0).then_some(device)
}

fn write(fd: RawFd, bytes: &[u8]) -> io::Result<usize> {
    // SAFETY: the length is that of the buffer.
    let wrote = unsafe { libc::write(fd, bytes.as_ptr().cast(), bytes.len()) };
    usize::try_from(wrote).map_err(|_| io::Error::last_os_error())
}

fn send(fd: RawFd, bytes: &[u8]) -> io::Result<usize> {
    let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
    // SAFETY: the length is that of the buffer.
    let wrote = unsafe { libc::send(fd, bytes.as_ptr().cast(), bytes.len(), flags) };
    usize::try_from(wrote).map_err(|_| io::Error::last_os_error())
}

fn has_room(fd: RawFd) -> bool {
    // SAFETY: a standard stream, which this program never closes.
    let stream = unsafe { BorrowedFd::borrow_raw(fd) };
    let mut fds = [nix::poll::PollFd::new(stream, nix::poll::PollFlags::POLLOUT)];
    nix::poll::poll(&mut fds, nix::poll::PollTimeout::ZERO).is_ok_and(|ready| ready > 0)
}

#[must_use]
pub fn is_terminal(fd: RawFd) -> bool {
    // SAFETY: takes an integer.
    unsafe { libc::isatty(fd) == 1 }
}
