//! Signals for what the application does itself: saying goodbye to its clients, or opening its log anew.

use super::Workers;
use crate::core::{Lane, Pid, Signal};
use crate::os::process::send;
use crate::os::process::takers::{self, Sent};
use std::io;
use tracing::warn;

/// An option, and what helps where its signal is not taken.
const OF_DRAIN: (&str, &str) = (
    "--drain-signal",
    "leave the option out, or have the application catch it and answer Connection: close from then on",
);
const OF_FORWARDED: (&str, &str) =
    ("--forward-signal", "leave the option out, or have the application catch it");

impl Workers {
    /// Tells a worker, where it looks itself and by a signal, which is kept from a process that it would end.
    pub(super) fn hint(&mut self, pid: Pid, lane: Lane, signal: Option<Signal>) -> io::Result<()> {
        // The flag first: a handler of the signal may look at it.
        if let Some(board) = &self.scoreboard {
            board.say_goodbye(lane.0);
        }
        match signal.map(|signal| (signal, takers::send(pid, signal))) {
            Some((_, Sent::ToTakers(sent))) => return sent,
            Some((signal, Sent::ToNobody)) => self.tell_of_deafness(pid, signal, OF_DRAIN),
            Some((_, Sent::Gone)) | None => {}
        }
        Ok(())
    }

    /// Whether a worker that serves would take the drain signal: the first start tells, and not the first loss.
    pub fn look_whether_hint_is_taken(&mut self, pid: Pid, signal: Signal) {
        if !takers::is_taken(pid, signal) {
            self.tell_of_deafness(pid, signal, OF_DRAIN);
        }
    }

    /// Passes a signal on to a worker, and to none that it would end or stop.
    pub fn forward(&mut self, pid: Pid, signal: Signal) -> io::Result<()> {
        match takers::send(pid, signal) {
            Sent::ToTakers(sent) => return sent,
            // Also for its effect: CONT continues what is stopped.
            Sent::ToNobody if signal.is_harmless() => return send::to_process(pid, signal),
            Sent::ToNobody => self.tell_of_deafness(pid, signal, OF_FORWARDED),
            Sent::Gone => {}
        }
        Ok(())
    }

    /// All workers run the same command: once a signal is enough.
    fn tell_of_deafness(&mut self, pid: Pid, signal: Signal, (option, remedy): (&str, &str)) {
        if !self.deafness_told.contains(&signal) {
            self.deafness_told.push(signal);
            warn!(
                pid = pid.0,
                signal = %signal,
                "{option} {signal} is not sent: the worker does not catch it, and it would end it; {remedy}"
            );
        }
    }
}
