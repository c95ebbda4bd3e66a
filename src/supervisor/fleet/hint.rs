//! Telling workers to say goodbye to their clients.

use super::Fleet;
use crate::core::{Lane, Pid, Signal};
use crate::os::process::takers::{self, Sent};
use std::io;
use tracing::warn;

impl Fleet {
    /// Tells a worker, where it looks itself and by a signal, which nobody gets whom it would end.
    pub fn hint(&mut self, pid: Pid, lane: Lane, signal: Option<Signal>) -> io::Result<()> {
        // The flag first: whoever handles the signal may look at it.
        if let Some(board) = &self.scoreboard {
            board.say_goodbye(lane.0);
        }
        match signal.map(|signal| (signal, takers::send(pid, signal))) {
            Some((_, Sent::ToTakers(sent))) => return sent,
            Some((signal, Sent::ToNobody)) => self.tell_of_deafness(pid, signal),
            Some((_, Sent::Gone)) | None => {}
        }
        Ok(())
    }

    /// Whether a worker that serves would take the drain signal: the first start tells, and not the first loss.
    pub fn look_whether_hint_is_taken(&mut self, pid: Pid, signal: Signal) {
        if !takers::is_taken(pid, signal) {
            self.tell_of_deafness(pid, signal);
        }
    }

    /// All workers run the same command: once is enough.
    fn tell_of_deafness(&mut self, pid: Pid, signal: Signal) {
        if !std::mem::replace(&mut self.deafness_told, true) {
            warn!(
                pid = pid.0,
                signal = %signal,
                "--drain-signal {signal} is not sent: the worker does not catch it, and it would end it; leave the option out, or have the application catch it and answer Connection: close from then on"
            );
        }
    }
}
