//! An idle init sleeps.

use super::{BOTH_PLACES, shell};
use crate::harness::strace::Trace;
use std::time::Duration;

#[test]
fn it_makes_no_system_call_in_ten_seconds_in_which_nothing_happens() {
    // Both at the same time.
    let mut runs = BOTH_PLACES.map(|place| {
        let run = place(shell("echo settled; sleep 1000")).start();
        run.wait_for("command started");
        run.wait_lines("stdout", 1);
        let trace = Trace::attach(run.pid);
        (run, trace)
    });
    assert_eq!(runs[1].0.wait_exit_within(Duration::from_secs(10)), None);
    for (_, trace) in runs {
        assert_eq!(trace.detach(), [""; 0]);
    }
}
