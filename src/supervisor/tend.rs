//! Carrying out what concerns the workers of a pool as such: all but their spawn, their signals and their end.

use super::Loop;
use crate::core::event::{PoolFact, WorkerFact};
use crate::core::{Action, Event};

impl Loop {
    /// What concerns the workers of a pool as such.
    pub(super) fn tend(&mut self, action: Action) -> Option<Event> {
        let now = self.now();
        let fleet = self.fleet.as_mut()?;
        match action {
            Action::Observe { pid, lane } => return Some(fleet.observe(pid, lane)),
            Action::WatchQueue { pid, lane } => return fleet.watch_queue(pid, lane),
            Action::LookWhetherAccepting { pid, lane } => {
                return Some(fleet.look_whether_accepting(pid, lane));
            }
            Action::RestoreListeners { lane } => fleet.restore(lane),
            Action::Steer { lanes } => fleet.steer(&lanes),
            Action::LookAtQueue { pid, lane } => {
                return Some(Event::Worker {
                    pid,
                    fact: WorkerFact::QueueSeen { waiting: fleet.queue(lane) },
                });
            }
            Action::LookAtLane { lane } => {
                return Some(Event::Pool(PoolFact::LaneSeen { lane, waiting: fleet.queue(lane) }));
            }
            Action::LookAtQueues { lanes } => {
                let waiting = lanes.iter().fold(0u32, |sum, lane| sum.saturating_add(fleet.queue(*lane)));
                return Some(Event::Pool(PoolFact::QueuesSeen { waiting }));
            }
            Action::LookAtConnections { pid, since } => {
                let (found, took) = fleet.look_at_connections(&[pid], now.since(since));
                return Some(Event::Worker { pid, fact: WorkerFact::ConnectionsSeen { found, took } });
            }
            Action::LookAtAllConnections { pids, since } => {
                let (found, took) = fleet.look_at_connections(&pids, now.since(since));
                return Some(Event::Pool(PoolFact::ConnectionsSeen { found, took }));
            }
            Action::HoldConnectionsOff => fleet.hold_off(),
            Action::RefuseConnections { held_off: true } => fleet.lanes.refuse(),
            Action::RefuseConnections { held_off: false } => fleet.lanes.refuse_unheld(),
            Action::LookAtListeners { workers } => {
                return Some(Event::Pool(PoolFact::ListenersSeen {
                    awaited: fleet.await_connections(&workers),
                }));
            }
            Action::Hint { pid, lane, signal } => {
                let sent = fleet.hint(pid, lane, signal);
                if let Some(signal) = signal {
                    self.told(signal, sent);
                }
            }
            Action::SignalTakers { pid, signal } => {
                let sent = fleet.forward(pid, signal);
                self.told(signal, sent);
            }
            Action::Probe { pid, lane } => return fleet.probe(pid, lane),
            Action::Measure { pid, lane } => fleet.to_measure.push_back((pid, lane)),
            Action::MeasureContainer => return fleet.measure_container(),
            Action::Portray { worker } => fleet.portray(worker),
            Action::ExplainLateness { worker, lane, watched } => {
                fleet.explain_lateness(worker, lane, watched);
            }
            Action::CheckCounting { worker } => fleet.check_counting(worker),
            // The others are not about workers.
            _ => {}
        }
        None
    }
}
