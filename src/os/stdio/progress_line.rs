//! A progress line at the bottom of a terminal that gives way to log lines.

use super::bottom_line;
use super::stderr::{self, Stderr};
use std::mem::MaybeUninit;
use std::sync::atomic::{AtomicBool, Ordering};

/// Whether stderr is written for people.
static ALLOWED: AtomicBool = AtomicBool::new(false);

/// For a terminal that does not report its width.
const USUAL_WIDTH: usize = 80;

/// The line; only one may exist.
#[derive(Debug)]
pub struct ProgressLine(Stderr);

/// Sets whether stderr is written for people.
pub fn allow(for_people: bool) {
    ALLOWED.store(for_people, Ordering::Relaxed);
}

impl ProgressLine {
    /// `None` if stderr is no terminal that can erase a line, or not written for people.
    #[must_use]
    pub fn open() -> Option<Self> {
        let is_able = std::env::var_os("TERM").is_some_and(|term| !term.is_empty() && term != "dumb");
        let watched = ALLOWED.load(Ordering::Relaxed) && is_able && stderr::is_terminal();
        watched.then(|| Self(Stderr::new(|_| String::new())))
    }

    /// Replaces the line by this text, cut to the width; an empty text erases it. Never waits: what the terminal does
    /// not take at once is not drawn.
    pub fn show(&mut self, text: &str) {
        // The last column stays free: some terminals wrap once it is filled.
        let room = width().saturating_sub(1);
        let drawn: Vec<u8> = text.bytes().take(room).collect();
        if let Some(bytes) = bottom_line::replace(drawn) {
            self.0.draw(&bytes);
        }
    }
}

impl Drop for ProgressLine {
    fn drop(&mut self) {
        self.show("");
    }
}

/// The terminal's width in columns (`TIOCGWINSZ`, ioctl_tty(2)).
fn width() -> usize {
    let mut size = MaybeUninit::<libc::winsize>::zeroed();
    // SAFETY: there is room for the answer, which is plain numbers.
    let columns = unsafe {
        libc::ioctl(libc::STDERR_FILENO, libc::TIOCGWINSZ, size.as_mut_ptr());
        size.assume_init().ws_col
    };
    if columns == 0 { USUAL_WIDTH } else { usize::from(columns) }
}
