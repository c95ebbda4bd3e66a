//! Init mode: one command, run once; the supervisor ends as the command ended. It knows no slots and no listeners.
//!
//! ```text
//!  Starting ──Spawned──▶ Running ──Exited──▶ Ended ──children left──▶ (asked to stop) ──none left──▶ exit
//!   │  └──SpawnFailed──▶ exit                │ ▲ └──────none left─────────────────────────────────────▶ exit
//!   └──no command──▶ Paused ──TERM, INT──────│─┘
//!                                            └──orphans are not waited for──▶ exit
//! ```

use super::action::{Action, Ask, Forward, Recipients, SpawnOrder, Target, TerminalAction};
use super::asks::Asks;
use super::event::{Answer, ChildChange, Event, Lane, Pid, Request, SpawnFailure, SpawnId};
use super::exit::{Exit, Reason, code};
use super::limits::Limits;
use super::note::{InitNote, Note, SignalNote};
use super::policy::{InitPolicy, Job, Orphans, Scope, StopPolicy};
use super::signal::{Received, Signal};
use super::snapshot::{self, Phase, Snapshot, Status};
use super::stop::{FinalStop, Tick};
use super::time::{Monotonic, earlier, reached};
use alloc::vec;
use alloc::vec::Vec;
use core::time::Duration;

#[derive(Clone, Debug)]
pub struct Init {
    policy: InitPolicy,
    state: InitState,
    /// Signals that the kernel sends once because the supervisor gave the terminal up.
    of_hand_off: Vec<Signal>,
    /// The deadline of the whole run has passed, so everything is being stopped.
    overdue: bool,
    /// How far the clock of `step` is behind real time.
    behind: Duration,
}

#[derive(Clone, Copy, Debug)]
enum InitState {
    /// `Started` has not come, or the spawn has not been answered.
    Starting,
    /// There is no command; the supervisor reaps.
    Paused,
    Running {
        pid: Pid,
        since: Monotonic,
        /// `Some` after the first TERM.
        final_stop: Option<FinalStop>,
    },
    /// The command has ended; `Reaped` says whether any child is left.
    Ended { code: u8, final_stop: Option<FinalStop>, asks: Asks },
    /// `Exit` has been returned.
    Gone,
}

impl Init {
    #[must_use]
    pub fn new(policy: InitPolicy) -> Self {
        let of_hand_off = if policy.gave_terminal_up { vec![Signal::HUP, Signal::CONT] } else { Vec::new() };
        Self { policy, state: InitState::Starting, of_hand_off, overdue: false, behind: Duration::ZERO }
    }

    pub fn stop_policy(&self) -> StopPolicy {
        self.policy.stop
    }

    /// See [`Core::step`](super::Core::step).
    pub fn step(&mut self, now: Monotonic, event: Event, out: &mut Vec<Action>) {
        // The loop may be in the middle of a round of reaping when `Exit` is returned.
        if matches!(self.state, InitState::Gone) {
            return;
        }
        match event {
            Event::Started => self.started(out),
            Event::Spawned { id: COMMAND, result: Ok(pid) } => self.spawned(now, pid, out),
            Event::Spawned { id: COMMAND, result: Err(failure) } => self.spawn_failed(failure, out),
            Event::Signalled(received) => self.signalled(now, received, out),
            Event::Child { pid, change: ChildChange::Exited { exit, .. } } => {
                self.exited(now, pid, exit, out)
            }
            Event::Child { pid, change: ChildChange::Stopped { signal, has_terminal } } => {
                self.stopped(pid, signal, has_terminal, out)
            }
            Event::Answered(Answer::StopRefused) => self.go_on(out),
            Event::Requested(Request::Stop) => self.signalled(now, Received::plain(Signal::TERM), out),
            Event::Reaped { children_left } => self.reaped(now, children_left, out),
            // The rest concerns the workers of a pool, or answers what was never asked.
            Event::DeadlinePassed
            | Event::Spawned { .. }
            | Event::Child { change: ChildChange::GroupEnded, .. }
            | Event::Worker { .. }
            | Event::Pool(_)
            | Event::Requested(Request::Reload | Request::Recycle { .. } | Request::Scale { .. })
            | Event::Answered(Answer::ConfigurationRead { .. } | Answer::UpgradeFailed) => {}
        }
        self.stop_in_time(now, out);
        self.tick(now, out);
    }

    /// See [`Core::next_deadline`](super::Core::next_deadline).
    #[must_use]
    pub fn next_deadline(&self) -> Option<Monotonic> {
        match &self.state {
            InitState::Running { final_stop: None, .. } | InitState::Paused => self.stop_at(),
            InitState::Running { final_stop, .. } => final_stop.as_ref().and_then(FinalStop::next_deadline),
            InitState::Ended { final_stop: Some(final_stop @ FinalStop::Stopping { .. }), asks, .. } => {
                earlier(final_stop.next_deadline(), asks.next_deadline())
            }
            InitState::Ended { final_stop, .. } => final_stop.as_ref().and_then(FinalStop::next_deadline),
            InitState::Starting | InitState::Gone => None,
        }
    }

    /// See [`Core::hurts`](super::Core::hurts).
    #[must_use]
    pub fn hurts(&self) -> bool {
        match &self.state {
            InitState::Running { final_stop: None, .. } => self.policy.limit.is_some(),
            InitState::Running { final_stop: Some(final_stop), .. }
            | InitState::Ended { final_stop: Some(final_stop), .. } => final_stop.next_deadline().is_some(),
            InitState::Starting
            | InitState::Paused
            | InitState::Ended { final_stop: None, .. }
            | InitState::Gone => false,
        }
    }

    /// See [`Core::is_behind`](super::Core::is_behind).
    pub fn is_behind(&mut self, behind: Duration) {
        self.behind = behind;
    }

    /// When everything is stopped, on the clock of `step`; `None` is never.
    fn stop_at(&self) -> Option<Monotonic> {
        earlier(self.policy.deadline.map(|at| at - self.behind), self.policy.limit)
    }

    /// See [`Core::snapshot`](super::Core::snapshot).
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        let (phase, ready) = match self.state {
            InitState::Starting => (Phase::Running, 0),
            InitState::Paused | InitState::Running { final_stop: None, .. } => (Phase::Running, 1),
            InitState::Running { final_stop: Some(_), .. } => (Phase::Stopping, 1),
            InitState::Ended { .. } | InitState::Gone => (Phase::Stopping, 0),
        };
        let started = !matches!(self.state, InitState::Starting);
        Snapshot { phase, workers: 1, ready, min_ready: 1, started }
    }

    /// See [`Core::status`](super::Core::status).
    #[must_use]
    pub fn status(&self, now: Monotonic) -> Status {
        let command = match self.state {
            InitState::Running { pid, since, final_stop } => Some(snapshot::Worker {
                slot: 0,
                number: 0,
                generation: 0,
                pid: Some(pid),
                lane: Lane(0),
                state: match final_stop {
                    None => snapshot::State::Ready,
                    Some(FinalStop::Stopping { .. }) => snapshot::State::Stopping,
                    Some(FinalStop::Killing { .. }) => snapshot::State::Killed,
                },
                reason: final_stop.map(|_| Reason::Stop),
                waits_for: None,
                uptime: now.since(since),
                requests: None,
                limits: Limits::default(),
            }),
            InitState::Starting | InitState::Paused | InitState::Ended { .. } | InitState::Gone => None,
        };
        Status {
            summary: self.snapshot(),
            generation: 0,
            reload: None,
            surge_to_go_on: None,
            slots: Vec::new(),
            workers: command.into_iter().collect(),
        }
    }

    fn started(&mut self, out: &mut Vec<Action>) {
        if !matches!(self.state, InitState::Starting) {
            return;
        }
        if self.policy.pause {
            self.state = InitState::Paused;
            return;
        }
        if self.policy.gave_terminal_up {
            out.push(Action::Note(Note::Init(InitNote::TerminalGivenUp)));
        }
        out.push(Action::Spawn(SpawnOrder {
            id: COMMAND,
            slot: 0,
            number: 0,
            lane: Lane(0),
            generation: 0,
            limits: Limits::default(),
        }));
    }

    fn spawned(&mut self, now: Monotonic, pid: Pid, out: &mut Vec<Action>) {
        if matches!(self.state, InitState::Starting) {
            self.state = InitState::Running { pid, since: now, final_stop: None };
            out.push(Action::Note(Note::Init(InitNote::CommandStarted { pid })));
        }
    }

    fn spawn_failed(&mut self, failure: SpawnFailure, out: &mut Vec<Action>) {
        if matches!(self.state, InitState::Starting) {
            out.push(Action::Note(Note::Init(InitNote::SpawnFailed { slot: 0, failure })));
            self.exit((self.policy.start_failure_code)(&failure), out);
        }
    }

    /// Passes every signal on, under the name that the rules give it.
    fn signalled(&mut self, now: Monotonic, received: Received, out: &mut Vec<Action>) {
        let came = received.signal;
        out.push(Action::Note(Note::Signal(SignalNote::Received(received))));
        if let Some(at) = self.of_hand_off.iter().position(|signal| *signal == came) {
            self.of_hand_off.swap_remove(at);
            out.push(Action::Note(Note::Signal(SignalNote::HandOffIgnored { signal: came })));
            return;
        }
        // A command in the supervisor's process group has received from the terminal what that group received.
        let has_it = self.policy.job == Job::Shared && !self.policy.pause && received.is_from_terminal();
        match self.policy.rewrites.of(came) {
            Some(signal) if !has_it => self.pass_on(now, Received { signal, ..received }, came, out),
            Some(_) => {}
            None => out.push(Action::Note(Note::Signal(SignalNote::Dropped { signal: came }))),
        }
        if self.policy.stops_itself && came.is_terminal_stop() {
            out.push(Action::Note(Note::Init(InitNote::Suspending)));
            out.push(Action::Terminal(TerminalAction::StopSelf { job: false }));
        }
    }

    /// Only TERM, or the signal that TERM is rewritten to, starts the graceful timeout: a shell may live through INT
    /// and QUIT.
    fn pass_on(&mut self, now: Monotonic, received: Received, came: Signal, out: &mut Vec<Action>) {
        let signal = received.signal;
        let asks_to_stop = self.policy.asks_to_stop(signal);
        let to_command = self.policy.target_of_signals();
        let spare_unaware = self.policy.spare_unaware && signal.ends_the_unaware() && !asks_to_stop;
        let final_stop = match &mut self.state {
            InitState::Running { pid, final_stop, .. } => {
                let to = to_command(*pid);
                if signal == Signal::CONT && self.policy.job.has_terminal() {
                    out.push(Action::Terminal(TerminalAction::Lend { group: *pid }));
                }
                out.push(Action::Forward(Forward { to, received, spare_unaware, asks: asks_to_stop }));
                out.push(Action::Note(Note::Signal(SignalNote::Forwarded { signal, came })));
                // A stopped process does not see the signal.
                let is_to_go_on = asks_to_stop && !signal.stops();
                out.extend(is_to_go_on.then_some(Action::ContinueStopped(to)));
                final_stop
            }
            // The orphans are about to be asked, and no process is asked twice.
            InitState::Ended { final_stop, asks, .. } if asks_to_stop => {
                asks.hasten(now);
                final_stop
            }
            // It is no longer known of each process whether the signal would end it.
            InitState::Ended { .. } if spare_unaware => return,
            InitState::Ended { final_stop, .. } => {
                out.push(Action::Signal { to: Recipients::Everyone, signal });
                out.push(Action::Note(Note::Signal(SignalNote::Forwarded { signal, came })));
                final_stop
            }
            InitState::Paused if asks_to_stop || signal == Signal::INT => return self.end_pause(out),
            InitState::Starting | InitState::Paused | InitState::Gone => return,
        };
        if asks_to_stop && final_stop.is_none() {
            *final_stop = Some(FinalStop::Stopping { kill_at: self.policy.stop.graceful.deadline(now) });
        }
    }

    fn end_pause(&mut self, out: &mut Vec<Action>) {
        self.state = InitState::Ended { code: 0, final_stop: None, asks: Asks::None };
        out.push(Action::Ask(Ask::Reap));
    }

    /// At the deadline the command is asked to stop as by TERM, if it has not been asked before.
    fn stop_in_time(&mut self, now: Monotonic, out: &mut Vec<Action>) {
        if !reached(self.stop_at(), now) {
            return;
        }
        let of_term = self.policy.rewrites.of(Signal::TERM).filter(|signal| *signal != Signal::TERM);
        let signal = of_term.unwrap_or(self.policy.stop.signal);
        let to_command = self.policy.target_of_signals();
        let after = (now + self.behind).0;
        match &mut self.state {
            InitState::Running { pid, final_stop: final_stop @ None, .. } => {
                let to = to_command(*pid);
                let received = Received::plain(signal);
                out.push(Action::Note(Note::Init(InitNote::DeadlinePassed { after })));
                out.push(Action::Forward(Forward { to, received, spare_unaware: false, asks: true }));
                out.extend((!signal.stops()).then_some(Action::ContinueStopped(to)));
                *final_stop = Some(FinalStop::Stopping { kill_at: self.policy.stop.graceful.deadline(now) });
            }
            InitState::Paused => {
                out.push(Action::Note(Note::Init(InitNote::DeadlinePassed { after })));
                self.end_pause(out);
            }
            InitState::Starting | InitState::Running { .. } | InitState::Ended { .. } | InitState::Gone => {
                return;
            }
        }
        self.overdue = true;
    }

    fn exited(&mut self, now: Monotonic, exited: Pid, exit: Exit, out: &mut Vec<Action>) {
        match self.state {
            InitState::Running { pid, since, final_stop } if pid == exited => {
                out.push(Action::Note(Note::Init(InitNote::CommandExited {
                    pid,
                    exit,
                    uptime: now.since(since),
                })));
                if self.policy.job.has_terminal() {
                    out.push(Action::Terminal(TerminalAction::TakeBack { group: pid }));
                }
                self.command_ended(pid, exit.code(), final_stop, out);
            }
            InitState::Starting
            | InitState::Paused
            | InitState::Running { .. }
            | InitState::Ended { .. }
            | InitState::Gone => {
                let warn = self.policy.warn_on_reap;
                out.push(Action::Note(Note::Init(InitNote::OrphanReaped { pid: exited, exit, warn })));
            }
        }
    }

    fn command_ended(&mut self, pid: Pid, code: u8, final_stop: Option<FinalStop>, out: &mut Vec<Action>) {
        let signal = match self.policy.orphans {
            Orphans::Wait => {
                self.state = InitState::Ended { code, final_stop, asks: Asks::None };
                return;
            }
            Orphans::Signal(signal) => signal,
            Orphans::Leave => None,
        };
        let to_send = signal.filter(|_| self.policy.job != Job::Shared);
        out.extend(to_send.map(|signal| Action::Signal { to: Recipients::Group(pid), signal }));
        out.push(Action::Note(Note::Init(InitNote::OrphansLeft { signal, code: self.code_for(code) })));
        self.exit(code, out);
    }

    /// The command was stopped at the terminal. The shell that waits for the supervisor has to see that. If no shell
    /// could continue the command, it is continued at once.
    fn stopped(&self, stopped: Pid, signal: Signal, has_terminal: bool, out: &mut Vec<Action>) {
        // A shell brings a running job to the foreground without a signal.
        let wants_terminal = [Signal::TTIN, Signal::TTOU].contains(&signal);
        match (self.state, self.policy.job) {
            (InitState::Running { pid, .. }, Job::OfShell | Job::Ours)
                if pid == stopped && wants_terminal && has_terminal =>
            {
                out.push(Action::Terminal(TerminalAction::Lend { group: pid }));
                out.push(Action::ContinueStopped(Target::Group(pid)));
            }
            (InitState::Running { pid, .. }, Job::OfShell) if pid == stopped => {
                out.push(Action::Note(Note::Init(InitNote::Suspending)));
                out.push(Action::Terminal(TerminalAction::StopSelf { job: true }));
            }
            (InitState::Running { pid, .. }, Job::Ours) if pid == stopped && signal == Signal::TSTP => {
                out.push(Action::ContinueStopped(Target::Group(pid)));
            }
            (InitState::Running { .. }, Job::OfShell | Job::Ours | Job::Apart | Job::Shared)
            | (InitState::Starting | InitState::Paused | InitState::Ended { .. } | InitState::Gone, _) => {}
        }
    }

    /// No process is cut off: orphans get the stop signal and the rest of the graceful timeout, or all of it if no
    /// TERM has come.
    fn reaped(&mut self, now: Monotonic, children_left: bool, out: &mut Vec<Action>) {
        match self.state {
            InitState::Ended { code, .. } if !children_left => self.exit(code, out),
            InitState::Ended { code, final_stop, asks: Asks::None } => {
                let kill_at = self.policy.stop.graceful.deadline(now);
                let final_stop = final_stop.unwrap_or(FinalStop::Stopping { kill_at });
                let asks = Asks::Made { times: 0, again_at: now };
                self.state = InitState::Ended { code, final_stop: Some(final_stop), asks };
                if matches!(final_stop, FinalStop::Stopping { .. }) {
                    out.push(Action::Note(Note::Init(InitNote::StoppingOrphans)));
                }
            }
            InitState::Starting
            | InitState::Paused
            | InitState::Running { .. }
            | InitState::Ended { .. }
            | InitState::Gone => {}
        }
    }

    /// Asks the processes that are left, and repeats that: a process that was being forked in one round was not seen.
    /// No process is asked twice.
    fn ask_again(&mut self, now: Monotonic, out: &mut Vec<Action>) {
        let InitState::Ended { final_stop: Some(FinalStop::Stopping { .. }), asks, .. } = &mut self.state
        else {
            return;
        };
        if !asks.made(now) {
            return;
        }
        let signal = self.policy.stop.signal;
        out.push(Action::Signal {
            to: Recipients::Orphans { except: Vec::new(), asked_groups: Vec::new() },
            signal,
        });
    }

    /// No process could continue the supervisor if it stopped, so the command must not stay stopped either.
    fn go_on(&self, out: &mut Vec<Action>) {
        match (self.state, self.policy.job) {
            (InitState::Running { pid, .. }, Job::OfShell) => {
                out.push(Action::ContinueStopped(Target::Group(pid)));
            }
            (InitState::Running { .. }, Job::Apart | Job::Ours | Job::Shared)
            | (InitState::Starting | InitState::Paused | InitState::Ended { .. } | InitState::Gone, _) => {}
        }
    }

    fn tick(&mut self, now: Monotonic, out: &mut Vec<Action>) {
        self.ask_again(now, out);
        let (pid, code, final_stop) = match &mut self.state {
            InitState::Running { pid, final_stop: Some(final_stop), .. } => (Some(*pid), KILLED, final_stop),
            InitState::Ended { code, final_stop: Some(final_stop), .. } => (None, *code, final_stop),
            InitState::Starting
            | InitState::Paused
            | InitState::Running { final_stop: None, .. }
            | InitState::Ended { final_stop: None, .. }
            | InitState::Gone => return,
        };
        match final_stop.tick(now, out) {
            Tick::Wait => {}
            Tick::KilledAll => {
                // If the walk over all descendants is refused (no /proc), the group is still killed.
                out.extend(pid.map(|pid| match self.policy.job {
                    Job::Shared => Action::Signal { to: Recipients::Process(pid), signal: Signal::KILL },
                    Job::Apart | Job::OfShell | Job::Ours => {
                        Action::Signal { to: Recipients::Group(pid), signal: Signal::KILL }
                    }
                }));
                out.push(Action::Note(Note::Init(InitNote::KillingAll)));
            }
            Tick::Leave => self.exit(code, out),
        }
    }

    fn exit(&mut self, code: u8, out: &mut Vec<Action>) {
        self.state = InitState::Gone;
        out.push(Action::Exit(self.code_for(code)));
    }

    /// The supervisor's exit code if the command ended with `code`.
    fn code_for(&self, code: u8) -> u8 {
        self.policy.remapped(if self.overdue { code::DEADLINE } else { code })
    }
}

impl InitPolicy {
    fn target_of_signals(&self) -> fn(Pid) -> Target {
        match (self.scope, self.job) {
            (Scope::Group, Job::Apart | Job::OfShell | Job::Ours) => Target::Group,
            (Scope::Process, _) | (Scope::Group, Job::Shared) => Target::Process,
        }
    }

    /// Whether a signal to the command starts the graceful timeout: TERM, what TERM is rewritten to, and the stop
    /// signal.
    #[must_use]
    pub fn asks_to_stop(&self, sent: Signal) -> bool {
        sent == self.stop.signal || sent == Signal::TERM || self.rewrites.of(Signal::TERM) == Some(sent)
    }

    /// The exit code after the remapping.
    #[must_use]
    pub fn remapped(&self, code: u8) -> u8 {
        self.remaps.iter().rev().find(|(from, _)| *from == code).map_or(code, |(_, to)| *to)
    }
}

impl Job {
    fn has_terminal(self) -> bool {
        matches!(self, Self::OfShell | Self::Ours)
    }
}

const COMMAND: SpawnId = SpawnId(0);

/// The exit code of a command that was killed by the supervisor: 128 + `SIGKILL`.
const KILLED: u8 = 137;
