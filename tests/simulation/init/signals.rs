//! What becomes of a signal that comes.

use super::{InitRules, Stage};
use prefork_core::action::{Ask, Forward, Recipients, Target, TerminalAction};
use prefork_core::policy::{Job, Scope};
use prefork_core::{Action, Monotonic, Pid, Received, Signal};

impl InitRules {
    pub(super) fn signalled(&mut self, now: Monotonic, received: Received) {
        let came = received.signal;
        if self.of_hand_off.contains(&came) {
            self.of_hand_off.retain(|signal| *signal != came);
            return;
        }
        if let Some(signal) = self.name_of(came).filter(|_| !self.command_has(&received)) {
            self.reaches(now, Received { signal, ..received });
        }
        if self.policy.stops_itself && [Signal::TSTP, Signal::TTIN, Signal::TTOU].contains(&came) {
            self.owed.push_back(Action::Terminal(TerminalAction::StopSelf { job: false }));
        }
    }

    /// What this signal is called beyond us.
    pub(super) fn name_of(&self, came: Signal) -> Option<Signal> {
        let rules = self.policy.rewrites.rules();
        rules.iter().find(|rule| rule.from == came).map_or(Some(came), |rule| rule.to)
    }

    /// The terminal sends to our whole group, and the command is in it. Without a command we are alone.
    fn command_has(&self, received: &Received) -> bool {
        self.policy.job == Job::Shared && !self.policy.pause && received.is_from_terminal()
    }

    fn asks_to_stop(&self, signal: Signal) -> bool {
        [Some(Signal::TERM), Some(self.policy.stop.signal), self.name_of(Signal::TERM)]
            .contains(&Some(signal))
    }

    pub(super) fn target(&self, pid: Pid) -> Target {
        if self.policy.scope == Scope::Process || self.policy.job == Job::Shared {
            Target::Process(pid)
        } else {
            Target::Group(pid)
        }
    }

    /// It goes to whom there is.
    fn reaches(&mut self, now: Monotonic, received: Received) {
        let signal = received.signal;
        let asks = self.asks_to_stop(signal);
        match self.stage {
            Stage::Runs(pid) => {
                let to = self.target(pid);
                if signal == Signal::CONT && self.has_terminal() {
                    self.owed.push_back(Action::Terminal(TerminalAction::Lend { group: pid }));
                }
                let spare_unaware = self.policy.spare_unaware && signal.ends_the_unaware() && !asks;
                self.owed.push_back(Action::Forward(Forward { to, received, spare_unaware, asks }));
                if asks && ![Signal::STOP, Signal::TSTP, Signal::TTIN, Signal::TTOU].contains(&signal) {
                    self.owed.push_back(Action::ContinueStopped(to));
                }
            }
            // What is about to be asked is not asked before; and whom it would end unaware gets nothing.
            Stage::Left { asks: None, .. } if asks => {}
            // Another round, for those that have not heard it.
            Stage::Left { code, asks: Some((times, _)) } if asks => {
                self.stage = Stage::Left { code, asks: Some((times.min(8), now)) };
            }
            Stage::Left { .. } if self.policy.spare_unaware && signal.ends_the_unaware() && !asks => return,
            Stage::Left { .. } => self.owed.push_back(Action::Signal { to: Recipients::Everyone, signal }),
            Stage::Paused if asks || signal == Signal::INT => {
                // The orphans have what time there is from when they are asked.
                self.stage = Stage::Left { code: 0, asks: None };
                self.owed.push_back(Action::Ask(Ask::Reap));
                return;
            }
            Stage::Paused | Stage::Unstarted | Stage::Wanted | Stage::Ordered(_) | Stage::Over => {
                return;
            }
        }
        if asks {
            self.clock.start(self.policy.stop.graceful.deadline(now));
        }
    }
}
