//! A reload with a configuration file: the file is read again, and its settings of the workers apply from then on.

use super::spawning::Starter;
use crate::core::event::Answer;
use crate::core::note::ReloadNote;
use crate::core::{Core, Event, Mode, Note, Signal};
use crate::os::entry;
use crate::os::signals;
use crate::settings::layers::Parsed;
use crate::settings::placeholders::{Command, NOTIFY_FD};
use crate::settings::{self, PoolSettings, Settings, compat, options, restart_only};
use crate::setup;
use crate::values::error::StartError;
use crate::workers::Workers;
use tracing::{error, warn};

/// The settings in force.
#[derive(Debug)]
pub struct InForce {
    /// Of the start.
    pub(super) start: Settings,
    /// The pool's settings of the last reload, if there was one.
    pool: Option<Box<PoolSettings>>,
    /// The command and pool settings of the last confirmed generation, while another is tried.
    before: Option<(Command, Option<Box<PoolSettings>>)>,
}

impl InForce {
    pub fn new(start: Settings) -> Self {
        Self { start, pool: None, before: None }
    }

    /// Reads the command line, the variables and the file as at the start.
    // Not inlined: its frame would be part of every turn.
    #[inline(never)]
    pub fn read(&mut self, core: &mut Core, starter: &mut Starter, workers: Option<&mut Workers>) -> Event {
        let accepted = match read() {
            Ok(new) => self.renew(new, core, starter, workers),
            Err(error) => {
                error!("{error}");
                false
            }
        };
        Event::Answered(Answer::ConfigurationRead { accepted })
    }

    fn renew(
        &mut self,
        new: Settings,
        core: &mut Core,
        starter: &mut Starter,
        workers: Option<&mut Workers>,
    ) -> bool {
        for option in restart_only::changed(&self.start, &new) {
            warn!(
                option,
                "changed in the configuration: this takes effect at the next start, or at an upgrade (USR2)"
            );
        }
        let Mode::Pool(pool) = new.mode else {
            error!("workers, bind: this would be no pool any more: give the one or the other, or start anew");
            return false;
        };
        if pool.ready_pipe && !self.start.pool().is_some_and(|pool| pool.ready_pipe) {
            error!("command '{NOTIFY_FD}': workers have no such descriptor yet: start anew, or leave it out");
            return false;
        }
        let mut policy = pool.policy.clone();
        if !workers.as_ref().is_some_and(|workers| workers.steers()) {
            setup::without_steering(&mut policy);
        }
        core.renew(policy);
        let command = std::mem::replace(&mut starter.command, new.command);
        let before = self.pool.replace(pool);
        self.before.get_or_insert((command, before));
        self.apply(core, workers);
        true
    }

    /// The new configuration is confirmed or taken back with its reload.
    pub fn note(&mut self, note: &Note, core: &Core, starter: &mut Starter, workers: Option<&mut Workers>) {
        match note {
            Note::Reload(_, ReloadNote::Confirmed) => self.before = None,
            Note::Reload(_, ReloadNote::Failed { .. }) => {
                if let Some(before) = self.before.take() {
                    (starter.command, self.pool) = before;
                    self.apply(core, workers);
                }
            }
            _ => {}
        }
    }

    fn apply(&self, core: &Core, workers: Option<&mut Workers>) {
        if let Some((workers, pool)) = workers.zip(self.pool.as_deref().or(self.start.pool())) {
            workers.renew(pool);
        }
        discard_ignored(core);
    }
}

/// Lets the kernel discard the real-time signals that have no effect on the pool: otherwise as many could be queued
/// as their sender's limit allows, and each would have to be read. Of each other signal at most one waits, and it is
/// logged.
pub fn discard_ignored(core: &Core) {
    signals::discard(Signal::queued().filter(|signal| !core.acts_on(*signal)));
}

fn read() -> Result<Settings, StartError> {
    match compat::read(entry::args())? {
        Parsed::Asks(options) => {
            let given = options.given.clone();
            let new = settings::resolve(*options, &setup::surroundings());
            let new = new.map_err(|error| error.by_name(|flag| options::name_of(flag, &given)))?;
            // Another user may find and execute files that the supervisor's user may not.
            if new.process.user.is_none() && new.process.group.is_none() {
                setup::check_command(&new)?;
            }
            Ok(new)
        }
        // The command line has not changed, and it ran a command at the start.
        Parsed::Print { .. } => Err(StartError::usage("command line", "runs nothing", "start anew")),
    }
}
