//! The rules of init mode, from the options and from whose name we bear.

use crate::core::policy::{InitPolicy, Orphans, Scope, StopPolicy};
use crate::core::time::Patience;
use crate::core::{Monotonic, Rewrites, Signal};
use crate::settings::compat;
use crate::settings::options::{Like, Options, OrphansOption, ProcessGroup, Subreaper, Unhandled};
use crate::values::error::StartError;

/// Where the command runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placing {
    /// As the user says, or as it fits.
    As(ProcessGroup),
    /// In a session of its own, to which we give our terminal up (dumb-init).
    WithOurTerminal,
}

/// Where the command is to run.
pub(crate) fn placing(options: &Options) -> Placing {
    match (options.init.process_group, options.like) {
        (Some(group), _) => Placing::As(group),
        (None, Like::Ourselves) => Placing::As(ProcessGroup::Auto),
        (None, Like::DumbInit) => Placing::WithOurTerminal,
        (None, Like::Tini) => Placing::As(ProcessGroup::Group),
    }
}

/// When to become a subreaper: the others only if they are told to, or if somebody is to be waited for.
pub(crate) fn subreaper(options: &Options) -> Subreaper {
    let waits = options.is_given("graceful_timeout") || options.init.orphans == Some(OrphansOption::Wait);
    match (options.signals.subreaper, options.like) {
        (Some(when), _) => when,
        (None, Like::Ourselves) => Subreaper::Auto,
        (None, Like::DumbInit | Like::Tini) if waits => Subreaper::Auto,
        (None, Like::DumbInit | Like::Tini) => Subreaper::Never,
    }
}

/// The rules; what the terminal has to do with it is found out later.
pub(crate) fn policy(options: &Options) -> Result<InitPolicy, StartError> {
    let init = &options.init;
    let shared = placing(options) == Placing::As(ProcessGroup::None);
    if shared && init.signal_scope == Some(Scope::Group) {
        return Err(StartError::value(
            "--signal-scope",
            "group",
            "the command shares our own group",
            "use process, or another --process-group",
        ));
    }
    if init.pause && !options.command.is_empty() {
        return Err(StartError::usage("--pause", "there is a command", "leave the one or the other out"));
    }
    let rewrites = Rewrites::new(options.signals.rewrite_signal.clone());
    // The others ask those who are left to stop by what TERM is for the command.
    let theirs = options.like != Like::Ourselves && !options.is_given("stop_signal");
    let stop_signal = if theirs { rewrites.of(Signal::TERM) } else { Some(options.stopping.stop_signal) };
    let waits = options.is_given("graceful_timeout");
    // Who is called by another init's name expects it to kill nobody.
    let patient = options.like != Like::Ourselves && !waits;
    let graceful = if patient { Patience::Forever } else { options.stopping.graceful_timeout };
    let orphans = match (init.orphans, options.like) {
        (Some(OrphansOption::Wait), _) | (None, Like::Ourselves) => Orphans::Wait,
        // Who sets a time for the end wants what is left to have it.
        (None, Like::DumbInit | Like::Tini) if waits => Orphans::Wait,
        (Some(OrphansOption::Signal), _) | (None, Like::DumbInit) => Orphans::Signal(stop_signal),
        (Some(OrphansOption::Leave), _) | (None, Like::Tini) => Orphans::Leave,
    };
    let success = init.success_codes.iter().map(|code| (*code, 0));
    Ok(InitPolicy {
        rewrites,
        scope: init.signal_scope.unwrap_or(Scope::Group),
        spare_unaware: init.unhandled == Some(Unhandled::Drop),
        stops_itself: options.like == Like::DumbInit,
        orphans,
        remaps: success.chain(init.remap_exit_code.iter().copied()).collect(),
        warn_on_reap: options.signals.warn_on_reap,
        pause: init.pause,
        deadline: options.stopping.deadline.map(Monotonic),
        start_failure_code: match options.like {
            Like::Ourselves => |failure| failure.code,
            Like::DumbInit => compat::dumb_init::start_failure_code,
            Like::Tini => compat::tini::start_failure_code,
        },
        ..InitPolicy::new(StopPolicy { signal: stop_signal.unwrap_or(Signal::TERM), graceful })
    })
}
