//! An idle pool sleeps, its endpoint too, and who reads its workers' output.

use super::{example_worker, pool};
use crate::harness::strace::Trace;
use std::time::Duration;

#[test]
fn it_makes_no_system_call_in_ten_seconds_in_which_nothing_happens() {
    // Both at the same time.
    let mut runs = ["inherit", "json"].map(|output| {
        let run = pool(&["-n", "2", "--worker-output", output], example_worker(&[])).start();
        run.log.wait_count("worker ready", 2);
        run.health();
        let trace = Trace::attach(run.pid);
        (run, trace)
    });
    assert_eq!(runs[1].0.wait_exit_within(Duration::from_secs(10)), None);
    for (_, trace) in runs {
        assert_eq!(trace.detach(), [""; 0]);
    }
}
