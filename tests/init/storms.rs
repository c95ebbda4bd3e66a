//! A backlog of signals is passed on, and nothing waits for its end.

use super::{BOTH_PLACES, first_line};
use crate::harness::abuse::{Abuse, ORPHANS, Times};
use crate::harness::watch::Watch;
use crate::harness::{eventually, kill, launch, python, status_line};
use std::ffi::OsString;
use std::time::Duration;

const SOON: Duration = Duration::from_secs(5);

/// Leaves orphans, and ends with 6 at TERM. Real-time signals it ignores from the start.
const COMMAND: &str = "
trap 'echo over >over; exit 6' TERM; echo $$
while :; do sh -c 'sh -c \"exec sleep 0.01\" &'; sleep 0.01; done";

#[test]
fn a_storm_of_real_time_signals_holds_up_neither_answers_nor_reaping_nor_the_end() {
    for place in BOTH_PLACES {
        let deaf =
            ["sh", "-c", r#"trap "" 34 40 64; exec "$@""#, "sh", "prlimit", "--sigpending=20000:20000"];
        let words = ["--health", "127.0.0.1:0", "--log-level", "info", "--", "sh", "-c", COMMAND];
        let mut run = place(launch(words)).through(deaf).start();
        let command = run.outer_pid(first_line(&run, "stdout").parse().unwrap());
        let health = run.health();
        let storm = Abuse::signals(run.pid, &[34, 40, 64]);
        let waiting = || u64::from_str_radix(&status_line(run.pid, "ShdPnd").unwrap(), 16).unwrap() >> 31;
        eventually("a backlog", || (waiting() != 0).then_some(()));

        let answers = Times::of_requests(&health, "/livez", 15);
        assert!(answers.median() < SOON, "{:?} for an answer", answers.median());

        let zombies = || run.others().into_iter().filter(|(_, state)| *state == 'Z').count();
        eventually("orphans are reaped", || (zombies() < 5).then_some(()));

        let begin = Watch::start();
        kill(run.pid, libc::SIGTERM);
        run.wait_lines("over", 1);
        assert!(begin.ran() < SOON, "{:?} to pass TERM on", begin.elapsed());
        // Most of it is still to be passed on when the command has ended.
        assert_eq!(run.wait_exit(), 6);
        assert!(begin.ran() < 4 * SOON, "{:?} to the end", begin.elapsed());
        drop(storm);
        let _gone = command;
    }
}

#[test]
fn orphans_that_end_at_full_speed_hold_up_neither_answers_nor_the_end() {
    let words = ["--health", "127.0.0.1:0", "--log-level", "info", "--"].map(OsString::from);
    let script: [OsString; 4] = [python(), "-IS".into(), "-c".into(), ORPHANS.into()];
    let mut run = launch(words.into_iter().chain(script)).start();
    let answers = Times::of_requests(&run.health(), "/livez", 15);
    assert!(answers.median() < SOON, "{:?} for an answer", answers.median());
    let begin = Watch::start();
    run.signal(libc::SIGTERM);
    assert_eq!(run.wait_exit(), 143);
    assert!(begin.ran() < 4 * SOON, "{:?} to the end", begin.elapsed());
}
