//! An idle pool sleeps, its endpoint too, and who reads its workers' output.

use super::python::python;
use super::{example_worker, pool};
use crate::harness::http;
use crate::harness::strace::Trace;
use std::time::Duration;

/// After it has served: a queue into which something came is watched again.
#[test]
fn it_makes_no_system_call_in_ten_seconds_in_which_nothing_happens_any_more() {
    let script = "
listener, polled = socket.socket(fileno=3), select.epoll()
polled.register(listener, select.EPOLLIN)
while True:
    polled.poll()
    answer(listener, lambda: '')";
    let mut run = pool(&["-n", "2"], python(script)).start();
    run.log.wait_count("worker ready", 2);
    for _ in 0..8 {
        assert_eq!(http::get(&run.address(0), "/").unwrap().status, 200);
    }
    assert_eq!(run.wait_exit_within(Duration::from_secs(2)), None);
    let trace = Trace::attach(run.pid);
    assert_eq!(run.wait_exit_within(Duration::from_secs(10)), None);
    assert_eq!(trace.detach(), [""; 0]);
}

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
