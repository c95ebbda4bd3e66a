//! Getting what the supervisor needs before it runs, or saying in one line why it cannot be had.

use crate::address::Address;
use crate::cli::{Like, Process, ProcessGroup, Subreaper};
use crate::config::command::Values;
use crate::config::{Config, Placing};
use crate::core::exit::code;
use crate::core::policy::Job;
use crate::core::{Mode, Signal};
use crate::error::StartError;
use crate::http::{self, Published};
use crate::os::listen::{self, Listener};
use crate::os::privileges::{self, DAC_OVERRIDE, KILL, SETGID, SETUID, SYS_PTRACE, SYS_RESOURCE};
use crate::os::spawn::{FIRST_FD, Identity, Placement, Settings};
use crate::os::terminal::{self, Terminal};
use crate::os::{lookup, pid1};
use crate::users::{self, Account};
use crate::{compat, logging};
use std::ffi::{CString, OsString};
use std::io;
use std::os::unix::ffi::OsStrExt;
use tokio::runtime::{Builder, Runtime};
use tracing::{debug, info, warn};

/// Probes come one at a time; a handful may wait.
const HEALTH_BACKLOG: u32 = 128;

/// Whether the command could be executed, so that a typing error does not bind a port first.
///
/// # Errors
/// Not found (127) or cannot be executed (126).
pub fn check_command(config: &Config) -> Result<(), StartError> {
    if matches!(&config.mode, Mode::Init(policy) if policy.pause) {
        return Ok(());
    }
    // A program's name may hold a placeholder: that of the first worker stands for all.
    let argv = config.command.with(&Values { fd: FIRST_FD, worker_id: 0, max_requests: Some(0) });
    let program = argv.first().map(OsString::as_os_str).unwrap_or_default();
    let name = program.display();
    match lookup::find(program) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            let is_directory = std::path::Path::new(program).is_dir();
            let (problem, remedy) = if is_directory {
                ("it is a directory", "name the program in it")
            } else {
                ("it is not executable", "make it so with chmod +x, or name its interpreter first")
            };
            Err(StartError::value("COMMAND", name, problem, remedy).with_code(code::CANNOT_EXECUTE))
        }
        Err(_) => {
            let remedy = "check the spelling, the PATH, or give its full path";
            Err(StartError::value("COMMAND", name, "not found", remedy).with_code(code::NOT_FOUND))
        }
    }
}

/// Events taken from epoll at once. The default of 1024 costs 12 kB for the life of the container.
const EVENTS_AT_ONCE: usize = 32;

/// A runtime of one thread: the supervisor's.
///
/// # Errors
/// If the kernel gives us no epoll.
pub fn runtime() -> Result<Runtime, StartError> {
    let mut builder = Builder::new_current_thread();
    builder.enable_io().enable_time().max_io_events_per_tick(EVENTS_AT_ONCE);
    builder.build().map_err(|error| refused("epoll", &error))
}

/// Something of the kernel's that we cannot do without.
#[must_use]
pub fn refused(what: &str, error: &io::Error) -> StartError {
    StartError::usage(
        what,
        error,
        "raise the limit on open files, or loosen the sandbox's system call filter",
    )
    .with_code(code::CANNOT_START)
}

/// Binds all listeners of the pool.
///
/// # Errors
/// The first that cannot be bound.
pub fn listeners(config: &Config) -> Result<Vec<Listener>, StartError> {
    // Above the numbers that the workers will see them under.
    let least = i32::try_from(config.bind.len()).unwrap_or(0).saturating_add(FIRST_FD);
    config.bind.iter().map(|address| bind("--bind", address, config.backlog, least)).collect()
}

/// Binds the health endpoint and serves it. Must be called inside the runtime.
///
/// # Errors
/// If it cannot be bound.
pub fn health(address: &Address, published: Published) -> Result<(), StartError> {
    let unsupported =
        || StartError::value("--health", address, "a unix socket is not supported here", "use HOST:PORT");
    // Before anything is bound.
    if matches!(address, Address::Unix(_)) {
        return Err(unsupported());
    }
    let listener = bind("--health", address, HEALTH_BACKLOG, FIRST_FD)?;
    let tcp = listener.into_tcp().ok_or_else(unsupported)?;
    http::serve(tcp, published).map_err(|error| refused("--health", &error))
}

fn bind(option: &str, address: &Address, backlog: u32, least: i32) -> Result<Listener, StartError> {
    match Listener::bind(address, backlog, least) {
        Ok(listener) => {
            info!(address = %listener.address(), "{}", if option == "--health" { "health endpoint" } else { "listening" });
            Ok(listener)
        }
        Err(error) if listen::is_out_of_descriptors(&error) => Err(refused(option, &error)),
        Err(error) => {
            let remedy = bind_remedy(address, &error);
            Err(StartError::value(option, address, error, remedy).with_code(code::CANNOT_START))
        }
    }
}

fn bind_remedy(address: &Address, error: &io::Error) -> &'static str {
    match (address, error.kind()) {
        (Address::Tcp(_), io::ErrorKind::AddrInUse) => "stop what listens there, or use another port",
        (Address::Tcp(_), io::ErrorKind::PermissionDenied) => {
            "use a port from 1024 up, or add the capability NET_BIND_SERVICE"
        }
        (Address::Tcp(_), io::ErrorKind::AddrNotAvailable) => {
            "use an address of this machine, 0.0.0.0 or [::]"
        }
        (Address::Tcp(_), _) => "use another address",
        (Address::Unix(_), io::ErrorKind::AddrInUse) => {
            "somebody listens there, or it is no socket: use another path"
        }
        (Address::Unix(_), io::ErrorKind::NotFound) => "create the directory first",
        (Address::Unix(_), _) => "use a path in a directory that we may write to",
    }
}

/// Where the command is started, and what we have to do with the terminal.
#[derive(Debug)]
pub struct Place {
    /// Its session and group.
    pub placement: Placement,
    /// What it is to the terminal.
    pub job: Job,
    /// The terminal, if we have to do with it later.
    pub terminal: Option<Terminal>,
    /// Whether we have given it up, of which the kernel tells.
    pub gave_up: bool,
}

/// Finds out what terminal there is, and where the command of init mode goes.
#[must_use]
pub fn place(placing: Placing) -> Place {
    let without_terminal = |placement, job| Place { placement, job, terminal: None, gave_up: false };
    let apart = |placement| without_terminal(placement, Job::Apart);
    let shared = || without_terminal(Placement::Shared, Job::Shared);
    match placing {
        Placing::As(ProcessGroup::Session) => apart(Placement::Session),
        Placing::As(ProcessGroup::None) => shared(),
        Placing::WithOurTerminal => {
            Place { gave_up: terminal::give_up(), ..apart(Placement::SessionWithTerminal(0)) }
        }
        Placing::As(wanted @ (ProcessGroup::Auto | ProcessGroup::Group)) => match Terminal::controlling() {
            // The init of a new PID namespace on an old terminal: whoever made it is of the same job.
            Some(_) if !terminal::has_known_group() => shared(),
            Some(terminal) if terminal::leads_session() => own_group(terminal, Job::Ours),
            Some(terminal)
                if terminal.is_stdin() && (wanted == ProcessGroup::Group || terminal.is_stdout()) =>
            {
                own_group(terminal, Job::OfShell)
            }
            // A part of a job, or with its output elsewhere: what has the terminal's keys is the job as a whole.
            Some(_) if wanted == ProcessGroup::Auto => shared(),
            None if wanted == ProcessGroup::Auto => apart(Placement::Session),
            None | Some(_) => apart(Placement::Group(None)),
        },
    }
}

/// A group of its own, in the foreground if ours is.
fn own_group(terminal: Terminal, job: Job) -> Place {
    let placement = Placement::Group(terminal.is_ours().then(|| terminal.fd()));
    Place { placement, job, terminal: Some(terminal), gave_up: false }
}

/// Gets the orphans, and the news of our parent's death.
pub fn relations(config: &Config) {
    if let Some(signal) = config.parent_death_signal
        && let Err(error) = pid1::ask_for_parent_death_signal(signal, pid1::parent())
    {
        warn!(%error, signal = %signal, "the parent's death cannot be watched");
    }
    if pid1::is_pid1() {
        return;
    }
    match config.subreaper {
        Subreaper::Auto => {
            if let Err(error) = pid1::become_subreaper() {
                debug!(%error, "cannot become a subreaper: orphans go elsewhere");
            }
        }
        Subreaper::Never if config.like == Like::Tini => {
            logging::say(&compat::tini::reaper_warning(config.verbosity));
        }
        Subreaper::Never => {}
    }
}

/// What the command gets should we die without having stopped it: workers the stop signal, lest they go on without
/// us; the one command what we die of, if that is `SIGKILL` at our own parent's death.
#[must_use]
pub fn death_signal_of_command(config: &Config) -> Option<Signal> {
    match &config.mode {
        Mode::Pool(policy) => Some(policy.stop.signal),
        Mode::Init(_) => config.parent_death_signal.filter(|signal| *signal == Signal::KILL),
    }
}

/// The account that the command runs under, if it is to be another than ours.
///
/// # Errors
/// If it is not known, or we may not change to it.
pub fn account(process: &Process) -> Result<Option<Account>, StartError> {
    let (own_uid, own_gid) = privileges::own_ids();
    let account = match (&process.user, &process.group) {
        (None, None) => return Ok(None),
        (Some(user), group) => users::find(user, group.as_deref())?,
        (None, Some(group)) => {
            let gid = users::find_group(group)?;
            let identity = Identity { uid: own_uid, gid, groups: vec![gid] };
            let home = std::env::var("HOME").unwrap_or_else(|_| "/".to_owned());
            Account { identity, name: std::env::var("USER").ok(), home }
        }
    };
    let same_ids = account.identity.ids() == (own_uid, own_gid);
    if same_ids && privileges::own_groups() == account.identity.groups {
        return Ok(None);
    }
    if privileges::have(&[SETUID, SETGID]) {
        return Ok(Some(account));
    }
    if same_ids {
        warn!("supplementary groups stay as they are: without the capability SETGID we may not change them");
        return Ok(None);
    }
    let (option, value) = match (&process.user, &process.group) {
        (Some(user), _) => ("--user", &user.user),
        (None, group) => ("--group", group.as_ref().unwrap_or(&account.home)),
    };
    let remedy = "start as root, with the capabilities SETUID and SETGID, or leave it out";
    Err(StartError::value(option, value, "we may not change to it", remedy).with_code(code::CANNOT_START))
}

/// What the command changes of itself before it is executed.
///
/// # Errors
/// If its directory is none.
pub fn settings(process: &Process, account: Option<&Account>) -> Result<Settings, StartError> {
    let directory = match &process.chdir {
        None => None,
        Some(path) => {
            let cannot = |problem: &dyn std::fmt::Display| {
                let remedy = "name a directory that is there";
                StartError::value("--chdir", path.display(), problem, remedy).with_code(code::CANNOT_START)
            };
            match std::fs::metadata(path) {
                Ok(found) if !found.is_dir() => return Err(cannot(&"it is not a directory")),
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(cannot(&"not found")),
                // Where we may not look, the command's user may.
                Ok(_) | Err(_) => {}
            }
            Some(CString::new(path.as_os_str().as_bytes()).map_err(|error| cannot(&error))?)
        }
    };
    Ok(Settings {
        identity: account.map(|account| account.identity.clone()),
        no_new_privs: process.no_new_privs,
        umask: process.umask,
        directory,
        oom_score_adj: process.oom_score_adj,
    })
}

/// Gives up the rights that we have no use for once everything is bound, if the command has another user's anyway. One
/// that stays root may not get them back by its exec (`PR_SET_NO_NEW_PRIVS`).
pub fn give_up_rights(settings: &Settings, listeners: &[Listener]) {
    if settings.identity.as_ref().is_none_or(|identity| identity.uid == 0) {
        return;
    }
    let mut needed = vec![KILL, SETUID, SETGID, SYS_PTRACE];
    // A socket's path is removed at the end, from whosever directory.
    let has_path = listeners.iter().any(|listener| matches!(listener.address(), Address::Unix(_)));
    needed.extend(has_path.then_some(DAC_OVERRIDE));
    needed.extend(settings.oom_score_adj.map(|_| SYS_RESOURCE));
    if let Err(error) = privileges::keep_only(&needed) {
        debug!(%error, "cannot give up rights");
    }
}
