//! The plan of a pool.

use super::plan_lines::{Plan, kill, rewrites};
use crate::core::policy::{HangPolicy, PoolPolicy, ReadyPolicy, RecyclePolicy};
use crate::core::time::Patience;
use crate::os::process::handover::FORMAT;
use crate::settings::PoolSettings;
use crate::values::FIRST_FD;
use crate::values::address::Address;
use crate::values::log::OutputStyle;
use humantime::format_duration as time;

pub(super) fn plan(plan: &mut Plan, pool: &PoolSettings) {
    let policy = &pool.policy;
    plan.say("mode", format_args!("pool: {} workers, {} must be ready", policy.workers, policy.min_ready));
    if let Some(sizing) = &pool.sizing {
        plan.say("workers", sizing);
        for warning in sizing.warnings(policy.min_ready) {
            plan.say("", warning);
        }
    }
    listeners(plan, pool);
    plan.say("ready", ready(&policy.ready));
    plan.say("signals", "TERM, INT and QUIT stop the pool; a second hurries, a third kills");
    plan.say("", "HUP replaces every worker, the first one alone; TTIN and TTOU: one worker more, one fewer");
    plan.say(
        "",
        format_args!(
            "USR2 exchanges this program and keeps the workers (handover format {FORMAT}); others are logged"
        ),
    );
    if !policy.forwards.is_empty() {
        let names: Vec<String> = policy.forwards.iter().map(ToString::to_string).collect();
        plan.say("", format_args!("{} goes to every worker that is ready", names.join(", ")));
    }
    rewrites(plan, &policy.rewrites);
    match pool.output {
        None => {}
        Some(OutputStyle::Prefix) => plan.say("output", "each line of a worker after its slot and pid"),
        Some(OutputStyle::Json) => plan.say("output", "each line of a worker as JSON"),
    }
    replaced(plan, policy);
    recycled(plan, &policy.recycle);
    hangs(plan, &policy.hang);
    let served = if policy.drain.listens {
        format!("no new connections; {} after the last,", time(policy.drain.time))
    } else {
        "then".to_owned()
    };
    plan.say(
        "at the stop",
        format_args!(
            "not ready for {}; {served} each worker gets {}; {}",
            time(policy.drain_delay),
            policy.stop.signal,
            kill(&policy.stop)
        ),
    );
    let restarts = policy.respawn.max_restarts.map_or("never given up".to_owned(), |most| {
        let window = time(policy.respawn.window);
        format!("given up, with code 3, after more than {most} restarts of a slot in {window}")
    });
    plan.say("crashes", format_args!("replaced; {restarts}"));
    plan.say("exit code", "0 after an ordered stop, 3 when a crash loop is given up");
}

pub(super) fn listeners(plan: &mut Plan, pool: &PoolSettings) {
    let whose = if pool.policy.drain.steered { "each worker has its own" } else { "all workers share it" };
    let adopted = pool.adopted.addresses.len();
    for (index, (fd, address)) in (FIRST_FD..).zip(pool.listeners()).enumerate() {
        let by = match address {
            _ if index < adopted => " (by LISTEN_FDS)".to_owned(),
            Address::Tcp(_) => String::new(),
            Address::Unix(_) => rights(pool),
        };
        plan.say("listener", format_args!("{address}{by}, descriptor {fd} of each worker; {whose}"));
    }
}

/// Which users may connect to a unix socket; empty if all may.
fn rights(pool: &PoolSettings) -> String {
    match (pool.bind_mode, &pool.bind_group) {
        (0o666, None) => String::new(),
        (mode, None) => format!(" (mode {mode:03o})"),
        (mode, Some(group)) => format!(" (mode {mode:03o}, group {group})"),
    }
}

fn ready(policy: &ReadyPolicy) -> String {
    let signs = [
        policy.observe.then(|| "it is seen waiting for connections".to_owned()),
        policy.believe.then(|| "it says so".to_owned()),
        policy.probe.then(|| "it answers a probe".to_owned()),
        policy.after.map(|after| format!("it is {} old", time(after))),
    ];
    let signs: Vec<String> = signs.into_iter().flatten().collect();
    let limit = match policy.start_timeout {
        Patience::For(limit) => format!("; given up after {}", time(limit)),
        Patience::Forever => String::new(),
    };
    format!("a worker, when {}{limit}", signs.join(" or "))
}

fn replaced(plan: &mut Plan, policy: &PoolPolicy) {
    let budget = &policy.budget;
    plan.say(
        "replaced",
        format_args!(
            "at most {} more alive, {} fewer ready, starts {} apart",
            budget.max_surge,
            budget.max_unavailable,
            time(budget.gap)
        ),
    );
    let hint = policy.drain.hint.map(|hint| format!("gets {hint}, and ")).unwrap_or_default();
    if policy.drain.steered {
        let time = time(policy.drain.time);
        plan.say(
            "",
            format_args!("the old one gets no new connections, {hint}is stopped {time} after the last"),
        );
    } else if !hint.is_empty() {
        plan.say("", format_args!("the old one {hint}is stopped {} later", time(policy.drain.time)));
    }
}

fn recycled(plan: &mut Plan, policy: &RecyclePolicy) {
    if let Some(limit) = &policy.max_requests {
        let most = limit.base.saturating_add(limit.jitter);
        plan.say("recycled", format_args!("after {} to {most} requests", limit.base));
    }
    if let Some(limit) = &policy.max_age {
        let most = time(limit.base.saturating_add(limit.jitter));
        plan.say("recycled", format_args!("at an age of {} to {most}", time(limit.base)));
    }
    if let Some(limit) = &policy.max_memory {
        let most = limit.base.saturating_add(limit.jitter);
        plan.say("recycled", format_args!("beyond {} to {most} bytes of memory", limit.base));
    }
    if let Some(limit) = policy.max_memory_hard {
        plan.say("recycled", format_args!("at once beyond {limit} bytes of memory"));
    }
    if let Some(percent) = policy.memory_pressure {
        plan.say("recycled", format_args!("the heaviest, beyond {percent}% of the container's memory"));
    }
}

fn hangs(plan: &mut Plan, policy: &HangPolicy) {
    if let Some(every) = policy.watchdog {
        plan.say("hung", format_args!("if it does not say WATCHDOG=1 every {}", time(every)));
    }
    if let Some(probe) = &policy.probe {
        let (failures, interval) = (probe.failures, time(probe.interval));
        plan.say("hung", format_args!("if it fails {failures} probes in a row, {interval} apart"));
    }
    if let Some(stall) = policy.accept_stall {
        plan.say("hung", format_args!("if its queue stands still for {}, and as long again", time(stall)));
    }
    if policy.watchdog.is_some() || policy.probe.is_some() || policy.accept_stall.is_some() {
        plan.say(
            "",
            format_args!("then it gets {}, and KILL after {}", policy.abort_signal, time(policy.abort_time)),
        );
    }
}
