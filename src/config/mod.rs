//! What is to be done, checked: every rule about options that concerns more than one of them.

pub mod command;
mod init;

pub use init::Placing;

use crate::address::Address;
use crate::cli::{CountRequests, Like, Only, Options, Process, Subreaper};
use crate::core::policy::{Jittered, PoolPolicy, ReadyPolicy, RecyclePolicy, RespawnPolicy, StopPolicy};
use crate::core::time::Patience;
use crate::core::{Mode, Rewrites, Signal};
use crate::error::StartError;
use command::{Command, FD, MAX_REQUESTS};
use std::ffi::OsString;
use std::time::Duration;
use tracing::warn;

/// How many workers more than asked may live during planned replacements.
const MAX_SURGE: u32 = 1;

/// When a worker that cannot be seen accepting, because there are no listeners, counts as ready.
const READY_WITHOUT_LISTENERS: Duration = Duration::from_secs(1);

/// A checked configuration.
#[derive(Debug)]
pub struct Config {
    /// What to run.
    pub command: Command,
    /// How.
    pub mode: Mode,
    /// Where the pool listens; empty in init mode.
    pub bind: Vec<Address>,
    /// The accept queue's length.
    pub backlog: u32,
    /// Where the health endpoint listens.
    pub health: Option<Address>,
    /// Whose manners we have.
    pub like: Like,
    /// How much is said in their words.
    pub verbosity: u8,
    /// Where the command runs, in init mode.
    pub placing: Placing,
    /// When to become a subreaper.
    pub subreaper: Subreaper,
    /// What we get when the process that started us is gone.
    pub parent_death_signal: Option<Signal>,
    /// As whom, where and under which limits the command runs.
    pub process: Process,
}

/// What other programs' conventions say in our environment.
#[derive(Debug, Default)]
pub struct Environment {
    /// `WEB_CONCURRENCY`: how many workers (gunicorn, uvicorn, puma).
    pub web_concurrency: Option<OsString>,
    /// `PORT`: where to listen (gunicorn, and most platforms).
    pub port: Option<OsString>,
}

impl Environment {
    /// Reads the process's environment.
    #[must_use]
    pub fn read() -> Self {
        let read = |name| std::env::var_os(name).filter(|value| !value.is_empty());
        Self { web_concurrency: read("WEB_CONCURRENCY"), port: read("PORT") }
    }
}

impl Config {
    /// Checks the options against each other.
    ///
    /// # Errors
    /// The first rule that is broken.
    pub fn resolve(options: Options, environment: &Environment) -> Result<Self, StartError> {
        let command = Command::new(options.command.clone(), !options.pool.no_placeholders);
        if options.command.is_empty() && !options.init.pause {
            let remedy = "add the command to run, as in: prefork-init -- myserver";
            return Err(StartError::usage("COMMAND", "missing", remedy));
        }
        // Another init's command may have any text in it.
        let asks_for_fd = options.like == Like::Ourselves && command.mentions(FD);
        let is_pool = options.pool.workers.is_some() || !options.pool.bind.is_empty() || asks_for_fd;
        let (mode, bind, command) = if is_pool {
            none_only_for(
                Only::Init,
                &options,
                "only init mode has a use for it",
                "leave --workers and --bind out",
            )?;
            if options.command.is_empty() {
                return Err(StartError::usage(
                    "--pause",
                    "a pool needs a command",
                    "leave it out, or the pool",
                ));
            }
            let (mode, bind) = pool(&options, environment, &command)?;
            (mode, bind, command)
        } else {
            none_only_for(Only::Pool, &options, "only a pool has workers", "add --workers N or --bind ADDR")?;
            (Mode::Init(init::policy(&options)?), Vec::new(), command.literal())
        };
        let (placing, subreaper) = (init::placing(&options), init::subreaper(&options));
        Ok(Self {
            command,
            mode,
            bind,
            backlog: options.pool.backlog,
            health: options.endpoint.health,
            like: options.like,
            verbosity: options.verbosity,
            placing,
            subreaper,
            parent_death_signal: options.signals.parent_death_signal,
            process: options.process,
        })
    }
}

fn pool(
    options: &Options,
    environment: &Environment,
    command: &Command,
) -> Result<(Mode, Vec<Address>), StartError> {
    let workers = workers(options, environment)?;
    let bind = bind(options, environment, command)?;
    if options.readiness.min_ready > workers {
        let remedy = format!("use a number from 1 to {workers}");
        return Err(StartError::value(
            "--min-ready",
            options.readiness.min_ready,
            "more than there are workers",
            remedy,
        ));
    }
    if let (Some(after), Patience::For(limit)) =
        (options.readiness.ready_after, options.readiness.start_timeout)
        && after > limit
    {
        let after = humantime::format_duration(after);
        let remedy = "use a shorter time, or a longer --start-timeout";
        return Err(StartError::value("--ready-after", after, "longer than the start timeout", remedy));
    }
    let ready = ReadyPolicy {
        observe: !bind.is_empty(),
        after: options.readiness.ready_after.or(bind.is_empty().then_some(READY_WITHOUT_LISTENERS)),
        start_timeout: options.readiness.start_timeout,
    };
    let respawn = RespawnPolicy {
        backoff: options.respawn.backoff,
        backoff_max: options.respawn.backoff_max.max(options.respawn.backoff),
        max_restarts: options.respawn.max_restarts.0,
        window: options.respawn.restart_window,
    };
    let mode = Mode::Pool(PoolPolicy {
        rewrites: Rewrites::new(options.signals.rewrite_signal.clone()),
        warn_on_reap: options.signals.warn_on_reap,
        workers,
        min_ready: options.readiness.min_ready,
        max_surge: MAX_SURGE,
        stop: StopPolicy {
            signal: options.stopping.stop_signal,
            graceful: options.stopping.graceful_timeout,
        },
        drain_delay: options.stopping.drain_delay,
        ready,
        recycle: recycle(options, command)?,
        respawn,
    });
    Ok((mode, bind))
}

/// Flags that the mode has no use for are a mistake, not a decoration. A variable may be there for the image's usual
/// command, and this one is another.
fn none_only_for(mode: Only, options: &Options, problem: &str, remedy: &str) -> Result<(), StartError> {
    for given in options.given.iter().filter(|given| given.only == Some(mode)) {
        match &given.variable {
            None => return Err(StartError::usage(&given.flag, problem, remedy)),
            Some(variable) => warn!(variable, "variable ignored: {problem}, {remedy}"),
        }
    }
    Ok(())
}

fn workers(options: &Options, environment: &Environment) -> Result<u32, StartError> {
    match (options.pool.workers, &environment.web_concurrency) {
        (Some(workers), _) => Ok(workers),
        (None, Some(text)) => crate::cli::workers_of_web_concurrency(&text.to_string_lossy()),
        (None, None) => Ok(1),
    }
}

fn bind(options: &Options, environment: &Environment, command: &Command) -> Result<Vec<Address>, StartError> {
    if !options.pool.bind.is_empty() {
        return Ok(options.pool.bind.clone());
    }
    match &environment.port {
        Some(port) => {
            let port = port.to_string_lossy();
            let address = Address::parse(&format!(":{port}"));
            let address = address.map_err(|(problem, _)| {
                StartError::value("PORT", &port, problem, "set it to a number, or give --bind ADDR")
            })?;
            Ok(vec![address])
        }
        None if command.mentions(FD) => {
            let remedy = "add --bind ADDR or set PORT; --no-placeholders if {fd} is meant literally";
            Err(StartError::value("COMMAND", FD, "there is no listener for it", remedy))
        }
        None => Ok(Vec::new()),
    }
}

fn recycle(options: &Options, command: &Command) -> Result<RecyclePolicy, StartError> {
    let max_requests = options.recycling.max_requests.filter(|n| *n > 0);
    let max_age = options.recycling.max_age.filter(|age| !age.is_zero());
    let told = command.mentions(MAX_REQUESTS);
    if let (None, Some(jitter)) = (max_requests, options.recycling.max_requests_jitter.filter(|n| *n > 0)) {
        let remedy = "add --max-requests N";
        return Err(StartError::value(
            "--max-requests-jitter",
            jitter,
            "there is no limit to add it to",
            remedy,
        ));
    }
    if let (None, Some(jitter)) = (max_age, options.recycling.max_age_jitter.filter(|age| !age.is_zero())) {
        let jitter = humantime::format_duration(jitter);
        return Err(StartError::value(
            "--max-age-jitter",
            jitter,
            "there is no limit to add it to",
            "add --max-age D",
        ));
    }
    match (max_requests, options.recycling.count_requests) {
        (None, _) if told => {
            let remedy = "add --max-requests N; --no-placeholders if it is meant literally";
            return Err(StartError::value("COMMAND", MAX_REQUESTS, "no limit of requests is set", remedy));
        }
        (None, Some(_)) => {
            return Err(StartError::usage(
                "--count-requests",
                "there is no limit to count for",
                "add --max-requests N",
            ));
        }
        (Some(limit), None | Some(CountRequests::Worker)) if !told => {
            let remedy = "pass {max_requests} to the command, as in --limit-max-requests {max_requests}, \
                          or add --count-requests notify";
            return Err(StartError::value(
                "--max-requests",
                limit,
                "nothing would count the requests",
                remedy,
            ));
        }
        (Some(_) | None, _) => {}
    }
    Ok(RecyclePolicy {
        max_requests: max_requests
            .map(|base| Jittered { base, jitter: options.recycling.max_requests_jitter.unwrap_or_default() }),
        max_age: max_age
            .map(|base| Jittered { base, jitter: options.recycling.max_age_jitter.unwrap_or_default() }),
        counted_by_worker: told,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::{Request, read};

    fn resolve(line: &str, web_concurrency: Option<&str>, port: Option<&str>) -> Result<Config, String> {
        let args = ["prefork-init"].into_iter().chain(line.split(' ')).map(OsString::from);
        let environment = Environment {
            web_concurrency: web_concurrency.map(OsString::from),
            port: port.map(OsString::from),
        };
        match read(args) {
            Ok(Request::Run(options)) => Config::resolve(*options, &environment).map_err(|e| e.to_string()),
            Ok(Request::Print { text, .. }) => panic!("{text}"),
            Err(error) => Err(error.to_string()),
        }
    }

    fn pool(line: &str, web_concurrency: Option<&str>, port: Option<&str>) -> (PoolPolicy, Vec<String>) {
        let config = resolve(line, web_concurrency, port).unwrap();
        let Mode::Pool(policy) = config.mode else { panic!("not a pool: {line}") };
        (policy, config.bind.iter().map(ToString::to_string).collect())
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
            ("-n 2 --ready-after 2m x", "--ready-after '2m'", "--start-timeout"),
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
