//! What follows when the command has ended, or there never was one.

use super::clock::Clock;
use super::{InitRules, Stage};
use prefork_init::core::action::Note;
use prefork_init::core::policy::{Job, Orphans, Scope};
use prefork_init::core::{Action, Monotonic, Pid, Signal};

impl InitRules {
    pub(super) fn command_ended(&mut self, pid: Pid, code: u8) {
        if self.has_terminal() {
            self.owed.push_back(Action::TakeTerminalBack);
        }
        let leads_group = self.policy.job != Job::Shared;
        let signal = match self.policy.orphans {
            Orphans::Wait => {
                let group_heard =
                    leads_group && self.policy.scope == Scope::Group && self.clock != Clock::Stands;
                let told = group_heard.then_some(pid);
                self.stage = Stage::Left { code, told, orphans_asked: false };
                return;
            }
            Orphans::Signal if leads_group => self.name_of(Signal::TERM),
            Orphans::Signal | Orphans::Leave => None,
        };
        if let Some(signal) = signal {
            self.owed.push_back(Action::SignalGroup { pid, signal });
        }
        self.to_tell.push(Note::OrphansLeft { signal, code: self.told_as(code) });
        self.is_over(code);
    }

    /// Nobody is cut off, and nobody is asked who has got the stop signal, or was killed.
    pub(super) fn reaped(
        &mut self,
        now: Monotonic,
        children_left: bool,
        code: u8,
        told: Option<Pid>,
        orphans_asked: bool,
    ) {
        if !children_left {
            return self.is_over(code);
        }
        self.stage = Stage::Left { code, told, orphans_asked: true };
        if orphans_asked || matches!(self.clock, Clock::Killing { .. }) {
            return;
        }
        self.clock.start(self.policy.stop.graceful.deadline(now));
        let groups = Vec::from_iter(told);
        self.owed.push_back(Action::AskOrphans {
            workers: Vec::new(),
            groups,
            signal: self.policy.stop.signal,
        });
        self.to_tell.push(Note::StoppingOrphans);
    }
}
