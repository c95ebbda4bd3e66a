//! Writing to stderr without ever waiting for its reader.
//!
//! A full pipe would stop PID 1, and with it the reaping and the health endpoint. `O_NONBLOCK` is no way
//! out: it belongs to the open file, which the workers share. So each write says for itself that it
//! will not wait, and a line that does not fit is dropped and counted.

use std::io::{self, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd};

/// A pipe takes this much at once or nothing (pipe(7), `PIPE_BUF`); longer lines are cut.
const LONGEST: usize = 4096;

/// What stderr is, as far as writing goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// A file has no reader to wait for.
    File,
    /// `RWF_NOWAIT` works, as far as we know.
    NoWait,
    /// It does not; ask whether there is room first.
    Poll,
}

/// Our stderr.
#[derive(Debug)]
pub struct Stderr {
    kind: Kind,
    dropped: u64,
}

impl Stderr {
    /// Looks at what descriptor 2 is.
    #[must_use]
    pub fn new() -> Self {
        let mut stat = MaybeUninit::<libc::stat>::zeroed();
        // SAFETY: `stat` has room for the answer, and is plain integers.
        let is_file = unsafe {
            libc::fstat(libc::STDERR_FILENO, stat.as_mut_ptr()) == 0
                && stat.assume_init().st_mode & libc::S_IFMT == libc::S_IFREG
        };
        Self { kind: if is_file { Kind::File } else { Kind::NoWait }, dropped: 0 }
    }

    fn write_now(&mut self, line: &[u8]) -> io::Result<()> {
        if self.kind == Kind::NoWait {
            let part = libc::iovec { iov_base: line.as_ptr().cast_mut().cast(), iov_len: line.len() };
            // SAFETY: one part, as long as it says; -1 is "where the file stands".
            let wrote =
                unsafe { libc::pwritev2(libc::STDERR_FILENO, &raw const part, 1, -1, libc::RWF_NOWAIT) };
            let error = io::Error::last_os_error();
            match error.raw_os_error() {
                _ if wrote >= 0 => return Ok(()),
                Some(libc::EOPNOTSUPP | libc::ENOSYS | libc::EINVAL | libc::ESPIPE) => self.kind = Kind::Poll,
                Some(_) | None => return Err(error),
            }
        }
        if self.kind == Kind::Poll && !has_room() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        // SAFETY: the buffer is as long as we say.
        let wrote = unsafe { libc::write(libc::STDERR_FILENO, line.as_ptr().cast(), line.len()) };
        if wrote < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
    }
}

impl Default for Stderr {
    fn default() -> Self {
        Self::new()
    }
}

/// A pipe is writable when a whole `PIPE_BUF` fits (poll(2)).
fn has_room() -> bool {
    let stderr = io::stderr();
    let mut fds = [nix::poll::PollFd::new(stderr.as_fd(), nix::poll::PollFlags::POLLOUT)];
    nix::poll::poll(&mut fds, nix::poll::PollTimeout::ZERO).is_ok_and(|ready| ready > 0)
}

/// Takes one line a call; never fails and never waits.
impl Write for Stderr {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if self.dropped > 0 {
            let note = format!("prefork-init: {} log lines dropped: nobody read stderr\n", self.dropped);
            if self.write_now(note.as_bytes()).is_ok() {
                self.dropped = 0;
            }
        }
        let fits = line.get(..LONGEST.saturating_sub(1)).filter(|_| line.len() > LONGEST);
        let sent = match fits {
            Some(head) => self.write_now(&[head, b"\n"].concat()),
            None => self.write_now(line),
        };
        if sent.is_err() {
            self.dropped = self.dropped.saturating_add(1);
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
    use std::io::IsTerminal;
    io::stderr().as_fd().as_raw_fd() >= 0 && io::stderr().is_terminal()
}
