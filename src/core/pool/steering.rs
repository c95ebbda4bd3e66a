//! Which workers get new connections, which give way to stranded lanes, and the end of workers that hang.

use super::Pool;
use super::slot::Slot;
use super::workers::{WorkerPlace, number};
use crate::action::Action;
use crate::event::{Lane, Pid};
use crate::exit::Reason;
use crate::note::ReadyBy;
use crate::time::Monotonic;
use crate::worker::{Worker, WorkerState};
use alloc::vec::Vec;

impl Pool {
    /// New connections go to workers that serve; if none does, to those that are expected to serve soon.
    pub(super) fn steer(&mut self, out: &mut Vec<Action>) {
        if !self.policy.drain.steered || !self.phase.serves() {
            return;
        }
        let seated = || self.workers.seated();
        let lanes = |wanted: fn(&Worker) -> bool| {
            seated().filter(move |worker| wanted(worker)).map(|worker| worker.lane)
        };
        let starts =
            |worker: &Worker| matches!(worker.state, WorkerState::Spawning | WorkerState::Starting(_));
        let choices = [Worker::is_trusted, Worker::serves, starts, Worker::is_ready];
        let Some(wanted) = choices.into_iter().find(|wanted| lanes(*wanted).next().is_some()) else { return };
        self.lanes.steer(|| lanes(wanted), out);
    }

    /// The worker of this lane is gone, and no slot keeps the lane. Its queue is looked at, because new connections
    /// now go elsewhere.
    pub(super) fn leave(&mut self, now: Monotonic, lane: Lane) {
        if self.policy.drain.steered && self.phase.serves() && !self.workers.has_lane(lane) {
            self.lanes.strand(now, lane);
        }
    }

    /// Makes one worker due for each stranded lane with waiting connections.
    pub(super) fn settle_stranded(&mut self, now: Monotonic, out: &mut Vec<Action>) {
        let makes_way = |worker: &Worker| matches!(worker.due(), Some((Reason::Queue, _)));
        let replaced = self.workers.slots().iter().filter(|slot| slot.seated().is_some_and(makes_way));
        let making_way = replaced.filter(|slot| slot.successor.is_none()).count();
        let missing = self.lanes.number_waiting().saturating_sub(making_way);
        let seats = self
            .workers
            .slots_mut()
            .iter_mut()
            .filter(|slot| slot.successor.is_none())
            .filter_map(Slot::seated_mut);
        for worker in seats.filter(|worker| worker.serves() && worker.due().is_none()).take(missing) {
            worker.makes_way(now, out);
        }
    }

    pub(super) fn probed(&mut self, now: Monotonic, pid: Pid, passed: Option<bool>, out: &mut Vec<Action>) {
        let mut ready = false;
        self.workers.with(pid, |worker| ready = worker.probed(now, passed, &self.policy, out));
        if let (true, Some(WorkerPlace::InSlot(index, role))) = (ready, self.workers.place_of(pid)) {
            self.become_ready(now, index, role, ReadyBy::Probed, out);
        }
    }

    /// Ends workers that hang, as many at once as may be unavailable, and at least one. If all hang on one cause, a
    /// database for example, ending them all would help nothing. Their slots are filled again as after a crash.
    pub(super) fn end_hung(&mut self, now: Monotonic, out: &mut Vec<Action>) {
        let at_once = self.policy.budget.unavailable(self.workers.wanted()).max(1);
        while number(self.workers.slots().iter().filter(|slot| slot.recovers).count()) < at_once {
            let hung = self.workers.slots().iter().enumerate().filter_map(|(index, slot)| {
                Some((slot.seated()?.hung_since()?, index)).filter(|_| !slot.recovers)
            });
            let Some((_, index)) = hung.min() else { return };
            let Some(slot) = self.workers.slot_mut(index) else { return };
            slot.recovers = true;
            if let Some(worker) = slot.seated_mut() {
                worker.abort(now, &self.policy, out);
            }
        }
    }
}
