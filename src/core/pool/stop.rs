//! The end of a pool: nobody new comes in, what has come is served, the workers are stopped, then whatever else
//! descends from us.
//!
//! ```text
//!  hold connections off ──▶ nothing waits in any queue ──▶ the drain time passes, none is busy ──▶ the stop signal
//!                                                                                     ──▶ refuse (`refusing`)
//! ```
//! Who tries to connect meanwhile waits, and is refused then: that is safe to try again elsewhere. A connection that
//! waits, or was taken and not read, when its worker is told to stop would be lost.
//!
//! A worker that starts may serve already, and only not have been seen to: it is looked at once more. Connections may wait
//! for it, too, from when no other was there: while others serve, it has time to take them, else a moment.

use super::refusing::Refusing;
use super::slot::Slot;
use super::{Ending, HURRIED_GRACE, Phase, Pool};
use crate::core::action::{Action, Ask, ListenerAction, PoolCheck, Recipients, WorkerAction};
use crate::core::event::Lane;
use crate::core::exit::{Reason, code};
use crate::core::in_hand::InHand;
use crate::core::note::{InitNote, Note, PoolNote};
use crate::core::queue::LOOK_EVERY;
use crate::core::signal::Signal;
use crate::core::stop::{FinalStop, Tick};
use crate::core::time::{Monotonic, earlier, reached};
use crate::core::worker::{Worker, WorkerState};
use alloc::vec::Vec;
use core::time::Duration;

/// How long a worker that starts is waited for to be seen waiting for connections, or to take those that wait where no
/// other serves.
const START_AWAITED_FOR: Duration = Duration::from_millis(100);

/// The last connections are being served.
#[derive(Clone, Copy, Debug)]
pub(super) struct Closing {
    since: Monotonic,
    /// Whether some worker may serve that is not known to.
    awaits_starting: bool,
    /// All queues together, and what was taken from them.
    pub(super) in_hand: InHand,
    look_at: Monotonic,
    /// When the workers are stopped though a client waits, or is busy: half of their time is left then.
    give_up_at: Option<Monotonic>,
    /// When the graceful timeout ends, which begins with this phase.
    kill_at: Option<Monotonic>,
}

impl Closing {
    /// So many connections wait for all workers together.
    pub(super) fn queues_seen(&mut self, now: Monotonic, waiting: u32) {
        self.in_hand.queue.seen(now, waiting);
        self.look_at = now + self.pause(now);
    }

    /// When what is left is killed.
    pub(super) fn kill_at(&self) -> Option<Monotonic> {
        self.kill_at
    }

    fn is_done(&self, now: Monotonic) -> bool {
        let served = !self.awaits_starting && self.in_hand.is_done(now);
        served || reached(self.give_up_at, now)
    }

    fn pause(&self, now: Monotonic) -> Duration {
        if self.awaits_starting { LOOK_EVERY } else { self.in_hand.queue.pause(now) }
    }

    pub(super) fn next_deadline(&self) -> Option<Monotonic> {
        let in_hand = self.in_hand.next_deadline().filter(|_| !self.awaits_starting);
        earlier(Some(self.look_at), earlier(in_hand, self.give_up_at))
    }
}

impl Pool {
    /// A stop signal came.
    pub(super) fn asked_to_stop(&mut self, now: Monotonic, signal: Signal, out: &mut Vec<Action>) {
        self.stop_signals = self.stop_signals.saturating_add(1);
        match self.phase {
            Phase::Unstarted | Phase::Running => {
                let drain_delay =
                    if signal == Signal::TERM { self.policy.drain_delay } else { Duration::ZERO };
                out.push(Action::Note(Note::Pool(PoolNote::ShutdownStarted { signal, drain_delay })));
                self.reload.stop();
                // With no delay, `advance` ends the phase at once.
                self.phase = Phase::Draining { until: now + drain_delay };
                self.undecided_were_stopped(now, out);
            }
            Phase::Draining { .. } => {
                out.push(Action::Note(Note::Pool(PoolNote::ShutdownHurried { signal })));
                self.begin_ending(now, Some(HURRIED_GRACE), out);
            }
            Phase::Closing(closing) => {
                out.push(Action::Note(Note::Pool(PoolNote::ShutdownHurried { signal })));
                let left = closing.kill_at.map_or(HURRIED_GRACE, |at| at.since(now));
                self.begin_ending(now, Some(left.min(HURRIED_GRACE)), out);
            }
            Phase::Ending { final_stop: FinalStop::Stopping { .. }, .. } if self.stop_signals >= 2 => {
                out.push(Action::Note(Note::Pool(PoolNote::ShutdownHurried { signal })));
                let grace = if self.stop_signals == 2 { HURRIED_GRACE } else { Duration::ZERO };
                self.hasten(now, now + grace, out);
            }
            Phase::Ending { .. } | Phase::Gone => {}
        }
    }

    /// The deadline of the whole run, on our clock.
    pub(super) fn stop_at(&self) -> Option<Monotonic> {
        self.policy.deadline.map(|at| at - self.behind)
    }

    /// See [`Core::is_behind`](crate::core::Core::is_behind).
    pub fn is_behind(&mut self, behind: Duration) {
        self.behind = behind;
    }

    /// The deadline is a TERM of our own.
    pub(super) fn stop_in_time(&mut self, now: Monotonic, out: &mut Vec<Action>) {
        if self.is_running() && reached(self.stop_at(), now) {
            self.ending = Ending::Overdue;
            out.push(Action::Note(Note::Init(InitNote::DeadlinePassed { after: (now + self.behind).0 })));
            self.asked_to_stop(now, Signal::TERM, out);
        }
    }

    /// Lets nobody new in, if there is somebody who serves those that are.
    pub(super) fn begin_closing(&mut self, now: Monotonic, out: &mut Vec<Action>) {
        let kill_at = self.policy.stop.graceful.deadline(now);
        let may_serve =
            |worker: &Worker| matches!(worker.state, WorkerState::Ready { .. } | WorkerState::Starting(_));
        if !self.policy.drain.listens || !self.workers.iter().any(may_serve) || reached(kill_at, now) {
            return self.begin_ending(now, None, out);
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
        let give_up_at = halfway(now, kill_at);
        self.phase = Phase::Closing(Closing {
            since: now,
            awaits_starting: true,
            in_hand: InHand::until(give_up_at, &self.policy.drain),
            look_at: now,
            give_up_at,
            kill_at,
        });
    }

    /// Does what is due.
    pub(super) fn go_on_closing(&mut self, now: Monotonic, out: &mut Vec<Action>) {
        let Phase::Closing(mut closing) = self.phase else { return };
        let in_moment = now < closing.since + START_AWAITED_FOR;
        let some_serve = self.workers.iter().any(Worker::has_served);
        let takes = |worker: &&Worker| match worker.state {
            WorkerState::Ready { .. } | WorkerState::Draining(_) => true,
            WorkerState::Starting(_) => in_moment || some_serve,
            WorkerState::Spawning | WorkerState::Stopping { .. } | WorkerState::Killed { .. } => false,
        };
        let lanes: Vec<Lane> = self.workers.iter().filter(takes).map(|worker| worker.lane).collect();
        closing.awaits_starting = in_moment
            && self.workers.iter().any(
                |worker| matches!(&worker.state, WorkerState::Starting(starting) if starting.may_serve(closing.since)),
            );
        // Of those that start, none serves: an empty queue is all there is to see.
        let nobody_serves = !closing.awaits_starting && !some_serve;
        let cap = closing.kill_at.map(|at| at.since(now));
        if lanes.is_empty() || closing.is_done(now) || nobody_serves && closing.in_hand.queue.is_quiet() {
            if !lanes.is_empty() && !closing.in_hand.queue.is_quiet() {
                out.push(Action::Note(Note::Pool(PoolNote::ClosingCutShort)));
            }
            return self.begin_ending(now, cap, out);
        }
        if closing.look_at <= now {
            closing.look_at = now + closing.pause(now);
            out.push(Action::Check(PoolCheck::Queues { lanes }));
        }
        self.phase = Phase::Closing(closing);
    }

    /// The worker of this slot was not known to serve when the others got the hint.
    pub(super) fn hint_late(&mut self, index: usize, out: &mut Vec<Action>) {
        let worker = self.workers.slot_mut(index).and_then(Slot::seated_mut);
        if let (Phase::Closing(_), Some(worker)) = (self.phase, worker.filter(|worker| worker.is_ready())) {
            worker.need_not_accept();
            let signal = self.policy.drain.hint;
            worker.act(WorkerAction::Hint { signal }, out);
        }
    }

    /// Asks every worker to stop, within the graceful timeout or `cap` if that is less.
    pub(super) fn begin_ending(&mut self, now: Monotonic, cap: Option<Duration>, out: &mut Vec<Action>) {
        let kill_at = earlier(self.policy.stop.graceful.deadline(now), cap.map(|cap| now + cap));
        self.undecided_were_stopped(now, out);
        let listens = self.policy.drain.listens;
        if listens && !self.workers.is_empty() && !matches!(self.phase, Phase::Closing(_)) {
            out.push(Action::Listeners(ListenerAction::HoldOff));
        }
        // Refusing wakes every worker that waits at a listener, again and again: a thousand of them leave us no processor
        // to signal the last one.
        self.stop_all(kill_at, out);
        if listens {
            out.push(Action::Listeners(ListenerAction::Refuse { held_off: self.workers.is_empty() }));
        }
        self.phase = Phase::Ending {
            final_stop: FinalStop::Stopping { kill_at },
            orphans_at: halfway(now, kill_at),
            orphans_asked: false,
            refusing: (listens && !self.workers.is_empty()).then(|| Refusing::new(now, kill_at)),
        };
        if self.workers.is_empty() {
            out.push(Action::Ask(Ask::Reap));
        }
    }

    /// Brings the kill forward.
    pub(super) fn hasten(&mut self, now: Monotonic, kill_at: Monotonic, out: &mut Vec<Action>) {
        if let Phase::Ending { final_stop: FinalStop::Stopping { kill_at: set }, orphans_at, .. } =
            &mut self.phase
        {
            *set = earlier(*set, Some(kill_at));
            // Nobody is asked twice, so once more does no harm.
            *orphans_at = halfway(now, *set);
            self.stop_all(Some(kill_at), out);
        }
    }

    fn stop_all(&mut self, kill_at: Option<Monotonic>, out: &mut Vec<Action>) {
        let policy = &self.policy;
        self.workers.iter_mut().for_each(|worker| worker.stop(Reason::Stop, kill_at, policy, out));
    }

    /// Does what is due.
    pub(super) fn go_on_ending(&mut self, now: Monotonic, out: &mut Vec<Action>) {
        if let Phase::Ending { final_stop, orphans_at, .. } = &mut self.phase {
            if reached(*orphans_at, now) {
                *orphans_at = None;
                let workers = self.workers.iter().filter_map(Worker::pid).collect();
                let (groups, signal) = (self.leftovers.asked(), self.policy.stop.signal);
                out.push(Action::Signal {
                    to: Recipients::Orphans { except: workers, asked_groups: groups },
                    signal,
                });
            }
            match final_stop.tick(now, out) {
                Tick::Wait => {}
                Tick::KilledAll => {
                    out.push(Action::Note(Note::Init(InitNote::KillingAll)));
                    self.refuse(out);
                }
                Tick::Leave => self.exit_as_ended(out),
            }
        }
    }

    /// All that has ended is reaped: perhaps nobody is left, perhaps only orphans are.
    pub(super) fn reaped(&mut self, children_left: bool, out: &mut Vec<Action>) {
        let no_worker = self.workers.is_empty();
        let Phase::Ending { final_stop, orphans_at, orphans_asked, .. } = &mut self.phase else { return };
        if !children_left && no_worker {
            self.exit_as_ended(out);
        } else if let (true, false, FinalStop::Stopping { .. }) = (no_worker, *orphans_asked, *final_stop) {
            (*orphans_at, *orphans_asked) = (None, true);
            out.push(Action::Note(Note::Init(InitNote::StoppingOrphans)));
            let (groups, signal) = (self.leftovers.asked(), self.policy.stop.signal);
            out.push(Action::Signal {
                to: Recipients::Orphans { except: Vec::new(), asked_groups: groups },
                signal,
            });
        }
    }

    pub(super) fn exit_as_ended(&mut self, out: &mut Vec<Action>) {
        self.refuse(out);
        let (note, code) = match self.ending {
            Ending::Ordered => (Note::Pool(PoolNote::Stopped), code::OK),
            Ending::Overdue => (Note::Pool(PoolNote::Stopped), code::DEADLINE),
            Ending::GaveUp { slot, restarts } => (
                Note::Pool(PoolNote::GaveUp { slot, restarts, window: self.policy.respawn.window }),
                code::CRASH_LOOP,
            ),
        };
        out.push(Action::Note(note));
        self.exit(code, out);
    }

    pub(super) fn exit(&mut self, code: u8, out: &mut Vec<Action>) {
        self.phase = Phase::Gone;
        out.push(Action::Exit(code));
    }
}

/// When half of the time that is left has passed: orphans leave too, though some worker may take all of it.
fn halfway(now: Monotonic, kill_at: Option<Monotonic>) -> Option<Monotonic> {
    kill_at.map(|at| now + at.since(now) / 2)
}
