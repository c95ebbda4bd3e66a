//! Obtains what the supervisor needs before it runs, or reports in one line why it cannot.

use crate::core::exit::code;
use crate::core::policy::Job;
use crate::core::{Mode, Signal};
use crate::os::container::capacity::Capacity;
use crate::os::process::spawn::Placement;
use crate::os::process::{lookup, pid1};
use crate::os::stdio::channel::{self, STDIN};
use crate::os::stdio::terminal::{self, Terminal};
use crate::os::users::Account;
use crate::report::log;
use crate::report::style::tini;
use crate::report::style::voice::Voice;
use crate::settings::defaults::Placing;
use crate::settings::options::{Options, ProcessGroup, Subreaper};
use crate::settings::placeholders::Values;
use crate::settings::rules::activation;
use crate::settings::surroundings::Surroundings;
use crate::settings::{HelperSettings, Settings};
use crate::values::FIRST_FD;
use crate::values::error::StartError;
use crate::values::log::LogLevel;
use crate::values::style::Style;
use std::ffi::{OsStr, OsString};
use std::io;
use tracing::warn;

pub mod environment;
mod listeners;
pub mod private_directory;
mod process;

pub use crate::os::call::refused;
pub use listeners::{Endpoints, given, lanes, without_steering};
pub use process::{account, attributes, give_up_rights};

/// Reads other programs' variables, and prepares the looks at the machine and at stdin.
#[must_use]
pub fn surroundings() -> Surroundings {
    let read = |name| std::env::var_os(name).filter(|value| !value.is_empty());
    Surroundings {
        web_concurrency: read("WEB_CONCURRENCY"),
        port: read("PORT"),
        activation: activation::ListenVariables::read(),
        capacity: Capacity::here,
        terminal: || channel::is_terminal(STDIN),
    }
}

/// Starts the log. Under another init's name it has that init's wording, unless our format or level is asked for, or a
/// pool, which that init does not know.
pub fn start_log(options: &Options) {
    let command = options.command.first().map(|command| command.display().to_string()).unwrap_or_default();
    let (style, format) = (options.defaults.style, options.logging.log_format);
    let ours = style == Style::Ours
        || ["log_format", "log_level", "workers", "bind"].iter().any(|name| options.is_given(name));
    if ours {
        return log::start(&command, format, options.logging.log_level, None);
    }
    let setsid = options.init.process_group != Some(ProcessGroup::None);
    let voice = Voice { style, verbosity: options.verbosity, command: command.clone(), setsid };
    log::start(&command, format, LogLevel::Warn, Some((voice, &options.said_first)));
}

/// Checks what can be checked before anything is bound or started. Returns the command's account; `None` if it is ours.
///
/// # Errors
/// As the start would: a command or a directory that does not exist, an unknown user.
pub fn preflight(settings: &Settings) -> Result<Option<Account>, StartError> {
    check_command(settings)?;
    let account = account(&settings.process)?;
    attributes(&settings.process, account.as_ref())?;
    Ok(account)
}

/// Checks that the command can be executed, so that a typing error does not first bind a port. Returns the number of
/// PATH's first directories in which it is missing.
///
/// # Errors
/// Not found (127) or cannot be executed (126).
pub fn check_command(settings: &Settings) -> Result<usize, StartError> {
    if matches!(&settings.mode, Mode::Init(init) if init.policy.pause) {
        return check_errands(&settings.helpers).map(|()| 0);
    }
    // A program's name may contain a placeholder: the first worker's stands for all.
    let argv = settings.command.with(&Values {
        fd: FIRST_FD,
        worker_id: 0,
        worker_number: 0,
        max_requests: Some(0),
        notify_fd: Some(FIRST_FD),
    });
    let program = argv.first().map(OsString::as_os_str).unwrap_or_default();
    let missing = check_program("COMMAND", program)?;
    check_errands(&settings.helpers).map(|()| missing)
}

/// Checks the commands of options in the same way.
fn check_errands(helpers: &HelperSettings) -> Result<(), StartError> {
    helpers.commands().try_for_each(|(option, words)| check_program(option, &words.program()).map(|_| ()))
}

fn check_program(what: &str, program: &OsStr) -> Result<usize, StartError> {
    let name = program.display();
    match lookup::find(program) {
        Ok(missing) => Ok(missing),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            let is_directory = std::path::Path::new(program).is_dir();
            let (problem, remedy) = if is_directory {
                ("it is a directory", "name the program in it")
            } else {
                ("it is not executable", "make it so with chmod +x, or name its interpreter first")
            };
            Err(StartError::value(what, name, problem, remedy).with_code(code::CANNOT_EXECUTE))
        }
        Err(_) if name.to_string().contains([' ', '\t', '\n']) => {
            let remedy = "it is one word with blanks in it: leave the quotes around it out; in JSON and TOML, \
                          quote each word by itself";
            Err(StartError::value(what, name, "not found", remedy).with_code(code::NOT_FOUND))
        }
        Err(_) => {
            let remedy = "check the spelling, the PATH, or give its full path";
            Err(StartError::value(what, name, "not found", remedy).with_code(code::NOT_FOUND))
        }
    }
}

/// Where the command is started, and its relation to the terminal.
#[derive(Debug)]
pub struct CommandPlace {
    pub placement: Placement,
    /// Its relation to the terminal.
    pub job: Job,
    /// The terminal, if we need it later.
    pub terminal: Option<Terminal>,
    /// Whether we gave the terminal up, and the kernel signals that.
    pub gave_up: bool,
}

/// Looks for a terminal, and decides where the command of init mode runs.
#[must_use]
pub fn place(placing: Placing) -> CommandPlace {
    let without_terminal = |placement, job| CommandPlace { placement, job, terminal: None, gave_up: false };
    let apart = |placement| without_terminal(placement, Job::Apart);
    let shared = || without_terminal(Placement::Shared, Job::Shared);
    match placing {
        Placing::As(ProcessGroup::Session) => apart(Placement::Session),
        Placing::As(ProcessGroup::None) => shared(),
        Placing::WithOurTerminal => {
            CommandPlace { gave_up: terminal::give_up(), ..apart(Placement::SessionWithTerminal(0)) }
        }
        Placing::As(wanted @ (ProcessGroup::Auto | ProcessGroup::Group)) => match Terminal::controlling() {
            // The foreground cannot be handed over: in our own group, the command has the terminal as we do.
            Some(terminal) if !terminal.can_be_lent() => shared(),
            Some(terminal) if terminal::leads_session() => own_group(terminal, Job::Ours),
            Some(terminal)
                if terminal.is_stdin() && (wanted == ProcessGroup::Group || terminal.is_stdout()) =>
            {
                if terminal::has_known_group() {
                    own_group(terminal, Job::OfShell)
                } else if terminal.is_ours() {
                    // The init of a new PID namespace on an old terminal: the shell outside does not see the command.
                    own_group(terminal, Job::Ours)
                } else {
                    // In the background, only our own group learns of `fg`.
                    shared()
                }
            }
            Some(_) if !terminal::has_known_group() => shared(),
            // A part of a job, or its output goes elsewhere: the terminal's keys are for the job as a whole.
            Some(_) if wanted == ProcessGroup::Auto => shared(),
            None if terminal::is_hidden() => shared(),
            None if wanted == ProcessGroup::Auto => apart(Placement::Session),
            None | Some(_) => apart(Placement::Group(None)),
        },
    }
}

/// A group of its own, in the foreground if ours is.
fn own_group(terminal: Terminal, job: Job) -> CommandPlace {
    let placement = Placement::Group(terminal.is_ours().then(|| terminal.fd()));
    CommandPlace { placement, job, terminal: Some(terminal), gave_up: false }
}

/// Asks for our parent's death signal, and becomes a subreaper.
pub fn relations(settings: &Settings) {
    if let Some(signal) = settings.parent_death_signal
        && let Err(error) = pid1::ask_for_parent_death_signal(signal, pid1::parent())
    {
        warn!(%error, signal = %signal, "the parent's death cannot be watched");
    }
    if pid1::is_pid1() {
        return;
    }
    match settings.subreaper {
        Subreaper::Auto => {
            if let Err(error) = pid1::become_subreaper() {
                warn!(%error, "cannot become a subreaper (prctl): orphans go elsewhere");
            }
        }
        Subreaper::Never if settings.style == Style::Tini && !pid1::is_subreaper() => {
            log::say(&tini::reaper_warning(settings.verbosity));
        }
        Subreaper::Never => {}
    }
}

/// The signal that the command gets if we die without stopping it: for workers the stop signal, so that they do not run
/// on without us; for the one command `SIGKILL`, if that is what we get at our own parent's death.
#[must_use]
pub fn death_signal_of_command(settings: &Settings) -> Option<Signal> {
    match &settings.mode {
        Mode::Pool(pool) => Some(pool.policy.stop.signal),
        Mode::Init(_) => settings.parent_death_signal.filter(|signal| *signal == Signal::KILL),
    }
}
