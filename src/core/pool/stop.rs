//! The end of a pool: new connections are held off, those that have come in are served, the workers are stopped, then
//! all other descendants.
//!
//! ```text
//!  hold connections off ──▶ nothing waits in any queue ──▶ the drain time passes, none is busy ──▶ the stop signal
//!                                                                                     ──▶ refuse (`refusing`)
//! ```
//! A client that tries to connect meanwhile waits, and is refused in the end, so it can safely try elsewhere. A
//! connection is lost if it waits in the queue, or was accepted and not read, when its worker gets the stop signal.
//!
//! A starting worker may serve already without having been seen to, so it is looked at once more. Connections that
//! came before any other worker was there may wait in its queue. If others serve, it has the whole time to take them,
//! otherwise only a moment ([`Closing::is_young`]).

use super::Pool;
use super::phase::{Cause, Closing, Ending, Phase, Shutdown};
use super::slot::Slot;
use crate::action::{Action, Ask, ListenerAction, PoolCheck, WorkerAction};
use crate::event::Lane;
use crate::exit::{Reason, code};
use crate::note::{InitNote, Note, PoolNote};
use crate::signal::Signal;
use crate::stop::{FinalStop, Tick};
use crate::time::{Monotonic, earlier, reached};
use crate::worker::{Worker, WorkerState};
use alloc::vec::Vec;
use core::time::Duration;

/// The most that is left of the graceful timeout after a second stop signal.
const HURRIED_GRACE: Duration = Duration::from_secs(5);

impl Pool {
    /// A stop signal, or a request that means the same.
    pub(super) fn asked_to_stop(&mut self, now: Monotonic, signal: Signal, out: &mut Vec<Action>) {
        self.phase.count_signal();
        match self.phase {
            Phase::Unstarted | Phase::Running { .. } => {
                self.begin_draining(now, signal, Cause::Ordered, out);
            }
            Phase::Draining { shutdown, .. } => {
                out.push(Action::Note(Note::Pool(PoolNote::ShutdownHurried { signal })));
                self.begin_ending(now, shutdown, Some(HURRIED_GRACE), out);
            }
            Phase::Closing(closing, shutdown) => {
                out.push(Action::Note(Note::Pool(PoolNote::ShutdownHurried { signal })));
                let left = closing.kill_at().map_or(HURRIED_GRACE, |at| at.since(now));
                self.begin_ending(now, shutdown, Some(left.min(HURRIED_GRACE)), out);
            }
            Phase::Ending(
                Ending { final_stop: FinalStop::Stopping { .. }, .. },
                Shutdown { signals, .. },
            ) if signals >= 2 => {
                out.push(Action::Note(Note::Pool(PoolNote::ShutdownHurried { signal })));
                let grace = if signals == 2 { HURRIED_GRACE } else { Duration::ZERO };
                self.hasten(now, now + grace, out);
            }
            Phase::Ending(..) | Phase::Gone(_) => {}
        }
    }

    fn begin_draining(&mut self, now: Monotonic, signal: Signal, cause: Cause, out: &mut Vec<Action>) {
        let drain_delay = if signal == Signal::TERM { self.policy.drain_delay } else { Duration::ZERO };
        out.push(Action::Note(Note::Pool(PoolNote::ShutdownStarted { signal, drain_delay })));
        self.reload.stop();
        // Without a delay, `advance` ends the phase in the same step.
        let shutdown = Shutdown { cause, signals: 1 };
        self.phase = Phase::Draining { until: now + drain_delay, shutdown };
        self.undecided_were_stopped(now, out);
    }

    /// The deadline of the whole run, on the pool's clock.
    pub(super) fn stop_at(&self) -> Option<Monotonic> {
        self.policy.deadline.map(|at| self.clock.at(at))
    }

    /// See [`Core::is_behind`](crate::Core::is_behind).
    pub fn is_behind(&mut self, behind: Duration) {
        self.clock.is_behind(behind);
    }

    /// At the deadline of the whole run, the pool does as after TERM.
    pub(super) fn stop_in_time(&mut self, now: Monotonic, out: &mut Vec<Action>) {
        if self.is_running() && reached(self.stop_at(), now) {
            out.push(Action::Note(Note::Init(InitNote::DeadlinePassed { after: self.clock.real(now).0 })));
            self.begin_draining(now, Signal::TERM, Cause::Deadline, out);
        }
    }

    /// The drain delay is over. Connections are held off if a worker may serve those that have come in; otherwise the
    /// pool ends.
    fn begin_closing(&mut self, now: Monotonic, shutdown: Shutdown, out: &mut Vec<Action>) {
        let kill_at = self.policy.stop.graceful.deadline(now);
        let may_serve =
            |worker: &Worker| matches!(worker.state, WorkerState::Ready { .. } | WorkerState::Starting(_));
        if !self.policy.drain.listens || !self.workers.iter().any(may_serve) || reached(kill_at, now) {
            return self.begin_ending(now, shutdown, None, out);
        }
        out.push(Action::Listeners(ListenerAction::HoldOff));
        self.workers.iter_mut().for_each(Worker::need_not_accept);
        let signal = self.policy.drain.hint;
        for worker in self.workers.iter().filter(|worker| worker.is_ready()) {
            worker.act(WorkerAction::Hint { signal }, out);
        }
        for starting in self.workers.iter_mut().filter_map(Worker::starting) {
            starting.look_soon(now);
        }
        self.phase = Phase::Closing(Closing::new(now, kill_at, &self.policy.drain), shutdown);
    }

    /// Ends the drain delay at its time, or as soon as no worker is left for it.
    pub(super) fn go_on_draining(&mut self, now: Monotonic, out: &mut Vec<Action>) {
        if let Phase::Draining { until, shutdown } = self.phase
            && (until <= now || self.nobody_comes(until))
        {
            self.begin_closing(now, shutdown, out);
        }
    }

    /// Ends the workers when all connections are served or their time is over.
    pub(super) fn go_on_closing(&mut self, now: Monotonic, out: &mut Vec<Action>) {
        let Phase::Closing(mut closing, shutdown) = self.phase else { return };
        let in_moment = closing.is_young(now);
        let some_serve = self.workers.iter().any(Worker::has_served);
        let takes = |worker: &&Worker| match worker.state {
            WorkerState::Ready { .. } | WorkerState::Draining(_) => true,
            WorkerState::Starting(_) => in_moment || some_serve,
            WorkerState::Spawning | WorkerState::Stopping { .. } | WorkerState::Killed { .. } => false,
        };
        let lanes: Vec<Lane> = self.workers.iter().filter(takes).map(|worker| worker.lane).collect();
        let since = closing.since();
        let may_serve = |worker: &Worker| matches!(&worker.state, WorkerState::Starting(starting) if starting.may_serve(since));
        let awaits_starting = in_moment && self.workers.iter().any(may_serve);
        closing.set_awaits_starting(awaits_starting);
        // No starting worker has been seen to serve: an empty queue is all that can be waited for.
        let nobody_serves = !awaits_starting && !some_serve;
        let cap = closing.kill_at().map(|at| at.since(now));
        if lanes.is_empty() || closing.is_done(now) || nobody_serves && closing.in_hand.queue.is_quiet() {
            if !lanes.is_empty() && !closing.in_hand.queue.is_quiet() {
                out.push(Action::Note(Note::Pool(PoolNote::ClosingCutShort)));
            }
            return self.begin_ending(now, shutdown, cap, out);
        }
        if closing.looks(now) {
            out.push(Action::Check(PoolCheck::Queues { lanes }));
        }
        self.phase = Phase::Closing(closing, shutdown);
    }

    /// The worker of this slot was not known to serve when the other workers got the hint.
    pub(super) fn hint_late(&mut self, index: usize, out: &mut Vec<Action>) {
        let worker = self.workers.slot_mut(index).and_then(Slot::seated_mut);
        if let (Phase::Closing(..), Some(worker)) = (self.phase, worker.filter(|worker| worker.is_ready())) {
            worker.need_not_accept();
            let signal = self.policy.drain.hint;
            worker.act(WorkerAction::Hint { signal }, out);
        }
    }

    /// Asks every worker to stop within the graceful timeout, or within `cap` if that is shorter.
    pub(super) fn begin_ending(
        &mut self,
        now: Monotonic,
        shutdown: Shutdown,
        cap: Option<Duration>,
        out: &mut Vec<Action>,
    ) {
        let kill_at = earlier(self.policy.stop.graceful.deadline(now), cap.map(|cap| now + cap));
        self.undecided_were_stopped(now, out);
        let listens = self.policy.drain.listens;
        if listens && !self.workers.is_empty() && !matches!(self.phase, Phase::Closing(..)) {
            out.push(Action::Listeners(ListenerAction::HoldOff));
        }
        // A refusal wakes every worker that waits on a listener, again and again: with a thousand of them, no
        // processor time is left to signal the last one. So the stop signals come first.
        self.stop_all(kill_at, out);
        if listens {
            out.push(Action::Listeners(ListenerAction::Refuse { held_off: self.workers.is_empty() }));
        }
        let refuses = listens && !self.workers.is_empty();
        self.phase = Phase::Ending(Ending::new(now, kill_at, refuses), shutdown);
        if self.workers.is_empty() {
            out.push(Action::Ask(Ask::Reap));
        }
    }

    fn hasten(&mut self, now: Monotonic, kill_at: Monotonic, out: &mut Vec<Action>) {
        if let Phase::Ending(ending, _) = &mut self.phase
            && ending.hasten(now, kill_at)
        {
            self.stop_all(Some(kill_at), out);
        }
    }

    fn stop_all(&mut self, kill_at: Option<Monotonic>, out: &mut Vec<Action>) {
        let policy = &self.policy;
        self.workers.iter_mut().for_each(|worker| worker.stop(Reason::Stop, kill_at, policy, out));
    }

    /// Asks orphans to stop, kills, or exits, whichever is due.
    pub(super) fn go_on_ending(&mut self, now: Monotonic, out: &mut Vec<Action>) {
        if let Phase::Ending(ending, _) = &mut self.phase {
            if ending.orphans_are_due(now) {
                let workers = self.workers.iter().filter_map(Worker::pid).collect();
                self.leftovers.stop_orphans(workers, &self.policy.stop, out);
            }
            match ending.final_stop.tick(now, out) {
                Tick::Wait => {}
                Tick::KilledAll => {
                    out.push(Action::Note(Note::Init(InitNote::KillingAll)));
                    self.refuse(out);
                }
                Tick::Leave => self.exit_as_ended(out),
            }
        }
    }

    /// All ended children are reaped: perhaps no child is left, perhaps only orphans.
    pub(super) fn reaped(&mut self, children_left: bool, out: &mut Vec<Action>) {
        let no_worker = self.workers.is_empty();
        let Phase::Ending(ending, _) = &mut self.phase else { return };
        if !children_left && no_worker {
            self.exit_as_ended(out);
        } else if no_worker && ending.only_orphans_left() {
            out.push(Action::Note(Note::Init(InitNote::StoppingOrphans)));
            self.leftovers.stop_orphans(Vec::new(), &self.policy.stop, out);
        }
    }

    fn exit_as_ended(&mut self, out: &mut Vec<Action>) {
        self.refuse(out);
        let cause = self.phase.shutdown().map_or(Cause::Ordered, |shutdown| shutdown.cause);
        let (note, code) = match cause {
            Cause::Ordered => (Note::Pool(PoolNote::Stopped), code::OK),
            Cause::Deadline => (Note::Pool(PoolNote::Stopped), code::DEADLINE),
            Cause::GaveUp { slot, restarts } => (
                Note::Pool(PoolNote::GaveUp { slot, restarts, window: self.policy.respawn.window }),
                code::CRASH_LOOP,
            ),
        };
        out.push(Action::Note(note));
        self.exit(code, out);
    }

    pub(super) fn exit(&mut self, code: u8, out: &mut Vec<Action>) {
        self.phase = Phase::Gone(self.phase.shutdown().unwrap_or(Shutdown::ordered()));
        out.push(Action::Exit(code));
    }
}
