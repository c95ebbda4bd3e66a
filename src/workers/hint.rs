//! Signals that the application itself handles: to say goodbye to its clients, or to reopen its log.

use super::Workers;
use crate::core::{Lane, Pid, Signal};
use crate::os::process::send;
use crate::os::process::takers::{self, Sent};
use std::io;
use tracing::warn;

/// An option, and the advice if no process handles its signal.
const OF_DRAIN: (&str, &str) = (
    "--drain-signal",
    "leave the option out, or have the application catch it and answer Connection: close from then on",
);
const OF_FORWARDED: (&str, &str) =
    ("--forward-signal", "leave the option out, or have the application catch it");

impl Workers {
    /// Gives a worker the hint to say goodbye, by the scoreboard and by a signal. A process that the signal would end
    /// does not get it.
    pub(super) fn hint(&mut self, pid: Pid, lane: Lane, signal: Option<Signal>) -> io::Result<()> {
        // The flag comes first: a handler of the signal may look at it.
        if let Some(board) = &self.scoreboard {
            board.say_goodbye(lane.0);
        }
        match signal.map(|signal| (signal, takers::send(pid, signal))) {
            Some((_, Sent::ToTakers(sent))) => return sent,
            Some((signal, Sent::ToNobody)) => self.warn_not_caught(pid, signal, OF_DRAIN),
            Some((_, Sent::Gone)) | None => {}
        }
        Ok(())
    }

    /// Logs at the first start, rather than at the first loss, if a ready worker does not handle the drain signal.
    pub fn look_whether_hint_is_taken(&mut self, pid: Pid, signal: Signal) {
        if !takers::is_taken(pid, signal) {
            self.warn_not_caught(pid, signal, OF_DRAIN);
        }
    }

    /// Passes a signal on to a worker, but not to a process that the signal would end or stop.
    pub fn forward(&mut self, pid: Pid, signal: Signal) -> io::Result<()> {
        match takers::send(pid, signal) {
            Sent::ToTakers(sent) => return sent,
            // A harmless signal is sent for its other effects: CONT continues a stopped process.
            Sent::ToNobody if signal.is_harmless() => return send::to_process(pid, signal),
            Sent::ToNobody => self.warn_not_caught(pid, signal, OF_FORWARDED),
            Sent::Gone => {}
        }
        Ok(())
    }

    /// One line for each signal is enough: all workers run the same command.
    fn warn_not_caught(&mut self, pid: Pid, signal: Signal, (option, remedy): (&str, &str)) {
        if !self.deafness_logged.contains(&signal) {
            self.deafness_logged.push(signal);
            warn!(
                pid = pid.0,
                signal = %signal,
                "{option} {signal} is not sent: the worker does not catch it, and it would end it; {remedy}"
            );
        }
    }
}
