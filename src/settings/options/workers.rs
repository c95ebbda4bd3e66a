//! The options about single workers: when one is ready, hangs, or has lived long enough.

// The doc comments of the options are the help text, where [x] and <x> are no markup.
#![allow(rustdoc::broken_intra_doc_links, rustdoc::invalid_html_tags)]

use crate::core::Signal;
use crate::core::time::Patience;
use crate::settings::options::parse;
use crate::values::amounts::{self, Jitter};
use crate::values::duration::{parse_duration, parse_patience};
use clap::{Args, ValueEnum};
use std::time::Duration;

/// When workers, and the pool, are ready.
#[derive(Debug, Args)]
pub struct Readiness {
    /// Ready workers that make the pool ready.
    #[arg(long, value_name = "N", env = "PREFORK_MIN_READY", default_value = "1")]
    #[arg(allow_negative_numbers = true, value_parser = parse::parse_min_ready)]
    pub min_ready: u32,

    /// What makes a worker ready: auto, notify, accept, probe or delay:D.
    ///
    /// notify: it says so, by READY=1 (sd_notify) or by a line on {notify_fd}. accept: it is seen waiting for
    /// connections. probe: it answers --probe. delay:D: it has lived this long. auto: what is seen, or said where nothing
    /// can be seen; without listeners, 1s.
    #[arg(long, value_name = "HOW", env = "PREFORK_READY", default_value = "auto")]
    #[arg(value_parser = Ready::parse)]
    pub ready: Ready,

    /// Give up a worker that is not ready this long after its start; EXTEND_TIMEOUT_USEC (sd_notify) gives it more.
    #[arg(long, value_name = "D", env = "PREFORK_START_TIMEOUT", default_value = "60s")]
    #[arg(allow_hyphen_values = true, value_parser = parse_patience)]
    pub start_timeout: Patience,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ready {
    /// The best available sign.
    Auto,
    /// The worker's notice.
    Notify,
    /// The worker waits for connections.
    Accept,
    /// The worker answers a probe.
    Probe,
    /// The worker has lived this long.
    Delay(Duration),
}

impl Ready {
    /// `auto`, `notify`, `accept`, `probe`, `delay:D`.
    fn parse(text: &str) -> Result<Self, String> {
        match (text, text.strip_prefix("delay:")) {
            ("auto", _) => Ok(Self::Auto),
            ("notify", _) => Ok(Self::Notify),
            ("accept", _) => Ok(Self::Accept),
            ("probe", _) => Ok(Self::Probe),
            (_, Some(delay)) => parse_duration(delay).map(Self::Delay),
            (_, None) => {
                Err("no such way: use auto, notify, accept, probe, or delay:D as in delay:5s".to_owned())
            }
        }
    }
}

/// When a worker hangs.
#[derive(Debug, Args)]
pub struct Hangs {
    /// A ready worker that does not say WATCHDOG=1 (sd_notify) this often hangs; it is told by WATCHDOG_USEC.
    #[arg(long, value_name = "D", env = "PREFORK_WATCHDOG")]
    #[arg(allow_hyphen_values = true, value_parser = parse::parse_time)]
    pub watchdog: Option<Duration>,

    /// A worker hangs when its accept queue stands still this long, and as long again without new connections.
    #[arg(long, value_name = "D", env = "PREFORK_ACCEPT_STALL")]
    #[arg(allow_hyphen_values = true, value_parser = parse::parse_time)]
    pub accept_stall: Option<Duration>,

    /// Ask each worker for this path, over the public port; it hangs when it fails --probe-failures times in a row.
    #[arg(long, value_name = "PATH", env = "PREFORK_PROBE", value_parser = parse::parse_path)]
    pub probe: Option<String>,

    /// The pause between two probes of a worker.
    #[arg(long, value_name = "D", env = "PREFORK_PROBE_INTERVAL", default_value = "10s")]
    #[arg(allow_hyphen_values = true, value_parser = parse::parse_time)]
    pub probe_interval: Duration,

    /// How long an answer may take.
    #[arg(long, value_name = "D", env = "PREFORK_PROBE_TIMEOUT", default_value = "2s")]
    #[arg(allow_hyphen_values = true, value_parser = parse::parse_time)]
    pub probe_timeout: Duration,

    /// See --probe.
    #[arg(long, value_name = "N", env = "PREFORK_PROBE_FAILURES", default_value = "3")]
    #[arg(allow_negative_numbers = true, value_parser = parse::parse_times)]
    pub probe_failures: u32,

    /// What a hung worker gets before it is killed, to show where it hangs.
    #[arg(long, value_name = "SIGNAL", env = "PREFORK_ABORT_SIGNAL", default_value = "ABRT")]
    #[arg(value_parser = parse::parse_stop_signal)]
    pub abort_signal: Signal,

    /// How long it has for that.
    #[arg(long, value_name = "D", env = "PREFORK_ABORT_TIME", default_value = "2s")]
    #[arg(allow_hyphen_values = true, value_parser = parse_duration)]
    pub abort_time: Duration,
}

/// When a worker has lived long enough.
#[derive(Debug, Args)]
pub struct Recycling {
    /// Replace a worker after N requests; 0 is never.
    #[arg(long, value_name = "N", env = "PREFORK_MAX_REQUESTS")]
    #[arg(allow_negative_numbers = true, value_parser = crate::values::amounts::parse_count)]
    pub max_requests: Option<u64>,

    /// Add a random number from 0 to J, or to J% of the limit, to each worker's limit of requests.
    #[arg(long, value_name = "J", env = "PREFORK_MAX_REQUESTS_JITTER")]
    #[arg(allow_hyphen_values = true, value_parser = amounts::parse_jitter_count)]
    pub max_requests_jitter: Option<Jitter<u64>>,

    /// Who counts requests.
    #[arg(long, value_name = "HOW", env = "PREFORK_COUNT_REQUESTS")]
    pub count_requests: Option<CountRequests>,

    /// Replace a worker at this age; 0 is never.
    #[arg(long, value_name = "D", env = "PREFORK_MAX_AGE")]
    #[arg(allow_hyphen_values = true, value_parser = parse_duration)]
    pub max_age: Option<Duration>,

    /// Add a random time from 0 to D, or to J% of the limit, to each worker's limit of age.
    #[arg(long, value_name = "D", env = "PREFORK_MAX_AGE_JITTER")]
    #[arg(allow_hyphen_values = true, value_parser = amounts::parse_jitter_duration)]
    pub max_age_jitter: Option<Jitter<Duration>>,

    /// Replace a worker that takes more memory than this, with its descendants; 0 is never. 512M, 1.5G.
    #[arg(long, value_name = "SIZE", env = "PREFORK_MAX_MEMORY")]
    #[arg(allow_hyphen_values = true, value_parser = amounts::parse_size)]
    pub max_memory: Option<u64>,

    /// Add a random size from 0 to J, or to J% of the limit, to each worker's limit of memory.
    #[arg(long, value_name = "J", env = "PREFORK_MAX_MEMORY_JITTER")]
    #[arg(allow_hyphen_values = true, value_parser = amounts::parse_jitter_size)]
    pub max_memory_jitter: Option<Jitter<u64>>,

    /// Stop a worker that takes more memory than this at once, without a replacement first.
    #[arg(long, value_name = "SIZE", env = "PREFORK_MAX_MEMORY_HARD")]
    #[arg(allow_hyphen_values = true, value_parser = amounts::parse_size)]
    pub max_memory_hard: Option<u64>,

    /// Replace the heaviest worker when the container takes more than this part of its memory limit, without what the
    /// kernel can take back. 90%.
    #[arg(long, value_name = "PERCENT", env = "PREFORK_MEMORY_PRESSURE")]
    #[arg(allow_negative_numbers = true, value_parser = parse::parse_percent)]
    pub memory_pressure: Option<u32>,

    /// Measurements in a row, a second apart, in which a worker is beyond --max-memory, or all beyond --memory-pressure.
    #[arg(long, value_name = "N", env = "PREFORK_MEMORY_SAMPLES", default_value = "3")]
    #[arg(allow_negative_numbers = true, value_parser = parse::parse_times)]
    pub memory_samples: u32,

    /// What counts as a worker's memory.
    #[arg(long, value_name = "HOW", env = "PREFORK_MEMORY_MEASURE", default_value = "rss")]
    pub memory_measure: MemoryMeasure,
}

/// What counts requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum CountRequests {
    /// The worker, which is told its limit by {max_requests} and ends when it is reached.
    Worker,
    /// The worker reports X_PREFORK_REQUESTS=<total> to $NOTIFY_SOCKET, and is replaced, new one first.
    Notify,
    /// The worker counts in shared memory (docs/scoreboard.md), and is replaced, new one first.
    Scoreboard,
}

/// What counts as memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum MemoryMeasure {
    /// What is resident, shared pages counted for each process.
    Rss,
    /// A shared page counts in part for each who shares it; slower, and RSS where the kernel does not tell.
    Pss,
}
