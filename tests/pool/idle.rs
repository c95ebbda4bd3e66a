//! An idle pool sleeps, its endpoint too.

use super::{example_worker, pool};
use crate::harness::strace::Trace;
use std::time::Duration;

#[test]
fn it_makes_no_system_call_in_ten_seconds_in_which_nothing_happens() {
    let mut run = pool(&["-n", "2"], example_worker(&[])).start();
    run.log.wait_count("worker ready", 2);
    run.health();
    let trace = Trace::attach(run.pid);
    assert_eq!(run.wait_exit_within(Duration::from_secs(10)), None);
    assert_eq!(trace.detach(), [""; 0]);
}
