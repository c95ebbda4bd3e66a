//! Options about signals, and about the one command of init mode.

#![allow(rustdoc::broken_intra_doc_links, rustdoc::invalid_html_tags)]

use crate::core::Signal;
use crate::core::policy::Scope;
use crate::core::signal::Rewrite;
use crate::settings::options::parse;
use clap::builder::BoolishValueParser;
use clap::{Args, ValueEnum};

/// What happens to signals and orphans.
#[derive(Debug, Args)]
pub struct SignalOptions {
    /// Pass signal FROM on as TO, or not at all if TO is 0; repeat it, or separate by commas, for more.
    ///
    /// In pool mode: act as if TO had come. Names or numbers: TERM=QUIT, 15=3, HUP=0, RTMIN+3=TERM.
    #[arg(long, value_name = "FROM=TO", env = "PREFORK_REWRITE_SIGNAL")]
    #[arg(value_delimiter = ',', value_parser = parse::parse_rewrite)]
    pub rewrite_signal: Vec<Rewrite>,

    /// In pool mode: pass this signal on to every worker that is ready, as for reopening its log; repeat it, or separate
    /// by commas, for more.
    #[arg(long, value_name = "SIGNAL", env = "PREFORK_FORWARD_SIGNAL")]
    #[arg(value_delimiter = ',', value_parser = parse::parse_forward)]
    pub forward_signal: Vec<Signal>,

    /// Whether orphans come to us where we are not PID 1 [default: auto].
    #[arg(long, value_name = "WHEN", env = "PREFORK_SUBREAPER")]
    pub subreaper: Option<Subreaper>,

    /// The signal we get when the process that started us is gone.
    #[arg(long, value_name = "SIGNAL", env = "PREFORK_PARENT_DEATH_SIGNAL")]
    #[arg(value_parser = parse::parse_signal)]
    pub parent_death_signal: Option<Signal>,

    /// Log a warning for each orphan that is reaped.
    #[arg(long, env = "PREFORK_WARN_ON_REAP", value_parser = BoolishValueParser::new())]
    pub warn_on_reap: bool,
}

/// How one command is run.
#[derive(Debug, Args)]
pub struct InitOptions {
    /// Who gets the signals that are passed on: the command alone, or its process group [default: group].
    #[arg(long, value_name = "WHO", env = "PREFORK_SIGNAL_SCOPE", value_enum)]
    pub signal_scope: Option<ScopeOption>,

    /// What to do with a signal that would end the command only because it does not handle it (HUP, USR1, USR2, ALRM
    /// and the like, never TERM, INT or QUIT) [default: forward].
    #[arg(long, value_name = "HOW", env = "PREFORK_UNHANDLED")]
    pub unhandled: Option<Unhandled>,

    /// Where the command runs: a session, a process group, or none of its own [default: auto].
    #[arg(long, value_name = "WHERE", env = "PREFORK_PROCESS_GROUP")]
    pub process_group: Option<ProcessGroup>,

    /// What becomes of processes that outlive the command [default: wait].
    #[arg(long, value_name = "WHAT", env = "PREFORK_ORPHANS")]
    pub orphans: Option<OrphansOption>,

    /// End with TO where the command ends with FROM; repeatable, or separated by commas.
    #[arg(long, value_name = "FROM=TO", env = "PREFORK_REMAP_EXIT_CODE")]
    #[arg(value_delimiter = ',', value_parser = parse::parse_remap)]
    pub remap_exit_code: Vec<(u8, u8)>,

    /// Exit codes that count as success and become 0, as in 143 for a command that TERM ends.
    #[arg(long, value_name = "CODE", env = "PREFORK_SUCCESS_CODES")]
    #[arg(allow_negative_numbers = true, value_delimiter = ',', value_parser = parse::parse_exit_code)]
    pub success_codes: Vec<u8>,

    /// Run no command: reap orphans until TERM or INT comes, then end with 0, as a pod's first container does.
    #[arg(long, env = "PREFORK_PAUSE", value_parser = BoolishValueParser::new())]
    pub pause: bool,
}

/// When to become a subreaper, prctl(2).
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Subreaper {
    /// Where we are not PID 1.
    Auto,
    /// Never: orphans go to the process above us.
    Never,
}

/// What to do with signals that the command does not know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Unhandled {
    /// Pass them on all the same.
    Forward,
    /// Keep them from processes that do not handle them; the others get them.
    Drop,
}

/// Where the command runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ProcessGroup {
    /// A group of its own, in the foreground, where a terminal controls our session; else a session of its own.
    Auto,
    /// A session of its own, without a terminal.
    Session,
    /// A process group of its own, the terminal's foreground group if ours is.
    Group,
    /// Our own process group: the terminal's keys reach it without us.
    None,
}

/// The treatment of processes that outlive the command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum OrphansOption {
    /// They get the stop signal and the rest of the graceful timeout, and we wait for them.
    Wait,
    /// The command's group gets the signal, and we end at once, as dumb-init does.
    Signal,
    /// We end at once, as tini does.
    Leave,
}

/// Which processes get the signals that are passed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ScopeOption {
    /// The command alone.
    Process,
    /// Its process group.
    Group,
}

impl From<ScopeOption> for Scope {
    fn from(option: ScopeOption) -> Self {
        match option {
            ScopeOption::Process => Self::Process,
            ScopeOption::Group => Self::Group,
        }
    }
}
