//! An error of our own still stops the children in order.

use crate::harness::launch;

/// The commands say when they can be stopped, and write a line when they are.
const PATIENT: &str =
    "trap 'echo stopped >> stopped; exit 0' TERM; echo up >> up; while :; do sleep 0.05; done";

#[test]
fn a_panic_stops_the_command_and_ends_with_70() {
    for pid1 in [true, false] {
        let launch = launch(["--", "sh", "-c", PATIENT]).env("PREFORK_DEBUG_PANIC", "1");
        let mut run = if pid1 { launch.start() } else { launch.not_pid1().start() };
        run.wait_lines("up", 1);
        run.signal(libc::SIGUSR1);
        assert_eq!(run.wait_exit(), 70);
        assert_eq!(run.wait_lines("stopped", 1), "stopped\n");
        let text = run.log.text();
        assert!(text.contains("internal error, stopping everything"), "{text}");
    }
}

#[test]
fn a_panic_stops_all_workers_and_kills_those_that_do_not_stop() {
    let script = "trap '' TERM; echo up >> up; while :; do sleep 0.05; done";
    let args = ["-n", "2", "--graceful-timeout", "200ms", "--", "sh", "-c", script];
    let mut run = launch(args).env("PREFORK_DEBUG_PANIC", "1").start();
    run.wait_lines("up", 2);
    run.signal(libc::SIGUSR1);
    assert_eq!(run.wait_exit(), 70);
}
