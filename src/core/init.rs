//! Init mode: one command, run once; we end as it ended.
//!
//! ```text
//!  Starting ──Spawned──▶ Running ──Exited──▶ Ended ──children left──▶ (asked to stop) ──none left──▶ exit
//!      └──SpawnFailed──▶ exit                  └──────none left─────────────────────────────────────▶ exit
//! ```

use super::action::{Action, Note, SpawnOrder};
use super::event::{Event, Pid, SpawnFailure, SpawnId};
use super::exit::Exit;
use super::policy::StopPolicy;
use super::shutdown::{Endgame, Tick};
use super::signal::{Received, Signal};
use super::snapshot::{Phase, Snapshot};
use super::time::Monotonic;

/// The state of init mode.
#[derive(Clone, Debug)]
pub struct Init {
    policy: StopPolicy,
    state: State,
}

#[derive(Clone, Copy, Debug)]
enum State {
    /// `Started` has not come, or the spawn has not been answered.
    Starting,
    /// The command runs.
    Running {
        pid: Pid,
        since: Monotonic,
        /// Begun by the first TERM.
        endgame: Option<Endgame>,
    },
    /// The command has ended; `Reaped` tells whether anybody is left.
    Ended {
        code: u8,
        endgame: Option<Endgame>,
        /// The command's group, if it has got the stop signal.
        told: Option<Pid>,
        /// Whether those who are left have been asked to stop.
        asked: bool,
    },
    /// `Exit` has been said.
    Gone,
}

impl Init {
    /// Init mode before its command is started.
    #[must_use]
    pub fn new(policy: StopPolicy) -> Self {
        Self { policy, state: State::Starting }
    }

    /// See [`Core::step`](super::Core::step).
    pub fn step(&mut self, now: Monotonic, event: Event, out: &mut Vec<Action>) {
        match event {
            Event::Started => {
                out.push(Action::Spawn(SpawnOrder {
                    id: COMMAND,
                    slot: 0,
                    generation: 0,
                    max_requests: None,
                }));
            }
            Event::Spawned { id: COMMAND, pid } => self.spawned(now, pid, out),
            Event::SpawnFailed { id: COMMAND, failure } => self.spawn_failed(failure, out),
            Event::Signalled(received) => self.signalled(now, received, out),
            Event::Exited { pid, exit } => self.exited(now, pid, exit, out),
            Event::Reaped { children_left } => self.reaped(now, children_left, out),
            // The rest is about workers of a pool, or answers what was never asked.
            Event::DeadlinePassed
            | Event::Spawned { .. }
            | Event::SpawnFailed { .. }
            | Event::SaidReady { .. }
            | Event::SeenAccepting { .. }
            | Event::NotSeenAccepting { .. }
            | Event::ObservationRefused { .. }
            | Event::RequestsReported { .. } => {}
        }
        self.tick(now, out);
    }

    /// See [`Core::next_deadline`](super::Core::next_deadline).
    #[must_use]
    pub fn next_deadline(&self) -> Option<Monotonic> {
        match &self.state {
            State::Running { endgame, .. } | State::Ended { endgame, .. } => {
                endgame.as_ref().and_then(Endgame::next_deadline)
            }
            State::Starting | State::Gone => None,
        }
    }

    /// See [`Core::snapshot`](super::Core::snapshot).
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        let (phase, ready) = match self.state {
            State::Starting => (Phase::Running, 0),
            State::Running { endgame: None, .. } => (Phase::Running, 1),
            State::Running { endgame: Some(_), .. } => (Phase::Stopping, 1),
            State::Ended { .. } | State::Gone => (Phase::Stopping, 0),
        };
        let started = !matches!(self.state, State::Starting);
        Snapshot { phase, workers: 1, ready, min_ready: 1, started }
    }

    fn spawned(&mut self, now: Monotonic, pid: Pid, out: &mut Vec<Action>) {
        if matches!(self.state, State::Starting) {
            self.state = State::Running { pid, since: now, endgame: None };
            out.push(Action::Report(Note::CommandStarted { pid }));
        }
    }

    fn spawn_failed(&mut self, failure: SpawnFailure, out: &mut Vec<Action>) {
        if matches!(self.state, State::Starting) {
            out.push(Action::Report(Note::SpawnFailed { slot: 0, failure }));
            self.exit(failure.code, out);
        }
    }

    /// Every signal is passed on. Only TERM, or what it is rewritten to, also starts the clock: a shell
    /// may live through INT and QUIT.
    fn signalled(&mut self, now: Monotonic, received: Received, out: &mut Vec<Action>) {
        let asks_to_stop = [Signal::TERM, self.policy.signal].contains(&received.signal);
        let endgame = match &mut self.state {
            State::Running { pid, endgame, .. } => {
                out.push(Action::Forward { pid: *pid, received });
                // A stopped process does not see the signal.
                out.extend(asks_to_stop.then_some(Action::ContinueStopped { pid: *pid }));
                endgame
            }
            State::Ended { endgame, .. } => {
                out.push(Action::SignalAll { signal: received.signal });
                endgame
            }
            State::Starting | State::Gone => return,
        };
        if asks_to_stop && endgame.is_none() {
            *endgame = Some(Endgame::Stopping { kill_at: self.policy.graceful.deadline(now) });
        }
    }

    fn exited(&mut self, now: Monotonic, exited: Pid, exit: Exit, out: &mut Vec<Action>) {
        match self.state {
            State::Running { pid, since, endgame } if pid == exited => {
                let told = endgame.is_some().then_some(pid);
                self.state = State::Ended { code: exit.code(), endgame, told, asked: false };
                out.push(Action::Report(Note::CommandExited { pid, exit, uptime: now.since(since) }));
            }
            // An orphan that came to us.
            State::Starting | State::Running { .. } | State::Ended { .. } | State::Gone => {}
        }
    }

    /// Nobody is cut off: what outlives the command gets the stop signal and what is left of the
    /// graceful timeout, all of it if no TERM has come yet.
    fn reaped(&mut self, now: Monotonic, children_left: bool, out: &mut Vec<Action>) {
        match self.state {
            State::Ended { code, .. } if !children_left => self.exit(code, out),
            State::Ended { code, endgame, told, asked: false } => {
                let endgame = match endgame {
                    Some(killing @ Endgame::Killing { .. }) => killing,
                    Some(stopping @ Endgame::Stopping { .. }) => self.ask_orphans(told, stopping, out),
                    None => {
                        let kill_at = self.policy.graceful.deadline(now);
                        self.ask_orphans(told, Endgame::Stopping { kill_at }, out)
                    }
                };
                self.state = State::Ended { code, endgame: Some(endgame), told, asked: true };
            }
            State::Starting | State::Running { .. } | State::Ended { .. } | State::Gone => {}
        }
    }

    fn ask_orphans(&self, told: Option<Pid>, endgame: Endgame, out: &mut Vec<Action>) -> Endgame {
        out.push(Action::Report(Note::StoppingOrphans));
        let groups = told.into_iter().collect();
        out.push(Action::AskOrphans { workers: Vec::new(), groups, signal: self.policy.signal });
        endgame
    }

    fn tick(&mut self, now: Monotonic, out: &mut Vec<Action>) {
        let (pid, code, endgame) = match &mut self.state {
            State::Running { pid, endgame: Some(endgame), .. } => (Some(*pid), KILLED, endgame),
            State::Ended { code, endgame: Some(endgame), .. } => (None, *code, endgame),
            State::Starting
            | State::Running { endgame: None, .. }
            | State::Ended { endgame: None, .. }
            | State::Gone => return,
        };
        match endgame.tick(now, out) {
            Tick::Wait => {}
            Tick::KilledAll => {
                // Should the walk over all descendants be refused (no /proc), the group still dies.
                out.extend(pid.map(|pid| Action::SignalGroup { pid, signal: Signal::KILL }));
                out.push(Action::Report(Note::KillingAll));
            }
            Tick::Leave => self.exit(code, out),
        }
    }

    fn exit(&mut self, code: u8, out: &mut Vec<Action>) {
        self.state = State::Gone;
        out.push(Action::Exit(code));
    }
}

/// The only spawn there is.
const COMMAND: SpawnId = SpawnId(0);

/// What a command killed by us ends with: 128 + `SIGKILL`.
const KILLED: u8 = 137;
