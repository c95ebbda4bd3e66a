//! The options of a pool as a whole.

// The doc comments of the options are the help text, where [x] and <x> are no markup.
#![allow(rustdoc::broken_intra_doc_links, rustdoc::invalid_html_tags)]

use crate::core::Signal;
use crate::core::policy::{MOST_WORKERS, Share};
use crate::settings::options::parse;
use crate::values::address::Address;
use crate::values::amounts::{self, number_within};
use crate::values::duration::parse_duration;
use clap::builder::BoolishValueParser;
use clap::{Args, ValueEnum};
use std::time::Duration;

/// Workers and their listeners.
#[derive(Debug, Args)]
pub struct PoolOptions {
    /// Keep N copies of the command running [default: $WEB_CONCURRENCY, or 1, if --bind is given].
    ///
    /// auto: 2 x CPUs + 1, by the container's quota, or as many as its memory has room for, see --worker-memory.
    #[arg(short = 'n', visible_short_alias = 'w', long, value_name = "N", env = "PREFORK_WORKERS")]
    #[arg(allow_negative_numbers = true, value_parser = WorkerCount::parse)]
    pub workers: Option<WorkerCount>,

    /// What one worker takes: with --workers auto there are no more than memory has room for. 300M, 1.5G.
    #[arg(long, value_name = "SIZE", env = "PREFORK_WORKER_MEMORY")]
    #[arg(allow_hyphen_values = true, value_parser = amounts::parse_size)]
    pub worker_memory: Option<u64>,

    /// What --workers auto leaves of the memory for everything else.
    #[arg(long, value_name = "SIZE", env = "PREFORK_MEMORY_RESERVE", default_value = "64M")]
    #[arg(allow_hyphen_values = true, value_parser = amounts::parse_size)]
    pub memory_reserve: u64,

    /// Listen here; repeat it, or separate by commas, for more [default: 0.0.0.0:$PORT if PORT is set].
    ///
    /// HOST:PORT, [V6]:PORT, :PORT (all IPv4 addresses) or unix:/path. The workers inherit the listeners as
    /// descriptors 3, 4, ... in this order, with LISTEN_FDS, LISTEN_PID and LISTEN_FDNAMES. Sockets that we are given
    /// so ourselves come first; PREFORK_BIND and PORT are for when there are none.
    #[arg(short, long, value_name = "ADDR", env = "PREFORK_BIND")]
    #[arg(value_delimiter = ',', value_parser = parse::parse_address)]
    pub bind: Vec<Address>,

    /// Permissions of the unix sockets of --bind, octal: a user with the right to write may connect.
    #[arg(long, value_name = "MODE", env = "PREFORK_BIND_MODE", default_value = "666")]
    #[arg(allow_negative_numbers = true, value_parser = parse::parse_mode)]
    pub bind_mode: u32,

    /// Group of the unix sockets of --bind, a name or a number; with --bind-mode 660 for a proxy's group alone.
    #[arg(long, value_name = "GROUP", env = "PREFORK_BIND_GROUP")]
    pub bind_group: Option<String>,

    /// Whether each worker has a listener of its own or all share one; unix sockets are always shared.
    #[arg(long, value_name = "HOW", env = "PREFORK_LISTENER", default_value = "per-worker")]
    pub listener: ListenerOption,

    /// Length of the accept queue, listen(2); set again when a worker changes it.
    #[arg(long, value_name = "N", env = "PREFORK_BACKLOG", default_value = "2048")]
    #[arg(allow_negative_numbers = true, value_parser = parse::parse_backlog)]
    pub backlog: u32,

    /// Pass {fd}, {worker_id}, {worker_number}, {max_requests} and {notify_fd} to the command as they are.
    #[arg(long, env = "PREFORK_NO_PLACEHOLDERS", value_parser = BoolishValueParser::new())]
    pub no_placeholders: bool,
}

/// How one worker takes another's place.
#[derive(Debug, Args)]
pub struct Replacement {
    /// Workers more than N that may be alive while some are replaced: a number, or a part of N as in 25%, rounded up.
    #[arg(long, value_name = "N|P%", env = "PREFORK_MAX_SURGE", default_value = "1")]
    #[arg(allow_negative_numbers = true, value_parser = parse::parse_share)]
    pub max_surge: Share,

    /// Workers that may be missing while some are replaced: a number, or a part of N as in 25%, rounded down.
    #[arg(long, value_name = "N|P%", env = "PREFORK_MAX_UNAVAILABLE", default_value = "0")]
    #[arg(allow_negative_numbers = true, value_parser = parse::parse_share)]
    pub max_unavailable: Share,

    /// Start planned replacements at least this far apart.
    #[arg(long, value_name = "D", env = "PREFORK_REPLACEMENT_GAP", default_value = "1s")]
    #[arg(allow_hyphen_values = true, value_parser = parse_duration)]
    pub replacement_gap: Duration,

    /// Send this to a worker that gets no new connections any more, so that it says "Connection: close" to its clients.
    ///
    /// Only processes that catch it get it: a worker that does, or else its children that do. Ruby catches what the
    /// application does not handle, and ends; gunicorn starts a second master at USR2.
    #[arg(long, value_name = "SIGNAL", env = "PREFORK_DRAIN_SIGNAL")]
    #[arg(value_parser = parse::parse_signal)]
    pub drain_signal: Option<Signal>,

    /// Stop a worker this long after the last new connection.
    ///
    /// What it has taken by then it also has read, and clients that keep their connections have had time for another
    /// request, whose answer can say goodbye. It goes on for as long as a connection is busy, up to the graceful timeout, and
    /// ends early when none is left.
    #[arg(long, value_name = "D", env = "PREFORK_DRAIN_TIME", default_value = "500ms")]
    #[arg(allow_hyphen_values = true, value_parser = parse_duration)]
    pub drain_time: Duration,
}

/// When a worker that died comes back.
#[derive(Debug, Args)]
pub struct Respawn {
    /// Wait this long before the second respawn in a row; doubles each time.
    #[arg(long, value_name = "D", env = "PREFORK_BACKOFF", default_value = "250ms")]
    #[arg(allow_hyphen_values = true, value_parser = parse_duration)]
    pub backoff: Duration,

    /// The longest wait before a respawn.
    #[arg(long, value_name = "D", env = "PREFORK_BACKOFF_MAX", default_value = "30s")]
    #[arg(allow_hyphen_values = true, value_parser = parse_duration)]
    pub backoff_max: Duration,

    /// Give up, with exit code 3, when a slot needs more restarts than this within --restart-window and no worker
    /// is ready; or infinity. Workers that are not ready in time count whatever the window.
    #[arg(long, value_name = "N", env = "PREFORK_MAX_RESTARTS", default_value = "5")]
    #[arg(allow_negative_numbers = true, value_parser = Restarts::parse)]
    pub max_restarts: Restarts,

    /// See --max-restarts.
    #[arg(long, value_name = "D", env = "PREFORK_RESTART_WINDOW", default_value = "60s")]
    #[arg(allow_hyphen_values = true, value_parser = parse_duration)]
    pub restart_window: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WorkerCount {
    /// This number.
    Number(u32),
    /// The number that fits the machine: see [`crate::settings::rules::sizing`].
    Auto,
}

impl WorkerCount {
    /// A number, or `auto`.
    fn parse(text: &str) -> Result<Self, String> {
        match number_within(text, 1, MOST_WORKERS) {
            Ok(workers) => Ok(Self::Number(workers)),
            Err(_) if text == "auto" => Ok(Self::Auto),
            Err(_) => Err(format!("not a whole number from 1 to {MOST_WORKERS}, nor auto: use one")),
        }
    }
}

/// Which workers share a listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ListenerOption {
    /// Each worker has one: new connections can be kept from a worker that is to be replaced, and none is lost.
    PerWorker,
    /// All workers take from one queue: a free worker is next.
    Shared,
}

/// `None` is no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Restarts(pub Option<u32>);

impl Restarts {
    fn parse(text: &str) -> Result<Self, String> {
        if text == "infinity" {
            return Ok(Self(None));
        }
        match text.parse().ok().filter(|number| *number <= 1_000) {
            Some(number) => Ok(Self(Some(number))),
            None => Err("not a whole number from 0 to 1000, nor infinity: use one".to_owned()),
        }
    }
}
