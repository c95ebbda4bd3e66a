//! `--before`: what has to be done once, before anything else is started.
//!
//! To the core it is a life of its own, that of an init whose one command this is: with a deadline, a stop that is passed
//! on, a graceful timeout and a kill. Meanwhile all that it is done for waits aside; the endpoint shows what waits.

use super::Loop;
use super::execute::Executor;
use super::sending::Sender;
use super::spawning::Starter;
use crate::core::note::{InitNote, SignalNote};
use crate::core::policy::{InitPolicy, Orphans};
use crate::core::signal::Rewrite;
use crate::core::{Core, Mode, Monotonic, Note, Rewrites, Signal};
use crate::os::process::handover::ProgramHandover;
use crate::os::process::send;
use crate::os::process::spawn::{Identity, Placement};
use crate::settings::HelperSettings;
use crate::settings::placeholders::Command;
use crate::setup::environment::Environment;
use crate::values::command_line::Words;
use std::io;
use std::mem::replace;
use tracing::{debug, error, info, warn};

/// What is to be done first.
pub struct Before {
    commands: Vec<Words>,
    /// When all of that must have ended.
    by: Option<Monotonic>,
    /// When the whole run must end, in real time.
    deadline: Option<Monotonic>,
    /// All that waits while that runs.
    aside: Option<Box<Aside>>,
}

impl Before {
    /// What was done by the program before us in this process is not done again.
    pub fn new(config: &HelperSettings, given: Option<&ProgramHandover>) -> Self {
        let commands = if given.is_some() { Vec::new() } else { config.before.clone() };
        Self { commands, by: config.before_by, deadline: config.deadline, aside: None }
    }

    /// The core that the outside sees while this one is at work.
    pub fn shown<'a>(&'a self, core: &'a Core) -> &'a Core {
        self.aside.as_ref().map_or(core, |aside| &aside.core)
    }

    pub fn is_running(&self) -> bool {
        self.aside.is_some()
    }
}

/// All that waits.
struct Aside {
    core: Core,
    execute: Executor,
    /// The first stop signal that has come meanwhile.
    stopped_by: Option<Signal>,
}

impl Loop {
    /// Does what is to be done first; returns the code to end with if that did not go well, or a stop signal came.
    pub(super) async fn prepare(&mut self) -> Option<u8> {
        for words in std::mem::take(&mut self.before.commands) {
            let (code, stopped_by) = self.run_before(&words).await;
            if let Some(signal) = stopped_by {
                info!(signal = %signal, "stopped before anything was started");
            }
            // It may have done all it had to do in spite of the signal: we have not.
            let of_signal = stopped_by.and_then(|signal| u8::try_from(signal.number()).ok());
            let code =
                if code == 0 { of_signal.map_or(0, |number| number.saturating_add(128)) } else { code };
            if code != 0 {
                error!(exit_code = code, command = %words, "--before did not go well: nothing is started");
                // What it has left behind has nothing to be there for.
                let _gone = send::to_all(Signal::KILL);
                return Some(code);
            }
        }
        None
    }

    async fn run_before(&mut self, words: &Words) -> (u8, Option<Signal>) {
        let stop = self.core.stop_policy();
        let policy = InitPolicy {
            rewrites: only_stops(),
            // A daemon that it leaves is an orphan later.
            orphans: Orphans::Leave,
            deadline: self.before.deadline,
            limit: self.before.by,
            ..InitPolicy::new(stop)
        };
        info!(command = %words, "before the start");
        let mut core = Core::new(Mode::Init(policy), 0);
        core.is_behind(self.clock.lost());
        let starter = Starter {
            missing: 0,
            command: Command::new(words.argv().to_vec(), false),
            environment: Environment::exactly(self.helpers.runner.env().to_vec()),
            placement: Placement::Session,
            settings: self.execute.starter.settings.clone(),
            cannot_spawn: self.execute.starter.cannot_spawn,
            death_signal: Some(stop.signal),
            closes_others: true,
        };
        let execute = Executor {
            fleet: None,
            sender: Sender::new(starter.settings.identity.as_ref().map(Identity::ids)),
            console: self.execute.console.without_terminal(),
            starter,
            exit: None,
        };
        let aside = Aside {
            core: replace(&mut self.core, core),
            execute: replace(&mut self.execute, execute),
            stopped_by: None,
        };
        self.before.aside = Some(Box::new(aside));
        self.publish_beside();
        let code = self.live().await;
        let Some(aside) = self.before.aside.take() else { return (code, None) };
        let stopped_by = aside.stopped_by;
        self.core = aside.core;
        self.core.is_behind(self.clock.lost());
        self.execute = aside.execute;
        self.publish_beside();
        (code, stopped_by)
    }

    /// The core that the outside sees: never that of what is done first.
    pub(super) fn shown(&self) -> &Core {
        self.before.shown(&self.core)
    }

    /// Tells of what is done first, in words of its own.
    pub(super) fn report_before(&mut self, note: &Note) {
        match *note {
            Note::Init(InitNote::CommandStarted { pid }) => debug!(pid = pid.0, "before the start: it runs"),
            Note::Init(InitNote::CommandExited { pid, exit, uptime }) => {
                let uptime_ms = u64::try_from(uptime.as_millis()).unwrap_or(u64::MAX);
                info!(pid = pid.0, uptime_ms, "before the start: it ended with {exit}");
            }
            Note::Signal(SignalNote::Forwarded { came, .. }) => {
                info!(signal = %came, "before the start: it is asked to stop");
                if let Some(aside) = &mut self.before.aside {
                    aside.stopped_by.get_or_insert(came);
                }
            }
            Note::Signal(SignalNote::Dropped { signal }) => {
                debug!(signal = %signal, "before the start: signal ignored");
            }
            Note::Init(InitNote::DeadlinePassed { .. }) => {
                warn!("before the start: it takes too long, and is asked to stop")
            }
            Note::Init(InitNote::KillingAll) => {
                warn!(signal = %Signal::KILL, "before the start: it does not stop")
            }
            Note::Init(InitNote::SpawnFailed { failure, .. }) => {
                let error = io::Error::from_raw_os_error(failure.errno);
                error!(step = %failure.step, %error, "before the start: it cannot be started");
            }
            _ => {}
        }
    }
}

/// TERM, INT and QUIT are a TERM to it; what else comes is not meant for it.
fn only_stops() -> Rewrites {
    let all = (1..=64).filter_map(Signal::from_number).filter(|signal| *signal != Signal::TERM);
    let rule = |from| {
        let stops = [Signal::INT, Signal::QUIT].contains(&from);
        Rewrite { from, to: stops.then_some(Signal::TERM) }
    };
    Rewrites::new(all.map(rule).collect())
}
