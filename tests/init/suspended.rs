//! A container that is paused, a machine that sleeps: what was not running had no time.

use super::BOTH_PLACES;
use crate::harness::suspend::suspend;
use crate::harness::{Launch, Run, launch, python};
use std::ffi::OsString;
use std::time::{Duration, Instant};

/// After a TERM it has so much left to do, by its own running, and ends in order. A sleep that is over at the thaw is one
/// round of many.
const SLOW_TO_STOP: &str = "
import signal, sys, time
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
print('up', flush=True)
signal.sigwait([signal.SIGTERM])
for _ in range(30):
    print('alive', flush=True)
    time.sleep(0.05)
sys.exit(7)
";

fn slow_to_stop(options: &[&str]) -> Launch {
    let words = options.iter().chain(&["--"]).map(OsString::from);
    launch(words.chain([python(), "-IS".into(), "-c".into(), SLOW_TO_STOP.into()]))
}

fn ends_in_order(mut run: Run) {
    assert_eq!(run.wait_exit(), 7, "{}", run.log.text());
    assert!(run.log.with_message("graceful timeout over").is_empty(), "{}", run.log.text());
}

#[test]
fn a_pause_in_the_grace_period_takes_nothing_of_it() {
    // Over before the deadline, with half a second left to it then; and after it.
    for (place, pause) in BOTH_PLACES.into_iter().zip([9, 11]) {
        let run = place(slow_to_stop(&["--graceful-timeout", "10s"])).start();
        run.wait_lines("stdout", 1);
        run.signal(libc::SIGTERM);
        run.wait_lines("stdout", 11);
        suspend(&run, Duration::from_secs(pause));
        ends_in_order(run);
    }
}

#[test]
fn what_does_not_stop_is_killed_after_a_pause_all_the_same() {
    let script = "trap '' TERM; echo up; while :; do sleep 0.01; done";
    let mut run = launch(["--graceful-timeout", "2s", "--", "sh", "-c", script]).start();
    run.wait_lines("stdout", 1);
    run.signal(libc::SIGTERM);
    run.wait_for("signal forwarded");
    suspend(&run, Duration::from_secs(3));
    let begun = Instant::now();
    assert_eq!(run.wait_exit(), 137);
    assert!(begun.elapsed() > Duration::from_millis(700), "{:?}", begun.elapsed());
}

#[test]
fn the_deadline_of_the_whole_run_counts_real_time() {
    // While nothing else is waited for, and while a grace period runs: it is the shorter one.
    let begun = Instant::now();
    let mut run = launch(["--deadline", "8s", "--", "sleep", "1000"]).start();
    run.wait_for("command started");
    suspend(&run, Duration::from_secs(5));
    assert_eq!(run.wait_exit(), 124);
    let passed = run.wait_for("deadline passed");
    let took = begun.elapsed();
    assert!(took >= Duration::from_secs(8) && took < Duration::from_secs(12), "{took:?}: {passed}");
    assert!(passed["message"].as_str().unwrap().starts_with("deadline passed, after 8"), "{passed}");
}
