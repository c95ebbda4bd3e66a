//! The settings of a pool, from the options.

use super::activation::Activation;
use super::{bind, budget, workers};
use crate::core::policy::{
    DrainPolicy, HangPolicy, Jittered, PoolPolicy, ProbePolicy, ReadyPolicy, RecyclePolicy, RespawnPolicy,
    StopPolicy,
};
use crate::core::time::Patience;
use crate::core::{Monotonic, Rewrites, Signal};
use crate::settings::given::useless;
use crate::settings::options::{CountRequests, ListenerOption, MemoryMeasure, Options, Ready, Replacement};
use crate::settings::placeholders::{Command, MAX_REQUESTS, NOTIFY_FD};
use crate::settings::rules::sizing::Sizing;
use crate::settings::surroundings::Surroundings;
use crate::values::address::Address;
use crate::values::address::from_loopback;
use crate::values::amounts::Jitter;
use crate::values::error::StartError;
use crate::values::log::OutputStyle;
use crate::values::log::WorkerOutput;
use std::time::Duration;

/// The age at which a worker counts as ready without listeners, where it cannot be seen accepting.
const READY_WITHOUT_LISTENERS: Duration = Duration::from_secs(1);

/// The interval of measurements; with an accept stall, that divided by the second number if it is less.
const MEASURE_EVERY: Duration = Duration::from_secs(1);
const MEASURES_OF_A_STALL: u32 = 4;

#[derive(Clone, Debug)]
pub struct PoolSettings {
    /// The rules.
    pub policy: PoolPolicy,
    /// Inherited sockets: the workers' first listeners.
    pub adopted: Activation,
    /// The addresses that we bind.
    pub bind: Vec<Address>,
    /// The permissions of unix sockets in `bind`.
    pub bind_mode: u32,
    /// The group of those, a name or a number; `None` for ours.
    pub bind_group: Option<String>,
    /// The length of the accept queue.
    pub backlog: u32,
    /// Whether each worker should have a listener of its own.
    pub per_worker: bool,
    /// The probe of each worker.
    pub probe: Option<ProbeSettings>,
    /// How memory is measured; `None` without a limit.
    pub memory: Option<MemoryMeasure>,
    /// Whether the container's memory is measured too.
    pub memory_pressure: bool,
    /// Whether workers count requests in shared memory.
    pub scoreboard: bool,
    /// Whether each worker gets a descriptor for a ready line.
    pub ready_pipe: bool,
    /// The interval in which each worker must say `WATCHDOG=1`.
    pub watchdog: Option<Duration>,
    /// The format of workers' lines; `None` if their output does not pass through us.
    pub output: Option<OutputStyle>,
    /// The expected memory of one worker, in bytes.
    pub worker_memory: Option<u64>,
    /// How long a client may take for the request on a new connection.
    pub drain_time: Duration,
    /// The origin of the number of workers; `None` if a number was given.
    pub sizing: Option<Sizing>,
}

impl PoolSettings {
    /// All addresses, in the order of the workers' descriptors.
    pub fn listeners(&self) -> impl Iterator<Item = &Address> {
        self.adopted.addresses.iter().chain(&self.bind)
    }

    /// The names of the listeners.
    #[must_use]
    pub fn names(&self) -> Vec<String> {
        let name = |index: usize| {
            self.adopted.names.get(index).cloned().unwrap_or_else(|| format!("listener-{index}"))
        };
        (0..self.listeners().count()).map(name).collect()
    }
}

/// The request of a probe.
#[derive(Clone, Debug)]
pub struct ProbeSettings {
    pub path: String,
    /// The longest wait for the answer.
    pub timeout: Duration,
}

pub(crate) fn resolve(
    options: &Options,
    surroundings: &Surroundings,
    command: &Command,
) -> Result<PoolSettings, StartError> {
    let (workers, sizing) = workers::resolve(options, surroundings)?;
    let adopted = Activation::resolve(surroundings.activation.as_ref())?;
    let bind = bind::resolve(options, surroundings, command, &adopted)?;
    let listeners = [&adopted.addresses[..], &bind[..]].concat();
    // With `auto`, the user does not know the number.
    if options.readiness.min_ready > workers && sizing.is_none() {
        let remedy = format!("use a number from 1 to {workers}");
        let min_ready = options.readiness.min_ready;
        return Err(StartError::value("--min-ready", min_ready, "more than there are workers", remedy));
    }
    let budget = budget::resolve(&options.replacement, workers)?;
    let drain = drain(options, &listeners)?;
    let forwards = forwards(options)?;
    let probe = probing(options, &listeners)?;
    let recycle = recycle(options, command)?;
    let ready = ready(options, &listeners)?;
    let hang = hang(options, &listeners, probe.is_some())?;
    let has_memory_limit = measures_memory(&recycle);
    if !has_memory_limit {
        let names = ["memory_samples", "memory_measure"];
        useless(&options.given, &names, "memory has no limit", "add --max-memory SIZE")?;
    }
    let Options { pool, signals, stopping, respawn, .. } = options;
    let policy = PoolPolicy {
        rewrites: Rewrites::new(signals.rewrite_signal.clone()),
        forwards,
        warn_on_reap: signals.warn_on_reap,
        workers,
        min_ready: options.readiness.min_ready,
        budget,
        stop: StopPolicy { signal: stopping.stop_signal, graceful: stopping.graceful_timeout },
        drain_delay: stopping.drain_delay,
        drain,
        ready,
        hang,
        measure_every: measure_every(options, &recycle),
        recycle,
        respawn: RespawnPolicy {
            backoff: respawn.backoff,
            backoff_max: respawn.backoff_max.max(respawn.backoff),
            max_restarts: respawn.max_restarts.0,
            window: respawn.restart_window,
        },
        rereads: options.configuration.config.is_some(),
        deadline: stopping.deadline.map(Monotonic),
    };
    Ok(PoolSettings {
        adopted,
        bind,
        bind_mode: pool.bind_mode,
        bind_group: pool.bind_group.clone(),
        backlog: pool.backlog,
        per_worker: pool.listener == ListenerOption::PerWorker,
        probe,
        memory: has_memory_limit.then_some(options.recycling.memory_measure),
        memory_pressure: recycle.memory_pressure.is_some(),
        scoreboard: uses_scoreboard(options),
        ready_pipe: command.mentions(NOTIFY_FD),
        watchdog: options.hangs.watchdog,
        output: match options.logging.worker_output {
            WorkerOutput::Inherit => None,
            WorkerOutput::Prefix => Some(OutputStyle::Prefix),
            WorkerOutput::Json => Some(OutputStyle::Json),
        },
        worker_memory: pool.worker_memory.filter(|size| *size > 0),
        drain_time: options.replacement.drain_time,
        sizing,
        policy,
    })
}

/// The rules between the last connection for a worker and its stop signal.
fn drain(options: &Options, listeners: &[Address]) -> Result<DrainPolicy, StartError> {
    let Replacement { drain_signal, drain_time, .. } = options.replacement;
    let problem = match drain_signal {
        Some(signal) if signal == options.stopping.stop_signal => Some("it is the stop signal"),
        Some(Signal::KILL | Signal::STOP) => Some("nobody can handle it"),
        _ => None,
    };
    if let Some((signal, problem)) = drain_signal.zip(problem) {
        let remedy = "use one that the application handles, such as USR2";
        return Err(StartError::value("--drain-signal", signal, problem, remedy));
    }
    let scoreboard = uses_scoreboard(options);
    Ok(DrainPolicy {
        listens: !listeners.is_empty(),
        steered: options.pool.listener == ListenerOption::PerWorker && listeners.iter().any(is_tcp),
        shares: !scoreboard,
        told: drain_signal.is_some() || scoreboard,
        hint: drain_signal,
        time: drain_time,
    })
}

fn is_tcp(address: &Address) -> bool {
    matches!(address, Address::Tcp(_))
}

/// The rules for hangs.
fn hang(options: &Options, listeners: &[Address], probes: bool) -> Result<HangPolicy, StartError> {
    let hangs = &options.hangs;
    let accept_stall = accept_stall(options, listeners.iter().any(is_tcp))?;
    if hangs.watchdog.is_none() && accept_stall.is_none() && !probes && !uses_scoreboard(options) {
        let (problem, remedy) =
            ("nothing finds out that a worker hangs", "add --watchdog, --probe or --accept-stall");
        useless(&options.given, &["abort_signal", "abort_time"], problem, remedy)?;
    }
    let (interval, failures) = (hangs.probe_interval, hangs.probe_failures);
    Ok(HangPolicy {
        watchdog: hangs.watchdog,
        accept_stall,
        probe: probes.then_some(ProbePolicy { interval, failures }),
        abort_signal: hangs.abort_signal,
        abort_time: hangs.abort_time,
    })
}

/// Signals to forward. A worker must not mistake one for our own use of the same signal.
fn forwards(options: &Options) -> Result<Vec<Signal>, StartError> {
    let means = [
        (Some(options.stopping.stop_signal), "it is the stop signal"),
        (options.replacement.drain_signal, "it is the drain signal"),
    ];
    for (signal, problem) in means {
        if let Some(signal) = signal.filter(|signal| options.signals.forward_signal.contains(signal)) {
            return Err(StartError::value(
                "--forward-signal",
                signal,
                problem,
                "use another for the one or the other",
            ));
        }
    }
    Ok(options.signals.forward_signal.clone())
}

/// The signs of readiness.
fn ready(options: &Options, bind: &[Address]) -> Result<ReadyPolicy, StartError> {
    let start_timeout = options.readiness.start_timeout;
    let nothing = ReadyPolicy { observe: false, believe: false, probe: false, after: None, start_timeout };
    let how = options.readiness.ready;
    if let (Ready::Delay(delay), Patience::For(limit)) = (how, start_timeout)
        && delay > limit
    {
        let delay = format!("delay:{}", humantime::format_duration(delay));
        let remedy = "use a shorter time, or a longer --start-timeout";
        return Err(StartError::value("--ready", delay, "longer than the start timeout", remedy));
    }
    if start_timeout == Patience::For(Duration::ZERO) {
        let remedy = "use some time, or infinity";
        return Err(StartError::value("--start-timeout", 0, "no worker is ready at once", remedy));
    }
    Ok(match how {
        Ready::Accept if bind.is_empty() => {
            let remedy = "add --bind ADDR, or use notify or delay:D";
            return Err(StartError::value("--ready", "accept", "there is no listener", remedy));
        }
        Ready::Probe if options.hangs.probe.is_none() => {
            let remedy = "add --probe PATH";
            return Err(StartError::value("--ready", "probe", "it is not said what to ask for", remedy));
        }
        Ready::Auto => ReadyPolicy {
            observe: !bind.is_empty(),
            believe: true,
            after: bind.is_empty().then_some(READY_WITHOUT_LISTENERS),
            ..nothing
        },
        Ready::Notify => ReadyPolicy { believe: true, ..nothing },
        Ready::Accept => ReadyPolicy { observe: true, ..nothing },
        Ready::Probe => ReadyPolicy { probe: true, ..nothing },
        Ready::Delay(delay) => ReadyPolicy { after: Some(delay), ..nothing },
    })
}

fn probing(options: &Options, bind: &[Address]) -> Result<Option<ProbeSettings>, StartError> {
    let hangs = &options.hangs;
    let Some(path) = &hangs.probe else {
        let names = ["probe_interval", "probe_timeout", "probe_failures"];
        useless(&options.given, &names, "nothing is probed", "add --probe PATH")?;
        return Ok(None);
    };
    if options.pool.listener == ListenerOption::Shared {
        let problem = "with a shared listener any worker might answer";
        return Err(StartError::value("--probe", path, problem, "use --listener per-worker"));
    }
    if probe_target(bind).is_none() {
        let problem = "no worker can be reached over IPv4";
        let remedy = "add --bind with an IPv4 address, or [::] for both";
        return Err(StartError::value("--probe", path, problem, remedy));
    }
    Ok(Some(ProbeSettings { path: path.clone(), timeout: hangs.probe_timeout }))
}

/// The address for probes.
#[must_use]
pub fn probe_target<'a>(bound: impl IntoIterator<Item = &'a Address>) -> Option<std::net::SocketAddr> {
    bound.into_iter().find_map(|address| match address {
        Address::Tcp(address) => from_loopback(*address),
        Address::Unix(_) => None,
    })
}

fn accept_stall(options: &Options, has_tcp: bool) -> Result<Option<Duration>, StartError> {
    let Some(stall) = options.hangs.accept_stall else { return Ok(None) };
    let value = humantime::format_duration(stall);
    if options.pool.listener == ListenerOption::Shared || !has_tcp {
        let problem = "workers have no queue of their own";
        let remedy = "use --listener per-worker and --bind HOST:PORT";
        return Err(StartError::value("--accept-stall", value, problem, remedy));
    }
    Ok(Some(stall))
}

fn uses_scoreboard(options: &Options) -> bool {
    options.recycling.count_requests == Some(CountRequests::Scoreboard)
}

fn measures_memory(recycle: &RecyclePolicy) -> bool {
    recycle.max_memory.is_some() || recycle.max_memory_hard.is_some() || recycle.memory_pressure.is_some()
}

fn measure_every(options: &Options, recycle: &RecyclePolicy) -> Option<Duration> {
    let of_limits = measures_memory(recycle) || uses_scoreboard(options);
    let of_stall = options.hangs.accept_stall.map(|stall| stall / MEASURES_OF_A_STALL);
    of_limits.then_some(MEASURE_EVERY).into_iter().chain(of_stall.map(|every| every.min(MEASURE_EVERY))).min()
}

/// A limit and its jitter, which needs a limit.
fn limit<T: Copy + PartialEq + Default>(
    (option, value): (&str, Option<T>),
    jitter: Option<Jitter<T>>,
    of: impl Fn(Jitter<T>, T) -> T,
    shown: impl Fn(T) -> String,
) -> Result<Option<Jittered<T>>, StartError> {
    let base = value.filter(|value| *value != T::default());
    match (base, jitter) {
        (Some(base), jitter) => {
            Ok(Some(Jittered { base, jitter: jitter.map(|jitter| of(jitter, base)).unwrap_or_default() }))
        }
        (None, Some(jitter)) => {
            let shown = match jitter {
                Jitter::Absolute(none) if none == T::default() => return Ok(None),
                Jitter::Absolute(jitter) => shown(jitter),
                Jitter::Percent(percent) => format!("{percent}%"),
            };
            let (problem, remedy) = ("there is no limit to add it to", format!("add {option}"));
            Err(StartError::value(&format!("{option}-jitter"), shown, problem, remedy))
        }
        (None, None) => Ok(None),
    }
}

fn recycle(options: &Options, command: &Command) -> Result<RecyclePolicy, StartError> {
    let recycling = &options.recycling;
    let number = |number: u64| number.to_string();
    let age = |age: Duration| humantime::format_duration(age).to_string();
    let max_requests = limit(
        ("--max-requests", recycling.max_requests),
        recycling.max_requests_jitter,
        |j, b| j.of(b),
        number,
    )?;
    let max_age = limit(("--max-age", recycling.max_age), recycling.max_age_jitter, |j, b| j.of(b), age)?;
    let max_memory =
        limit(("--max-memory", recycling.max_memory), recycling.max_memory_jitter, |j, b| j.of(b), number)?;
    let max_memory_hard = recycling.max_memory_hard.filter(|limit| *limit > 0);
    if let (Some(soft), Some(hard)) = (max_memory, max_memory_hard)
        && hard <= soft.base.saturating_add(soft.jitter)
    {
        let problem = "not more than --max-memory and its jitter";
        return Err(StartError::value(
            "--max-memory-hard",
            hard,
            problem,
            "use a larger size, in bytes or as in 2G",
        ));
    }
    let told = command.mentions(MAX_REQUESTS);
    match (max_requests, recycling.count_requests) {
        (None, _) if told => {
            let remedy = "add --max-requests N; --no-placeholders if it is meant literally";
            return Err(StartError::value("COMMAND", MAX_REQUESTS, "no limit of requests is set", remedy));
        }
        (None, Some(CountRequests::Worker | CountRequests::Notify)) => {
            let remedy = "add --max-requests N";
            return Err(StartError::usage("--count-requests", "there is no limit to count for", remedy));
        }
        (Some(limit), None | Some(CountRequests::Worker)) if !told => {
            let remedy = "pass {max_requests} to the command, as in --limit-max-requests {max_requests}, \
                          or add --count-requests notify or scoreboard";
            let problem = "nothing would count the requests";
            return Err(StartError::value("--max-requests", limit.base, problem, remedy));
        }
        (Some(_) | None, _) => {}
    }
    Ok(RecyclePolicy {
        max_requests,
        max_age,
        max_memory,
        max_memory_hard,
        memory_pressure: recycling.memory_pressure,
        memory_samples: recycling.memory_samples,
        counted_by_worker: told,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::Mode;
    use crate::settings::layers::{Parsed, read};
    use crate::settings::{self, Settings};
    use std::ffi::OsString;

    fn resolve(line: &str, web_concurrency: Option<&str>, port: Option<&str>) -> Result<Settings, String> {
        let args = ["prefork-init"].into_iter().chain(line.split(' ')).map(OsString::from);
        let surroundings = Surroundings {
            web_concurrency: web_concurrency.map(OsString::from),
            port: port.map(OsString::from),
            ..Surroundings::default()
        };
        match read(args) {
            Ok(Parsed::Asks(options)) => {
                settings::resolve(*options, &surroundings).map_err(|e| e.to_string())
            }
            Ok(other) => panic!("{other:?}"),
            Err(error) => Err(error.to_string()),
        }
    }

    fn pool(line: &str, web_concurrency: Option<&str>, port: Option<&str>) -> (PoolPolicy, Vec<String>) {
        let config = resolve(line, web_concurrency, port).unwrap();
        let Mode::Pool(pool) = config.mode else { panic!("not a pool: {line}") };
        let bind = pool.bind.iter().map(ToString::to_string).collect();
        (pool.policy, bind)
    }

    #[test]
    fn a_pool_is_asked_for_by_workers_by_bind_or_by_the_fd_placeholder() {
        assert_eq!(pool("-n 3 x", None, None).0.workers, 3);
        assert_eq!(pool("-b :80 x", None, None).0.workers, 1);
        assert_eq!(pool("x --fd {fd}", None, Some("80")).1, ["0.0.0.0:80"]);
        assert!(matches!(resolve("x", Some("4"), Some("80")).unwrap().mode, Mode::Init(_)));
        assert!(matches!(resolve("--no-placeholders x {fd}", None, None).unwrap().mode, Mode::Init(_)));
    }

    #[test]
    fn web_concurrency_and_port_are_honoured_after_the_options() {
        assert_eq!(pool("-b :80 x", Some("4"), None).0.workers, 4);
        assert_eq!(pool("-n 2 x", Some("4"), Some("81")).0.workers, 2);
        assert_eq!(pool("-n 2 x", None, Some("81")).1, ["0.0.0.0:81"]);
        assert_eq!(pool("-n 2 -b [::]:80,unix:/s x", None, Some("81")).1, ["[::]:80", "unix:/s"]);
        assert!(resolve("-b :80 x", Some("many"), None).unwrap_err().starts_with("WEB_CONCURRENCY 'many'"));
        assert!(resolve("-n 2 x", None, Some("http")).unwrap_err().starts_with("PORT 'http'"));
    }

    #[test]
    fn options_that_contradict_each_other_are_named() {
        for (line, named, remedy) in [
            ("-n 2 --max-requests 100 x", "--max-requests '100'", "--count-requests notify"),
            ("-n 2 --max-requests 100 --count-requests worker x", "--max-requests '100'", "{max_requests}"),
            ("-n 2 --max-requests-jitter 10 x", "--max-requests-jitter '10'", "add --max-requests"),
            (
                "-n 2 --max-requests 0 --max-requests-jitter 10 x",
                "--max-requests-jitter '10'",
                "add --max-requests",
            ),
            ("-n 2 --max-age-jitter 10s x", "--max-age-jitter '10s'", "add --max-age"),
            ("-n 2 x {max_requests}", "COMMAND '{max_requests}'", "add --max-requests"),
            ("-n 2 --count-requests notify x", "--count-requests", "add --max-requests"),
            ("-n 2 --min-ready 3 x", "--min-ready '3'", "from 1 to 2"),
            ("-n 2 --ready delay:2m x", "--ready 'delay:2m'", "--start-timeout"),
            ("-n 2 x {fd}", "COMMAND '{fd}'", "add --bind"),
            ("--max-age 10s x", "--max-age", "add --workers"),
        ] {
            let error = resolve(line, None, None).unwrap_err();
            assert!(error.starts_with(named) && error.contains(remedy), "{line}: {error}");
        }
    }

    #[test]
    fn zero_is_no_limit() {
        let (policy, _) = pool("-n 2 --max-requests 0 --max-age 0 x", None, None);
        assert!(policy.recycle.max_requests.is_none() && policy.recycle.max_age.is_none());
    }
}
