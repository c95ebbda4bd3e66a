//! Lines on their way to one of our standard streams, in order and whole. What its reader does not take yet waits here, and
//! nobody waits for that.

use super::channel::{self, Channel};
use super::stderr;
use std::io;
use std::os::fd::{AsRawFd, RawFd};
use std::task::{Context, Poll, ready};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Room that is kept for next time.
const KEPT_ROOM: usize = 64 * 1024;

/// One of our standard streams.
#[derive(Debug)]
pub struct Sink {
    /// Goes before the channel whose descriptor it watches.
    waiting: Option<AsyncFd<Watched>>,
    channel: Channel,
    /// Whole lines, but for the part of the first that is written.
    text: Vec<u8>,
    written: usize,
    /// A part of a line was written, and the rest has to be next.
    torn: bool,
    /// Our own log lines go the same way.
    has_log: bool,
}

/// A descriptor that is held elsewhere.
#[derive(Debug)]
struct Watched(RawFd);

impl AsRawFd for Watched {
    fn as_raw_fd(&self) -> RawFd {
        self.0
    }
}

impl Sink {
    /// The stream with this number, 1 or 2. `None` if there is no way to write to it that does not wait.
    #[must_use]
    pub fn of(fd: RawFd) -> Option<Self> {
        let channel = Some(Channel::of(fd)).filter(|channel| !channel.is_closed())?;
        let has_log = channel::are_same(fd, libc::STDERR_FILENO);
        Some(Self { waiting: None, channel, text: Vec::new(), written: 0, torn: false, has_log })
    }

    /// Where lines are put; each must end with its newline before [`write`](Self::write).
    pub fn text(&mut self) -> &mut Vec<u8> {
        &mut self.text
    }

    /// How much waits.
    #[must_use]
    pub fn len(&self) -> usize {
        self.text.len().saturating_sub(self.written)
    }

    /// Whether nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether the reader is to take something first.
    #[must_use]
    pub fn is_stuck(&self) -> bool {
        self.waiting.is_some()
    }

    /// What waits, and whether it begins within a line: for the program that takes over.
    #[must_use]
    pub fn rest(&self) -> (&[u8], bool) {
        (self.text.get(self.written..).unwrap_or_default(), self.torn)
    }

    /// The same, from the program before us.
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

    /// Writes as much as fits, with our own log lines that have waited.
    ///
    /// # Errors
    /// As write(2): then all that waited is lost.
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

    /// At the end of a line.
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

    /// Waits until more fits: the kernel tells.
    fn wait(&mut self) -> io::Result<()> {
        self.hold_log(true);
        self.text.drain(..self.written);
        self.written = 0;
        match &self.waiting {
            // It is no news that something fitted before.
            Some(waiting) => {
                let _cleared: io::Result<()> =
                    waiting.try_io(Interest::WRITABLE, |_| Err(io::ErrorKind::WouldBlock.into()));
            }
            None => {
                let watched = Watched(self.channel.as_raw_fd());
                // SAFETY: the channel keeps its descriptor, and lives longer than this.
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
