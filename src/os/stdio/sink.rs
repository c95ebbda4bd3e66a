//! Whole lines on their way to one of our standard streams, in order. What the stream's reader has not taken waits
//! here, and the loop does not wait for it.

use super::channel::{self, Channel};
use super::stderr;
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::task::{Context, Poll, ready};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// The capacity, in bytes, that is kept for later lines.
const KEPT_ROOM: usize = 64 * 1024;

/// One of our standard streams.
#[derive(Debug)]
pub struct Sink {
    /// Dropped before the channel whose descriptor it watches.
    waiting: Option<AsyncFd<Watched>>,
    channel: Channel,
    /// Whole lines; the first `written` bytes are written.
    text: Vec<u8>,
    written: usize,
    /// A part of a line was written: the rest must be next.
    torn: bool,
    /// Whether our own log lines go to the same stream.
    has_log: bool,
}

/// A descriptor that another value owns.
#[derive(Debug)]
struct Watched(RawFd);

impl AsRawFd for Watched {
    fn as_raw_fd(&self) -> RawFd {
        self.0
    }
}

impl Sink {
    /// The stream of this number, 1 or 2. `None` if every way to write to it may wait.
    #[must_use]
    pub fn of(fd: RawFd) -> Option<Self> {
        let channel = Some(Channel::of(fd)).filter(|channel| !channel.is_closed())?;
        let has_log = channel::are_same(fd, libc::STDERR_FILENO);
        Some(Self { waiting: None, channel, text: Vec::new(), written: 0, torn: false, has_log })
    }

    /// The buffer for lines; each must end with its newline before [`write`](Self::write).
    pub fn text(&mut self) -> &mut Vec<u8> {
        &mut self.text
    }

    /// The number of waiting bytes.
    #[must_use]
    pub fn len(&self) -> usize {
        self.text.len().saturating_sub(self.written)
    }

    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether the stream is full.
    #[must_use]
    pub fn is_stuck(&self) -> bool {
        self.waiting.is_some()
    }

    /// The waiting bytes, and whether they begin within a line: for our next program.
    #[must_use]
    pub fn rest(&self) -> (&[u8], bool) {
        (self.text.get(self.written..).unwrap_or_default(), self.torn)
    }

    /// Takes over what [`rest`](Self::rest) returned in our previous program.
    pub fn take_over(&mut self, rest: &[u8], torn: bool) {
        self.text.extend_from_slice(rest);
        self.torn = torn;
        self.hold_log(!self.is_empty());
    }

    /// Ready when there is something to write and it may fit.
    pub fn poll_ready(&self, cx: &mut Context<'_>) -> Poll<()> {
        match &self.waiting {
            Some(waiting) => {
                if let Ok(mut guard) = ready!(waiting.poll_write_ready(cx)) {
                    guard.retain_ready();
                }
                Poll::Ready(())
            }
            None if self.is_empty() => Poll::Pending,
            None => Poll::Ready(()),
        }
    }

    /// Writes as much as fits, with our own held log lines.
    ///
    /// # Errors
    /// As write(2): then all waiting bytes are lost.
    pub fn write(&mut self) -> io::Result<()> {
        loop {
            self.let_log_in();
            let rest = self.text.get(self.written..).unwrap_or_default();
            if rest.is_empty() {
                self.clear();
                return Ok(());
            }
            match self.channel.write_now(rest) {
                Ok(count) => self.has_written(count),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    let waits = self.wait();
                    if waits.is_err() {
                        self.clear();
                    }
                    return waits;
                }
                Err(error) => {
                    self.clear();
                    return Err(error);
                }
            }
        }
    }

    fn has_written(&mut self, count: usize) {
        self.written = self.written.saturating_add(count);
        let last = self.written.checked_sub(1).and_then(|last| self.text.get(last));
        self.torn = last.is_some_and(|last| *last != b'\n');
    }

    /// Inserts our held log lines at the end of the current line.
    fn let_log_in(&mut self) {
        if !self.has_log {
            return;
        }
        let lines = stderr::take_held();
        if !lines.is_empty() {
            let rest = self.text.get(self.written..).unwrap_or_default();
            let of_line = rest.iter().position(|byte| *byte == b'\n').filter(|_| self.torn);
            let at = self.written.saturating_add(of_line.map_or(0, |end| end.saturating_add(1)));
            self.text.splice(at..at, lines);
        }
    }

    fn hold_log(&self, holds: bool) {
        if self.has_log {
            stderr::hold(holds);
        }
    }

    /// Watches the stream until more fits.
    fn wait(&mut self) -> io::Result<()> {
        self.hold_log(true);
        self.text.drain(..self.written);
        self.written = 0;
        match &self.waiting {
            // Clears the readiness of before.
            Some(waiting) => {
                let _cleared: io::Result<()> =
                    waiting.try_io(Interest::WRITABLE, |_| Err(io::ErrorKind::WouldBlock.into()));
            }
            None => {
                let watched = Watched(self.channel.as_raw_fd());
                // SAFETY: the channel keeps its descriptor, and outlives this.
                let waiting = unsafe { AsyncFd::register_with_interest(watched, Interest::WRITABLE) };
                self.waiting = Some(waiting.map_err(io::Error::from)?);
            }
        }
        Ok(())
    }

    fn clear(&mut self) {
        (self.waiting, self.written, self.torn) = (None, 0, false);
        self.text.clear();
        self.text.shrink_to(KEPT_ROOM);
        self.hold_log(false);
    }
}
