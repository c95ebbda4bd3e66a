//! The settings of init mode, from the options and the name by which we are called.

use crate::core::policy::{InitPolicy, Orphans, Scope, StopPolicy};
use crate::core::time::Patience;
use crate::core::{Monotonic, Rewrites, Signal};
use crate::settings::defaults::Placing;
use crate::settings::options::{Options, OrphansOption, ProcessGroup, ScopeOption, Subreaper, Unhandled};
use crate::values::error::StartError;
use crate::values::style::Style;

#[derive(Clone, Debug)]
pub struct InitSettings {
    /// The rules; the terminal's part is determined later.
    pub policy: InitPolicy,
    pub placing: Placing,
}

/// When to become a subreaper: by default, whenever processes are waited for.
pub(crate) fn subreaper(options: &Options) -> Subreaper {
    let waits = options.is_given("graceful_timeout") || options.init.orphans == Some(OrphansOption::Wait);
    let default = if waits { Subreaper::Auto } else { options.defaults.subreaper };
    options.signals.subreaper.unwrap_or(default)
}

pub(crate) fn resolve(options: &Options) -> Result<InitSettings, StartError> {
    let init = &options.init;
    let placing = init.process_group.map_or(options.defaults.placing, Placing::As);
    let shared = placing == Placing::As(ProcessGroup::None);
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
    // The other inits stop leftovers with the signal to which TERM is rewritten.
    let theirs = is_other && !options.is_given("stop_signal");
    let stop_signal = if theirs { rewrites.of(Signal::TERM) } else { Some(options.stopping.stop_signal) };
    let waits = options.is_given("graceful_timeout");
    // Under another init's name, no process is killed unless a timeout is given.
    let patient = is_other && !waits;
    let graceful = if patient { Patience::Forever } else { options.stopping.graceful_timeout };
    // A graceful timeout is meant for leftovers, so they are waited for.
    let default = if waits { OrphansOption::Wait } else { options.defaults.orphans };
    let orphans = match init.orphans.unwrap_or(default) {
        OrphansOption::Wait => Orphans::Wait,
        OrphansOption::Signal => Orphans::Signal(stop_signal),
        OrphansOption::Leave => Orphans::Leave,
    };
    let success = init.success_codes.iter().map(|code| (*code, 0));
    let policy = InitPolicy {
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
    };
    Ok(InitSettings { policy, placing })
}
