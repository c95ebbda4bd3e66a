//! A reload with a configuration file: it is read anew, and what it says of the workers holds from then on.

use super::spawning::Starter;
use crate::check::plan;
use crate::core::event::Answer;
use crate::core::note::ReloadNote;
use crate::core::{Core, Event, Mode, Note, Signal};
use crate::os::entry;
use crate::os::signals;
use crate::settings::compat;
use crate::settings::layers::Parsed;
use crate::settings::options;
use crate::settings::placeholders::{Command, NOTIFY_FD};
use crate::settings::{Config, Pool};
use crate::setup;
use crate::values::error::StartError;
use crate::workers::Fleet;
use tracing::{error, warn};

/// What the configuration says of the workers, beside their command.
#[derive(Clone, Debug)]
pub struct InForce {
    pool: Pool,
    /// What holds until we are started anew, as it was then.
    fixed: Vec<(&'static str, String)>,
    /// What is bound, in the words of the plan.
    pub(super) bound: Vec<String>,
    /// Command and pool as of the generation that has proved itself, while another is tried.
    before: Option<(Command, Pool)>,
}

impl InForce {
    /// What was read at the start. Only a pool compares it with what is read later.
    #[must_use]
    pub fn new(config: &Config) -> Self {
        let (fixed, bound) = match config.mode {
            Mode::Pool(_) => (config.fixed(), plan::bound(config)),
            Mode::Init(_) => (Vec::new(), Vec::new()),
        };
        Self { pool: config.pool.clone(), fixed, bound, before: None }
    }

    /// Reads the command line, the variables and the file as at the start.
    pub fn read(&mut self, core: &mut Core, starter: &mut Starter, fleet: Option<&mut Fleet>) -> Event {
        let accepted = match read() {
            Ok(config) => self.renew(config, core, starter, fleet),
            Err(error) => {
                error!("{error}");
                false
            }
        };
        Event::Answered(Answer::ConfigurationRead { accepted })
    }

    fn renew(
        &mut self,
        config: Config,
        core: &mut Core,
        starter: &mut Starter,
        fleet: Option<&mut Fleet>,
    ) -> bool {
        for ((option, now), (_, then)) in config.fixed().iter().zip(&self.fixed) {
            if now != then {
                warn!(
                    option,
                    "changed in the configuration: this takes effect at the next start, or at an upgrade (USR2)"
                );
            }
        }
        let Mode::Pool(mut policy) = config.mode else {
            error!("workers, bind: this would be no pool any more: give the one or the other, or start anew");
            return false;
        };
        if config.pool.ready_pipe && !self.pool.ready_pipe && config.command.mentions(NOTIFY_FD) {
            error!("command '{NOTIFY_FD}': workers have no such descriptor yet: start anew, or leave it out");
            return false;
        }
        if !fleet.as_ref().is_some_and(|fleet| fleet.steers()) {
            setup::without_steering(&mut policy);
        }
        core.renew(policy);
        let command = std::mem::replace(&mut starter.command, config.command);
        let pool = std::mem::replace(&mut self.pool, config.pool);
        self.before.get_or_insert((command, pool));
        self.come_into_force(core, fleet);
        true
    }

    /// What becomes of a new configuration is that of the reload.
    pub fn heed(&mut self, note: &Note, core: &Core, starter: &mut Starter, fleet: Option<&mut Fleet>) {
        match note {
            Note::Reload(_, ReloadNote::Confirmed) => self.before = None,
            Note::Reload(_, ReloadNote::Failed { .. }) => {
                if let Some(before) = self.before.take() {
                    (starter.command, self.pool) = before;
                    self.come_into_force(core, fleet);
                }
            }
            _ => {}
        }
    }

    fn come_into_force(&self, core: &Core, fleet: Option<&mut Fleet>) {
        if let Some(fleet) = fleet {
            fleet.renew(&self.pool);
        }
        discard_unheeded(core);
    }
}

/// Has the kernel discard the real-time signals that mean nothing to the pool: as many as their senders' limit allows
/// would wait, and each would take a turn. Of the others one waits at most, and is worth a line.
pub fn discard_unheeded(core: &Core) {
    signals::discard(Signal::queued().filter(|signal| !core.heeds(*signal)));
}

fn read() -> Result<Config, StartError> {
    match compat::read(entry::args())? {
        Parsed::Asks(options) => {
            let given = options.given.clone();
            let config = Config::resolve(*options, &setup::surroundings());
            let config = config.map_err(|error| error.by_name(|flag| options::name_of(flag, &given)))?;
            // Another user may find and execute what we may not.
            if config.process.user.is_none() && config.process.group.is_none() {
                setup::check_command(&config)?;
            }
            Ok(config)
        }
        // The command line is what it was, and that was to run something.
        Parsed::Print { .. } => Err(StartError::usage("command line", "runs nothing", "start anew")),
    }
}
