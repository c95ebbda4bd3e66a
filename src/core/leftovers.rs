//! The processes that a dead worker left behind in its process group.
//!
//! A worker that was a shell, or a server with processes of its own, can die and leave children that still hold the
//! listener. They get the stop signal at its death, and `SIGKILL` after the graceful timeout.

use super::action::{Action, Recipients};
use super::event::Pid;
use super::policy::StopPolicy;
use super::signal::Signal;
use super::time::{Monotonic, earlier, reached};
use alloc::collections::VecDeque;
use alloc::vec::Vec;

/// The highest number of groups that are waited for: beyond it, the oldest is killed early.
const MOST: usize = 64;

/// Groups that lost their leader, oldest first.
#[derive(Clone, Debug, Default)]
pub struct Leftovers {
    to_kill: VecDeque<(Pid, Option<Monotonic>)>,
    /// Groups that were asked to stop during the final stop, which kills everything.
    at_the_end: Vec<Pid>,
}

impl Leftovers {
    /// Asks the group of a worker that has just ended to stop. Its leader is still a zombie, so no other group can
    /// have the number.
    fn ask(group: Pid, policy: &StopPolicy, out: &mut Vec<Action>) {
        out.push(Action::Signal { to: Recipients::Group(group), signal: policy.signal });
        out.push(Action::Signal { to: Recipients::Group(group), signal: Signal::CONT });
    }

    /// Asks the group of a worker that ended during the final stop.
    pub fn stop_at_the_end(&mut self, group: Pid, policy: &StopPolicy, out: &mut Vec<Action>) {
        Self::ask(group, policy, out);
        self.at_the_end.push(group);
    }

    fn asked(&self) -> Vec<Pid> {
        self.to_kill.iter().map(|(group, _)| *group).chain(self.at_the_end.iter().copied()).collect()
    }

    /// Asks the group of a worker that has just ended to stop, and schedules its kill.
    pub fn stop(&mut self, now: Monotonic, group: Pid, policy: &StopPolicy, out: &mut Vec<Action>) {
        Self::ask(group, policy, out);
        self.to_kill.push_back((group, policy.graceful.deadline(now)));
        if self.to_kill.len() > MOST
            && let Some((group, _)) = self.to_kill.pop_front()
        {
            out.push(Action::Signal { to: Recipients::Leftovers(group), signal: Signal::KILL });
        }
    }

    /// Asks all other descendants to stop, except `except` and groups that were asked before.
    pub fn stop_orphans(&self, except: Vec<Pid>, policy: &StopPolicy, out: &mut Vec<Action>) {
        let to = Recipients::Orphans { except, asked_groups: self.asked() };
        out.push(Action::Signal { to, signal: policy.signal });
    }

    /// The groups that are to be killed, and when; `None` is never.
    pub fn to_kill(&self) -> impl Iterator<Item = (Pid, Option<Monotonic>)> {
        self.to_kill.iter().copied()
    }

    /// The same, from a handover.
    pub fn take_over(to_kill: &[(Pid, Option<Monotonic>)]) -> Self {
        Self { to_kill: to_kill.iter().copied().take(MOST).collect(), at_the_end: Vec::new() }
    }

    /// Whether this group was asked and may have members left.
    pub fn awaits(&self, group: Pid) -> bool {
        self.to_kill.iter().any(|(asked, _)| *asked == group) || self.at_the_end.contains(&group)
    }

    /// The group has no members: its leader was alone in it, or a new worker has its number.
    pub fn forget(&mut self, group: Pid) {
        self.to_kill.retain(|(old, _)| *old != group);
        self.at_the_end.retain(|old| *old != group);
    }

    /// Kills the groups whose time is over.
    pub fn tick(&mut self, now: Monotonic, out: &mut Vec<Action>) {
        self.to_kill.retain(|&(group, kill_at)| {
            let due = reached(kill_at, now);
            if due {
                out.push(Action::Signal { to: Recipients::Leftovers(group), signal: Signal::KILL });
            }
            !due
        });
    }

    pub fn next_deadline(&self) -> Option<Monotonic> {
        self.to_kill.iter().fold(None, |soonest, (_, kill_at)| earlier(soonest, *kill_at))
    }
}
