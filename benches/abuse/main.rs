//! How the endpoint, a killed worker and TERM fare while something keeps the supervisor busy at full speed, as a table.
//!
//! ```sh
//! cargo bench --bench abuse -- [--binary PATH] [--seconds N] [--only WORD]
//! ```
//!
//! Ends with 1 where a bound is broken: the median of `/livez` 20 ms, that of a respawn 100 ms. `--binary`: another
//! program than the one just built, for comparison.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
#![allow(clippy::arithmetic_side_effects)]

#[allow(dead_code, reason = "shared with the tests, which use the rest")]
#[path = "../../tests/harness/mod.rs"]
mod harness;

use harness::abuse::{Abuse, CHILDREN, LINES, NOTICES, ORPHANS, Times};
use harness::{Run, children, eventually, http, kill, launch, python};
use std::ffi::OsString;
use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

const LIVEZ_MEDIAN: Duration = Duration::from_millis(20);
const RESPAWN_MEDIAN: Duration = Duration::from_millis(100);

/// Kills of a worker, one after the other.
const KILLS: usize = 10;

/// Spawns are at least 100 ms apart.
const PAUSE: Duration = Duration::from_millis(120);

/// What is done, and where.
struct Case {
    name: &'static str,
    mode: Mode,
    options: &'static [&'static str],
    /// What slot 0 does, or the command.
    script: Option<&'static str>,
    /// What is done from outside.
    abuse: fn(&Run, &str) -> Abuse,
}

#[derive(Clone, Copy, PartialEq)]
enum Mode {
    Pool,
    Init,
}

/// A command that real-time signals do not end.
const DEAF: &str = "
import time
while True: time.sleep(1000)";

const fn case(name: &'static str, mode: Mode, abuse: fn(&Run, &str) -> Abuse) -> Case {
    Case { name, mode, options: &[], script: None, abuse }
}

fn cases() -> Vec<Case> {
    use Mode::{Init, Pool};
    let nothing: fn(&Run, &str) -> Abuse = |_, _| Abuse::none();
    let storm: fn(&Run, &str) -> Abuse = |run, _| Abuse::signals(run.pid, &[34, 40, 64]);
    let usr1: fn(&Run, &str) -> Abuse = |run, _| Abuse::signals(run.pid, &[libc::SIGUSR1]);
    vec![
        case("idle", Pool, nothing),
        case("idle, init", Init, nothing),
        case("pipelined /livez", Pool, |_, health| Abuse::pipelined(health, "/livez", 48)),
        case("pipelined /status", Pool, |_, health| Abuse::pipelined(health, "/status", 48)),
        case("pipelined /metrics", Pool, |_, health| Abuse::pipelined(health, "/metrics", 48)),
        case("control hogs", Pool, |run, _| Abuse::hogs(&run.dir().join("control"), "/status", 60)),
        case("slow readers", Pool, |_, health| Abuse::slow_readers(health, 48)),
        Case {
            options: &["--worker-output", "prefix"],
            script: Some(LINES),
            ..case("--worker-output prefix", Pool, nothing)
        },
        Case {
            options: &["--worker-output", "json"],
            script: Some(LINES),
            ..case("--worker-output json", Pool, nothing)
        },
        Case { script: Some(NOTICES), ..case("notices, 60 deep", Pool, nothing) },
        case("real-time signals", Pool, storm),
        Case { script: Some(DEAF), ..case("real-time signals, init", Init, storm) },
        case("USR1", Pool, usr1),
        case("STOP and CONT", Pool, |run, _| {
            let worker = sleepers(run)[0];
            Abuse::signals(worker, &[libc::SIGSTOP, libc::SIGCONT])
        }),
        Case { script: Some(ORPHANS), ..case("orphans", Pool, nothing) },
        Case { script: Some(ORPHANS), ..case("orphans, init", Init, nothing) },
        Case { script: Some(CHILDREN), ..case("children that end", Init, nothing) },
    ]
}

fn main() -> ExitCode {
    let (mut binary, mut span, mut only) = (harness::binary(), Duration::from_secs(3), String::new());
    let mut args = std::env::args().skip(1);
    while let Some(arg) = args.next() {
        match arg.as_str() {
            // From cargo itself.
            "--bench" => {}
            "--binary" => binary = args.next().expect("a path").into(),
            "--seconds" => span = Duration::from_secs(args.next().and_then(|n| n.parse().ok()).unwrap()),
            "--only" => only = args.next().expect("a word"),
            _ => panic!("unknown argument {arg:?}: see the head of benches/abuse/main.rs"),
        }
    }
    println!("{}", head());
    let cases: Vec<Case> = cases().into_iter().filter(|case| case.name.contains(&only)).collect();
    let kept = cases.iter().map(|case| measure(case, &binary, span)).filter(|kept| *kept).count();
    if kept == cases.len() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn head() -> String {
    let columns = ["/livez median", "p99", "respawn median", "longest", "TERM"];
    columns.iter().fold(format!("{:<26}", "milliseconds"), |line, name| line + &format!("{name:>16}"))
}

/// Prints a line; tells whether the bounds hold.
fn measure(case: &Case, binary: &Path, span: Duration) -> bool {
    let (run, health) = start(case, binary);
    let abuse = (case.abuse)(&run, &health);
    let asked = health.clone();
    let asks = thread::spawn(move || Times::of_requests_for(&asked, "/livez", span));
    let livez = asks.join().unwrap();
    let respawns = (case.mode == Mode::Pool).then(|| Times::new((0..KILLS).map(|_| respawn(&run)).collect()));
    let term = term(&run, case);
    drop(abuse);
    let held = livez.median() <= LIVEZ_MEDIAN
        && respawns.as_ref().is_none_or(|respawns| respawns.median() <= RESPAWN_MEDIAN);
    let of_respawns = |at| respawns.as_ref().map_or("-".to_owned(), |respawns| millis(respawns.at(at)));
    let columns =
        [millis(livez.median()), millis(livez.at(99)), of_respawns(50), of_respawns(100), millis(term)];
    let line = columns.iter().fold(format!("{:<26}", case.name), |line, time| line + &format!("{time:>16}"));
    println!("{line}{}", if held { "" } else { "  broken" });
    held
}

fn start(case: &Case, binary: &Path) -> (Run, String) {
    // Free until a moment ago.
    let health = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let script = r#"[ "${PREFORK_WORKER_ID:-0}$DOES" = 01 ] && exec "$@"; exec sleep 1000"#;
    let mut words: Vec<OsString> = ["--health", &health, "--control", "control"].map(OsString::from).into();
    if case.mode == Mode::Pool {
        let pool = ["-n", "2", "--ready", "delay:1ms", "--backoff", "1ms", "--backoff-max", "1ms"];
        words.extend(pool.iter().chain(case.options).map(OsString::from));
    }
    words.extend(["--", "sh", "-c", script, "sh"].map(OsString::from));
    words.extend([python(), "-IS".into(), "-c".into(), case.script.unwrap_or_default().into()]);
    // Lines for nobody: what a file system takes is not in question.
    // Ignored from before the first one comes: they reach the command.
    let deaf = if case.script == Some(DEAF) { "trap '' 34 40 64; " } else { "" };
    let quiet = ["sh", "-c", &format!(r#"{deaf}exec "$@" >/dev/null"#), "sh"];
    let does = if case.script.is_some() { "1" } else { "0" };
    let launch = launch(words).program(binary).through(quiet).env("PREFORK_LOG_LEVEL", "warn");
    let run = launch.env("DOES", does).start();
    eventually("an endpoint", || http::get(&health, "/livez").ok());
    let wanted = if case.mode == Mode::Pool { 2 - usize::from(case.script.is_some()) } else { 0 };
    eventually("workers", || (sleepers(&run).len() >= wanted).then_some(()));
    (run, health)
}

/// Children that only sleep.
fn sleepers(run: &Run) -> Vec<i32> {
    let sleeps =
        |pid: &i32| fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name == "sleep\n");
    children(run.pid).into_iter().filter(sleeps).collect()
}

/// How long it takes until another is there.
fn respawn(run: &Run) -> Duration {
    thread::sleep(PAUSE);
    let before = sleepers(run);
    let begin = Instant::now();
    kill(*before.last().expect("a worker"), libc::SIGKILL);
    eventually("another worker", || {
        let new = sleepers(run).into_iter().any(|pid| !before.contains(&pid));
        new.then(|| begin.elapsed())
    })
}

/// How long it takes until a worker, or the command, is gone.
fn term(run: &Run, case: &Case) -> Duration {
    let watched = match case.mode {
        Mode::Pool => *sleepers(run).last().expect("a worker"),
        Mode::Init => *children(run.pid).iter().min().expect("the command"),
    };
    let begin = Instant::now();
    run.signal(libc::SIGTERM);
    eventually("the end", || {
        let state = harness::status_line(watched, "State");
        state.is_none_or(|state| state.starts_with('Z')).then(|| begin.elapsed())
    })
}

fn millis(time: Duration) -> String {
    if time > Duration::from_secs(100) {
        "never".to_owned()
    } else {
        format!("{:.2}", time.as_secs_f64() * 1e3)
    }
}
