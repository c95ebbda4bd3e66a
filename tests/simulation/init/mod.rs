//! The rules of init mode, from the README's promises: what an event obliges to in its very step, and nothing else is
//! ever done. Only the kill has a time of its own. What is told of it is for tests/init and tests/scenarios.

mod clock;
mod signals;

use super::dice::MS;
use super::rule::{Held, check};
use clock::Clock;
use prefork_core::action::{Recipients, SpawnOrder, Target, TerminalAction};
use prefork_core::event::{Answer, ChildChange, Request, SpawnId};
use prefork_core::note::InitNote;
use prefork_core::policy::{InitPolicy, Job, Orphans};
use prefork_core::{Action, Event, Monotonic, Note, Pid, Received, Signal};
use std::collections::VecDeque;

/// Where the command stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    Unstarted,
    /// It is to be spawned.
    Wanted,
    /// Its spawn is not answered.
    Ordered(SpawnId),
    Runs(Pid),
    /// There is none; we wait for a signal.
    Paused,
    /// There is none any more; others are waited for.
    Left {
        code: u8,
        /// How often the others were asked, and when they are asked again.
        asks: Option<(u32, Monotonic)>,
    },
    /// It could not be started, or ended and nothing is waited for.
    Over,
}

pub struct InitRules {
    policy: InitPolicy,
    stage: Stage,
    clock: Clock,
    /// What the kernel sends us once because we gave the terminal up.
    of_hand_off: Vec<Signal>,
    /// What the step has to do, in this order.
    owed: VecDeque<Action>,
    exit: Option<u8>,
    /// Its time was over.
    overdue: bool,
}

impl InitRules {
    pub fn new(policy: InitPolicy) -> Self {
        let of_hand_off = if policy.gave_terminal_up { vec![Signal::CONT, Signal::HUP] } else { Vec::new() };
        let (stage, clock, owed) = (Stage::Unstarted, Clock::Stands, VecDeque::new());
        Self { policy, stage, clock, of_hand_off, owed, exit: None, overdue: false }
    }

    /// Whether it waits for a signal and nothing else.
    pub fn is_paused(&self) -> bool {
        self.stage == Stage::Paused
    }

    /// After each step.
    pub fn step(&mut self, now: Monotonic, event: Event, actions: &[Action]) -> Held {
        if self.exit.is_some() {
            return Ok(());
        }
        let command = if let Stage::Runs(pid) = self.stage { Some(pid) } else { None };
        self.take_in(now, event);
        self.watch_the_deadline(now);
        self.ask(now);
        for action in actions {
            self.judge(now, action).map_err(|broken| format!("{broken}: {action:?}"))?;
        }
        check(self.stage != Stage::Wanted, "the command was not started")?;
        check(self.owed.is_empty(), &format!("not done: {:?}", self.owed))?;
        let Event::Child { pid: ended, change: ChildChange::Exited { exit: how, .. } } = event else {
            return Ok(());
        };
        let told = actions.iter().filter(|action| match action {
            Action::Note(Note::Init(InitNote::CommandExited { pid, exit, .. })) => {
                command == Some(ended) && (*pid, *exit) == (ended, how)
            }
            Action::Note(Note::Init(InitNote::OrphanReaped { pid, exit, warn })) => {
                command != Some(ended) && (*pid, *exit, *warn) == (ended, how, self.policy.warn_on_reap)
            }
            _ => false,
        });
        check(told.count() == 1, "an end is told once, as what it is")
    }

    fn take_in(&mut self, now: Monotonic, event: Event) {
        match (event, self.stage) {
            (Event::Started, Stage::Unstarted) if self.policy.pause => self.stage = Stage::Paused,
            (Event::Started, Stage::Unstarted) => self.stage = Stage::Wanted,
            (Event::Spawned { id, result: Ok(pid) }, Stage::Ordered(ordered)) if id == ordered => {
                self.stage = Stage::Runs(pid);
            }
            (Event::Spawned { id, result: Err(failure) }, Stage::Ordered(ordered)) if id == ordered => {
                self.is_over((self.policy.start_failure_code)(&failure));
            }
            (Event::Signalled(received), _) => self.signalled(now, received),
            // As a TERM without a sender.
            (Event::Requested(Request::Stop), _) => self.signalled(now, Received::plain(Signal::TERM)),
            (Event::Child { pid: ended, change: ChildChange::Exited { exit, .. } }, Stage::Runs(pid))
                if ended == pid =>
            {
                self.command_ended(pid, exit.code());
            }
            (
                Event::Child { pid: stopped, change: ChildChange::Stopped { signal, has_terminal } },
                Stage::Runs(pid),
            ) if stopped == pid => {
                self.command_stopped(pid, signal, has_terminal);
            }
            (Event::Reaped { children_left }, Stage::Left { code, asks }) => match asks {
                _ if !children_left => self.is_over(code),
                Some(_) => {}
                None => {
                    self.stage = Stage::Left { code, asks: Some((0, now)) };
                    self.clock.start(self.policy.stop.graceful.deadline(now));
                }
            },
            (Event::Answered(Answer::StopRefused), Stage::Runs(pid)) if self.policy.job == Job::OfShell => {
                self.owed.push_back(Action::ContinueStopped(Target::Group(pid)));
            }
            _ => {}
        }
    }

    /// Nothing is waited for: the step ends with this.
    fn is_over(&mut self, code: u8) {
        self.stage = Stage::Over;
        self.owed.push_back(Action::Exit(self.told_as(code)));
    }

    /// The code as the user wants it: the last rule for it counts, and none is applied to what another leads to.
    fn told_as(&self, code: u8) -> u8 {
        let code = if self.overdue { 124 } else { code };
        let rule = self.policy.remaps.iter().rev().find(|(from, _)| *from == code);
        rule.map_or(code, |(_, to)| *to)
    }

    fn has_terminal(&self) -> bool {
        [Job::OfShell, Job::Ours].contains(&self.policy.job)
    }

    fn command_ended(&mut self, pid: Pid, code: u8) {
        if self.has_terminal() {
            self.owed.push_back(Action::Terminal(TerminalAction::TakeBack { group: pid }));
        }
        match self.policy.orphans {
            Orphans::Wait => self.stage = Stage::Left { code, asks: None },
            Orphans::Signal(Some(signal)) if self.policy.job != Job::Shared => {
                self.owed.push_back(Action::Signal { to: Recipients::Group(pid), signal });
                self.is_over(code);
            }
            Orphans::Signal(_) | Orphans::Leave => self.is_over(code),
        }
    }

    /// A shell would not know that our job is stopped, as it is we for whom it waits. Where we are that shell, a
    /// Ctrl-Z is undone; a command that reads in the background gets the terminal, or would be stopped again at once.
    fn command_stopped(&mut self, pid: Pid, signal: Signal, has_terminal: bool) {
        let reads_or_writes = [Signal::TTIN, Signal::TTOU].contains(&signal);
        if self.has_terminal() && has_terminal && reads_or_writes {
            self.owed.push_back(Action::Terminal(TerminalAction::Lend { group: pid }));
            self.owed.push_back(Action::ContinueStopped(Target::Group(pid)));
        } else if self.policy.job == Job::OfShell {
            self.owed.push_back(Action::Terminal(TerminalAction::StopSelf { job: true }));
        } else if self.policy.job == Job::Ours && signal == Signal::TSTP {
            self.owed.push_back(Action::ContinueStopped(Target::Group(pid)));
        }
    }

    /// Nine rounds of asking, the pauses between them doubling from 50 ms, while nothing is killed.
    fn ask(&mut self, now: Monotonic) {
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

    fn judge(&mut self, now: Monotonic, action: &Action) -> Held {
        check(self.exit.is_none(), "after Exit")?;
        if self.owed.front() == Some(action) {
            if let Some(Action::Exit(code)) = self.owed.pop_front() {
                self.exit = Some(code);
            }
            return Ok(());
        }
        match action {
            Action::Spawn(SpawnOrder { id, .. }) => {
                check(self.stage == Stage::Wanted, "no command is to be started")?;
                self.stage = Stage::Ordered(*id);
                Ok(())
            }
            Action::Note(_) => Ok(()),
            Action::Signal { to: Recipients::Everyone, signal: Signal::KILL } => self.kill_all(now),
            Action::Exit(_) if self.stage == Stage::Over => Err("with another code, or too soon".into()),
            Action::Exit(code) => self.give_up(now, *code),
            _ => Err("nothing asks for that, or not yet".into()),
        }
    }
}
