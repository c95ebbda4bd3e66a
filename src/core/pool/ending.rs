//! The end of a pool: workers first, then whatever else descends from us.

use super::{Ending, Phase, Pool};
use crate::core::action::{Action, Note};
use crate::core::exit::{Reason, code};
use crate::core::shutdown::{Endgame, Tick};
use crate::core::slot::Slot;
use crate::core::time::{Monotonic, earlier, reached};
use crate::core::worker::Worker;
use std::time::Duration;

impl Pool {
    /// Asks every worker to stop, within the graceful timeout or `cap` if that is less.
    pub(super) fn begin_ending(&mut self, now: Monotonic, cap: Option<Duration>, out: &mut Vec<Action>) {
        let kill_at = earlier(self.policy.stop.graceful.deadline(now), cap.map(|cap| now + cap));
        for worker in self.slots.iter_mut().flat_map(Slot::workers_mut) {
            worker.stop(Reason::Stop, kill_at, &self.policy, out);
        }
        self.phase = Phase::Ending {
            endgame: Endgame::Stopping { kill_at },
            orphans_at: halfway(now, kill_at),
            orphans_asked: false,
        };
        if self.is_empty() {
            out.push(Action::Reap);
        }
    }

    /// Brings the kill forward.
    pub(super) fn hasten(&mut self, now: Monotonic, kill_at: Monotonic, out: &mut Vec<Action>) {
        if let Phase::Ending { endgame: Endgame::Stopping { kill_at: set }, orphans_at, .. } = &mut self.phase
        {
            *set = earlier(*set, Some(kill_at));
            // Nobody is asked twice, so once more does no harm.
            *orphans_at = halfway(now, *set);
            for worker in self.slots.iter_mut().flat_map(Slot::workers_mut) {
                worker.stop(Reason::Stop, Some(kill_at), &self.policy, out);
            }
        }
    }

    /// Does what is due.
    pub(super) fn go_on_ending(&mut self, now: Monotonic, out: &mut Vec<Action>) {
        if let Phase::Ending { endgame, orphans_at, .. } = &mut self.phase {
            if reached(*orphans_at, now) {
                *orphans_at = None;
                let workers = self.slots.iter().flat_map(Slot::workers).filter_map(Worker::pid).collect();
                let (groups, signal) = (self.remains.asked(), self.policy.stop.signal);
                out.push(Action::AskOrphans { workers, groups, signal });
            }
            match endgame.tick(now, out) {
                Tick::Wait => {}
                Tick::KilledAll => out.push(Action::Report(Note::KillingAll)),
                Tick::Leave => self.exit_as_ended(out),
            }
        }
    }

    /// All that has ended is reaped: perhaps nobody is left, perhaps only orphans are.
    pub(super) fn reaped(&mut self, children_left: bool, out: &mut Vec<Action>) {
        let no_worker = self.is_empty();
        let Phase::Ending { endgame, orphans_at, orphans_asked } = &mut self.phase else { return };
        if !children_left && no_worker {
            self.exit_as_ended(out);
        } else if let (true, false, Endgame::Stopping { .. }) = (no_worker, *orphans_asked, *endgame) {
            (*orphans_at, *orphans_asked) = (None, true);
            out.push(Action::Report(Note::StoppingOrphans));
            let (groups, signal) = (self.remains.asked(), self.policy.stop.signal);
            out.push(Action::AskOrphans { workers: Vec::new(), groups, signal });
        }
    }

    pub(super) fn exit_as_ended(&mut self, out: &mut Vec<Action>) {
        let (note, code) = match self.ending {
            Ending::Ordered => (Note::PoolStopped, code::OK),
            Ending::GaveUp { slot, restarts } => {
                (Note::GaveUp { slot, restarts, window: self.policy.respawn.window }, code::CRASH_LOOP)
            }
        };
        out.push(Action::Report(note));
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
