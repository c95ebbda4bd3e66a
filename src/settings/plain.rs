//! Reads a command line without options: yields the defaults without the parser, whose definition of all options takes
//! nine tenths of a start.

use crate::core::Signal;
use crate::core::policy::Share;
use crate::core::time::Patience;
use crate::settings::defaults::Defaults;
use crate::settings::options::{
    Checks, Configuration, Endpoint, Hangs, HelperOptions, InitOptions, ListenerOption, Logging,
    MemoryMeasure, Options, PoolOptions, ProcessOptions, Readiness, Ready, Recycling, Replacement, Respawn,
    Restarts, SignalOptions, Stopping,
};
use crate::values::log::{LogFormat, LogLevel, WorkerOutput};
use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

/// The result of the parser, if the command line is only a command, with or without `--` before it; else `None`.
/// `has_variables` says whether any variable has our prefix. The first word must not be a subcommand.
#[must_use]
pub fn read(args: &[OsString], has_variables: bool) -> Option<Box<Options>> {
    let words = args.get(1..)?;
    let command = match words.split_first()? {
        _ if has_variables => return None,
        (first, rest) if first == "--" => rest,
        (first, _) if first.as_bytes().starts_with(b"-") => return None,
        _ => words,
    };
    (!command.is_empty()).then(|| Box::new(defaults(command.to_vec())))
}

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

const fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// The options' own defaults; the test below compares the two.
fn defaults(command: Vec<OsString>) -> Options {
    Options {
        command,
        configuration: Configuration { config: None },
        signals: SignalOptions {
            rewrite_signal: Vec::new(),
            forward_signal: Vec::new(),
            subreaper: None,
            parent_death_signal: None,
            warn_on_reap: false,
        },
        init: InitOptions {
            signal_scope: None,
            unhandled: None,
            process_group: None,
            orphans: None,
            remap_exit_code: Vec::new(),
            success_codes: Vec::new(),
            pause: false,
        },
        process: ProcessOptions {
            user: None,
            group: None,
            no_new_privs: false,
            umask: None,
            chdir: None,
            oom_score_adj: None,
        },
        pool: pool(),
        replacement: Replacement {
            max_surge: Share::Number(1),
            max_unavailable: Share::Number(0),
            replacement_gap: seconds(1),
            drain_signal: None,
            drain_time: millis(500),
        },
        readiness: Readiness { min_ready: 1, ready: Ready::Auto, start_timeout: Patience::For(seconds(60)) },
        hangs: hangs(),
        recycling: recycling(),
        respawn: Respawn {
            backoff: millis(250),
            backoff_max: seconds(30),
            max_restarts: Restarts(Some(5)),
            restart_window: seconds(60),
        },
        stopping: Stopping {
            graceful_timeout: Patience::For(seconds(30)),
            stop_signal: Signal::TERM,
            drain_delay: Duration::ZERO,
            deadline: None,
            termination_grace: None,
        },
        around: HelperOptions { before: Vec::new(), before_timeout: Patience::Forever, on_event: None },
        endpoint: Endpoint { health: None, control: None },
        checks: Checks {
            ready_check: None,
            ready_check_interval: seconds(5),
            ready_check_timeout: seconds(2),
        },
        logging: Logging {
            log_format: LogFormat::Text,
            log_level: LogLevel::Info,
            worker_output: WorkerOutput::Inherit,
            explain: false,
        },
        given: Vec::new(),
        unknown: Vec::new(),
        defaults: Defaults::default(),
        verbosity: 0,
        said_first: String::new(),
    }
}

fn pool() -> PoolOptions {
    PoolOptions {
        workers: None,
        worker_memory: None,
        memory_reserve: 64 << 20,
        bind: Vec::new(),
        bind_mode: 0o666,
        bind_group: None,
        listener: ListenerOption::PerWorker,
        backlog: 2048,
        no_placeholders: false,
    }
}

fn hangs() -> Hangs {
    Hangs {
        watchdog: None,
        accept_stall: None,
        probe: None,
        probe_interval: seconds(10),
        probe_timeout: seconds(2),
        probe_failures: 3,
        abort_signal: Signal::ABRT,
        abort_time: seconds(2),
    }
}

fn recycling() -> Recycling {
    Recycling {
        max_requests: None,
        max_requests_jitter: None,
        count_requests: None,
        max_age: None,
        max_age_jitter: None,
        max_memory: None,
        max_memory_jitter: None,
        max_memory_hard: None,
        memory_pressure: None,
        memory_samples: 3,
        memory_measure: MemoryMeasure::Rss,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::rng::Rng;
    use crate::os::entry;
    use crate::settings::compat;
    use crate::settings::layers::Parsed;
    use crate::settings::variables::PREFIX;
    use std::ffi::OsStr;
    use std::process::Command;

    const NAME: &str =
        "settings::plain::tests::it_is_what_the_parser_reads_whatever_the_words_and_the_environment";
    /// Set in the children, each of which has a different environment.
    const SEED: &str = "SEED_OF_PLAIN_COMMAND_LINES";

    /// All command lines of one or two of these words after our name, and 400 longer ones.
    fn command_lines(seed: u64) -> Vec<Vec<OsString>> {
        let words = [
            &b"--"[..],
            b"-",
            b"",
            b"myserver",
            b"{fd}",
            b"a b",
            b"--workers",
            b"4",
            b"--workers=4",
            b"-n",
            b"-h",
            b"--help",
            b"--version",
            b"--port",
            b"check",
            b"help",
            b"prefork-init",
            b"\xff",
            b"--\xff",
            b"FOO=1",
        ];
        let mut rng = Rng::new(seed);
        let mut any = || words[usize::try_from(rng.up_to(words.len() as u64 - 1)).unwrap()];
        let mut lines: Vec<Vec<&[u8]>> = words.iter().map(|word| vec![*word]).collect();
        lines.extend(words.iter().flat_map(|one| words.iter().map(|other| vec![*one, *other])));
        lines.extend((0..400).map(|index| (0..3 + index % 5).map(|_| any()).collect()));
        let line = |words: Vec<&[u8]>| {
            let words = words.into_iter().map(|word| OsStr::from_bytes(word).to_owned());
            std::iter::once("prefork-init".into()).chain(words).collect()
        };
        lines.into_iter().map(line).collect()
    }

    /// Compares both readers, and returns how many lines are read without the parser.
    fn compare(lines: &[Vec<OsString>]) -> usize {
        let has_variables = entry::has_variable(PREFIX);
        let plain = lines.iter().filter_map(|args| Some((args, read(args, has_variables)?)));
        let same = plain.inspect(|(args, plain)| match compat::read((*args).clone()) {
            Ok(Parsed::Asks(parsed)) => assert_eq!(format!("{plain:?}"), format!("{parsed:?}"), "{args:?}"),
            other => panic!("{args:?}: {other:?}"),
        });
        same.count()
    }

    #[test]
    fn it_is_what_the_parser_reads_whatever_the_words_and_the_environment() {
        if let Some(seed) = std::env::var_os(SEED) {
            let seed = seed.to_str().unwrap().parse().unwrap();
            let mut lines = command_lines(seed);
            if seed != 0 {
                lines.retain(|line| line.len() > 3);
                lines.truncate(40);
            }
            return println!("{} compared", compare(&lines));
        }
        let names = [
            "PATH",
            "LISTEN_FDS",
            "LISTEN_PID",
            "PORT",
            "WEB_CONCURRENCY",
            "NOTIFY_SOCKET",
            "XPREFORK_BIND",
            "PREFORK",
            "PREFORKED_BIND",
            "TINI_SUBREAPER",
            "COLUMNS",
            "PREFORK_WORKERS",
            "PREFORK_BIND",
            "PREFORK_CONFIG",
            "prefork_health",
            "PREFORK_",
            "PREFORK_EVENT",
            "PREFORK_WROKERS",
        ];
        let mut rng = Rng::new(1);
        for seed in 0..60 {
            let chance = |rng: &mut Rng, most: usize| usize::try_from(rng.up_to(most as u64 - 1)).unwrap();
            let count = chance(&mut rng, 4);
            let mut environment: Vec<(&str, &str)> = (0..count)
                .map(|_| {
                    (names[chance(&mut rng, names.len())], ["", "4", ":8000", "a=b"][chance(&mut rng, 4)])
                })
                .collect();
            if seed == 0 {
                environment.clear();
            }
            let child = Command::new(std::env::current_exe().unwrap())
                .args(["--exact", NAME, "--nocapture"])
                .env_clear()
                .envs(environment.iter().copied())
                .env(SEED, seed.to_string())
                .output()
                .unwrap();
            let out = String::from_utf8_lossy(&child.stdout);
            assert!(
                child.status.success(),
                "{environment:?}: {out}{}",
                String::from_utf8_lossy(&child.stderr)
            );
            let compared = out.lines().find_map(|line| line.strip_suffix(" compared")).unwrap_or_default();
            let compared: usize = compared.rsplit(' ').next().unwrap().parse().unwrap();
            let has_ours = environment.iter().any(|(name, _)| name.to_ascii_uppercase().starts_with(PREFIX));
            let least = if seed == 0 { 400 } else { 10 };
            assert!(if has_ours { compared == 0 } else { compared >= least }, "{environment:?}: {compared}");
        }
    }
}
