//! Writing to stderr without ever waiting for its reader.
//!
//! A full pipe or a paused terminal would stop PID 1, and with it the reaping and the health endpoint. `O_NONBLOCK`
//! on the descriptor is no way out: it belongs to the open file, which the workers share. So each write says for
//! itself that it will not wait, or goes through an open file of our own; a line that does not fit is dropped and
//! counted.

use std::ffi::CStr;
use std::io::{self, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicU64, Ordering};

/// A pipe takes this much at once or nothing (pipe(7), `PIPE_BUF`); longer lines are cut.
const LONGEST: usize = 4096;

/// Other names for what descriptor 2 is, by which it can be opened again: a terminal that belongs to another user can
/// be opened only if it is our own.
const NAME: &CStr = c"/proc/self/fd/2";
const OWN_TERMINAL: &CStr = c"/dev/tty";

/// What stderr is, as far as writing goes.
#[derive(Debug)]
enum Kind {
    /// Not looked at yet.
    Unknown,
    /// A file has no reader to wait for.
    File,
    /// A pipe; `RWF_NOWAIT` works, as far as we know.
    Pipe,
    /// A pipe where it does not: POLLOUT means that a whole `PIPE_BUF` fits (poll(2)).
    OldPipe,
    Socket,
    /// A terminal or another device, opened again with `O_NONBLOCK`: there POLLOUT says only that something fits.
    Own(OwnedFd),
    /// A device that cannot be opened again.
    Closed,
}

/// All lines that were ever dropped.
static DROPPED: AtomicU64 = AtomicU64::new(0);

/// How many log lines were dropped since the start, since nobody read them.
#[must_use]
pub fn dropped() -> u64 {
    DROPPED.load(Ordering::Relaxed)
}

/// Our stderr.
#[derive(Debug)]
pub struct Stderr {
    kind: Kind,
    dropped: u64,
    /// The last line was cut by a terminal that took only a part of it.
    cut: bool,
    tell: fn(u64) -> String,
}

impl Stderr {
    /// `tell` makes the line that says how many were dropped, with its newline.
    #[must_use]
    pub fn new(tell: fn(u64) -> String) -> Self {
        Self { kind: Kind::Unknown, dropped: 0, cut: false, tell }
    }

    fn write_now(&mut self, line: &[u8]) -> io::Result<()> {
        if matches!(self.kind, Kind::Unknown) {
            self.kind = look();
        }
        if matches!(self.kind, Kind::Pipe) {
            let part = libc::iovec { iov_base: line.as_ptr().cast_mut().cast(), iov_len: line.len() };
            // SAFETY: one part, as long as it says; -1 is "where the file stands".
            let wrote =
                unsafe { libc::pwritev2(libc::STDERR_FILENO, &raw const part, 1, -1, libc::RWF_NOWAIT) };
            let error = io::Error::last_os_error();
            match error.raw_os_error() {
                _ if wrote >= 0 => return Ok(()),
                Some(libc::EOPNOTSUPP | libc::ENOSYS | libc::EINVAL | libc::ESPIPE) => {
                    self.kind = Kind::OldPipe;
                }
                Some(_) | None => return Err(error),
            }
        }
        let wrote = match &self.kind {
            Kind::File => write(libc::STDERR_FILENO, line)?,
            Kind::OldPipe if has_room() => write(libc::STDERR_FILENO, line)?,
            Kind::Socket => send(libc::STDERR_FILENO, line)?,
            Kind::Own(fd) => write(fd.as_raw_fd(), line)?,
            Kind::Unknown | Kind::Pipe | Kind::OldPipe | Kind::Closed => {
                return Err(io::ErrorKind::WouldBlock.into());
            }
        };
        self.cut = wrote < line.len();
        if self.cut { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(()) }
    }

    /// Writes a line for which waiting harms nobody: where a terminal cannot be opened again, it waits for room.
    pub fn write_at_start(&mut self, line: &[u8]) {
        let lost = self.write_now(line).is_err();
        if lost && matches!(self.kind, Kind::Closed) {
            let _nobody_to_tell = write(libc::STDERR_FILENO, line);
        }
    }

    /// Says how many lines were dropped, if there were any and there is room again.
    fn tell_dropped(&mut self) {
        if self.dropped == 0 {
            return;
        }
        let mut note = (self.tell)(self.dropped);
        if self.cut {
            note.insert(0, '\n');
        }
        if self.write_now(note.as_bytes()).is_ok() {
            self.dropped = 0;
        }
    }
}

/// Looks at what descriptor 2 is.
fn look() -> Kind {
    let mut stat = MaybeUninit::<libc::stat>::zeroed();
    // SAFETY: `stat` has room for the answer, and is plain integers.
    let mode = unsafe {
        libc::fstat(libc::STDERR_FILENO, stat.as_mut_ptr());
        stat.assume_init().st_mode
    };
    match mode & libc::S_IFMT {
        libc::S_IFREG => Kind::File,
        libc::S_IFIFO => Kind::Pipe,
        libc::S_IFSOCK => Kind::Socket,
        _ => open_again().map_or(Kind::Closed, Kind::Own),
    }
}

fn open_again() -> Option<OwnedFd> {
    open(NAME).or_else(|| {
        let ours = open(OWN_TERMINAL).filter(|_| is_terminal())?;
        (terminal(ours.as_raw_fd())? == terminal(libc::STDERR_FILENO)?).then_some(ours)
    })
}

fn open(name: &CStr) -> Option<OwnedFd> {
    let flags = libc::O_WRONLY | libc::O_NONBLOCK | libc::O_NOCTTY | libc::O_CLOEXEC;
    // SAFETY: a C string.
    let fd = unsafe { libc::open(name.as_ptr(), flags) };
    // SAFETY: the kernel has just given us this descriptor.
    (fd >= 0).then(|| unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Which terminal this is (`TIOCGDEV`, ioctl_tty(2)): `/dev/tty` has a number of its own.
fn terminal(fd: RawFd) -> Option<u32> {
    let mut device = 0u32;
    // SAFETY: the call writes one integer.
    (unsafe { libc::ioctl(fd, libc::TIOCGDEV as _, &raw mut device) } == 0).then_some(device)
}

fn write(fd: RawFd, line: &[u8]) -> io::Result<usize> {
    // SAFETY: the buffer is as long as we say.
    let wrote = unsafe { libc::write(fd, line.as_ptr().cast(), line.len()) };
    usize::try_from(wrote).map_err(|_| io::Error::last_os_error())
}

fn send(fd: RawFd, line: &[u8]) -> io::Result<usize> {
    let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
    // SAFETY: the buffer is as long as we say.
    let wrote = unsafe { libc::send(fd, line.as_ptr().cast(), line.len(), flags) };
    usize::try_from(wrote).map_err(|_| io::Error::last_os_error())
}

fn has_room() -> bool {
    let stderr = io::stderr();
    let mut fds = [nix::poll::PollFd::new(stderr.as_fd(), nix::poll::PollFlags::POLLOUT)];
    nix::poll::poll(&mut fds, nix::poll::PollTimeout::ZERO).is_ok_and(|ready| ready > 0)
}

/// Takes one line a call; never fails and never waits.
impl Write for Stderr {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.tell_dropped();
        let fits = line.get(..LONGEST.saturating_sub(1)).filter(|_| line.len() > LONGEST);
        let sent = match fits {
            Some(head) => self.write_now(&[head, b"\n"].concat()),
            None => self.write_now(line),
        };
        if sent.is_err() {
            self.dropped = self.dropped.saturating_add(1);
            DROPPED.fetch_add(1, Ordering::Relaxed);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Whether stderr is a terminal.
#[must_use]
pub fn is_terminal() -> bool {
    // SAFETY: takes an integer.
    unsafe { libc::isatty(libc::STDERR_FILENO) == 1 }
}
