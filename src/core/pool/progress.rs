//! What is under way in a pool, and how far it has come.

use super::{Phase, Pool, number};
use crate::core::policy::StopPolicy;
use crate::core::shutdown::Endgame;
use crate::core::slot::Slot;
use crate::core::snapshot::Progress;
use crate::core::time::Monotonic;
use std::time::Duration;

impl Pool {
    pub fn stop_policy(&self) -> StopPolicy {
        self.policy.stop
    }

    pub fn drain_delay(&self) -> Duration {
        self.policy.drain_delay
    }

    /// See [`Core::progress`](crate::core::Core::progress).
    pub fn progress(&self, now: Monotonic) -> Progress {
        let left = || number(self.workers().count());
        match self.phase {
            Phase::Unstarted | Phase::Running => match self.reloads_to() {
                None => Progress::Steady,
                Some(to) => {
                    let is_new =
                        |slot: &&Slot| slot.seated().is_some_and(|w| w.is_ready() && w.generation == to);
                    Progress::Rolling { to, new: number(self.slots.iter().filter(is_new).count()) }
                }
            },
            Phase::Draining { until } => Progress::Draining { left: until.since(now) },
            Phase::Closing(closing) => {
                Progress::Stopping { left: left(), grace: closing.kill_at().map(|at| at.since(now)) }
            }
            Phase::Ending { endgame: Endgame::Stopping { kill_at }, .. } => {
                Progress::Stopping { left: left(), grace: kill_at.map(|at| at.since(now)) }
            }
            Phase::Ending { endgame: Endgame::Killing { .. }, .. } | Phase::Gone => {
                Progress::Stopping { left: left(), grace: Some(Duration::ZERO) }
            }
        }
    }
}
