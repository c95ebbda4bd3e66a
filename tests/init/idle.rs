//! An idle init sleeps, and one that passes signals on asks for no memory.

use super::forwarding::receiver;
use super::{BOTH_PLACES, shell};
use crate::harness::strace::Trace;
use std::fs;
use std::process::Command;
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

#[test]
fn what_is_passed_on_allocates_nothing() {
    const SIGNALS: [i32; 4] = [libc::SIGWINCH, libc::SIGUSR1, libc::SIGHUP, 40];
    let launch = receiver(4 * 60).env("PREFORK_LOG_LEVEL", "info");
    let (library, counts) = (launch.dir().join("allocations.so"), launch.dir().join("allocations"));
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/init/allocations.c");
    let built = Command::new("cc").args(["-shared", "-fPIC", "-O1", "-o"]).arg(&library).arg(source).status();
    assert!(built.unwrap().success());
    fs::create_dir(&counts).unwrap();
    let launch = launch.env("LD_PRELOAD", library.to_str().unwrap());
    let mut run = launch.env("ALLOCATIONS", counts.to_str().unwrap()).start();
    run.wait_lines("stdout", 1);
    let mut received = 1;
    let mut pass_on = |times: usize| {
        for signal in SIGNALS.iter().cycle().take(SIGNALS.len() * times) {
            run.signal(*signal);
            received += 1;
            run.wait_lines("stdout", received);
        }
        u64::from_ne_bytes(fs::read(counts.join("1")).unwrap().try_into().unwrap())
    };
    let first = pass_on(10);
    assert!(first > 100, "{first}: they are counted");
    assert_eq!(pass_on(50), first);
    assert_eq!(run.wait_exit(), 0);
}
