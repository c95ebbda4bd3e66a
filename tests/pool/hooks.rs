//! `--on-event`: programs are told of transitions, and whatever they do, nobody waits for them.

use super::python::python;
use super::{BRISK, pool, readiness};
use crate::harness::watch::Watch;
use crate::harness::{Run, eventually, kill, launch};
use std::collections::BTreeMap;
use std::fs;
use std::time::{Duration, Instant};

/// Writes what it is told into a file of its own, at once, so that lines cannot mix.
const RECORD: &str = "sh -c 'env | grep ^PREFORK_EVENT > .$$ && mv .$$ event-$PREFORK_EVENT_NUMBER'";

type Fields = BTreeMap<String, String>;

/// What was recorded, in order.
fn recorded(run: &Run) -> Vec<Fields> {
    let mut events: Vec<(u64, Fields)> = Vec::new();
    for entry in fs::read_dir(run.dir()).unwrap().flatten() {
        let name = entry.file_name().into_string().unwrap();
        let Some(number) = name.strip_prefix("event-").and_then(|number| number.parse().ok()) else {
            continue;
        };
        let text = fs::read_to_string(entry.path()).unwrap();
        let field = |line: &str| {
            let (name, value) = line.split_once('=').unwrap();
            let name = name.strip_prefix("PREFORK_EVENT").unwrap().trim_start_matches('_');
            (name.to_owned(), value.to_owned())
        };
        events.push((number, text.lines().map(field).collect()));
    }
    events.sort();
    events.into_iter().map(|(_, fields)| fields).collect()
}

fn names(run: &Run) -> Vec<String> {
    recorded(run).into_iter().map(|fields| fields[""].clone()).collect()
}

fn wait_for_event(run: &Run, name: &str) -> Fields {
    eventually(name, || recorded(run).into_iter().find(|fields| fields[""] == name))
}

#[test]
fn each_transition_is_told_with_its_fields_to_the_very_last() {
    let options = ["--on-event", RECORD, "--drain-time", "10ms", "--replacement-gap", "0s"];
    let mut run = pool(&options, python("serve()")).start();
    let ready = wait_for_event(&run, "worker-ready");
    let line = run.wait_for("worker ready");
    for (field, value) in [("SLOT", "0"), ("GEN", "1"), ("BY", "accept")] {
        assert_eq!(ready[field], value, "{ready:?}");
    }
    assert_eq!(ready["PID"], line["pid"].to_string());
    assert_eq!(ready["AFTER_MS"], line["after_ms"].to_string());

    kill(run.outer_pid(line["pid"].as_i64().unwrap()), libc::SIGKILL);
    let exited = wait_for_event(&run, "worker-exited");
    assert_eq!((exited["REASON"].as_str(), exited["SIGNAL"].as_str()), ("crash", "KILL"));
    assert!(!exited.contains_key("EXIT_CODE"));
    run.log.wait_count("worker ready", 2);
    run.signal(libc::SIGHUP);
    run.wait_for("reload finished");
    run.signal(libc::SIGTTIN);
    run.log.wait_count("worker ready", 4);
    let scaled = wait_for_event(&run, "scaled");
    assert_eq!((scaled["WORKERS"].as_str(), scaled["FROM"].as_str()), ("2", "1"));
    run.signal(libc::SIGTERM);
    assert_eq!(run.wait_exit(), 0, "{}", run.log.text());

    // Every line that tells of a transition has had its hook, and in this order.
    let told = [
        ("worker spawned", "worker-spawned"),
        ("worker ready", "worker-ready"),
        ("pool ready", "pool-ready"),
        ("worker exited", "worker-exited"),
        ("reload started", "reload-started"),
        ("reload goes on", "reload-confirmed"),
        ("reload finished", "reload-finished"),
        ("worker draining", "worker-draining"),
        ("worker stopping", "worker-stopping"),
        ("scaled", "scaled"),
        ("shutdown started", "shutdown-started"),
        ("pool stopped", "pool-stopped"),
    ];
    let logged: Vec<String> = run
        .log
        .lines()
        .iter()
        .filter_map(|line| line["message"].as_str())
        .filter_map(|message| told.iter().find(|(begins, _)| message.starts_with(begins)))
        .map(|(_, name)| (*name).to_owned())
        .collect();
    assert_eq!(names(&run), logged);
    let misleading = |fields: &Fields| fields.keys().any(|key| key.contains("LISTEN"));
    assert!(!recorded(&run).iter().any(misleading));
}

#[test]
fn a_crash_loop_that_is_given_up_is_told_and_so_is_a_command_of_an_init() {
    let options = ["--on-event", RECORD, "--max-restarts", "1", "--backoff", "10ms"];
    let mut run = pool(&options, python("sys.exit(1)")).start();
    assert_eq!(run.wait_exit(), 3);
    let events = recorded(&run);
    let last = events.last().unwrap();
    assert_eq!((last[""].as_str(), last["SLOT"].as_str()), ("gave-up", "0"));

    for launch in [
        launch(["--on-event", RECORD, "--", "sh", "-c", "exit 5"]),
        launch(["--on-event", RECORD, "--", "sh", "-c", "exit 5"]).not_pid1(),
    ] {
        let mut run = launch.start();
        assert_eq!(run.wait_exit(), 5);
        assert_eq!(names(&run), ["command-started", "command-exited"]);
        assert_eq!(recorded(&run)[1]["EXIT_CODE"], "5");
        assert!(run.log.with_message("stopping the processes").is_empty(), "a hook is nobody's orphan");
    }
}

/// A hook that never ends, and whose child does not either.
const HANGS: &str = "sh -c 'trap \"\" TERM; echo hook >> hanging; sleep 1000 & wait; sleep 1000'";

#[test]
fn hooks_that_hang_hold_nobody_up_and_are_few() {
    let options = ["-n", "2", "--on-event", HANGS, "--min-ready", "2"];
    let mut run = pool(&[&options[..], &BRISK].concat(), python("serve()")).start();
    run.log.wait_count("worker ready", 2);
    run.wait_lines("hanging", 4);
    run.signal(libc::SIGHUP);
    run.wait_for("reload finished");
    assert_eq!(readiness(&run), (200, 2, 2, 2));
    assert_eq!(run.wait_lines("hanging", 4).lines().count(), 4, "the others wait");
    let begin = Watch::start();
    run.signal(libc::SIGTERM);
    assert_eq!(run.wait_exit(), 0);
    assert!(begin.ran() < Duration::from_secs(8), "the end waits for a moment alone");
    let dropped = run.wait_for("events dropped");
    assert!(dropped["count"].as_u64().unwrap() > 5, "{dropped}");
}

#[test]
fn a_hook_has_ten_seconds() {
    let mut run = pool(&["--on-event", HANGS], python("serve()")).start();
    run.wait_for("worker ready");
    let begin = Instant::now();
    run.wait_for("hook killed: it took too long");
    let took = begin.elapsed();
    assert!((Duration::from_secs(8)..Duration::from_secs(12)).contains(&took), "{took:?}");
    // With all that it has started.
    eventually("nobody but the worker and the next hooks", || (run.others().len() <= 5).then_some(()));
    run.signal(libc::SIGTERM);
    assert_eq!(run.wait_exit(), 0);
}

#[test]
fn a_flood_of_events_is_dropped_and_counted() {
    // Each hook takes long enough for the queue to fill up.
    let options = ["--on-event", "sh -c 'echo hook >> ran; sleep 0.3'", "--max-surge", "8"];
    let mut run = pool(&[&options[..], &BRISK].concat(), python("serve()")).start();
    run.wait_for("worker ready");
    for round in 1..=90 {
        run.signal(libc::SIGTTIN);
        run.log.wait_count("scaled", round);
        run.signal(libc::SIGTTOU);
        run.log.wait_count("scaled", round + 1);
        if !run.log.with_message("events dropped").is_empty() {
            break;
        }
    }
    let dropped = run.wait_for("events dropped");
    assert!(dropped["count"].as_u64().unwrap() > 0 && dropped["level"] == "WARN", "{dropped}");
    assert_eq!(readiness(&run).0, 200);
    run.signal(libc::SIGTERM);
    assert_eq!(run.wait_exit(), 0);
}

#[test]
fn a_hook_that_fails_or_leaves_daemons_harms_nobody() {
    // It waits until its daemon has a session of its own.
    let daemons = "sh -c 'me=$$; (setsid sh -c \"touch d.$me; echo x >> daemons; exec sleep 2000\" &); \
                   while ! test -e d.$me; do sleep 0.01; done; sleep 1000 & exit 9'";
    let mut run = pool(&["--on-event", daemons], python("serve()")).start();
    run.wait_for("worker ready");
    run.wait_for("hook failed: code 9");
    run.wait_lines("daemons", 3);
    let sleeping = |run: &Run, how_long: &str| {
        let line = |pid: i32| fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        run.others().into_iter().filter(|(pid, _)| line(*pid) == format!("sleep\0{how_long}\0")).count()
    };
    // What stayed in its group went with it, and what did not is an orphan like others.
    run.log.wait_count("hook failed: code 9", 3);
    eventually("no child of a hook", || (sleeping(&run, "1000") == 0).then_some(()));
    eventually("three daemons", || (sleeping(&run, "2000") == 3).then_some(()));
    assert_eq!(readiness(&run).0, 200);
    run.signal(libc::SIGTERM);
    assert_eq!(run.wait_exit(), 0, "{}", run.log.text());
    assert!(run.log.with_message("graceful timeout over").is_empty());
}

#[test]
fn hooks_live_through_an_upgrade_and_are_killed_in_time() {
    let options = ["--on-event", "sh -c 'echo hook >> ran; exec sleep 1000'"];
    let mut run = pool(&options, python("serve()")).start();
    run.wait_for("worker ready");
    run.wait_lines("ran", 3);
    run.signal(libc::SIGUSR2);
    run.wait_for("upgraded");
    // The worker, and whoever the next program starts itself: those that were taken over are killed all the same.
    eventually("their end", || (run.others().len() <= 2).then_some(()));
    assert!(run.log.with_message("worker exited").is_empty());
    run.signal(libc::SIGTERM);
    assert_eq!(run.wait_exit(), 0);
}

#[test]
fn one_that_cannot_be_started_any_more_is_told_and_tried_later() {
    let launch = pool(&["--on-event", "./hook"], python("serve()"));
    let path = launch.dir().join("hook");
    crate::harness::install_script("#!/bin/sh\nrm hook\n", 0o755, &path);
    // It is looked for here before anything is started.
    let dir = launch.dir().to_owned();
    let words = ["sh", "-c", r#"cd "$0" && exec "$@""#].map(std::ffi::OsString::from);
    let mut run = launch.through(words.into_iter().chain([dir.into()])).start();
    run.wait_for("worker ready");
    // All of the first events may have had theirs.
    eventually("no hook", || (!run.dir().join("hook").exists()).then_some(()));
    run.signal(libc::SIGHUP);
    run.wait_for("hook cannot be started");
    run.signal(libc::SIGTERM);
    assert_eq!(run.wait_exit(), 0);
}
