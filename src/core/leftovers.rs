//! What a dead worker left behind in its process group.
//!
//! A worker that was a shell, or a server with processes of its own, can die and leave children that
//! still hold the listener. They get the stop signal with the death and `SIGKILL` a graceful timeout later.

use super::action::{Action, Recipients};
use super::event::Pid;
use super::policy::StopPolicy;
use super::signal::Signal;
use super::time::{Monotonic, earlier, reached};
use alloc::collections::VecDeque;
use alloc::vec::Vec;

/// More groups than this are not waited for: the oldest is killed early.
const MOST: usize = 64;

/// Groups that lost their leader, in the order in which they did.
#[derive(Clone, Debug, Default)]
pub struct Leftovers {
    to_kill: VecDeque<(Pid, Option<Monotonic>)>,
    /// Asked while everything ends, which kills them with everything else.
    at_the_end: Vec<Pid>,
}

impl Leftovers {
    /// Asks the group of a worker that has just ended to stop. Its leader is still a zombie, so no other group can have
    /// the number.
    fn ask(group: Pid, policy: &StopPolicy, out: &mut Vec<Action>) {
        out.push(Action::Signal { to: Recipients::Group(group), signal: policy.signal });
        out.push(Action::Signal { to: Recipients::Group(group), signal: Signal::CONT });
    }

    /// Asks the group of a worker that ended while everything ends.
    pub fn stop_at_the_end(&mut self, group: Pid, policy: &StopPolicy, out: &mut Vec<Action>) {
        Self::ask(group, policy, out);
        self.at_the_end.push(group);
    }

    /// All groups that were asked and may have members left.
    fn asked(&self) -> Vec<Pid> {
        self.to_kill.iter().map(|(group, _)| *group).chain(self.at_the_end.iter().copied()).collect()
    }

    /// Asks the group of a worker that has just ended to stop, and remembers to kill it.
    pub fn stop(&mut self, now: Monotonic, group: Pid, policy: &StopPolicy, out: &mut Vec<Action>) {
        Self::ask(group, policy, out);
        self.to_kill.push_back((group, policy.graceful.deadline(now)));
        if self.to_kill.len() > MOST
            && let Some((group, _)) = self.to_kill.pop_front()
        {
            out.push(Action::Signal { to: Recipients::Leftovers(group), signal: Signal::KILL });
        }
    }

    /// Asks what else descends from us to stop, but for these and for groups that were asked before.
    pub fn stop_orphans(&self, except: Vec<Pid>, policy: &StopPolicy, out: &mut Vec<Action>) {
        let to = Recipients::Orphans { except, asked_groups: self.asked() };
        out.push(Action::Signal { to, signal: policy.signal });
    }

    /// The groups that are killed later, and when.
    pub fn to_kill(&self) -> impl Iterator<Item = (Pid, Option<Monotonic>)> {
        self.to_kill.iter().copied()
    }

    /// The same, as the program before us handed it over.
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

    /// Kills what has had its time.
    pub fn tick(&mut self, now: Monotonic, out: &mut Vec<Action>) {
        self.to_kill.retain(|&(group, kill_at)| {
            let due = reached(kill_at, now);
            if due {
                out.push(Action::Signal { to: Recipients::Leftovers(group), signal: Signal::KILL });
            }
            !due
        });
    }

    /// When [`tick`](Self::tick) has something to do.
    pub fn next_deadline(&self) -> Option<Monotonic> {
        self.to_kill.iter().fold(None, |soonest, (_, kill_at)| earlier(soonest, *kill_at))
    }
}
