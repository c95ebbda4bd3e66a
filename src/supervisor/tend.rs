//! Carrying out what concerns the workers of a pool as such: all but their spawn, their signals and their end.

use super::Loop;
use crate::core::action::{ListenerAction, PoolCheck, WorkerAction};
use crate::core::event::{PoolFact, WorkerFact};
use crate::core::note::WorkerRef;
use crate::core::{Event, Lane};

impl Loop {
    /// What concerns one worker.
    pub(super) fn about_worker(&mut self, worker: WorkerRef, lane: Lane, act: WorkerAction) -> Option<Event> {
        let now = self.now();
        let fleet = self.fleet.as_mut()?;
        let pid = worker.pid;
        match act {
            WorkerAction::Observe => return Some(fleet.observe(pid, lane)),
            WorkerAction::Probe => return fleet.probe(pid, lane),
            WorkerAction::Measure => fleet.to_measure.push_back((pid, lane)),
            WorkerAction::WatchQueue => return fleet.watch_queue(pid, lane),
            WorkerAction::CheckQueue => {
                let waiting = fleet.queue(lane);
                return Some(Event::Worker { pid, fact: WorkerFact::QueueSeen { waiting } });
            }
            WorkerAction::CheckAccepting => return Some(fleet.look_whether_accepting(pid, lane)),
            WorkerAction::CheckConnections { since } => {
                let (found, took) = fleet.look_at_connections(&[pid], now.since(since));
                return Some(Event::Worker { pid, fact: WorkerFact::ConnectionsSeen { found, took } });
            }
            WorkerAction::CheckCounting => fleet.check_counting(worker),
            WorkerAction::Hint { signal } => {
                let sent = fleet.hint(pid, lane, signal);
                if let Some(signal) = signal {
                    self.sender.told(signal, sent);
                }
            }
            WorkerAction::Inspect => fleet.portray(worker),
            WorkerAction::ExplainLateness { watched } => fleet.explain_lateness(worker, lane, watched),
        }
        None
    }

    /// What is to be seen of all of them.
    pub(super) fn check(&mut self, check: PoolCheck) -> Option<Event> {
        let now = self.now();
        let fleet = self.fleet.as_mut()?;
        Some(Event::Pool(match check {
            PoolCheck::Lane { lane } => PoolFact::LaneSeen { lane, waiting: fleet.queue(lane) },
            PoolCheck::Queues { lanes } => {
                let waiting = lanes.iter().fold(0u32, |sum, lane| sum.saturating_add(fleet.queue(*lane)));
                PoolFact::QueuesSeen { waiting }
            }
            PoolCheck::Connections { pids, since } => {
                let (found, took) = fleet.look_at_connections(&pids, now.since(since));
                PoolFact::ConnectionsSeen { found, took }
            }
            PoolCheck::Listeners { workers } => {
                PoolFact::ListenersSeen { awaited: fleet.await_connections(&workers) }
            }
            PoolCheck::Container => fleet.measure_container()?,
        }))
    }

    /// What concerns the listeners.
    pub(super) fn about_listeners(&mut self, action: ListenerAction) {
        let Some(fleet) = &mut self.fleet else { return };
        match action {
            ListenerAction::Restore { lane } => fleet.restore(lane),
            ListenerAction::Steer { lanes } => fleet.steer(&lanes),
            ListenerAction::HoldOff => fleet.hold_off(),
            ListenerAction::Refuse { held_off: true } => fleet.lanes.refuse(),
            ListenerAction::Refuse { held_off: false } => fleet.lanes.refuse_unheld(),
        }
    }
}
