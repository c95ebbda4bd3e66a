//! From a forwarded TERM on there is a clock; what is left when it runs out is killed.

use super::{BOTH_PLACES, SLEEPER, shell};
use crate::harness::watch::{Took, Watch};
use crate::harness::{Launch, Run, eventually, kill, launch, python, status_line};
use std::ffi::OsString;
use std::time::Duration;

/// On a busy machine even a KILL takes its time.
const MUCH_LATER: Duration = Duration::from_secs(3);

/// Ignores TERM, and so do its children, one of which has left the group.
const DEAF: &str = "trap '' TERM; sleep 1000 & setsid sleep 1000 & sleep 1000 & echo ready; wait";

fn deaf(timeout: &str) -> Launch {
    launch(["--graceful-timeout", timeout, "--", "sh", "-c", DEAF])
}

/// Sends a signal and returns the code and how long the end took.
fn end_by(run: &mut Run, signal: i32) -> (i32, Took) {
    let sent = Watch::start();
    run.signal(signal);
    (run.wait_exit(), run.took(&sent))
}

#[test]
fn what_ignores_term_is_killed_when_the_time_is_over_and_not_before() {
    for place in BOTH_PLACES {
        let timeout = Duration::from_millis(700);
        let mut run = place(deaf("700ms")).start();
        run.wait_lines("stdout", 1);
        let others: Vec<i32> = run.others().into_iter().map(|(pid, _)| pid).collect();
        assert!(others.len() >= 4, "{others:?}");
        let (code, took) = end_by(&mut run, 15);
        assert_eq!(code, 137);
        assert!(took.all >= timeout && took.ran < timeout + MUCH_LATER, "{took:?}");
        assert_eq!(run.log.with_message("graceful timeout over").len(), 1);
    }
}

#[test]
fn no_descendant_outlives_us_even_where_no_kernel_kills_for_us() {
    let mut run = deaf("100ms").not_pid1().start();
    run.wait_lines("stdout", 1);
    let started = run.wait_for("command started");
    run.signal(15);
    assert_eq!(run.wait_exit(), 137);
    // Shell, its three sleeps: all four were ours to reap, the last two through the subreaper.
    let reaped = run.log.with_message("child reaped");
    assert_eq!(reaped.len(), 4, "{reaped:?}");
    assert_eq!(reaped.iter().filter(|line| line["pid"] == started["pid"]).count(), 1);
}

#[test]
fn zero_kills_at_once() {
    for place in BOTH_PLACES {
        let mut run = place(deaf("0")).start();
        run.wait_lines("stdout", 1);
        let (code, took) = end_by(&mut run, 15);
        assert_eq!(code, 137);
        assert!(took.ran < MUCH_LATER, "{took:?}");
    }
}

#[test]
fn a_command_that_obeys_is_not_kept_waiting() {
    for place in BOTH_PLACES {
        let mut run = place(shell(&format!("trap 'exit 4' TERM; {SLEEPER}"))).start();
        run.wait_lines("stdout", 1);
        let (code, took) = end_by(&mut run, 15);
        assert_eq!(code, 4);
        assert!(took.ran < MUCH_LATER, "{took:?}");
    }
}

/// Prints each signal that came; it lives on for a while and says so. After a TERM that may be another while.
const STUBBORN: &str = "
import signal, sys, time
signals = [signal.SIGINT, signal.SIGQUIT, signal.SIGTERM]
signal.pthread_sigmask(signal.SIG_BLOCK, signals)
print('ready', flush=True)
while True:
    number = signal.sigwait(signals)
    print('got', int(number), flush=True)
    time.sleep(float(sys.argv[2 if number == signal.SIGTERM else 1]))
    print('alive', flush=True)
";

fn stubborn(timeout: &str, lives: &str, after_term: &str) -> Launch {
    let words: [OsString; 9] = [
        "--graceful-timeout".into(),
        timeout.into(),
        "--".into(),
        python(),
        "-IS".into(),
        "-c".into(),
        STUBBORN.into(),
        lives.into(),
        after_term.into(),
    ];
    launch(words)
}

#[test]
fn int_and_quit_start_no_clock() {
    for place in BOTH_PLACES {
        let mut run = place(stubborn("1s", "1.5", "1000")).start();
        run.wait_lines("stdout", 1);
        run.signal(2);
        run.wait_lines("stdout", 3);
        run.signal(3);
        run.wait_lines("stdout", 5);
        let (code, took) = end_by(&mut run, 15);
        assert_eq!(code, 137);
        assert!(took.all >= Duration::from_secs(1), "{took:?}");
        // It may be killed before it comes to say that it got the TERM.
        assert!(run.stdout().starts_with("ready\ngot 2\nalive\ngot 3\nalive\n"), "{}", run.stdout());
    }
}

#[test]
fn the_stop_signal_starts_the_clock_as_term_does() {
    let script = "trap '' USR1; echo ready; while :; do sleep 0.01; done";
    for place in BOTH_PLACES {
        let options = ["--stop-signal", "USR1", "--graceful-timeout", "300ms", "--", "sh", "-c", script];
        let mut run = place(launch(options)).start();
        run.wait_lines("stdout", 1);
        let (code, took) = end_by(&mut run, 10);
        assert_eq!(code, 137);
        assert!(took.all >= Duration::from_millis(300), "{took:?}");
    }
}

#[test]
fn a_second_term_does_not_start_the_clock_again() {
    let timeout = Duration::from_secs(6);
    let mut run = stubborn("6s", "4", "4").start();
    run.wait_lines("stdout", 1);
    let sent = Watch::start();
    run.signal(15);
    run.wait_lines("stdout", 3);
    let again = Watch::start();
    run.signal(15);
    assert_eq!(run.wait_exit(), 137);
    let (sent, again) = (run.took(&sent), run.took(&again));
    assert!(sent.all >= timeout && again.ran < timeout, "{sent:?}, {again:?}");
}

#[test]
fn infinity_never_kills() {
    for place in BOTH_PLACES {
        let mut run = place(stubborn("infinity", "0.4", "0.4")).start();
        run.wait_lines("stdout", 1);
        run.signal(15);
        assert!(run.wait_lines("stdout", 3).ends_with("alive\n"));
        assert!(run.log.with_message("graceful timeout over").is_empty());
        kill(run.command(), 9);
        assert_eq!(run.wait_exit(), 137);
    }
}

#[test]
fn a_stopped_command_is_killed_too() {
    for place in BOTH_PLACES {
        let mut run =
            place(launch(["--graceful-timeout", "200ms", "--", "sh", "-c", "echo ready; kill -STOP $$"]))
                .start();
        run.wait_lines("stdout", 1);
        let (code, took) = end_by(&mut run, 15);
        // Ended by the TERM itself if it is continued, by KILL if not.
        assert!(code == 137 || code == 143, "{code}");
        assert!(took.ran < Duration::from_millis(200) + MUCH_LATER, "{took:?}");
    }
}

#[test]
fn a_stopped_command_is_continued_so_that_it_sees_the_term() {
    for place in BOTH_PLACES {
        let mut run = place(shell("echo ready; exec sleep 1000")).start();
        run.wait_lines("stdout", 1);
        let command = run.command();
        kill(command, libc::SIGSTOP);
        eventually("it is stopped", || status_line(command, "State").filter(|state| state.starts_with('T')));
        run.signal(libc::SIGTERM);
        assert_eq!(run.wait_exit(), 143);
    }
}
