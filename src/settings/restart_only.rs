//! Settings that are fixed at the start: listeners, users, and what workers inherit.

use crate::core::Mode;
use crate::core::policy::ReadyPolicy;
use crate::settings::{PoolSettings, Settings};

/// The options that differ in `new` and can change only by a restart or an upgrade.
#[must_use]
pub fn changed(old: &Settings, new: &Settings) -> Vec<&'static str> {
    let (Mode::Pool(pool), Mode::Pool(new_pool)) = (&old.mode, &new.mode) else { return vec!["workers"] };
    let signs = |pool: &PoolSettings| {
        let ReadyPolicy { observe, believe, probe, after, start_timeout: _ } = pool.policy.ready;
        (observe, believe, probe, after, pool.ready_pipe)
    };
    let (helpers, new_helpers) = (&old.helpers, &new.helpers);
    let options = [
        ("bind", pool.bind != new_pool.bind),
        ("bind-mode", pool.bind_mode != new_pool.bind_mode),
        ("bind-group", pool.bind_group != new_pool.bind_group),
        ("listener", pool.per_worker != new_pool.per_worker),
        ("backlog", pool.backlog != new_pool.backlog),
        ("probe", pool.probe.is_some() != new_pool.probe.is_some()),
        ("count-requests", pool.scoreboard != new_pool.scoreboard),
        ("ready", signs(pool) != signs(new_pool)),
        ("worker-output", pool.output != new_pool.output),
        ("deadline", helpers.deadline != new_helpers.deadline),
        ("before", helpers.before != new_helpers.before || helpers.before_by != new_helpers.before_by),
        ("on-event", helpers.on_event != new_helpers.on_event),
        ("ready-check", helpers.check != new_helpers.check),
        ("log-format", old.logging.log_format != new.logging.log_format),
        ("log-level", old.logging.log_level != new.logging.log_level),
        ("watchdog", pool.watchdog != new_pool.watchdog),
        ("health", old.endpoint.health != new.endpoint.health),
        ("control", old.endpoint.control != new.endpoint.control),
        ("user", old.process != new.process),
        ("subreaper", old.subreaper != new.subreaper),
        ("parent-death-signal", old.parent_death_signal != new.parent_death_signal),
    ];
    options.into_iter().filter_map(|(option, differs)| differs.then_some(option)).collect()
}
