//! `--deadline`: the whole run is bounded.

use super::history::time;
use super::pool;
use super::python::python;
use crate::harness::{http, launch};
use std::time::Duration;

#[test]
fn a_pool_is_stopped_in_order_at_its_deadline_and_ends_with_124() {
    let options = ["--deadline", "2s", "--drain-delay", "2s", "-n", "2"];
    let mut run = pool(&options, python("serve()")).start();
    run.log.wait_count("worker ready", 2);
    let passed = run.wait_for("deadline passed");
    assert!(passed["after_ms"].as_u64().unwrap() >= 2_000, "{passed}");
    let not_ready = http::get(&run.health(), "/readyz").unwrap();
    assert!(not_ready.status == 503 && not_ready.body.contains("draining"), "{not_ready:?}");
    assert_eq!(run.wait_exit(), 124);
    let (started, stopping) = (run.wait_for("shutdown started"), run.wait_for("worker stopping"));
    assert!(time(&stopping) - time(&started) >= Duration::from_millis(1_999));
    assert_eq!(run.log.lines().last().unwrap()["message"], "pool stopped");
    assert!(run.log.with_message("worker killed").is_empty());
}

#[test]
fn a_pool_that_does_not_stop_is_killed() {
    let script = "signal.signal(signal.SIGTERM, signal.SIG_IGN)\nserve()";
    let mut run = pool(&["--deadline", "2s", "--graceful-timeout", "200ms"], python(script)).start();
    assert_eq!(run.wait_exit(), 124);
    assert_eq!(run.wait_for("worker exited")["signal"], "KILL");
}

#[test]
fn a_stop_before_it_is_an_ordered_stop() {
    let mut run = pool(&["--deadline", "1h"], python("serve()")).start();
    run.wait_for("worker ready");
    super::assert_stops(run);
    run = launch(["--deadline", "1h", "--", "sh", "-c", "exit 3"]).start();
    assert_eq!(run.wait_exit(), 3);
}

#[test]
fn it_goes_on_counting_through_an_upgrade() {
    let mut run = pool(&["--deadline", "3s"], python("serve()")).start();
    run.wait_for("worker ready");
    run.signal(libc::SIGUSR2);
    run.wait_for("upgraded");
    let passed = run.wait_for("deadline passed");
    let after = passed["after_ms"].as_u64().unwrap();
    assert!((3_000..4_500).contains(&after), "{after}");
    assert_eq!(run.wait_exit(), 124);
}
