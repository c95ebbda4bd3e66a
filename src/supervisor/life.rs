//! A core together with the executor of its actions: for the command or the pool, or for a command of `--before`.

use super::execute::Executor;
use crate::core::note::{InitNote, SignalNote};
use crate::core::{Core, Note, Signal};
use std::io;
use std::time::Duration;
use tracing::{debug, error, info, warn};

pub struct Life<'a> {
    pub core: Core,
    pub execute: Executor,
    /// `Some` only for a command of `--before`.
    pub first: Option<First<'a>>,
}

/// What belongs to a command of `--before`.
pub struct First<'a> {
    /// The core of the command or the pool, which the outside sees meanwhile.
    pub next: &'a Core,
    /// The first stop signal that came meanwhile.
    pub stopped_by: Option<Signal>,
}

impl Life<'_> {
    pub fn outside(&self) -> &Core {
        self.first.as_ref().map_or(&self.core, |first| first.next)
    }

    /// The clock has left out a pause in which no process ran. Deadlines on other clocks are corrected.
    pub fn was_paused(&mut self, lost: Duration) {
        debug!(lost_ms = u64::try_from(lost.as_millis()).unwrap_or(u64::MAX), "time passed without us");
        self.core.is_behind(lost);
        if let Some(workers) = &mut self.execute.workers {
            workers.was_paused(lost);
        }
    }
}

impl First<'_> {
    /// Logs the notes of a command of `--before` in other words than those of a command.
    pub fn note(&mut self, note: &Note) {
        match *note {
            Note::Init(InitNote::CommandStarted { pid }) => debug!(pid = pid.0, "before the start: it runs"),
            Note::Init(InitNote::CommandExited { pid, exit, uptime }) => {
                let uptime_ms = u64::try_from(uptime.as_millis()).unwrap_or(u64::MAX);
                info!(pid = pid.0, uptime_ms, "before the start: it ended with {exit}");
            }
            Note::Signal(SignalNote::Forwarded { came, .. }) => {
                info!(signal = %came, "before the start: it is asked to stop");
                self.stopped_by.get_or_insert(came);
            }
            Note::Signal(SignalNote::Dropped { signal }) => {
                debug!(signal = %signal, "before the start: signal ignored");
            }
            Note::Init(InitNote::DeadlinePassed { .. }) => {
                warn!("before the start: it takes too long, and is asked to stop")
            }
            Note::Init(InitNote::KillingAll) => {
                warn!(signal = %Signal::KILL, "before the start: it does not stop")
            }
            Note::Init(InitNote::SpawnFailed { failure, .. }) => {
                let error = io::Error::from_raw_os_error(failure.errno);
                error!(step = %failure.step, %error, "before the start: it cannot be started");
            }
            _ => {}
        }
    }
}
