//! How actions reach processes, and what signals do to them.

use super::super::dice::Dice;
use super::super::rule::Held;
use super::{Due, Kernel, OUR_GROUP, Process, Turn};
use prefork_core::action::{
    Ask, Forward, ListenerAction, PoolCheck, Recipients, Target, TerminalAction, WorkerAction,
};
use prefork_core::event::{Answer, PoolFact, WorkerFact};
use prefork_core::note::WorkerRef;
use prefork_core::{Action, Event, Pid, Received, Signal};
use std::time::Duration;

impl Kernel {
    /// Carries one action out. Refuses what a careful kernel would want to refuse.
    pub fn carry_out(&mut self, action: &Action, dice: &mut Dice) -> Result<Option<Event>, String> {
        match *action {
            Action::Signal { to: Recipients::Process(pid), signal } => {
                self.expect_child(pid, action)?;
                self.signal_where(|p| p.pid == pid, signal, dice);
            }
            Action::Signal { to: Recipients::Takers(pid), signal } => {
                self.signal_target(Target::Process(pid), signal, true, action, dice)?;
            }
            Action::Signal { to: Recipients::Group(pid), signal } => {
                self.expect_leader(pid, action)?;
                self.signal_where(|p| p.group == pid, signal, dice);
            }
            Action::Forward(Forward { to, received, spare_unaware, asks }) => {
                if asks {
                    let (Target::Process(of) | Target::Group(of)) = to;
                    let hears = |p: &&Process| p.pid == of || (to == Target::Group(of) && p.group == of);
                    let new: Vec<u64> = self.processes.iter().filter(hears).map(|p| p.serial).collect();
                    self.asked.extend(new);
                }
                self.signal_target(to, received.signal, spare_unaware, action, dice)?;
            }
            Action::ContinueStopped(to) => self.signal_target(to, Signal::CONT, false, action, dice)?,
            Action::Terminal(TerminalAction::Lend { group }) => self.expect_leader(group, action)?,
            Action::Signal { to: Recipients::Leftovers(group), signal } => {
                self.signal_where(|p| p.group == group, signal, dice)
            }
            Action::Signal { to: Recipients::Everyone, signal } => self.signal_where(|_| true, signal, dice),
            Action::Signal {
                to: Recipients::Orphans { except: ref workers, asked_groups: ref groups },
                signal,
            } => {
                let spared = self.below(workers);
                let is_new = |p: &Process| {
                    !spared.contains(&p.serial)
                        && !groups.contains(&p.group)
                        && !self.asked.contains(&p.serial)
                };
                let new: Vec<u64> = self.processes.iter().filter(|p| is_new(p)).map(|p| p.serial).collect();
                self.asked.extend(&new);
                self.signal_where(|p| new.contains(&p.serial), signal, dice);
                self.signal_where(|p| new.contains(&p.serial), Signal::CONT, dice);
            }
            Action::Worker { worker: WorkerRef { pid, .. }, act: WorkerAction::Observe, .. } => {
                self.expect_child(pid, action)?;
                let seen =
                    self.processes.iter().find(|p| p.pid == pid).map(|p| (p.temper.observable, p.accepting));
                return Ok(match seen {
                    Some((false, _)) => Some(Event::Worker { pid, fact: WorkerFact::ObservationRefused }),
                    Some((true, true)) => Some(Event::Worker { pid, fact: WorkerFact::SeenAccepting }),
                    Some((true, false)) | None => Some(Event::Worker {
                        pid,
                        fact: WorkerFact::NotSeenAccepting {
                            took: dice.pick_ms(&[0, 0, 0, 1, 3]),
                            more: dice.one_in(4),
                        },
                    }),
                });
            }
            Action::Worker { worker: WorkerRef { pid, .. }, act: WorkerAction::Hint { signal }, .. } => {
                self.expect_child(pid, action)?;
                if let Some(signal) = signal {
                    self.signal_where(|p| p.pid == pid, signal, dice);
                }
            }
            Action::Worker { worker: WorkerRef { pid, .. }, act: WorkerAction::Probe, .. } => {
                self.expect_child(pid, action)?;
                return Ok(self.probe(pid, dice));
            }
            // The program that is there now is no better than ours.
            Action::Ask(Ask::ReadConfiguration) => {
                return Ok(Some(Event::Answered(Answer::ConfigurationRead { accepted: !dice.one_in(4) })));
            }
            Action::Ask(Ask::Upgrade(_)) => return Ok(Some(Event::Answered(Answer::UpgradeFailed))),
            Action::Worker { worker: WorkerRef { pid, .. }, lane, act: WorkerAction::Measure } => {
                self.expect_child(pid, action)?;
                return Ok(Some(self.measure(pid, lane, dice)));
            }
            Action::Worker { worker: WorkerRef { pid, .. }, lane, act: WorkerAction::CheckQueue } => {
                self.expect_child(pid, action)?;
                return Ok(Some(Event::Worker {
                    pid,
                    fact: WorkerFact::QueueSeen { waiting: self.queue(lane, dice) },
                }));
            }
            Action::Worker {
                worker: WorkerRef { pid, .. },
                act: WorkerAction::CheckConnections { .. },
                ..
            } => {
                self.expect_child(pid, action)?;
                let (found, took) = self.connections(&[pid], dice);
                return Ok(Some(Event::Worker { pid, fact: WorkerFact::ConnectionsSeen { found, took } }));
            }
            Action::Check(PoolCheck::Connections { ref pids, .. }) => {
                let (found, took) = self.connections(pids, dice);
                return Ok(Some(Event::Pool(PoolFact::ConnectionsSeen { found, took })));
            }
            Action::Worker { worker: WorkerRef { pid, .. }, lane, act: WorkerAction::WatchQueue } => {
                self.expect_child(pid, action)?;
                return Ok(self.watch_queue(pid, lane, dice));
            }
            Action::Worker { worker: WorkerRef { pid, .. }, act: WorkerAction::CheckAccepting, .. } => {
                self.expect_child(pid, action)?;
                return Ok(self.look_whether_accepting(pid, dice));
            }
            Action::Check(PoolCheck::Lane { lane }) => {
                return Ok(Some(Event::Pool(PoolFact::LaneSeen { lane, waiting: self.queue(lane, dice) })));
            }
            Action::Check(PoolCheck::Queues { ref lanes }) => {
                let waiting = lanes.iter().map(|lane| self.queue(*lane, dice)).sum();
                return Ok(Some(Event::Pool(PoolFact::QueuesSeen { waiting })));
            }
            Action::Listeners(ListenerAction::Steer { ref lanes }) => self.queues.steered.clone_from(lanes),
            Action::Listeners(ListenerAction::HoldOff) | Action::Listeners(ListenerAction::Refuse { .. }) => {
                self.queues.held_off = true
            }
            Action::Check(PoolCheck::Listeners { ref workers }) => {
                for (pid, _) in workers {
                    self.expect_child(*pid, action)?;
                }
                return Ok(Some(Event::Pool(PoolFact::ListenersSeen { awaited: !dice.one_in(3) })));
            }
            Action::Exit(code) => self.exit = Some(code),
            // A spawn and a reaping round are called by name.
            Action::Spawn(_)
            | Action::Ask(Ask::Reap)
            | Action::Listeners(ListenerAction::Restore { .. })
            | Action::Check(PoolCheck::Container)
            | Action::Worker { act: WorkerAction::Inspect, .. }
            | Action::Worker { act: WorkerAction::ExplainLateness { .. }, .. }
            | Action::Worker { act: WorkerAction::CheckCounting, .. }
            | Action::Terminal(TerminalAction::StopSelf { .. })
            | Action::Note(_)
            | Action::Terminal(TerminalAction::TakeBack { .. }) => {}
        }
        Ok(None)
    }

    fn signal_target(
        &mut self,
        to: Target,
        signal: Signal,
        spare_unaware: bool,
        action: &Action,
        dice: &mut Dice,
    ) -> Held {
        let hears = |p: &Process| !spare_unaware || !p.temper.fragile;
        match to {
            Target::Process(pid) => {
                self.expect_child(pid, action)?;
                self.signal_where(|p| p.pid == pid && hears(p), signal, dice);
            }
            Target::Group(group) => {
                self.expect_leader(group, action)?;
                self.signal_where(|p| p.group == group && hears(p), signal, dice);
            }
        }
        Ok(())
    }

    fn expect_child(&self, pid: Pid, action: &Action) -> Held {
        if self.processes.iter().any(|p| p.pid == pid && p.parent.is_none()) {
            Ok(())
        } else {
            Err(format!("{action:?}, but {pid} is not a child: it may be a stranger by now"))
        }
    }

    fn expect_leader(&self, pid: Pid, action: &Action) -> Held {
        if self.processes.iter().any(|p| p.pid == pid && p.group == pid && p.parent.is_none()) {
            Ok(())
        } else {
            Err(format!("{action:?}, but {pid} leads no group of ours: it may be a stranger's by now"))
        }
    }

    /// A signal for the supervisor: the terminal's driver sends it to the whole group, and a sender that stops
    /// everything to all, in any order. What is not for us yet is on the agenda.
    pub(super) fn signal_us(&mut self, received: Received, dice: &mut Dice) -> Option<Received> {
        let stops = [Signal::TERM, Signal::INT, Signal::QUIT, Signal::ABRT].contains(&received.signal);
        if stops && self.traits.stops_all && !std::mem::replace(&mut self.all_stopped, true) {
            self.signal_where(|_| true, received.signal, dice);
            let later = dice.pick_ms(&[0, 0, 1, 20, 90, 300]);
            if !later.is_zero() {
                self.schedule(later, Due::Signal(received.signal, received.code), dice);
                return None;
            }
        }
        if received.is_from_terminal() {
            self.signal_where(|p| p.group == OUR_GROUP, received.signal, dice);
        }
        Some(received)
    }

    fn signal_where(&mut self, to: impl Fn(&Process) -> bool, signal: Signal, dice: &mut Dice) {
        let hit: Vec<u64> =
            self.processes.iter().filter(|p| p.ended.is_none() && to(p)).map(|p| p.serial).collect();
        for serial in hit {
            self.signal(serial, signal, dice);
        }
    }

    fn signal(&mut self, serial: u64, signal: Signal, dice: &mut Dice) {
        let Some(process) = self.processes.iter_mut().find(|p| p.serial == serial) else { return };
        let temper = process.temper;
        let otherwise = Due::Life(serial, Turn::EndsOtherwise(signal));
        if signal == Signal::KILL {
            if let Some(later) = temper.survives_kill {
                self.schedule(later, otherwise, dice);
            }
        } else if signal == Signal::CONT {
            (process.frozen, process.freeze_is_news) = (None, false);
            if std::mem::take(&mut process.pending_stop) {
                self.signal(serial, self.traits.stop_signal, dice);
            }
        } else if signal == self.traits.stop_signal {
            if process.frozen.is_some() {
                process.pending_stop = true;
            } else if let Some((after, _)) = temper.on_stop {
                self.schedule(after, Due::Life(serial, Turn::EndsStopped), dice);
            }
        } else if signal == Signal::STOP || (signal.is_terminal_stop() && !temper.handles_tstp) {
            self.freeze(serial, signal, dice);
        } else if temper.fragile && process.frozen.is_none() {
            self.schedule(Duration::ZERO, otherwise, dice);
        }
    }

    pub(super) fn freeze(&mut self, serial: u64, signal: Signal, dice: &mut Dice) {
        let Some(process) = self.processes.iter_mut().find(|p| p.serial == serial) else { return };
        if process.frozen.replace(signal).is_none() && process.parent.is_none() && self.traits.tells_stops {
            process.freeze_is_news = true;
            self.raise_sigchld(dice);
        }
    }
}
