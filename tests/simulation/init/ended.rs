//! What follows when the command has ended, or there never was one.

use super::super::dice::MS;
use super::clock::Clock;
use super::{InitRules, Stage};
use prefork_core::Note;
use prefork_core::action::{Recipients, TerminalAction};
use prefork_core::note::InitNote;
use prefork_core::policy::{Job, Orphans};
use prefork_core::{Action, Monotonic, Pid};

impl InitRules {
    pub(super) fn command_ended(&mut self, pid: Pid, code: u8) {
        if self.has_terminal() {
            self.owed.push_back(Action::Terminal(TerminalAction::TakeBack { group: pid }));
        }
        let leads_group = self.policy.job != Job::Shared;
        let signal = match self.policy.orphans {
            Orphans::Wait => {
                self.stage = Stage::Left { code, asks: None };
                return;
            }
            Orphans::Signal(signal) => signal,
            Orphans::Leave => None,
        };
        if let Some(signal) = signal.filter(|_| leads_group) {
            self.owed.push_back(Action::Signal { to: Recipients::Group(pid), signal });
        }
        self.to_tell.push(Note::Init(InitNote::OrphansLeft { signal, code: self.told_as(code) }));
        self.is_over(code);
    }

    /// Nobody is cut off, and nobody is asked who was killed.
    pub(super) fn reaped(
        &mut self,
        now: Monotonic,
        children_left: bool,
        code: u8,
        asks: Option<(u32, Monotonic)>,
    ) {
        if !children_left {
            return self.is_over(code);
        }
        if asks.is_some() {
            return;
        }
        self.stage = Stage::Left { code, asks: Some((0, now)) };
        if !matches!(self.clock, Clock::Killing { .. }) {
            self.clock.start(self.policy.stop.graceful.deadline(now));
            self.to_tell.push(Note::Init(InitNote::StoppingOrphans));
        }
    }

    /// Nine rounds of asking, the pauses between them doubling from 50 ms, while nobody is killed.
    pub(super) fn ask(&mut self, now: Monotonic) {
        let Stage::Left { code, asks: Some((times, at)) } = self.stage else { return };
        if times < 9 && at <= now && matches!(self.clock, Clock::Runs { .. }) {
            let (workers, groups) = (Vec::new(), Vec::new());
            self.owed.push_back(Action::Signal {
                to: Recipients::Orphans { except: workers, asked_groups: groups },
                signal: self.policy.stop.signal,
            });
            let at = now + 50 * MS * 2u32.pow(times);
            self.stage = Stage::Left { code, asks: Some((times + 1, at)) };
        }
    }
}
