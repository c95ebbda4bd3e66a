//! Options about programs that run before and beside the command.

#![allow(rustdoc::broken_intra_doc_links, rustdoc::invalid_html_tags)]

use crate::core::time::Patience;
use crate::settings::options::parse;
use crate::values::command_line::Words;
use crate::values::duration::parse_patience;
use crate::values::ready_target::ReadyTarget;
use clap::Args;
use std::time::Duration;

/// What runs before and beside the command.
#[derive(Debug, Args)]
pub struct HelperOptions {
    /// Run this once before anything else is started, as for migrations; repeat it for more, one after the other.
    ///
    /// Its failure is the end, with its exit code. Not run again at a reload or an upgrade. It is split into words as a
    /// shell does, but there is no shell: for pipes and variables say sh -c '...'.
    #[arg(long, value_name = "CMD", env = "PREFORK_BEFORE", value_parser = Words::parse)]
    pub before: Vec<Words>,

    /// Stop --before, all of them together, after this long, and end with 124; infinity is never.
    #[arg(long, value_name = "D", env = "PREFORK_BEFORE_TIMEOUT", default_value = "infinity")]
    #[arg(allow_hyphen_values = true, value_parser = parse_patience)]
    pub before_timeout: Patience,

    /// Run this for each transition (worker-ready, reload-failed, ...); its environment tells of it (docs/hooks.md).
    ///
    /// At most 4 at once, for 10s each; 64 events may wait, more are dropped and counted.
    #[arg(long, value_name = "CMD", env = "PREFORK_ON_EVENT", value_parser = Words::parse)]
    pub on_event: Option<Words>,
}

/// The application's own readiness.
#[derive(Debug, Args)]
pub struct Checks {
    /// While workers are ready, ask the application whether it is: http://HOST:PORT/path, unix:/path[:/path] or exec:CMD.
    ///
    /// Good is a status from 200 to 399, or exit code 0. It concerns /readyz alone, never whether anything is restarted.
    #[arg(long, value_name = "HOW", env = "PREFORK_READY_CHECK", value_parser = ReadyTarget::parse)]
    pub ready_check: Option<ReadyTarget>,

    /// The pause between two such checks.
    #[arg(long, value_name = "D", env = "PREFORK_READY_CHECK_INTERVAL", default_value = "5s")]
    #[arg(allow_hyphen_values = true, value_parser = parse::parse_time)]
    pub ready_check_interval: Duration,

    /// How long one may take.
    #[arg(long, value_name = "D", env = "PREFORK_READY_CHECK_TIMEOUT", default_value = "2s")]
    #[arg(allow_hyphen_values = true, value_parser = parse::parse_time)]
    pub ready_check_timeout: Duration,
}
