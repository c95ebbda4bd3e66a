//! The rules of init mode, from the options and the name by which we are called.

use crate::core::event::SpawnFailure;
use crate::core::policy::{InitPolicy, Orphans, Scope, StopPolicy};
use crate::core::time::Patience;
use crate::core::{Monotonic, Rewrites, Signal};
use crate::settings::options::{Options, OrphansOption, ProcessGroup, ScopeOption, Subreaper, Unhandled};
use crate::values::error::StartError;
use crate::values::style::Style;

/// Where the command runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placing {
    /// As the user says, or as it fits.
    As(ProcessGroup),
    /// In a session of its own, to which we give our terminal up (dumb-init).
    WithOurTerminal,
}

/// What holds where no option says otherwise: our own, or those of the init by whose name we are called.
#[derive(Clone, Copy, Debug)]
pub struct Defaults {
    /// In whose words the log is. The other inits kill nothing that is asked to stop, and give what is left the signal that
    /// TERM is for the command.
    pub style: Style,
    /// Where the command runs.
    pub placing: Placing,
    /// When to become a subreaper.
    pub subreaper: Subreaper,
    /// What becomes of what the command leaves behind.
    pub orphans: OrphansOption,
    /// Whether STOP, put in another signal's place, stops us too.
    pub stops_itself: bool,
    /// The exit code for a command that could not be started.
    pub start_failure_code: fn(&SpawnFailure) -> u8,
}

impl Default for Defaults {
    fn default() -> Self {
        Self {
            style: Style::Ours,
            placing: Placing::As(ProcessGroup::Auto),
            subreaper: Subreaper::Auto,
            orphans: OrphansOption::Wait,
            stops_itself: false,
            start_failure_code: |failure| failure.code,
        }
    }
}

/// Where the command is to run.
pub(crate) fn placing(options: &Options) -> Placing {
    options.init.process_group.map_or(options.defaults.placing, Placing::As)
}

/// When to become a subreaper: wherever something is to be waited for.
pub(crate) fn subreaper(options: &Options) -> Subreaper {
    let waits = options.is_given("graceful_timeout") || options.init.orphans == Some(OrphansOption::Wait);
    let default = if waits { Subreaper::Auto } else { options.defaults.subreaper };
    options.signals.subreaper.unwrap_or(default)
}

/// The rules; what the terminal has to do with it is found out later.
pub(crate) fn policy(options: &Options) -> Result<InitPolicy, StartError> {
    let init = &options.init;
    let shared = placing(options) == Placing::As(ProcessGroup::None);
    if shared && init.signal_scope == Some(ScopeOption::Group) {
        return Err(StartError::value(
            "--signal-scope",
            "group",
            "the command shares our own group",
            "use process, or another --process-group",
        ));
    }
    if init.pause && !options.command.is_empty() {
        return Err(StartError::usage("--pause", "there is a command", "leave either out"));
    }
    let rewrites = Rewrites::new(options.signals.rewrite_signal.clone());
    let is_other = options.defaults.style != Style::Ours;
    // The others ask what is left to stop by what TERM is for the command.
    let theirs = is_other && !options.is_given("stop_signal");
    let stop_signal = if theirs { rewrites.of(Signal::TERM) } else { Some(options.stopping.stop_signal) };
    let waits = options.is_given("graceful_timeout");
    // Under another init's name nothing is killed that nothing was said of.
    let patient = is_other && !waits;
    let graceful = if patient { Patience::Forever } else { options.stopping.graceful_timeout };
    // A time for the end is for what is left.
    let default = if waits { OrphansOption::Wait } else { options.defaults.orphans };
    let orphans = match init.orphans.unwrap_or(default) {
        OrphansOption::Wait => Orphans::Wait,
        OrphansOption::Signal => Orphans::Signal(stop_signal),
        OrphansOption::Leave => Orphans::Leave,
    };
    let success = init.success_codes.iter().map(|code| (*code, 0));
    Ok(InitPolicy {
        rewrites,
        scope: init.signal_scope.map_or(Scope::Group, Scope::from),
        spare_unaware: init.unhandled == Some(Unhandled::Drop),
        stops_itself: options.defaults.stops_itself,
        orphans,
        remaps: success.chain(init.remap_exit_code.iter().copied()).collect(),
        warn_on_reap: options.signals.warn_on_reap,
        pause: init.pause,
        deadline: options.stopping.deadline.map(Monotonic),
        start_failure_code: options.defaults.start_failure_code,
        ..InitPolicy::new(StopPolicy { signal: stop_signal.unwrap_or(Signal::TERM), graceful })
    })
}
