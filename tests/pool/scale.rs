//! TTIN and TTOU: one worker more, one fewer.

use super::python::python;
use super::{
    BRISK, allow, assert_stops, brisk, catch_up, pool, readiness, serving, wait_serving, who_answers,
};
use crate::harness::load::Load;
use crate::harness::{Run, eventually};

/// Scales by one, and waits until that is so.
fn scale(run: &Run, signal: i32, to: usize) {
    let before = run.log.with_message("scaled").len();
    run.signal(signal);
    run.log.wait_count("scaled", before + 1);
    wait_serving(run, to);
}

#[test]
fn up_to_more_than_at_the_start_and_down_to_one_nothing_is_lost() {
    let run = brisk(&["-n", "2", "--min-ready", "2"], "serve()");
    wait_serving(&run, 2);
    let load = Load::start(&run.address(0), "/", 3);
    for workers in 3..=6 {
        scale(&run, libc::SIGTTIN, workers);
        assert_eq!(readiness(&run), (200, workers as u64, 2, workers as u64));
    }
    assert_eq!(who_answers(&run.address(0), 6), serving(&run.log.lines()), "the new ones get connections");
    for workers in (1..=5).rev() {
        scale(&run, libc::SIGTTOU, workers);
        assert_eq!(readiness(&run), (200, workers as u64, 2.min(workers as u64), workers as u64));
    }
    let last = serving(&run.log.lines());
    run.signal(libc::SIGTTOU);
    run.wait_for("not scaled");
    assert_eq!(serving(&run.log.lines()), last);
    run.log.wait_until(|lines| {
        let exits = lines
            .iter()
            .filter(|line| line["message"].as_str().is_some_and(|m| m.starts_with("worker exited")));
        exits.filter(|line| line["reason"] == "scale").count() == 5
    });
    let slots: Vec<_> =
        run.log.with_message("worker exited").iter().map(|line| line["slot"].as_u64().unwrap()).collect();
    assert_eq!(slots.iter().max(), Some(&5));
    assert!(!slots.contains(&0), "the highest goes first: {slots:?}");
    load.wait_ok(20);
    let (ok, refused, lost, other) = load.stop();
    assert_eq!((refused, lost, other), (0, 0, 0), "{ok} answered\n{}", run.log.text());
    assert_stops(run);
}

#[test]
fn one_fewer_and_one_more_at_once_leave_as_many() {
    let run = brisk(&["-n", "2"], "serve()");
    wait_serving(&run, 2);
    let load = Load::start(&run.address(0), "/", 2);
    for _ in 0..3 {
        run.signal(libc::SIGTTOU);
        run.signal(libc::SIGTTIN);
        catch_up(&run);
        run.log.wait_until(|lines| serving(lines).len() == 2);
        eventually("as many as before", || (run.others().len() == 2).then_some(()));
        assert_eq!(readiness(&run), (200, 2, 1, 2));
    }
    assert_eq!(run.log.with_message("scaled").len(), 6);
    assert_eq!(who_answers(&run.address(0), 2), serving(&run.log.lines()));
    let (_, refused, lost, other) = load.stop();
    assert_eq!((refused, lost, other), (0, 0, 0), "{}", run.log.text());
    assert_stops(run);
}

#[test]
fn who_is_not_ready_yet_can_be_one_too_many() {
    let run = brisk(&["-n", "2"], "if is_worker(1): wait_for_file('go')\nserve()");
    wait_serving(&run, 1);
    run.log.wait_count("worker spawned", 2);
    run.signal(libc::SIGTTOU);
    let exit = run.wait_for("worker exited");
    assert_eq!((&exit["slot"], &exit["reason"]), (&1.into(), &"scale".into()));
    assert_eq!(readiness(&run), (200, 1, 1, 1));
    run.signal(libc::SIGTTIN);
    run.log.wait_count("worker spawned", 3);
    allow(&run, "go");
    wait_serving(&run, 2);
    assert_eq!(readiness(&run), (200, 2, 1, 2));
    assert_stops(run);
}

#[test]
fn a_slot_that_waits_after_failures_can_be_one_too_many() {
    let run = brisk(
        &["-n", "2", "--backoff", "1h", "--backoff-max", "1h"],
        "if is_worker(1): sys.exit(1)\nserve()",
    );
    run.wait_for("respawn delayed");
    wait_serving(&run, 1);
    run.signal(libc::SIGTTOU);
    run.wait_for("scaled");
    assert_eq!(readiness(&run), (200, 1, 1, 1));
    // What comes is a new slot: it has not failed yet.
    run.signal(libc::SIGTTIN);
    run.log.wait_count("respawn delayed", 2);
    assert_stops(run);
}

/// A lane needs a descriptor. Without one the pool goes on with those it has, and tries again.
#[test]
fn where_no_more_listeners_can_be_had_the_others_serve_on() {
    let few = "ulimit -n 26; exec \"$@\"";
    let words = [&BRISK[..], &["-n", "1", "--backoff", "50ms", "--backoff-max", "50ms"]].concat();
    let run = pool(&words, python("serve()")).through(["bash", "-c", few, "bash"]).start();
    wait_serving(&run, 1);
    let failed = |lines: &[serde_json::Value]| {
        lines.iter().any(|l| l["message"].as_str().is_some_and(|m| m.starts_with("cannot start the command")))
    };
    let mut workers = 1;
    while !failed(&run.log.lines()) {
        workers += 1;
        assert!(workers < 20, "the limit is never met");
        run.signal(libc::SIGTTIN);
        run.log.wait_until(|lines| failed(lines) || serving(lines).len() == workers);
    }
    assert_eq!(readiness(&run), (200, workers as u64 - 1, 1, workers as u64));
    assert_eq!(who_answers(&run.address(0), workers - 1), serving(&run.log.lines()));
    run.signal(libc::SIGTTOU);
    run.log.wait_until(|lines| {
        lines.iter().any(|line| line["message"] == "scaled" && line["workers"] == workers - 1)
    });
    assert_eq!(readiness(&run).3, workers as u64 - 1);
    assert_stops(run);
}
