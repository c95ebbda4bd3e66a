//! The rules of init mode, written from the README's promises: what each event obliges to in its very step, and
//! nothing else is ever done. Only the kill has a time of its own.

mod clock;
mod ended;
mod signals;

use super::rule::{Held, check};
use clock::Clock;
use prefork_core::Note;
use prefork_core::action::{Recipients, SpawnOrder, Target, TerminalAction};
use prefork_core::event::{Answer, ChildChange, Request, SpawnId};
use prefork_core::note::InitNote;
use prefork_core::policy::{InitPolicy, Job};
use prefork_core::{Action, Event, Lane, Limits, Monotonic, Pid, Received, Signal};
use std::collections::VecDeque;

/// Where the command stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Stage {
    Unstarted,
    /// It is to be spawned.
    Wanted,
    /// Its spawn is not answered.
    Ordered(SpawnId),
    Runs {
        pid: Pid,
        since: Monotonic,
    },
    /// There is none; we wait for a signal.
    Paused,
    /// There is none any more; others are waited for.
    Left {
        code: u8,
        /// How often the others were asked, and when they are asked again.
        asks: Option<(u32, Monotonic)>,
    },
    /// It could not be started, or ended and nobody is waited for.
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
    /// What it has to say, in any order.
    to_tell: Vec<Note>,
    exit: Option<u8>,
    /// Its time was over.
    overdue: bool,
}

impl InitRules {
    pub fn new(policy: InitPolicy) -> Self {
        let of_hand_off = if policy.gave_terminal_up { vec![Signal::CONT, Signal::HUP] } else { Vec::new() };
        Self {
            policy,
            stage: Stage::Unstarted,
            clock: Clock::Stands,
            of_hand_off,
            owed: VecDeque::new(),
            to_tell: Vec::new(),
            exit: None,
            overdue: false,
        }
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
        self.take_in(now, event);
        self.watch_the_deadline(now);
        self.ask(now);
        for action in actions {
            self.judge(now, action).map_err(|broken| format!("{broken}: {action:?}"))?;
        }
        check(self.stage != Stage::Wanted, "the command was not started")?;
        check(self.owed.is_empty(), &format!("not done: {:?}", self.owed))?;
        check(self.to_tell.is_empty(), &format!("not told: {:?}", self.to_tell))
    }

    fn take_in(&mut self, now: Monotonic, event: Event) {
        match (event, self.stage) {
            (Event::Started, Stage::Unstarted) if self.policy.pause => self.stage = Stage::Paused,
            (Event::Started, Stage::Unstarted) => {
                self.stage = Stage::Wanted;
                self.to_tell
                    .extend(self.policy.gave_terminal_up.then_some(Note::Init(InitNote::TerminalGivenUp)));
            }
            (Event::Spawned { id, result: Ok(pid) }, Stage::Ordered(ordered)) if id == ordered => {
                self.stage = Stage::Runs { pid, since: now };
                self.to_tell.push(Note::Init(InitNote::CommandStarted { pid }));
            }
            (Event::Spawned { id, result: Err(failure) }, Stage::Ordered(ordered)) if id == ordered => {
                self.to_tell.push(Note::Init(InitNote::SpawnFailed { slot: 0, failure }));
                self.is_over((self.policy.start_failure_code)(&failure));
            }
            (Event::Signalled(received), _) => self.signalled(now, received),
            // As a TERM from nobody.
            (Event::Requested(Request::Stop), _) => self.signalled(now, Received::plain(Signal::TERM)),
            (
                Event::Child { pid: ended, change: ChildChange::Exited { exit, .. } },
                Stage::Runs { pid, since },
            ) if ended == pid => {
                self.to_tell.push(Note::Init(InitNote::CommandExited {
                    pid,
                    exit,
                    uptime: now.since(since),
                }));
                self.command_ended(pid, exit.code());
            }
            (Event::Child { pid, change: ChildChange::Exited { exit, .. } }, _) => {
                self.to_tell.push(Note::Init(InitNote::OrphanReaped {
                    pid,
                    exit,
                    warn: self.policy.warn_on_reap,
                }));
            }
            (
                Event::Child { pid: stopped, change: ChildChange::Stopped { signal, has_terminal } },
                Stage::Runs { pid, .. },
            ) if stopped == pid => {
                self.command_stopped(pid, signal, has_terminal);
            }
            (Event::Reaped { children_left }, Stage::Left { code, asks }) => {
                self.reaped(now, children_left, code, asks);
            }
            (Event::Answered(Answer::StopRefused), Stage::Runs { pid, .. })
                if self.policy.job == Job::OfShell =>
            {
                self.owed.push_back(Action::ContinueStopped(Target::Group(pid)));
            }
            (
                Event::Started
                | Event::DeadlinePassed
                | Event::Spawned { .. }
                | Event::Child { .. }
                | Event::Reaped { .. }
                | Event::Worker { .. }
                | Event::Pool(_)
                | Event::Requested(_)
                | Event::Answered(_),
                _,
            ) => {}
        }
    }

    /// Nobody is waited for: the step ends with this.
    fn is_over(&mut self, code: u8) {
        self.stage = Stage::Over;
        self.owed.push_back(Action::Exit(self.told_as(code)));
    }

    /// The code as the user wants it: the rules are not applied to what they lead to.
    fn told_as(&self, code: u8) -> u8 {
        let code = if self.overdue { 124 } else { code };
        let mut told = code;
        for (from, to) in &self.policy.remaps {
            if *from == code {
                told = *to;
            }
        }
        told
    }

    fn has_terminal(&self) -> bool {
        [Job::OfShell, Job::Ours].contains(&self.policy.job)
    }

    /// A shell would not know that our job is stopped, as it is we whom it waits for. Where we are that shell, a
    /// Ctrl-Z is undone; who reads in the background gets the terminal, or would be stopped again at once.
    fn command_stopped(&mut self, pid: Pid, signal: Signal, has_terminal: bool) {
        let reads_or_writes = [Signal::TTIN, Signal::TTOU].contains(&signal);
        if self.has_terminal() && has_terminal && reads_or_writes {
            // It is in the foreground as a job, and was not told; or nobody else could tell it.
            self.owed.push_back(Action::Terminal(TerminalAction::Lend { group: pid }));
            self.owed.push_back(Action::ContinueStopped(Target::Group(pid)));
        } else if self.policy.job == Job::OfShell {
            self.to_tell.push(Note::Init(InitNote::Suspending));
            self.owed.push_back(Action::Terminal(TerminalAction::StopSelf { job: true }));
        } else if self.policy.job == Job::Ours && signal == Signal::TSTP {
            self.owed.push_back(Action::ContinueStopped(Target::Group(pid)));
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
            Action::Spawn(SpawnOrder {
                id,
                slot: 0,
                number: 0,
                lane: Lane(0),
                generation: 0,
                limits: Limits { requests: None, age: None, memory: None },
            }) => {
                check(self.stage == Stage::Wanted, "no command is to be started")?;
                self.stage = Stage::Ordered(*id);
                Ok(())
            }
            Action::Note(note) => match self.to_tell.iter().position(|known| known == note) {
                Some(at) => {
                    self.to_tell.swap_remove(at);
                    Ok(())
                }
                None => Err("that did not happen".into()),
            },
            Action::Signal { to: Recipients::Everyone, signal: Signal::KILL } => self.kill_all(now),
            Action::Exit(_) if matches!(self.stage, Stage::Over) => {
                Err("with another code, or too soon".into())
            }
            Action::Exit(code) => self.give_up(now, *code),
            Action::Spawn(_)
            | Action::Signal { .. }
            | Action::Forward(_)
            | Action::ContinueStopped(_)
            | Action::Terminal(_)
            | Action::Worker { .. }
            | Action::Check(_)
            | Action::Listeners(_)
            | Action::Ask(_) => Err("nothing asks for that, or not yet".into()),
        }
    }
}
