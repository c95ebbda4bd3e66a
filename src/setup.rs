//! Getting what the supervisor needs before it runs, or saying in one line why it cannot be had.

use crate::address::Address;
use crate::config::Config;
use crate::core::exit::code;
use crate::error::StartError;
use crate::http::{self, Published};
use crate::os::listen::{self, Listener};
use crate::os::lookup;
use crate::os::spawn::FIRST_FD;
use std::ffi::OsString;
use std::io;
use tokio::runtime::{Builder, Runtime};
use tracing::info;

/// Probes come one at a time; a handful may wait.
const HEALTH_BACKLOG: u32 = 128;

/// Whether the command could be executed, so that a typing error does not bind a port first.
///
/// # Errors
/// Not found (127) or cannot be executed (126).
pub fn check_command(program: Option<&OsString>) -> Result<(), StartError> {
    let program = program.map(OsString::as_os_str).unwrap_or_default();
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
