//! What an event says of the workers and of the end.

use super::facts::{Dead, Facts, Stage, Worker};
use prefork_core::event::{ChildChange, Found, PoolFact, Request, WorkerFact};
use prefork_core::exit::{Exit, Reason};
use prefork_core::{Event, Monotonic, Pid};
use std::time::Duration;

/// When all processes are asked to stop, a worker may be seen to have ended this long before we are asked.
const OUR_STOP_WITHIN: Duration = Duration::from_millis(100);

impl Facts {
    pub fn take_in(&mut self, now: Monotonic, event: Event) {
        (self.event, self.lost, self.end.childless) = (event, 0, false);
        if self.asks_to_stop(event) {
            self.end.stops.push(now);
        }
        match event {
            Event::Started if matches!(self.stage, Stage::Unstarted) => {
                self.stage = Stage::Running;
                self.measure_at = self.policy.measure_every.map(|every| now + every);
            }
            Event::Requested(Request::Recycle { slot }) if self.is_running() => {
                self.slots.get_mut(slot as usize).into_iter().for_each(|slot| slot.hastens(now));
            }
            Event::Child { pid, change: ChildChange::Exited { exit, out_of_memory } } => {
                self.exited(now, pid, exit, out_of_memory)
            }
            Event::Spawned { id, result: Ok(pid) } => {
                if let Some(order) = self.pending.take_if(|order| order.id == id) {
                    self.ever_spawned = true;
                    // The kernel gives no number away that is still a group's.
                    self.leftovers.retain(|(group, _)| *group != pid);
                    self.live.push(Worker::new(now, order, pid, &self.policy));
                }
            }
            Event::Reaped { children_left } => self.end.childless = !children_left,
            Event::Child { pid: group, change: ChildChange::GroupEnded } => {
                self.leftovers.retain(|(asked, _)| *asked != group)
            }
            Event::Pool(PoolFact::QueuesSeen { waiting }) => {
                if let Stage::Closing { in_hand, .. } = &mut self.stage {
                    in_hand.queue_seen(now, waiting);
                }
            }
            Event::Pool(PoolFact::ConnectionsSeen { found, .. }) => {
                if let Stage::Closing { in_hand, .. } = &mut self.stage {
                    in_hand.seen(now, found);
                }
            }
            Event::Pool(PoolFact::ListenersSeen { awaited }) => self.end.let_go |= !awaited,
            Event::Worker { pid, fact: WorkerFact::AcceptingSeen { found: Found::Accepts, .. } } => {
                self.accepts(now, pid)
            }
            Event::Worker { pid, fact: WorkerFact::SaidReady }
            | Event::Worker { pid, fact: WorkerFact::NotSeenAccepting { .. } }
            | Event::Worker { pid, fact: WorkerFact::ObservationRefused }
            | Event::Worker { pid, fact: WorkerFact::StartExtended { .. } }
            | Event::Worker { pid, fact: WorkerFact::RequestsReported { .. } }
            | Event::Worker { pid, fact: WorkerFact::Pinged }
            | Event::Worker { pid, fact: WorkerFact::WatchdogSet { .. } }
            | Event::Worker { pid, fact: WorkerFact::SaidStopping }
            | Event::Worker { pid, fact: WorkerFact::Probed { .. } }
            | Event::Worker { pid, fact: WorkerFact::AcceptingSeen { .. } }
            | Event::Worker { pid, fact: WorkerFact::QueueSeen { .. } }
            | Event::Worker { pid, fact: WorkerFact::ConnectionsSeen { .. } }
            | Event::Worker { pid, fact: WorkerFact::Measured(_) } => {
                self.worker(pid).into_iter().for_each(|worker| worker.shows(now, event));
            }
            _ => {}
        }
    }

    fn exited(&mut self, now: Monotonic, pid: Pid, exit: Exit, out_of_memory: bool) {
        let Some(at) = self.live.iter().position(|w| w.pid == pid) else { return };
        let worker = self.live.remove(at);
        match self.stage {
            // What is left of its group goes with everything else.
            Stage::Ending { .. } => self.leftovers.push((pid, None)),
            Stage::Killing { .. } => {}
            _ if worker.killed => {}
            _ => self.leftovers.push((pid, self.policy.stop.graceful.deadline(now))),
        }
        let is_idle = worker.stopped.is_none() && worker.drain.is_none() && !worker.hung;
        let may_be_asked = self.is_running() && is_idle && exit.is_as_asked(self.policy.stop.signal);
        let by = if may_be_asked { now + OUR_STOP_WITHIN } else { now };
        if worker.retired.is_none() {
            self.lost += usize::from(worker.serves());
            self.leaves(worker.slot(), worker.order.lane);
            let latest = by + self.longest_wait();
            let slot = &mut self.slots[worker.slot()];
            (slot.owed_by, slot.retry_by) = (latest, slot.retry_by.max(latest));
            slot.served(worker.up(now));
        }
        self.dead.push(Dead { by, worker, exit, out_of_memory });
    }

    /// A worker that has ended, or could not be started, leaves its lane to the next of its slot.
    pub fn leaves(&mut self, slot: usize, lane: prefork_core::Lane) {
        if self.is_vacant(slot) {
            self.slots[slot].kept = Some(lane);
        }
    }

    /// A worker is seen to take connections. If it was away, the one that was to have its listeners, or to replace it for
    /// that reason alone, goes.
    fn accepts(&mut self, now: Monotonic, pid: Pid) {
        let Ok(worker) = self.worker(pid) else { return };
        let was_away = worker.is_up() && worker.away;
        (worker.absent, worker.away, worker.closed) = (false, false, false);
        if was_away && worker.leaves.is_none() {
            worker.due = worker.due.filter(|why| *why != Reason::Stop);
        }
        let (slot, lane, due) = (worker.slot(), worker.order.lane, worker.due.is_some());
        let is_needed = due || self.of(pid).is_some_and(|worker| self.is_outdated(worker));
        let successor = self.in_slot(slot).nth(1).filter(|w| w.order.lane == lane || !is_needed);
        if let Some(pid) = successor.map(|w| w.pid).filter(|_| was_away) {
            let retry_by = &mut self.slots[slot].retry_by;
            *retry_by = (*retry_by).max(now + Duration::from_secs(2));
            self.worker(pid).into_iter().for_each(|worker| worker.retired = Some(Reason::Scale));
        }
    }
}

impl Worker {
    /// What the worker says, and what looks at it find.
    fn shows(&mut self, now: Monotonic, event: Event) {
        match event {
            Event::Worker { fact: WorkerFact::SaidReady, .. } if self.starts() => {
                self.said_ready.get_or_insert(now);
            }
            Event::Worker { fact: WorkerFact::NotSeenAccepting { more, .. }, .. } => self.more = more,
            Event::Worker { fact: WorkerFact::ObservationRefused, .. } => self.refused |= self.starts(),
            Event::Worker { fact: WorkerFact::StartExtended { by }, .. } if self.starts() => {
                self.fail_by = self.fail_by.map(|at| at.max(now + by));
            }
            Event::Worker { fact: WorkerFact::RequestsReported { total }, .. } => {
                self.requests = self.requests.max(total)
            }
            Event::Worker { fact: WorkerFact::Measured(found), .. } => {
                self.requests = self.requests.max(found.requests.unwrap_or(0))
            }
            Event::Worker { fact: WorkerFact::Pinged, .. } if self.is_up() => {
                self.silent_since = self.pings.map(|_| now)
            }
            Event::Worker { fact: WorkerFact::WatchdogSet { every }, .. } if self.pings.is_some() => {
                (self.pings, self.silent_since) = (Some(every), self.silent_since.map(|_| now));
            }
            Event::Worker { fact: WorkerFact::SaidStopping, .. } if self.is_up() => {
                self.leaves.get_or_insert(now);
            }
            Event::Worker { fact: WorkerFact::Probed { passed }, .. } => {
                self.probe = (now, false);
                match passed {
                    Some(true) => self.bad_probes = 0,
                    Some(false) => self.bad_probes += 1,
                    None => {}
                }
            }
            Event::Worker {
                fact: WorkerFact::AcceptingSeen { found: found @ (Found::Absent | Found::Left), .. },
                ..
            } if self.is_up() => {
                self.away = std::mem::replace(&mut self.absent, true);
                self.closed = self.away && found == Found::Left;
            }
            Event::Worker { fact: WorkerFact::QueueSeen { waiting }, .. } => {
                self.drain.iter_mut().for_each(|drain| drain.in_hand.queue_seen(now, waiting));
            }
            Event::Worker { fact: WorkerFact::ConnectionsSeen { found, .. }, .. } => {
                self.drain.iter_mut().for_each(|drain| drain.in_hand.seen(now, found));
            }
            _ => {}
        }
    }
}
