//! `--before`: commands that run once, before anything else is started.
//!
//! Each command runs as the command of an init of its own: with a deadline, stop signals that are passed on, a
//! graceful timeout and a kill. The endpoint shows the core that follows.

use super::Supervisor;
use super::execute::Executor;
use super::life::{First, Life};
use super::sending::Sender;
use super::spawning::Starter;
use crate::core::policy::{InitPolicy, Orphans};
use crate::core::signal::Rewrite;
use crate::core::{Core, Mode, Rewrites, Signal};
use crate::os::process::send;
use crate::os::process::spawn::{Identity, Placement};
use crate::settings::placeholders::Command;
use crate::setup::environment::Environment;
use crate::values::command_line::Words;
use tracing::{error, info};

impl Supervisor {
    /// Runs the commands of `--before`. Returns the exit code if one failed or a stop signal came.
    pub(super) async fn prepare(&mut self, commands: &[Words], life: &mut Life<'_>) -> Option<u8> {
        for words in commands {
            let (code, stopped_by) = self.run_first(words, life).await;
            if let Some(signal) = stopped_by {
                info!(signal = %signal, "stopped before anything was started");
            }
            // The command may have succeeded in spite of the signal, but the supervisor has to stop.
            let of_signal = stopped_by.and_then(|signal| u8::try_from(signal.number()).ok());
            let code =
                if code == 0 { of_signal.map_or(0, |number| number.saturating_add(128)) } else { code };
            if code != 0 {
                error!(exit_code = code, command = %words, "--before did not go well: nothing is started");
                // Its descendants are of no more use.
                let _gone = send::to_all(Signal::KILL);
                return Some(code);
            }
        }
        None
    }

    async fn run_first(&mut self, words: &Words, life: &mut Life<'_>) -> (u8, Option<Signal>) {
        let stop = life.core.stop_policy();
        let policy = InitPolicy {
            rewrites: only_stops(),
            // A daemon that it leaves behind is an orphan later.
            orphans: Orphans::Leave,
            deadline: self.in_force.start.helpers.deadline,
            limit: self.in_force.start.helpers.before_by,
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
            attributes: life.execute.starter.attributes.clone(),
            cannot_spawn: life.execute.starter.cannot_spawn,
            death_signal: Some(stop.signal),
            closes_others: true,
        };
        let execute = Executor {
            workers: None,
            sender: Sender::new(starter.attributes.identity.as_ref().map(Identity::ids)),
            console: life.execute.console.without_terminal(),
            starter,
            exit: None,
        };
        let mut first = Life { core, execute, first: Some(First { next: &life.core, stopped_by: None }) };
        self.publish_beside(&first);
        let code = self.live(&mut first).await;
        let stopped_by = first.first.and_then(|first| first.stopped_by);
        life.core.is_behind(self.clock.lost());
        self.publish_beside(life);
        (code, stopped_by)
    }
}

/// TERM, INT and QUIT become TERM; other signals are not meant for it.
fn only_stops() -> Rewrites {
    let all = (1..=64).filter_map(Signal::from_number).filter(|signal| *signal != Signal::TERM);
    let rule = |from| {
        let stops = [Signal::INT, Signal::QUIT].contains(&from);
        Rewrite { from, to: stops.then_some(Signal::TERM) }
    };
    Rewrites::new(all.map(rule).collect())
}
