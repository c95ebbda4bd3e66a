//! The rules about the settings themselves. Each is a function of the case alone.

use super::case::{Case, Warning};
use super::rule::{Finding, Rule};
use super::server_rules;
use crate::core::policy::{RecyclePolicy, Scope};
use crate::core::time::Patience;
use crate::settings::given::{Only, Source};
use crate::settings::placeholders::OF_ONE_WORKER;
use crate::settings::servers::Between;
use crate::values::address::Address;
use humantime::format_duration as time;
use std::time::Duration;

/// The default times after which `docker stop` and Kubernetes (at a pod's end) kill.
const DOCKER: Duration = Duration::from_secs(10);
const KUBERNETES: Duration = Duration::from_secs(30);

#[rustfmt::skip]
const RULES: [Rule; 19] = [
    Rule { id: "memory-overcommit", about: "all workers at their memory limit need more than the container has", look: memory_overcommit },
    Rule { id: "too-many-workers", about: "more workers than 2 x CPU + 1", look: too_many_workers },
    Rule { id: "web-concurrency", about: "WEB_CONCURRENCY is inherited, and is used or ignored", look: web_concurrency },
    Rule { id: "termination-grace", about: "the platform kills before the graceful timeout is over", look: termination_grace },
    Rule { id: "no-drain-delay", about: "new connections are refused before the load balancer knows", look: no_drain_delay },
    Rule { id: "no-recycling", about: "a pool without any limit for its workers", look: no_recycling },
    Rule { id: "no-jitter", about: "all workers reach their limit at once", look: no_jitter },
    Rule { id: "hard-limit-alone", about: "a memory limit that only stops, and never replaces first", look: hard_limit_alone },
    Rule { id: "no-hang-detection", about: "a worker that hangs is never found", look: no_hang_detection },
    Rule { id: "no-health", about: "a pool without a health endpoint", look: no_health },
    Rule { id: "min-ready-all", about: "one worker less makes the pool not ready", look: min_ready_all },
    Rule { id: "no-worker-left", about: "all workers may be missing by plan", look: no_worker_left },
    Rule { id: "shell-wrapper", about: "a shell, or npm, stays between us and the program and swallows signals", look: shell_wrapper },
    Rule { id: "runs-as-root", about: "the command runs as root", look: runs_as_root },
    Rule { id: "setting-ignored", about: "a variable, or a setting of the file, has no use in this mode", look: setting_ignored },
    Rule { id: "unknown-variable", about: "a variable is named nearly as one of ours, and has no effect", look: unknown_variable },
    Rule { id: "tiny-memory", about: "a size so small that it was meant in another unit", look: tiny_memory },
    Rule { id: "runner-socket", about: "npm, yarn or pnpm stays between, and passes no listener on", look: runner_socket },
    Rule { id: "no-start-limit", about: "a worker that never gets ready is waited for without end", look: no_start_limit },
];

pub fn all() -> impl Iterator<Item = Rule> {
    RULES.into_iter().chain(server_rules::RULES)
}

/// The findings of all rules.
#[must_use]
pub fn warnings(case: &Case<'_>) -> Vec<Warning> {
    let found = all().filter_map(|rule| {
        let (reason, remedy) = (rule.look)(case)?;
        Some(Warning { id: rule.id, reason, remedy })
    });
    found.collect()
}

/// The most memory of one worker before a limit acts, or else its expected memory; with the option that says so.
fn memory_of_a_worker(case: &Case<'_>, recycle: &RecyclePolicy) -> Option<(&'static str, u64)> {
    let hard = recycle.max_memory_hard.map(|limit| ("--max-memory-hard", limit));
    let soft = recycle.max_memory.map(|limit| ("--max-memory", limit.base.saturating_add(limit.jitter)));
    hard.or(soft).or(case.settings.pool()?.worker_memory.map(|size| ("--worker-memory", size)))
}

fn memory_overcommit(case: &Case<'_>) -> Option<Finding> {
    let (pool, limit) = (case.pool()?, case.around.memory_limit?);
    let (option, each) = memory_of_a_worker(case, &pool.recycle)?;
    let surge = pool.budget.surge(pool.workers);
    let count = u64::from(pool.workers).saturating_add(u64::from(surge));
    let sum = count.saturating_mul(each);
    let during = if surge == 0 { String::new() } else { format!(" (and {surge} more during a replacement)") };
    let fitting = limit.checked_div(count).unwrap_or(0);
    (sum > limit).then(|| {
        let workers = pool.workers;
        (
            format!(
                "{workers} workers{during} x {} of {option} = {}, more than the container's {}",
                size(each),
                size(sum),
                size(limit)
            ),
            format!(
                "fewer workers, {option} below {}, or more memory; --memory-pressure 90% replaces the heaviest in time",
                size(fitting)
            ),
        )
    })
}

fn too_many_workers(case: &Case<'_>) -> Option<Finding> {
    let (workers, cpus) = (case.pool()?.workers, case.around.cpus);
    let most = cpus.saturating_mul(2).saturating_add(1);
    (workers > most).then(|| {
        (
            format!("{workers} workers on {cpus} CPU: more than 2 x {cpus} + 1 = {most} wait for each other"),
            format!("--workers {most} or fewer, or more CPU"),
        )
    })
}

fn web_concurrency(case: &Case<'_>) -> Option<Finding> {
    let (pool, inherited) = (case.pool()?, case.around.web_concurrency.as_ref()?);
    let workers = pool.workers;
    if !case.is_given("workers") {
        return Some((
            format!(
                "WEB_CONCURRENCY={inherited} decides that there are {workers} workers, which a base image or the platform may have set"
            ),
            format!("say --workers {workers} if that is meant"),
        ));
    }
    (inherited.parse() != Ok(workers)).then(|| {
        (
            format!("WEB_CONCURRENCY={inherited} is ignored: --workers says {workers}"),
            "unset the one, or leave out the other".to_owned(),
        )
    })
}

fn termination_grace(case: &Case<'_>) -> Option<Finding> {
    let (delay, graceful) = match (case.pool(), case.init()) {
        (Some(pool), _) => (pool.drain_delay, pool.stop.graceful),
        (None, Some(init)) => (Duration::ZERO, init.stop.graceful),
        (None, None) => return None,
    };
    if case.termination_grace == Some(Patience::Forever) {
        return None;
    }
    let Patience::For(graceful) = graceful else {
        return Some((
            "--graceful-timeout infinity: the platform's own KILL comes first, for everybody at once".to_owned(),
            "a --graceful-timeout below the platform's time (Docker 10s, Kubernetes 30s), or --termination-grace infinity"
                .to_owned(),
        ));
    };
    let total = delay.saturating_add(graceful);
    let sum = if delay.is_zero() {
        format!("--graceful-timeout {}", time(graceful))
    } else {
        format!("--drain-delay {} + --graceful-timeout {} = {}", time(delay), time(graceful), time(total))
    };
    match case.termination_grace {
        Some(Patience::For(grace)) => (total >= grace).then(|| {
            (
                format!("{sum}, not below --termination-grace {}: the platform kills first", time(grace)),
                format!("{}, or more time from the platform", below(grace, delay)),
            )
        }),
        Some(Patience::Forever) => None,
        None if total >= KUBERNETES => Some((
            format!(
                "{sum}: docker stop kills after 10s, Kubernetes after 30s, unless they are told to wait longer"
            ),
            format!("{}, or say --termination-grace if the platform waits longer", below(KUBERNETES, delay)),
        )),
        None => (total >= DOCKER).then(|| {
            (
                format!("{sum}: docker stop kills after 10s, unless it is told to wait longer"),
                "docker stop --time 30 and --termination-grace 30s, which is what Kubernetes waits"
                    .to_owned(),
            )
        }),
    }
}

/// A time a little below the platform's.
fn below(grace: Duration, delay: Duration) -> String {
    const TO_SPARE: Duration = Duration::from_secs(1);
    match grace.saturating_sub(delay).saturating_sub(TO_SPARE) {
        Duration::ZERO => "a shorter --graceful-timeout and --drain-delay".to_owned(),
        left => format!("--graceful-timeout {} or less", time(left)),
    }
}

fn no_drain_delay(case: &Case<'_>) -> Option<Finding> {
    let has_tcp = case.settings.pool()?.bind.iter().any(|address| matches!(address, Address::Tcp(_)));
    let asked = case.settings.endpoint.health.is_some() && has_tcp;
    (asked && case.pool()?.drain_delay.is_zero()).then(|| {
        (
            "--drain-delay 0s: at TERM connections are refused at once, while a load balancer still sends some".to_owned(),
            "--drain-delay 5s, or as long as yours takes to see that /readyz says no".to_owned(),
        )
    })
}

fn no_recycling(case: &Case<'_>) -> Option<Finding> {
    let recycle = &case.pool()?.recycle;
    let has_any = recycle.max_requests.is_some()
        || recycle.max_age.is_some()
        || recycle.max_memory.is_some()
        || recycle.max_memory_hard.is_some()
        || recycle.memory_pressure.is_some();
    (!has_any).then(|| {
        (
            "no limit of requests, age or memory: what leaks, leaks until the container is killed".to_owned(),
            "--max-age 6h --max-age-jitter 10%, or --max-memory".to_owned(),
        )
    })
}

fn no_jitter(case: &Case<'_>) -> Option<Finding> {
    let pool = case.pool().filter(|pool| pool.workers > 1)?;
    let requests = pool.recycle.max_requests.filter(|limit| limit.jitter == 0);
    let age = pool.recycle.max_age.filter(|limit| limit.jitter.is_zero());
    let (option, limit) = match (requests, age) {
        (Some(limit), _) => ("--max-requests", limit.base.to_string()),
        (None, Some(limit)) => ("--max-age", time(limit.base).to_string()),
        (None, None) => return None,
    };
    let workers = pool.workers;
    Some((
        format!("{workers} workers reach {option} {limit} at about the same time, again and again"),
        format!("{option}-jitter 10%"),
    ))
}

fn hard_limit_alone(case: &Case<'_>) -> Option<Finding> {
    let recycle = &case.pool()?.recycle;
    let hard = recycle.max_memory_hard.filter(|_| recycle.max_memory.is_none())?;
    Some((
        format!(
            "--max-memory-hard {} alone: a worker that grows is stopped before there is another",
            size(hard)
        ),
        format!("--max-memory below it, say {}, which replaces first", size((hard / 5).saturating_mul(4))),
    ))
}

fn no_hang_detection(case: &Case<'_>) -> Option<Finding> {
    let hang = &case.pool()?.hang;
    let has_any = hang.watchdog.is_some()
        || hang.accept_stall.is_some()
        || hang.probe.is_some()
        || case.settings.pool()?.scoreboard;
    (!has_any).then(|| {
        (
            "nothing finds out that a worker hangs: it keeps its share of the connections".to_owned(),
            "--probe /health, --accept-stall 5s, or --watchdog 30s".to_owned(),
        )
    })
}

fn no_health(case: &Case<'_>) -> Option<Finding> {
    case.pool()?;
    case.settings.endpoint.health.is_none().then(|| {
        (
            "no health endpoint: the platform can only ask a worker, and takes a busy one for dead"
                .to_owned(),
            "--health :9000, with /livez, /readyz and /startupz as probes".to_owned(),
        )
    })
}

fn min_ready_all(case: &Case<'_>) -> Option<Finding> {
    let pool = case.pool().filter(|pool| pool.workers > 1)?;
    let workers = pool.workers;
    (pool.min_ready >= workers).then(|| {
        (
            format!("--min-ready {workers} of {workers} workers: while one is missing, the others get no traffic either"),
            format!("--min-ready {} or fewer", workers.saturating_sub(1)),
        )
    })
}

fn no_worker_left(case: &Case<'_>) -> Option<Finding> {
    let pool = case.pool()?;
    let (workers, missing) = (pool.workers, pool.budget.unavailable(pool.workers));
    (missing >= workers).then(|| {
        (
            format!(
                "--max-unavailable {missing} with --workers {workers}: a reload may leave no worker that serves"
            ),
            match workers.saturating_sub(1) {
                0 => "--max-unavailable 0 with --max-surge 1".to_owned(),
                most => format!("--max-unavailable {most} or less"),
            },
        )
    })
}

/// In init mode the whole process group gets the signals, also a shell's child; in a pool the worker alone gets them.
fn shell_wrapper(case: &Case<'_>) -> Option<Finding> {
    let alone = case.init().is_none_or(|init| init.scope == Scope::Process);
    let between = case.program.between.as_ref().filter(|_| alone)?;
    let who = if case.pool().is_some() { "a worker" } else { "with --signal-scope process the command" };
    match between {
        Between::Shell(name) => Some((
            format!("{name} -c without exec: {who} gets the signals alone, and {name} does not pass them on"),
            "put exec before the last command of the script, or leave the shell out".to_owned(),
        )),
        Between::Runner(name) => Some((
            format!(
                "{name} stays between: {who} gets the signals alone, and {name} starts a shell that does not pass them on"
            ),
            "run the program itself, as in: node server.js".to_owned(),
        )),
        Between::Uv => None,
    }
}

fn unknown_variable(case: &Case<'_>) -> Option<Finding> {
    let unknown = &case.around.unknown;
    let all: Vec<String> = unknown.iter().map(ToString::to_string).collect();
    (!unknown.is_empty()).then(|| (all.join("; "), "write it as --help has it, or leave it out".to_owned()))
}

/// Every server takes more than this, in bytes.
const TINY: u64 = 1 << 20;

fn tiny_memory(case: &Case<'_>) -> Option<Finding> {
    let (recycle, pool) = (&case.pool()?.recycle, case.settings.pool()?);
    let sizes = [
        ("--max-memory", recycle.max_memory.map(|limit| limit.base)),
        ("--max-memory-hard", recycle.max_memory_hard),
        ("--worker-memory", pool.worker_memory),
    ];
    let (option, bytes) =
        sizes.into_iter().find_map(|(option, size)| Some((option, size.filter(|size| *size < TINY)?)))?;
    let what = match option {
        "--worker-memory" => "as many are started as if they took nothing",
        _ => "every worker is beyond it, and is replaced without end",
    };
    let unit = if bytes < TINY >> 5 { "M" } else { "K" };
    Some((
        format!("{option} {bytes} is {bytes} bytes, less than any worker takes: {what}"),
        format!("a unit, as in {option} {bytes}{unit}"),
    ))
}

/// Node marks all descriptors that it inherits as close-on-exec.
fn runner_socket(case: &Case<'_>) -> Option<Finding> {
    let has_listener = case.settings.pool()?.listeners().next().is_some();
    let Some(Between::Runner(name)) = case.program.between.as_ref().filter(|_| has_listener) else {
        return None;
    };
    let has_own_port = OF_ONE_WORKER.iter().any(|own| case.settings.command.mentions(own));
    (RUNNERS_OF_NODE.contains(&name.as_str()) && !has_own_port).then(|| {
        (
            format!("{name} passes no descriptors on: nothing serves the pool's listener"),
            "run the program itself, as in: node server.js".to_owned(),
        )
    })
}

const RUNNERS_OF_NODE: [&str; 4] = ["npm", "yarn", "pnpm", "npx"];

fn runs_as_root(case: &Case<'_>) -> Option<Finding> {
    let runs_something = case.init().is_none_or(|init| !init.pause);
    (case.around.command_is_root && runs_something).then(|| {
        (
            "the command runs as root (uid 0)".to_owned(),
            "--user USER, with which ports below 1024 can be bound all the same; or USER in the image"
                .to_owned(),
        )
    })
}

fn setting_ignored(case: &Case<'_>) -> Option<Finding> {
    let (other, mode) = if case.pool().is_some() {
        (Only::Init, "only init mode has a use for it, and this is a pool")
    } else {
        (Only::Pool, "only a pool has a use for it, and this is init mode")
    };
    let ignored = case.given.iter().filter(|given| given.only == Some(other));
    let names = ignored.filter_map(|given| match &given.source {
        Source::Flag => None,
        Source::Variable(name) => Some(name.clone()),
        Source::File(_) => Some(given.flag.trim_start_matches('-').to_owned()),
    });
    let names: Vec<String> = names.collect();
    (!names.is_empty()).then(|| {
        (
            format!("ignored: {}: {mode}", names.join(", ")),
            "leave it out here, or ask for the other mode".to_owned(),
        )
    })
}

fn no_start_limit(case: &Case<'_>) -> Option<Finding> {
    (case.pool()?.ready.start_timeout == Patience::Forever).then(|| {
        (
            "--start-timeout infinity: a worker that never gets ready holds its slot, and every reload, for ever".to_owned(),
            "--start-timeout 5m, or as long as the slowest start takes".to_owned(),
        )
    })
}

/// `512M`, `1.5G`, as the options take it; rounded.
pub(super) fn size(bytes: u64) -> String {
    const UNITS: [(&str, u32); 4] = [("T", 40), ("G", 30), ("M", 20), ("K", 10)];
    let unit = UNITS.into_iter().find(|(_, shift)| bytes >> shift > 0);
    let Some((letter, shift)) = unit else { return bytes.to_string() };
    let half = (1u128 << shift) >> 1;
    let tenths = u128::from(bytes).saturating_mul(10).saturating_add(half) >> shift;
    match (tenths / 10, tenths % 10) {
        (whole, 0) => format!("{whole}{letter}"),
        (whole, part) => format!("{whole}.{part}{letter}"),
    }
}
