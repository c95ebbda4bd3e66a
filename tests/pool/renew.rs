//! HUP with a configuration file: it is read anew, and what it says is tried on the first new worker.

use super::python::python;
use super::{BRISK, assert_stops, pool, wait_serving};
use crate::harness::{Launch, Run, http, kill};
use std::fs;

/// A worker that answers with its argument, if that is no exit code.
const TELLS: &str = "
what = sys.argv[-1]
if what.isdigit(): sys.exit(int(what))
serve(body=lambda: what)";

/// What the file says: these settings, and the command with this argument.
fn write(dir: &std::path::Path, settings: &str, argument: &str) {
    let words: Vec<String> =
        python(TELLS).iter().map(|word| format!("{:?}", word.to_str().unwrap())).collect();
    let text = format!("{settings}\ncommand = [{}, {argument:?}]\n", words.join(", "));
    // At once, as a mounted ConfigMap changes.
    fs::write(dir.join("new.toml"), text).unwrap();
    fs::rename(dir.join("new.toml"), dir.join("prefork.toml")).unwrap();
}

/// A pool whose command, and whatever the options here do not say, is in the file.
fn of_file(settings: &str, argument: &str) -> Launch {
    let launch = pool(&[&BRISK[..], &["--config", "prefork.toml"]].concat(), Vec::new());
    write(launch.dir(), settings, argument);
    launch
}

fn answer(run: &Run) -> String {
    http::get(&run.address(0), "/").unwrap().body
}

#[test]
fn the_command_the_limits_and_the_number_of_workers_are_new_when_the_first_worker_is() {
    let run = of_file("workers = 2\nmax-age = \"1h\"", "one").start();
    wait_serving(&run, 2);
    assert_eq!(
        (answer(&run).as_str(), run.wait_for("worker spawned")["max_age_ms"].as_u64()),
        ("one", Some(3_600_000))
    );
    write(run.dir(), "workers = 3\nmax-age = \"2h\"", "two");
    run.signal(libc::SIGHUP);
    run.log.wait_for("scaled", |line| line["workers"] == 3 && line["from"] == 2);
    run.wait_for("reload finished");
    wait_serving(&run, 3);
    assert_eq!(answer(&run), "two");
    let spawned = run.log.with_message("worker spawned");
    let new: Vec<_> = spawned.iter().filter(|line| line["gen"] == 2).collect();
    assert!(new.len() == 3 && new.iter().all(|line| line["max_age_ms"] == 7_200_000), "{new:?}");
    assert_stops(run);
}

#[test]
fn a_file_that_is_wrong_is_refused_and_everything_goes_on() {
    let run = of_file("workers = 2", "one").start();
    let before = wait_serving(&run, 2);
    for (round, (settings, told)) in (1..).zip([
        ("workers = 0", "prefork.toml: workers"),
        ("wokers = 2", "workers"),
        ("workers = ", "prefork.toml"),
        ("workers = 2\nmin-ready = 3", "min-ready"),
        ("explain = true", "prefork.toml: explain"),
    ]) {
        write(run.dir(), settings, "two");
        run.signal(libc::SIGHUP);
        run.log.wait_count("reload refused: the configuration is wrong, the old workers go on", round);
        let errors: Vec<_> = run.log.lines().into_iter().filter(|line| line["level"] == "ERROR").collect();
        let why = errors[errors.len() - 2]["message"].as_str().unwrap();
        assert!(why.contains(told), "{why}");
        assert_eq!((answer(&run).as_str(), wait_serving(&run, 2)), ("one", before.clone()));
    }
    write(run.dir(), "workers = 2", "two");
    run.signal(libc::SIGHUP);
    run.wait_for("reload finished");
    assert_eq!(answer(&run), "two");
    assert_stops(run);
}

/// What workers are told of themselves does not change under them: they would be taken for hung.
#[test]
fn what_cannot_change_while_we_run_does_not_and_is_told() {
    let run = of_file("workers = 1\nmin-ready = 1", "one").start();
    wait_serving(&run, 1);
    let settings = "workers = 1\nmin-ready = 1\nwatchdog = \"50ms\"\ndeadline = \"10ms\"\non-event = \"true\"\nready = \"notify\"";
    write(run.dir(), settings, "two");
    run.signal(libc::SIGHUP);
    run.wait_for("reload finished");
    let told = run.log.with_message("changed in the configuration");
    let told: Vec<_> = told.iter().filter_map(|line| line["option"].as_str()).collect();
    assert_eq!(told, ["ready", "deadline", "on-event", "watchdog"]);
    assert_eq!(answer(&run), "two");
    run.signal(libc::SIGHUP);
    run.log.wait_count("reload finished", 2);
    assert!(run.log.with_message("worker hung").is_empty());
    assert_stops(run);
}

#[test]
fn what_a_reload_that_fails_has_brought_is_taken_back() {
    let run = of_file("workers = 2\nmax-age = \"1h\"", "one").start();
    let before = wait_serving(&run, 2);
    write(run.dir(), "workers = 4\nmax-age = \"2h\"", "9");
    run.signal(libc::SIGHUP);
    run.wait_for("reload failed");
    let victim = *before.first().unwrap();
    kill(run.outer_pid(victim), libc::SIGKILL);
    // The file is still the wrong one; who died is respawned as it was.
    run.log.wait_until(|lines| {
        let respawned = |line: &&serde_json::Value| {
            line["message"] == "worker ready"
                && line["gen"] == 1
                && !before.contains(&line["pid"].as_i64().unwrap())
        };
        lines.iter().any(|line| respawned(&line))
    });
    let last = run.log.with_message("worker spawned").pop().unwrap();
    assert_eq!((last["gen"].as_u64(), last["max_age_ms"].as_u64()), (Some(1), Some(3_600_000)));
    assert_eq!(wait_serving(&run, 2).len(), 2);
    assert_eq!(answer(&run), "one");
    assert_stops(run);
}

/// What cannot change while we run is said, and a new program of ours that would listen elsewhere does not take over.
#[test]
fn listeners_stay_where_they_are() {
    let launch = of_file("workers = 1\nmin-ready = 1\nbacklog = 100", "one");
    let run = launch.of_a_copy().start();
    wait_serving(&run, 1);
    write(run.dir(), "workers = 1\nmin-ready = 1\nbacklog = 200", "two");
    run.signal(libc::SIGHUP);
    run.log.wait_for("changed in the configuration", |line| line["option"] == "backlog");
    run.wait_for("reload finished");
    assert_eq!(answer(&run), "two");
    // The command line says where the pool listens; so only the endpoint can move.
    run.signal(libc::SIGUSR2);
    run.wait_for("upgraded");
    wait_serving(&run, 1);
    assert_stops(run);
}

#[test]
fn a_program_that_would_listen_elsewhere_does_not_take_over() {
    let words = [&["--config", "prefork.toml"][..], &BRISK].concat();
    let launch = crate::harness::launch(words.iter().copied());
    write(launch.dir(), "bind = [\"127.0.0.1:0\"]\nhealth = \"127.0.0.1:0\"", "one");
    let run = launch.of_a_copy().start();
    wait_serving(&run, 1);
    for (round, settings) in (1..).zip([
        "bind = [\"127.0.0.1:0\", \"127.0.0.1:0\"]\nhealth = \"127.0.0.1:0\"",
        "bind = [\"127.0.0.2:0\"]\nhealth = \"127.0.0.1:0\"",
        "bind = [\"127.0.0.1:0\"]",
    ]) {
        write(run.dir(), settings, "one");
        run.signal(libc::SIGUSR2);
        run.log.wait_count("upgrade failed", round);
        assert_eq!(answer(&run), "one");
    }
    assert_stops(run);
}
