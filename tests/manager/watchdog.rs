//! The manager's watchdog hears of our loop, and of nobody else.

use super::fake::Manager;
use super::pool;
use crate::harness::{eventually, kill};
use std::time::Duration;

/// Half of it stays half a second longer than a busy machine may be held up.
const PERIOD: Duration = Duration::from_secs(2);
const USEC: &str = "2000000";

fn pings(told: &[String]) -> usize {
    told.iter().filter(|message| *message == "WATCHDOG=1").count()
}

#[test]
fn it_comes_twice_in_its_time_while_every_worker_is_stopped_and_not_while_we_are() {
    let manager = Manager::abstractly();
    let run = manager.of(pool(&["-n", "2"], "live()")).env("WATCHDOG_USEC", USEC).start();
    run.log.wait_count("worker ready", 2);
    let stopped = |pid: i32| {
        kill(pid, libc::SIGSTOP);
        eventually("a stopped process", || {
            crate::harness::status_line(pid, "State").filter(|state| state.starts_with('T'))
        });
    };
    for line in run.log.with_message("worker ready") {
        stopped(run.outer_pid(line["pid"].as_i64().unwrap()));
    }
    manager.within(Duration::ZERO);
    for _ in 0..3 {
        let told = manager.within(PERIOD);
        // One may have come while nobody looked.
        assert!((1..=4).contains(&pings(&told)), "{told:?}");
    }
    stopped(run.pid);
    // What was sent before.
    manager.within(Duration::from_millis(20));
    assert!(manager.within(PERIOD * 2).is_empty());
    // What was missed is not made up for.
    kill(run.pid, libc::SIGCONT);
    let told = manager.within(PERIOD);
    assert!((1..=4).contains(&pings(&told)), "{told:?}");
}

#[test]
fn one_that_is_meant_for_somebody_else_hears_nothing() {
    let manager = Manager::abstractly();
    let pools = [("1", true), ("4711", false)];
    for (pid, ours) in pools {
        let launch = manager.of(pool(&["-n", "1"], "live()")).env("WATCHDOG_USEC", USEC);
        let mut run = launch.env("WATCHDOG_PID", pid).start();
        run.wait_for("pool ready");
        let told = manager.within(PERIOD);
        assert_eq!(pings(&told) > 0, ours, "{told:?}");
        run.signal(libc::SIGTERM);
        assert_eq!(run.wait_exit(), 0);
        manager.within(Duration::from_millis(1));
    }
}

#[test]
fn a_number_that_is_none_is_told_of_and_ignored() {
    let manager = Manager::abstractly();
    let run = manager.of(pool(&["-n", "1"], "live()")).env("WATCHDOG_USEC", "soon").start();
    run.wait_for("WATCHDOG_USEC is ignored");
    run.wait_for("pool ready");
    assert_eq!(pings(&manager.within(PERIOD)), 0);
}
