//! The only thing with a time of its own: the kill of what does not stop, and what is owed while it is waited for.

use super::super::dice::MS;
use super::super::rule::{Held, check};
use super::{InitRules, Stage};
use prefork_core::action::{Ask, Forward, Recipients};
use prefork_core::policy::Job;
use prefork_core::snapshot::Phase;
use prefork_core::{Action, Monotonic, Received, Signal, Snapshot};
use std::time::Duration;

const MARGIN: Duration = Duration::from_secs(5);

/// What a command ends with that not even `SIGKILL` ends.
const KILLED: u8 = 137;

/// What happens to what is left.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Clock {
    /// No process has been asked to stop.
    Stands,
    Runs {
        kill_by: Option<Monotonic>,
    },
    Killing {
        last: Monotonic,
        leave_by: Monotonic,
    },
}

impl Clock {
    /// The first to ask for it starts it.
    pub fn start(&mut self, kill_by: Option<Monotonic>) {
        if *self == Self::Stands {
            *self = Self::Runs { kill_by };
        }
    }
}

impl InitRules {
    pub(super) fn kill_all(&mut self, now: Monotonic) -> Held {
        match self.clock {
            Clock::Stands => Err("killed without a stop".into()),
            Clock::Runs { kill_by } => {
                self.clock = Clock::Killing { last: now, leave_by: now + MARGIN };
                // Should no process be found, the command is known by name: its group, or itself in ours.
                if let Stage::Runs(pid) = self.stage {
                    let signal = Signal::KILL;
                    let shared = self.policy.job == Job::Shared;
                    let by_name = if shared {
                        Action::Signal { to: Recipients::Process(pid), signal }
                    } else {
                        Action::Signal { to: Recipients::Group(pid), signal }
                    };
                    self.owed.push_back(by_name);
                }
                check(kill_by.is_some_and(|by| by <= now), "killed too early")
            }
            Clock::Killing { leave_by, .. } => {
                self.clock = Clock::Killing { last: now, leave_by };
                Ok(())
            }
        }
    }

    /// What runs too long is asked to stop, as by a TERM, unless it was asked before.
    pub(super) fn watch_the_deadline(&mut self, now: Monotonic) {
        let is_over = self.policy.deadline.is_some_and(|by| by <= now);
        if !is_over || self.clock != Clock::Stands {
            return;
        }
        match self.stage {
            Stage::Runs(pid) => {
                let to = self.target(pid);
                let signal = match self.name_of(Signal::TERM) {
                    None | Some(Signal::TERM) => self.policy.stop.signal,
                    Some(other) => other,
                };
                let received = Received::plain(signal);
                self.owed.push_back(Action::Forward(Forward {
                    to,
                    received,
                    spare_unaware: false,
                    asks: true,
                }));
                if ![Signal::STOP, Signal::TSTP, Signal::TTIN, Signal::TTOU].contains(&signal) {
                    self.owed.push_back(Action::ContinueStopped(to));
                }
                self.clock.start(self.policy.stop.graceful.deadline(now));
            }
            Stage::Paused => {
                self.stage = Stage::Left { code: 0, asks: None };
                self.owed.push_back(Action::Ask(Ask::Reap));
            }
            Stage::Unstarted | Stage::Wanted | Stage::Ordered(_) | Stage::Left { .. } | Stage::Over => return,
        }
        self.overdue = true;
    }

    /// Leaves those whom not even `SIGKILL` ends.
    pub(super) fn give_up(&mut self, now: Monotonic, code: u8) -> Held {
        let unkillable = matches!(self.clock, Clock::Killing { leave_by, .. } if leave_by <= now);
        check(unkillable, "it leaves while a process is left")?;
        let own = match self.stage {
            Stage::Left { code, .. } => code,
            Stage::Runs(_) => KILLED,
            Stage::Unstarted | Stage::Wanted | Stage::Ordered(_) | Stage::Paused | Stage::Over => {
                return Err("it waits for nothing".into());
            }
        };
        self.exit = Some(code);
        check(code == self.told_as(own), "another code than the command's")
    }

    /// Whenever the loop goes to sleep until `wakes`.
    pub fn settled(
        &self,
        now: Monotonic,
        wakes: Option<Monotonic>,
        snapshot: &Snapshot,
        childless: bool,
    ) -> Held {
        match self.stage {
            Stage::Paused => {}
            Stage::Runs(_) => check(!childless, "the command's end was not heard of")?,
            Stage::Left { asks, .. } => {
                check(!childless, "no process is left, and it stays")?;
                check(asks.is_some(), "orphans were not asked to stop")?;
            }
            Stage::Unstarted | Stage::Wanted | Stage::Ordered(_) => {
                return Err("the spawn was not answered".into());
            }
            Stage::Over => return Err("there is nothing to wait for, and it stays".into()),
        }
        self.shows(snapshot)?;
        let owed = match self.clock {
            // An idle init makes no wake-ups at all.
            Clock::Stands => {
                self.policy.deadline.filter(|_| matches!(self.stage, Stage::Runs(_) | Stage::Paused))
            }
            Clock::Runs { kill_by } => match self.stage {
                Stage::Left { asks: Some((times, at)), .. } if times < 9 => {
                    Some(kill_by.map_or(at, |by| by.min(at)))
                }
                _ => kill_by,
            },
            Clock::Killing { last, leave_by } => Some(leave_by.min(last + 100 * MS)),
        };
        match (owed, wakes) {
            (None, wakes) => check(wakes.is_none(), "woken for nothing"),
            (Some(by), _) if by <= now => Err("a kill is overdue".into()),
            (Some(by), wakes) => {
                check(wakes.is_some_and(|at| at <= by), "nothing wakes the loop for the kill")
            }
        }
    }

    /// An init is ready that has a command, or needs none, and is not on its way out.
    fn shows(&self, snapshot: &Snapshot) -> Held {
        let has_what_it_needs = matches!(self.stage, Stage::Runs(_) | Stage::Paused);
        let stays = has_what_it_needs && self.clock == Clock::Stands;
        check(snapshot.is_ready() == stays, "the wrong readiness")?;
        check((snapshot.phase == Phase::Running) == stays, "the wrong phase")?;
        check(snapshot.ready == u32::from(has_what_it_needs), "it miscounts the ready")?;
        check(snapshot.started, "it has not started, it says")
    }
}
