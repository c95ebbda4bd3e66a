//! One line at the bottom of a terminal that tells how far something has come, and gives way to log lines.

use super::bottom_line;
use super::stderr::{self, Stderr};
use std::mem::MaybeUninit;
use std::sync::atomic::{AtomicBool, Ordering};

/// Whether our lines are for people.
static ALLOWED: AtomicBool = AtomicBool::new(false);

/// For a terminal that does not tell its width.
const USUAL_WIDTH: usize = 80;

/// The line; while it lives there must be no other.
#[derive(Debug)]
pub struct ProgressLine(Stderr);

/// Says whether what is written to stderr is for people.
pub fn allow(for_people: bool) {
    ALLOWED.store(for_people, Ordering::Relaxed);
}

impl ProgressLine {
    /// None if stderr is no terminal on which a line can be erased, or not for people.
    #[must_use]
    pub fn open() -> Option<Self> {
        let is_able = std::env::var_os("TERM").is_some_and(|term| !term.is_empty() && term != "dumb");
        let watched = ALLOWED.load(Ordering::Relaxed) && is_able && stderr::is_terminal();
        watched.then(|| Self(Stderr::new(|_| String::new())))
    }

    /// Draws this text in the place of what was there, as much of it as there is room for; nothing if it is empty. Never
    /// waits: what the terminal does not take at once is not drawn.
    pub fn show(&mut self, text: &str) {
        // The last column stays free: some terminals go to the next line with the character in it.
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

/// How many columns the terminal has (`TIOCGWINSZ`, ioctl_tty(2)).
fn width() -> usize {
    let mut size = MaybeUninit::<libc::winsize>::zeroed();
    // SAFETY: there is room for the answer, which is plain numbers.
    let columns = unsafe {
        libc::ioctl(libc::STDERR_FILENO, libc::TIOCGWINSZ, size.as_mut_ptr());
        size.assume_init().ws_col
    };
    if columns == 0 { USUAL_WIDTH } else { usize::from(columns) }
}
