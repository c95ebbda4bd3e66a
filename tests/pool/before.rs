//! `--before` comes first, and its failure is the end.

use super::pool;
use super::python::python;
use crate::harness::{Run, eventually, http, launch, prometheus};
use serde_json::Value;

const WORKER: &str = "note('workers', os.environ.get('LISTEN_FDS', ''))\nserve()";

fn worker() -> Vec<std::ffi::OsString> {
    python(WORKER)
}

fn no_worker(run: &Run) {
    assert!(run.log.with_message("worker spawned").is_empty(), "{}", run.log.text());
    assert!(!run.dir().join("workers").exists());
}

fn statuses(run: &Run) -> [u16; 3] {
    ["/livez", "/readyz", "/startupz"].map(|path| http::get(&run.health(), path).unwrap().status)
}

fn reason(run: &Run) -> String {
    let answer = http::get(&run.health(), "/readyz").unwrap();
    let body: Value = serde_json::from_str(&answer.body).unwrap();
    body["reason"].as_str().unwrap_or_default().to_owned()
}

#[test]
fn it_runs_before_any_worker_and_only_once() {
    let first = "sh -c 'echo migrated; test ! -e workers && echo first >> order; env > environment'";
    let second = "sh -c 'echo second >> order'";
    let mut run = pool(&["--before", first, "--before", second], worker()).start();
    run.wait_for("worker ready");
    assert_eq!(run.stdout(), "migrated\n", "its output is passed through");
    let environment = std::fs::read_to_string(run.dir().join("environment")).unwrap();
    for misleading in ["LISTEN_FDS", "NOTIFY_SOCKET", "PREFORK_WORKER_ID", "PREFORK_LOG_LEVEL"] {
        assert!(!environment.contains(misleading), "{misleading} in {environment}");
    }
    run.signal(libc::SIGHUP);
    run.wait_for("reload finished");
    run.signal(libc::SIGUSR2);
    run.wait_for("upgraded");
    eventually("readiness", || (statuses(&run) == [200, 200, 200]).then_some(()));
    assert_eq!(std::fs::read_to_string(run.dir().join("order")).unwrap(), "first\nsecond\n");
    run.signal(libc::SIGTERM);
    assert_eq!(run.wait_exit(), 0);
}

#[test]
fn meanwhile_it_lives_and_is_not_ready_and_other_signals_do_nothing() {
    let wait = "sh -c '(sleep 0.01 &); touch begun; while ! test -e go; do sleep 0.01; done'";
    let mut run = pool(&["--before", wait], worker()).start();
    run.health();
    eventually("the start", || run.dir().join("begun").exists().then_some(()));
    assert_eq!(statuses(&run), [200, 503, 503]);
    assert_eq!(reason(&run), "the command of --before runs");
    for path in ["/metrics", "/metrics/liveness"] {
        let page = prometheus::scrape(&run.health(), path, "");
        assert_eq!(page.value("prefork_workers_ready"), 0.0, "the command of --before is no worker");
    }
    for signal in [libc::SIGHUP, libc::SIGUSR1, libc::SIGUSR2, libc::SIGTTIN, libc::SIGWINCH] {
        run.signal(signal);
    }
    run.log.wait_until(|lines| {
        let ignored = |line: &&Value| line["message"] == "before the start: signal ignored";
        lines.iter().filter(ignored).count() >= 5
    });
    // An orphan of its is reaped: nobody is a zombie.
    eventually("no zombie", || run.others().iter().all(|(_, state)| *state != 'Z').then_some(()));
    no_worker(&run);
    super::allow(&run, "go");
    run.wait_for("worker ready");
    assert_eq!(run.log.with_message("worker spawned").len(), 1, "TTIN was not for the pool");
    run.signal(libc::SIGTERM);
    assert_eq!(run.wait_exit(), 0);
}

#[test]
fn its_failure_is_the_end_with_its_code() {
    for (command, code) in [("sh -c 'exit 7'", 7), ("sh -c 'kill -KILL $$'", 137), ("false", 1)] {
        for as_pool in [true, false] {
            let launch = if as_pool {
                pool(&["--before", command, "--before", "touch second"], worker())
            } else {
                launch(["--before", command, "--before", "touch second", "--", "touch", "workers"])
            };
            let mut run = launch.start();
            assert_eq!(run.wait_exit(), code, "{command}: {}", run.log.text());
            no_worker(&run);
            assert!(!run.dir().join("second").exists(), "the next was started");
            let line = run.wait_for("--before did not go well: nothing is started");
            assert_eq!((&line["exit_code"], &line["level"]), (&code.into(), &"ERROR".into()));
        }
    }
}

/// Ends by itself with 0 when it is asked to stop, for those who are asked, or never.
const STUBBORN: &str = "sh -c 'trap \"\" TERM; echo began; while :; do sleep 0.01; done'";
const POLITE: &str = "sh -c 'trap \"echo asked; exit 0\" TERM; echo began; while :; do sleep 0.01; done'";
const PLAIN: &str = "sh -c 'echo began; exec sleep 1000'";

#[test]
fn a_stop_signal_stops_it_in_order() {
    for (command, signal, code) in [
        (PLAIN, libc::SIGTERM, 143),
        (PLAIN, libc::SIGINT, 143),
        (POLITE, libc::SIGTERM, 143),
        (POLITE, libc::SIGQUIT, 131),
        (STUBBORN, libc::SIGTERM, 137),
    ] {
        for as_pool in [true, false] {
            let grace = if command == STUBBORN { "300ms" } else { "30s" };
            let options = ["--before", command, "--graceful-timeout", grace];
            let launch = if as_pool {
                pool(&options, worker())
            } else {
                launch(options.into_iter().chain(["--", "touch", "workers"]))
            };
            let mut run = launch.start();
            run.wait_lines("stdout", 1);
            run.signal(signal);
            assert_eq!(run.wait_exit(), code, "{command} {signal}: {}", run.log.text());
            no_worker(&run);
            run.wait_for("stopped before anything was started");
            assert_eq!(run.stdout().contains("asked"), command == POLITE);
        }
    }
}

#[test]
fn it_has_its_time_all_of_it_together() {
    for (command, code, killed) in [(PLAIN, 124, false), (POLITE, 124, false), (STUBBORN, 124, true)] {
        let grace = if killed { "200ms" } else { "30s" };
        let options = ["--before-timeout", "2s", "--graceful-timeout", grace, "--before", "true"];
        let mut run = pool(&[&options[..], &["--before", command]].concat(), worker()).start();
        assert_eq!(run.wait_exit(), code, "{command}: {}", run.log.text());
        no_worker(&run);
        run.wait_for("before the start: it takes too long");
        let kills = run.log.with_message("before the start: it does not stop").len();
        assert_eq!(kills > 0, killed, "{command}: {}", run.log.text());
    }
}

#[test]
fn the_deadline_of_the_whole_run_counts_it_too() {
    let mut run = pool(&["--deadline", "300ms", "--before", PLAIN], worker()).start();
    assert_eq!(run.wait_exit(), 124);
    no_worker(&run);
}

#[test]
fn what_it_leaves_behind_is_an_orphan_like_others() {
    let command = "sh -c 'setsid sleep 1000 & sleep 1000 & echo $!'";
    let mut run = pool(&["--before", command], worker()).start();
    run.wait_for("worker ready");
    let sleeps = |run: &Run| {
        let is_sleep = |pid: &i32| {
            std::fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| line.starts_with(b"sleep"))
        };
        run.others().into_iter().map(|(pid, _)| pid).filter(is_sleep).count()
    };
    // They stay: it may have had its reasons.
    eventually("both sleep", || (sleeps(&run) == 2).then_some(()));
    run.signal(libc::SIGTERM);
    run.wait_for("stopping the processes that were left behind");
    assert_eq!(run.wait_exit(), 0);
}

#[test]
fn what_cannot_be_run_is_told_before_anything_is_done() {
    for (option, value, code, told) in [
        ("--before", "no-such-program x", 127, "--before 'no-such-program': not found"),
        ("--before", "/etc/passwd", 126, "--before '/etc/passwd': it is not executable"),
        ("--before", "sh -c 'x", 2, "--before 'sh -c 'x': a quote is not closed"),
        ("--before", " ", 2, "--before ' ': there is no command in it"),
        ("--on-event", "no-such-program", 127, "--on-event 'no-such-program': not found"),
        ("--on-event", "''", 2, "--on-event '''': there is no command in it"),
        ("--ready-check", "exec:no-such-program", 127, "--ready-check 'no-such-program': not found"),
        ("--ready-check", "https://127.0.0.1/", 2, "TLS is not spoken here"),
        ("--before-timeout", "5s", 2, "--before-timeout: there is nothing to wait for: add --before CMD"),
        ("--ready-check-timeout", "5s", 2, "--ready-check-timeout: nothing is checked"),
        ("--deadline", "soon", 2, "--deadline 'soon': not a duration"),
    ] {
        let first: &[&str] = if option == "--before-timeout" { &[] } else { &["--before", "echo no"] };
        let (exit, out, log) = pool(&[first, &[option, value]].concat(), worker()).finish();
        assert_eq!((exit, out.as_str()), (code, ""), "{option} {value}: {log}");
        assert!(log.contains(told), "{option} {value}: {log}");
    }
    let (code, _, log) = launch(["--ready-check", "exec:true", "--", "true"]).finish();
    assert_eq!(code, 2);
    assert!(log.contains("--ready-check: there is no endpoint that could tell of it: add --health"), "{log}");
}

#[test]
fn by_variable_it_is_one_command() {
    let launch = pool(&[], worker()).env("PREFORK_BEFORE", "sh -c 'echo one, two'");
    let mut run = launch.start();
    run.wait_for("worker ready");
    assert_eq!(run.stdout(), "one, two\n");
    run.signal(libc::SIGTERM);
    assert_eq!(run.wait_exit(), 0);
}
