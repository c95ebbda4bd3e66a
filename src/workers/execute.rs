//! Carries out the actions that concern the workers of a pool, except their spawn, their signals and their end.

use super::Workers;
use crate::core::action::{ListenerAction, PoolCheck, WorkerAction};
use crate::core::event::{PoolFact, WorkerFact};
use crate::core::note::{InitNote, PoolNote, WorkerNote, WorkerRef};
use crate::core::{Event, Lane, Monotonic, Note, Patience, Signal};
use std::io;
use std::time::Duration;
use tokio::time::Instant;

impl Workers {
    /// Carries out an action on one worker.
    ///
    /// # Errors
    /// The signal that could not be sent, and why.
    pub fn act(
        &mut self,
        now: Monotonic,
        worker: WorkerRef,
        lane: Lane,
        act: WorkerAction,
    ) -> Result<Option<Event>, (Signal, io::Error)> {
        let pid = worker.pid;
        Ok(match act {
            WorkerAction::Observe => Some(self.observe(pid, lane)),
            WorkerAction::Probe => self.probe(pid, lane),
            WorkerAction::Measure => {
                self.to_measure.push_back((pid, lane));
                None
            }
            WorkerAction::WatchQueue => self.watch_queue(pid, lane),
            WorkerAction::CheckQueue => {
                let waiting = self.queue(lane);
                Some(Event::Worker { pid, fact: WorkerFact::QueueSeen { waiting } })
            }
            WorkerAction::CheckAccepting => Some(self.look_whether_accepting(pid, lane)),
            WorkerAction::CheckConnections { since } => {
                let (found, took) = self.look_at_connections(&[pid], now.since(since));
                Some(Event::Worker { pid, fact: WorkerFact::ConnectionsSeen { found, took } })
            }
            WorkerAction::CheckCounting => {
                self.check_counting(worker);
                None
            }
            WorkerAction::Hint { signal } => {
                let sent = self.hint(pid, lane, signal);
                signal.map_or(Ok(()), |signal| sent.map_err(|error| (signal, error)))?;
                None
            }
            WorkerAction::Inspect => {
                self.portray(worker);
                None
            }
            WorkerAction::ExplainLateness { watched } => {
                self.explain_lateness(worker, lane, watched);
                None
            }
        })
    }

    /// Makes a look at the whole pool.
    pub fn check(&mut self, now: Monotonic, check: PoolCheck) -> Option<Event> {
        Some(Event::Pool(match check {
            PoolCheck::Lane { lane } => PoolFact::LaneSeen { lane, waiting: self.queue(lane) },
            PoolCheck::Queues { lanes } => {
                let waiting = lanes.iter().fold(0u32, |sum, lane| sum.saturating_add(self.queue(*lane)));
                PoolFact::QueuesSeen { waiting }
            }
            PoolCheck::Connections { pids, since } => {
                let (found, took) = self.look_at_connections(&pids, now.since(since));
                PoolFact::ConnectionsSeen { found, took }
            }
            PoolCheck::Listeners { workers } => {
                PoolFact::ListenersSeen { awaited: self.await_connections(&workers) }
            }
            PoolCheck::Container => self.measure_container()?,
        }))
    }

    /// Handles a note of the core. `graceful` is the graceful timeout of the workers.
    pub fn note(&mut self, note: &Note, graceful: Patience) {
        let grace = match (note, graceful) {
            (Note::Worker(_, WorkerNote::Stopping { reason, .. }), _) => return self.warn_of_sharing(reason),
            (Note::Pool(PoolNote::ShutdownStarted { drain_delay, .. }), Patience::For(grace)) => {
                grace.saturating_add(*drain_delay)
            }
            (Note::Init(InitNote::KillingAll), _) => Duration::ZERO,
            _ => return,
        };
        self.end_by = Instant::now().checked_add(grace);
    }

    pub fn set_listeners(&mut self, action: ListenerAction) {
        match action {
            ListenerAction::Restore { lane } => self.restore(lane),
            ListenerAction::Steer { lanes } => self.steer(&lanes),
            ListenerAction::HoldOff => self.hold_off(),
            ListenerAction::Refuse { held_off: true } => self.lanes.refuse(),
            ListenerAction::Refuse { held_off: false } => self.lanes.refuse_unheld(),
        }
    }
}
