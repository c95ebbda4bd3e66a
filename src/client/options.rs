//! The command lines of `status`, `ctl` and `healthcheck`. Of the variables, only the two with a supervisor's addresses
//! are read.

use crate::client::{self, EndpointAddresses, Task};
use crate::core::Signal;
use crate::core::policy::MOST_WORKERS;
use crate::settings::clap_errors;
use crate::settings::layers::Parsed;
use crate::settings::options::parse::{self, parse_signal};
use crate::values::address::Address;
use crate::values::amounts::number_within;
use crate::values::duration::parse_duration;
use crate::values::error::StartError;
use crate::values::log::LogLevel;
use clap::error::{ContextKind, ErrorKind};
use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand};
use std::ffi::OsString;
use std::time::Duration;

const CODES: &str = "Exit codes: 0 done; 1 failed, or refused; 2 wrong usage; 4 not done in time, still under way; \
                     69 not reachable.";

#[derive(Debug, Parser)]
#[command(name = "prefork-init", max_term_width = 100)]
struct Asking {
    #[command(subcommand)]
    what: Subcommands,
}

#[derive(Debug, Subcommand)]
enum Subcommands {
    /// Show the workers, or the command.
    #[command(after_help = CODES)]
    Status {
        /// Show it anew each second, until Ctrl-C.
        #[arg(long)]
        watch: bool,
        /// As JSON.
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        at: At,
    },
    /// Give an order, wait for what comes of it, and say so.
    #[command(after_help = CODES, subcommand_value_name = "ORDER", subcommand_help_heading = "Orders")]
    Ctl {
        #[command(subcommand)]
        order: CtlCommand,
        /// How long to wait until it is done.
        #[arg(long, value_name = "D", default_value = "5m", value_parser = parse_duration, global = true)]
        timeout: Duration,
        /// Answer in JSON.
        #[arg(long, global = true)]
        json: bool,
        /// The socket at which orders are taken [default: $PREFORK_CONTROL, or that of the one pool that runs here].
        #[arg(long, value_name = "PATH", value_parser = parse::parse_socket, global = true)]
        control: Option<Address>,
    },
    /// Ask whether it is well: end with 0 if so, and with 1 if not, or if it does not answer.
    Healthcheck {
        /// Whether traffic should come.
        #[arg(long)]
        ready: bool,
        /// Whether it lives; this is asked if nothing else is.
        #[arg(long, conflicts_with = "ready")]
        live: bool,
        /// Whether it has ever been ready.
        #[arg(long, conflicts_with_all = ["ready", "live"])]
        startup: bool,
        /// How long to wait for the answer.
        #[arg(long, value_name = "D", default_value = "2s", value_parser = parse_duration)]
        timeout: Duration,
        #[command(flatten)]
        at: At,
    },
}

#[derive(Debug, Args)]
struct At {
    /// Ask at this unix socket [default: $PREFORK_CONTROL].
    #[arg(long, value_name = "PATH", value_parser = parse::parse_socket)]
    control: Option<Address>,
    /// Ask at this endpoint [default: $PREFORK_HEALTH].
    #[arg(long, value_name = "ADDR", value_parser = parse::parse_address, conflicts_with = "control")]
    health: Option<Address>,
}

#[derive(Debug, Subcommand)]
enum CtlCommand {
    /// Replace every worker, as HUP does.
    Reload,
    /// Replace the worker of one slot.
    Recycle {
        /// Which, as `status` shows it.
        #[arg(value_name = "SLOT", value_parser = parse_slot)]
        slot: u32,
    },
    /// Set the number of workers.
    Scale {
        /// How many.
        #[arg(value_name = "N", value_parser = parse_number_of_workers)]
        workers: u32,
    },
    /// Stop in order, as TERM does; does not wait for the end.
    Stop,
    /// Signal the worker of one slot and no other process.
    Signal {
        /// Which; of one command 0.
        #[arg(value_name = "SLOT", value_parser = parse_slot)]
        slot: u32,
        /// A name or a number.
        #[arg(value_name = "SIGNAL", value_parser = parse_signal)]
        signal: Signal,
    },
    /// Log lines of this level and above.
    LogLevel {
        /// The level.
        #[arg(value_name = "LEVEL")]
        level: LogLevel,
    },
}

fn parse_number_of_workers(text: &str) -> Result<u32, String> {
    number_within(text, 1, MOST_WORKERS)
}

fn parse_slot(text: &str) -> Result<u32, String> {
    number_within(text, 0, MOST_WORKERS.saturating_sub(1))
}

#[cfg(feature = "generate")]
pub(crate) fn definitions() -> Vec<clap::Command> {
    Asking::command().get_subcommands().cloned().collect()
}

/// Reads the command line of a subcommand.
///
/// # Errors
/// One line for what is wrong.
pub fn read(args: &[OsString]) -> Result<Parsed<client::ClientRequest>, StartError> {
    let mut command = Asking::command();
    let asking = command.try_get_matches_from_mut(args).and_then(|found| Asking::from_arg_matches(&found));
    match asking {
        Ok(asking) => Ok(Parsed::Asks(asking.what.request())),
        Err(error) => match error.kind() {
            ErrorKind::DisplayHelp | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
                let code = if error.kind() == ErrorKind::DisplayHelp { 0 } else { 2 };
                Ok(Parsed::Print { text: error.to_string(), to_stderr: code != 0, code })
            }
            ErrorKind::MissingRequiredArgument => {
                let what = error.get(ContextKind::InvalidArg).map(ToString::to_string).unwrap_or_default();
                Err(StartError::usage(what, "missing", "give it, see prefork-init ctl --help"))
            }
            _ => Err(clap_errors::one_line(&error, &command, args)),
        },
    }
}

impl Subcommands {
    fn request(self) -> client::ClientRequest {
        let (given, task) = match self {
            Self::Status { watch, json, at } => (at.given(), Task::Status { watch, json }),
            Self::Ctl { order, timeout, json, control } => (
                EndpointAddresses { control, health: None },
                Task::Order { path: order.path(), timeout, json },
            ),
            Self::Healthcheck { ready, live: _, startup, timeout, at } => {
                let path = match (ready, startup) {
                    (true, _) => "/readyz",
                    (false, true) => "/startupz",
                    (false, false) => "/livez",
                };
                (at.given(), Task::Check { path, timeout })
            }
        };
        client::ClientRequest { given, task }
    }
}

impl At {
    fn given(self) -> EndpointAddresses {
        EndpointAddresses { control: self.control, health: self.health }
    }
}

impl CtlCommand {
    fn path(&self) -> String {
        match self {
            Self::Reload => "/reload".to_owned(),
            Self::Recycle { slot } => format!("/recycle/{slot}"),
            Self::Scale { workers } => format!("/scale/{workers}"),
            Self::Stop => "/stop".to_owned(),
            Self::Signal { slot, signal } => format!("/signal/{slot}/{signal}"),
            Self::LogLevel { level } => format!("/log-level/{}", level.name()),
        }
    }
}
