//! An idle init sleeps.

use super::{BOTH_PLACES, shell};
use crate::harness::{Run, status_line};

#[test]
fn it_does_not_wake_up_while_nothing_happens() {
    for place in BOTH_PLACES {
        let run = place(shell("sleep 0.2; echo settled; sleep 2; echo later; sleep 1000")).start();
        run.wait_lines("stdout", 1);
        let before = switches(&run);
        run.wait_lines("stdout", 2);
        let woken = switches(&run) - before;
        assert!(woken <= 1, "woken {woken} times in 2 s");
    }
}

fn switches(run: &Run) -> u64 {
    let count = |name| status_line(run.pid, name).unwrap().parse::<u64>().unwrap();
    count("voluntary_ctxt_switches") + count("nonvoluntary_ctxt_switches")
}
