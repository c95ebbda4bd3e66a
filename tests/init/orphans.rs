//! Whoever loses its parent becomes our child, and is reaped.

use super::{BOTH_PLACES, shell};
use crate::harness::{LIMIT, eventually, eventually_within, launch, python};
use std::ffi::OsString;

/// Fifty middle men fork a thousand children each and end. Half of the children of each end first, and come to us as
/// zombies all at once; of the others some live until the last middle man has gone, and end together then.
const FIFTY_THOUSAND: &str = "
import os
gate, held = os.pipe()
for middle in range(50):
    if os.fork() == 0:
        os.close(held)
        for child in range(1000):
            if os.fork() == 0:
                if child % 50 == 0:
                    os.read(gate, 1)
                os._exit(0)
        os._exit(0)
    os.wait()
os.close(held)
print('done', flush=True)
while True:
    os.read(0, 1) or os.sched_yield() or __import__('signal').pause()
";

#[test]
fn fifty_thousand_are_reaped_and_none_is_left_and_they_never_pile_up() {
    let words: [OsString; 5] = ["--".into(), python(), "-IS".into(), "-c".into(), FIFTY_THOUSAND.into()];
    let mut run = launch(words).env("PREFORK_LOG_LEVEL", "info").start();
    let mut most = 0;
    eventually_within(4 * LIMIT, "all were forked", || {
        // Children of a middle man that lives are not ours to reap.
        let ours = crate::harness::children(run.pid);
        let is_zombie = |pid: &&i32| {
            crate::harness::status_line(**pid, "State").is_some_and(|state| state.starts_with('Z'))
        };
        most = most.max(ours.iter().filter(is_zombie).count());
        (run.stdout().lines().count() > 0).then_some(())
    });
    // A thousand come at once when a middle man ends; those of the next one must not find them.
    assert!(most < 4_000, "{most} zombies at once");
    // All were forked, and their parents are dead: who is gone was reaped, and by nobody but us.
    eventually("only the command is left", || (run.others().len() == 1).then_some(()));
    run.signal(15);
    assert_eq!(run.wait_exit(), 143, "it still passes signals on");
}

#[test]
fn they_come_to_us_as_pid_1_and_as_subreaper() {
    for place in BOTH_PLACES {
        // The inner shell tells its pid, outlives its parent, and ends.
        let script = "sh -c 'sh -c \"echo \\$\\$ >orphan; while [ ! -e go ]; do sleep 0.01; done; exit 3\" &'; \
                      echo ready; sleep 1000";
        let mut run = place(shell(script)).start();
        let orphan: i64 = super::first_line(&run, "orphan").parse().unwrap();
        run.wait_lines("stdout", 1);
        let outer = run.outer_pid(orphan);
        let parent = eventually("a new parent", || {
            crate::harness::status_line(outer, "PPid").filter(|parent| *parent == run.pid.to_string())
        });
        assert_eq!(parent, run.pid.to_string());
        std::fs::write(run.dir().join("go"), "").unwrap();
        run.log.wait_for("child reaped", |line| line["pid"] == orphan);
        // The line comes first, and the zombie is let go.
        eventually("the end of the zombie", || {
            run.others().iter().all(|(pid, _)| *pid != outer).then_some(())
        });
        run.signal(15);
        assert_eq!(run.wait_exit(), 143);
    }
}

#[test]
fn an_orphans_end_is_not_the_commands() {
    let script = "sh -c 'exit 9' & (sh -c 'exit 8' &); sleep 0.2; exit 6";
    for place in BOTH_PLACES {
        assert_eq!(place(shell(script)).finish().0, 6);
    }
}
