//! What a dead worker left behind in its process group.
//!
//! A worker that was a shell, or a server with processes of its own, can die and leave children that
//! still hold the listener. They get the stop signal with the death and `SIGKILL` a graceful timeout later.

use super::action::Action;
use super::event::Pid;
use super::policy::StopPolicy;
use super::signal::Signal;
use super::time::{Monotonic, earlier, reached};
use std::collections::VecDeque;

/// More groups than this are not waited for: the oldest is killed early.
const MOST: usize = 64;

/// Asks the group of a worker that has just ended to stop. Its leader is still a zombie, so the number cannot belong
/// to anybody else.
pub fn ask(group: Pid, policy: &StopPolicy, out: &mut Vec<Action>) {
    out.push(Action::SignalGroup { pid: group, signal: policy.signal });
    out.push(Action::SignalGroup { pid: group, signal: Signal::CONT });
}

/// Groups that lost their leader, in the order in which they did.
#[derive(Clone, Debug, Default)]
pub struct Remains(VecDeque<(Pid, Option<Monotonic>)>);

impl Remains {
    /// [Asks](ask) the group of a worker that has just ended to stop, and remembers to kill it.
    pub fn stop(&mut self, now: Monotonic, group: Pid, policy: &StopPolicy, out: &mut Vec<Action>) {
        ask(group, policy, out);
        self.0.push_back((group, policy.graceful.deadline(now)));
        if self.0.len() > MOST
            && let Some((group, _)) = self.0.pop_front()
        {
            out.push(Action::SignalRemains { group, signal: Signal::KILL });
        }
    }

    /// The number belongs to a new worker: the old group was empty.
    pub fn forget(&mut self, group: Pid) {
        self.0.retain(|(old, _)| *old != group);
    }

    /// Kills what has had its time.
    pub fn tick(&mut self, now: Monotonic, out: &mut Vec<Action>) {
        self.0.retain(|&(group, kill_at)| {
            let due = reached(kill_at, now);
            if due {
                out.push(Action::SignalRemains { group, signal: Signal::KILL });
            }
            !due
        });
    }

    /// When [`tick`](Self::tick) has something to do.
    pub fn next_deadline(&self) -> Option<Monotonic> {
        self.0.iter().fold(None, |soonest, (_, kill_at)| earlier(soonest, *kill_at))
    }
}
