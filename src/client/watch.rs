//! `status --watch`: shows the table in place, each second.

use super::ask::{ANSWER_WITHIN, ask};
use super::code;
use crate::os::call::refused;
use crate::os::signals::Signals;
use crate::os::stdio::terminal::{self, Stop};
use crate::values::address::Address;
use crate::values::error::StartError;
use crate::values::printable::page;
use hyper::Method;
use std::future::poll_fn;
use std::io::{self, IsTerminal, Write};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;
use tokio::time::{Instant, sleep_until};

const EVERY: Duration = Duration::from_secs(1);

/// The alternate screen without a cursor, and back (xterm's control sequences, which every terminal knows).
const ENTER: &str = "\x1b[?1049h\x1b[?25l";
const LEAVE: &str = "\x1b[?25h\x1b[?1049l";

/// Ctrl-C is the normal end.
const INT: i32 = 2;
const ENDS: [i32; 4] = [1, 3, 13, 15];
const TSTP: i32 = 20;

/// The alternate screen, if stdout is a terminal.
struct Screen {
    is_terminal: bool,
}

impl Screen {
    fn enter() -> Self {
        let screen = Self { is_terminal: io::stdout().is_terminal() };
        let _nobody_reads = screen.control(ENTER);
        screen
    }

    fn control(&self, sequence: &str) -> io::Result<()> {
        if self.is_terminal { write(sequence) } else { Ok(()) }
    }

    /// Cuts what does not fit: a line that the terminal wraps would scroll the first one away.
    fn show(&self, text: &str) -> io::Result<()> {
        if !self.is_terminal {
            return write(text);
        }
        let (rows, columns) = terminal::size().unwrap_or((24, 80));
        let lines = text.lines().take(rows).map(|line| line.chars().take(columns).collect::<String>());
        let lines: Vec<String> = lines.map(|line| format!("{line}\x1b[K")).collect();
        write(&format!("\x1b[H{}\x1b[J", lines.join("\n")))
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        let _nobody_reads = self.control(LEAVE);
    }
}

fn write(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    stdout.flush()
}

/// Repeats until Ctrl-C, the normal end, another signal, or a stdout without a reader. A failed request is shown and is
/// not the end: a supervisor that restarts comes back.
pub(super) async fn watch(address: &Address, path: &str, json: bool) -> Result<u8, StartError> {
    let mut signals = Signals::open().map_err(|error| refused("signalfd", &error))?;
    let mut screen = (!json).then(Screen::enter);
    loop {
        let next = Instant::now().checked_add(EVERY).unwrap_or_else(Instant::now);
        let answer = ask(address, Method::GET, path, ANSWER_WITHIN).await;
        let text = match answer {
            Ok((_, text)) => page(&text),
            Err(trouble) => format!("{address}: {}\n", trouble.what),
        };
        let shown = screen.as_ref().map_or_else(|| write(&text), |screen| screen.show(&text));
        if shown.is_err() {
            return Ok(code::FAILED);
        }
        match signal_before(&mut signals, next).await {
            None => {}
            Some(INT) => return Ok(code::DONE),
            Some(TSTP) => {
                drop(screen.take());
                terminal::stop_self(Stop::LikeTheJob);
                screen = (!json).then(Screen::enter);
            }
            Some(number) => return Ok(u8::try_from(number).unwrap_or(0).saturating_add(128)),
        }
    }
}

/// The first signal that matters before this time; `None` without one, or to redraw for a new window size.
async fn signal_before(signals: &mut Signals, at: Instant) -> Option<i32> {
    const WINCH: i32 = 28;
    let mut sleep = pin!(sleep_until(at));
    poll_fn(|cx| {
        while signals.poll_ready(cx).is_ready() {
            let mut batch = Vec::new();
            signals.take(&mut batch);
            if batch.is_empty() {
                break;
            }
            let numbers = || batch.iter().map(|received| received.signal.number());
            if let Some(number) = numbers().find(|n| *n == INT || *n == TSTP || ENDS.contains(n)) {
                return Poll::Ready(Some(number));
            }
            if numbers().any(|number| number == WINCH) {
                return Poll::Ready(None);
            }
        }
        sleep.as_mut().poll(cx).map(|()| None)
    })
    .await
}
