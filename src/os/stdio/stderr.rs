//! Our own log lines on stderr, without ever waiting for its reader.
//!
//! A full pipe or a paused terminal would stop PID 1, and with it reaping and the health endpoint. A line that does not
//! fit is dropped and counted. While workers' lines wait for the same stream, ours wait with them, so that none comes
//! within another.

use super::bottom_line::above;
use super::channel::{self, AT_ONCE, Channel};
use std::io::{self, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Longer lines are cut, so that a pipe takes each as a whole.
const LONGEST: usize = AT_ONCE;

/// The most bytes of ours that wait for workers' lines.
const MOST_HELD: usize = 64 * 1024;

/// Our lines that wait for those of workers.
static HELD: Mutex<HeldLines> = Mutex::new(HeldLines { holds: false, lines: Vec::new() });

struct HeldLines {
    holds: bool,
    lines: Vec<u8>,
}

fn held() -> MutexGuard<'static, HeldLines> {
    HELD.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Sets whether lines are held for [`take_held`].
pub fn hold(holds: bool) {
    held().holds = holds;
}

/// Takes the held lines.
#[must_use]
pub fn take_held() -> Vec<u8> {
    std::mem::take(&mut held().lines)
}

static DROPPED: AtomicU64 = AtomicU64::new(0);

/// The number of log lines that were dropped since the start, because the stream was full.
#[must_use]
pub fn dropped() -> u64 {
    DROPPED.load(Ordering::Relaxed)
}

#[derive(Debug)]
pub struct Stderr {
    /// Opened at the first write.
    channel: Option<Channel>,
    dropped: u64,
    /// The last line was cut: the terminal took only a part of it.
    cut: bool,
    tell: fn(u64) -> String,
}

impl Stderr {
    /// `tell` makes the line that reports the number of dropped lines, with its newline.
    #[must_use]
    pub fn new(tell: fn(u64) -> String) -> Self {
        Self { channel: None, dropped: 0, cut: false, tell }
    }

    fn channel(&mut self) -> &mut Channel {
        self.channel.get_or_insert_with(|| Channel::of(libc::STDERR_FILENO))
    }

    fn write_now(&mut self, line: &[u8]) -> io::Result<()> {
        let mut held = held();
        if held.holds {
            if held.lines.len().saturating_add(line.len()) > MOST_HELD {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            held.lines.extend_from_slice(line);
            return Ok(());
        }
        drop(held);
        let wrote = self.channel().write_now(line)?;
        self.cut = wrote < line.len();
        if self.cut { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(()) }
    }

    /// Writes a line when waiting does no harm: it waits for room on a terminal that cannot be opened again.
    pub fn write_at_start(&mut self, line: &[u8]) {
        let _nobody_to_tell = self.channel().write_or_wait(line);
    }

    /// Writes our last line; it is not held for workers' lines.
    pub fn write_at_end(&mut self, line: &[u8]) {
        let _nobody_to_tell = self.channel().write_now(line);
    }

    /// Writes bytes that may be lost.
    pub(crate) fn draw(&mut self, bytes: &[u8]) {
        if !held().holds {
            let _missing = self.channel().write_now(bytes);
        }
    }

    /// Reports the number of dropped lines once there is room again.
    fn log_dropped(&mut self) {
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

/// Takes one line a call; never fails and never waits.
impl Write for Stderr {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.log_dropped();
        let fits = line.get(..LONGEST.saturating_sub(1)).filter(|_| line.len() > LONGEST);
        let sent = match fits {
            Some(head) => self.write_now(&above(&[head, b"\n"].concat())),
            None => self.write_now(&above(line)),
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

#[must_use]
pub fn is_terminal() -> bool {
    channel::is_terminal(libc::STDERR_FILENO)
}
