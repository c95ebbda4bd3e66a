//! What the end of a worker enters into the book.

use super::backoff::Window;
use super::book::{Book, Canary, Left, Roll, SPAWN_GAP, Slot, Stage, Undecided, Worker};
use prefork_core::action::SpawnOrder;
use prefork_core::exit::{Exit, Reason};
use prefork_core::note::ReloadNote;
use prefork_core::{Monotonic, Note, Pid, Signal};
use std::time::Duration;

/// When all processes are asked to stop, a worker may be seen to have ended this long before we are asked.
const OUR_STOP_WITHIN: Duration = Duration::from_millis(100);

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    CannotBoot,
    TooLate,
    Other,
}

impl Book {
    pub fn exited(&mut self, now: Monotonic, pid: Pid, exit: Exit, out_of_memory: bool) {
        let Some(at) = self.live.iter().position(|w| w.pid == pid) else { return };
        let serves = self.live[at].serves() && self.live[at].retired.is_none();
        let worker = self.live.remove(at);
        let ending = matches!(self.stage, Stage::Ending { .. });
        if ending || (!worker.killed && !matches!(self.stage, Stage::Killing { .. })) {
            self.expected.group_asked = Some((pid, 0));
            if ending {
                self.groups_asked.push(pid);
            } else {
                self.remains.push((pid, self.policy.stop.graceful.deadline(now)));
            }
        }
        let (mut reason, mut failure) = self.why(now, &worker, exit, out_of_memory);
        let may_be_asked =
            [Reason::Crash, Reason::BootError].contains(&reason) && exit.is_as_asked(self.policy.stop.signal);
        let decided = !may_be_asked || !matches!(self.stage, Stage::Unstarted | Stage::Running);
        if may_be_asked && decided {
            (reason, failure) = (Reason::Stop, None);
        }
        if decided {
            self.expected.exited.push((pid, reason));
        }
        self.expected.lost += usize::from(serves);
        if worker.retired.is_some() {
            if !self.is_owned(worker.order.lane) {
                self.left.push((worker.order.lane, false));
            }
            return;
        }
        let order = worker.order;
        let backoff = &mut self.slot(order.slot).backoff;
        backoff.served(worker.up(now));
        if failure.is_some() {
            backoff.failed_after(worker.up(now));
        }
        let left = self.leaves(order, worker.spawned);
        if decided {
            self.ended(now, order, reason, failure, left);
        } else {
            let by = now + OUR_STOP_WITHIN;
            let slot = self.slot(order.slot);
            if left.was_successor {
                slot.retry = Window::at(by);
            } else if left.is_vacant {
                slot.vacancy = Window::at(by);
            }
            self.undecided.push(Undecided { by, pid, order, reason, failure, left });
        }
    }

    /// What the end of a worker means.
    fn why(
        &self,
        now: Monotonic,
        worker: &Worker,
        exit: Exit,
        out_of_memory: bool,
    ) -> (Reason, Option<Failure>) {
        // One that would be ready by its life, had those before it not failed, ends as one that was.
        let has_lived = self.policy.ready.after.is_some_and(|after| worker.spawned + after <= now);
        let killed = matches!(exit, Exit::Signal { signal: Signal::KILL, .. });
        let by_plan = exit == Exit::Code(0) && worker.watch.hung.is_none();
        match (worker.stopped, worker.drain) {
            _ if killed && out_of_memory && !worker.killed => (Reason::Oom, Some(Failure::Other)),
            (Some((_, Reason::BootTimeout)), _) => (Reason::BootTimeout, Some(Failure::TooLate)),
            (Some((_, reason @ (Reason::Hung | Reason::MaxMemory))), _) => (reason, Some(Failure::Other)),
            (Some((_, planned)), _) => (planned, None),
            (None, Some(_))
                if worker.retired == Some(Reason::Stop)
                    && exit == Exit::Code(0)
                    && self.policy.recycle.counted_by_worker =>
            {
                (Reason::MaxRequests, None)
            }
            (None, Some(_)) => (worker.retired.unwrap_or(Reason::Crash), None),
            (None, None) if worker.ready.is_some() || has_lived => match worker.watch.hung {
                Some(_) => (Reason::Hung, Some(Failure::Other)),
                None if by_plan && worker.leaves => (Reason::Stop, None),
                None if by_plan && self.policy.recycle.counted_by_worker => (Reason::MaxRequests, None),
                None if worker.left_in_order(exit) => (Reason::Stop, None),
                None => (Reason::Crash, Some(Failure::Other)),
            },
            (None, None) if matches!(exit, Exit::Code(3 | 4)) => {
                (Reason::BootError, Some(Failure::CannotBoot))
            }
            (None, None) => (Reason::BootError, Some(Failure::Other)),
        }
    }

    /// A worker that has ended, or could not be started, leaves this.
    pub fn leaves(&mut self, order: SpawnOrder, spawned: Monotonic) -> Left {
        let slot = order.slot as usize;
        let was_successor = self.seated(slot).is_some_and(|left| left.order.id < order.id);
        let is_vacant = self.is_vacant(slot);
        if is_vacant {
            self.slot(order.slot).kept = Some(order.lane);
        } else if !self.is_owned(order.lane) {
            self.left.push((order.lane, false));
        }
        Left { was_successor, is_vacant, none_serves: self.serving() == 0, spawned }
    }

    pub fn judge_undecided(&mut self, now: Monotonic) {
        while let Some(at) = self.undecided.iter().position(|undecided| undecided.by <= now) {
            let Undecided { pid, order, reason, failure, left, .. } = self.undecided.remove(at);
            self.expected.exited.push((pid, reason));
            self.ended(now, order, reason, failure, left);
        }
    }

    pub fn undecided_were_stopped(&mut self, now: Monotonic) {
        for Undecided { pid, order, left, .. } in std::mem::take(&mut self.undecided) {
            self.expected.exited.push((pid, Reason::Stop));
            self.ended(now, order, Reason::Stop, None, left);
        }
    }

    /// Whether no worker may come until the drain delay is over, for all that chance has decided.
    pub fn perhaps_nobody_comes(&self, until: Monotonic) -> bool {
        let comes_then = |slot: &Slot| {
            let gap = slot.last_spawn.map_or(Monotonic::default(), |last| last + SPAWN_GAP);
            slot.vacancy.latest.max(gap) >= until
        };
        self.alive() == 0 && self.slots.iter().all(comes_then)
    }

    /// Whether all were stopped with us: no worker comes until the drain delay is over.
    pub fn nobody_comes(&self, until: Monotonic) -> bool {
        let had_its_gap = |slot: &Slot| slot.last_spawn.is_none_or(|last| last + SPAWN_GAP <= until);
        let was_stopped = |slot: &Slot| slot.vacancy == Window::at(until) && had_its_gap(slot);
        self.alive() == 0 && self.slots.iter().all(was_stopped)
    }

    /// A worker that had not made way is no more, or could not be started.
    pub fn ended(
        &mut self,
        now: Monotonic,
        order: SpawnOrder,
        reason: Reason,
        failure: Option<Failure>,
        left: Left,
    ) {
        let Left { was_successor, is_vacant, none_serves, spawned } = left;
        if let Some(Roll { to, canary: Canary::Passed, hurt, whole_since, .. }) = &mut self.roll
            && *to == order.generation
            && reason.is_failure()
        {
            if !std::mem::replace(hurt, true) {
                self.expected.told.push(Note::Reload(*to, ReloadNote::Paused { reason }));
            }
            *whole_since = None;
        }
        if let Some(Roll { to, canary, .. }) = &mut self.roll
            && *canary == Canary::Tried(order.id)
        {
            let generation = *to;
            if reason.is_failure() {
                let to = self.generation;
                let is_undone = self.live.iter().any(|w| w.retired.is_none() && w.order.generation < to);
                self.roll = is_undone.then_some(Roll {
                    to,
                    since: now,
                    canary: Canary::Passed,
                    hurt: false,
                    whole_since: None,
                });
                self.expected.told.push(Note::Reload(generation, ReloadNote::Failed { reason }));
                let resumed = self.roll.as_ref().map(|roll| Note::Reload(roll.to, ReloadNote::Resumed));
                self.expected.told.extend(resumed);
            } else {
                *canary = Canary::Wanted;
            }
        }
        if !self.is_open() {
            return;
        }
        let (running, respawn) = (self.stage == Stage::Running, self.policy.respawn);
        let stays_vacant = is_vacant
            && (order.slot as usize) < self.wanted()
            && self.is_vacant(order.slot as usize)
            && self.slot(order.slot).kept == Some(order.lane);
        if self.slots.get(order.slot as usize).is_none() {
            return;
        }
        let window = match failure {
            Some(failure) => self.after_failure(now, order, failure, spawned),
            None => Window::at(now),
        };
        let window = match self.stage {
            Stage::Draining { until } if reason == Reason::Stop => Window::at(until),
            _ => window,
        };
        if was_successor {
            self.slot(order.slot).retry = window;
        } else if stays_vacant {
            let late = failure == Some(Failure::TooLate);
            let backoff = &mut self.slot(order.slot).backoff;
            let too_often = running && failure.is_some() && backoff.restarts_too_often(now, late, &respawn);
            self.slot(order.slot).vacancy = window;
            if too_often && none_serves {
                self.gave_up = Some(order.slot);
                self.begin_ending(now, None);
                return;
            }
        }
        if was_successor || stays_vacant {
            self.expected.delays.push((order.slot, window));
        }
    }
}
