//! What the command leaves behind gets the stop signal and its time, before we end with the command's code.

use super::{BOTH_PLACES, SLEEPER, shell};
use crate::harness::watch::Watch;
use crate::harness::{Launch, launch, python};
use std::ffi::OsString;
use std::fs;
use std::time::{Duration, Instant};

/// Starts a daemon in a session of its own, waits until it is ready, and ends with 7.
fn leaves(daemon: &str) -> String {
    format!(
        "cat >daemon.sh <<'END'\n{daemon}\nEND\n\
         setsid sh daemon.sh & while [ ! -e daemon ]; do sleep 0.01; done; exit 7"
    )
}

const TIDY: &str =
    "trap 'sleep 0.4; echo finished >work; exit' TERM; echo $$ >daemon; while :; do sleep 0.01; done";
const DEAF: &str = "trap '' TERM INT; echo $$ >daemon; while :; do sleep 0.01; done";

#[test]
fn a_daemon_may_finish_its_work() {
    for place in BOTH_PLACES {
        let mut run = place(shell(&leaves(TIDY))).start();
        assert_eq!(run.wait_exit(), 7);
        assert_eq!(run.wait_lines("work", 1), "finished\n");
    }
}

#[test]
fn the_rest_of_the_commands_own_group_may_finish_too() {
    for place in BOTH_PLACES {
        let script = format!("({TIDY}) & while [ ! -e daemon ]; do sleep 0.01; done; exit 7");
        let mut run = place(shell(&script)).start();
        assert_eq!(run.wait_exit(), 7);
        assert_eq!(run.wait_lines("work", 1), "finished\n");
    }
}

#[test]
fn after_a_term_too() {
    for place in BOTH_PLACES {
        let script = format!("trap 'exit 0' TERM; {} ", leaves(TIDY).replace("exit 7", SLEEPER));
        let mut run = place(shell(&script)).start();
        run.wait_lines("stdout", 1);
        run.signal(15);
        assert_eq!(run.wait_exit(), 0);
        assert_eq!(run.wait_lines("work", 1), "finished\n");
    }
}

#[test]
fn a_deaf_daemon_is_killed_when_the_time_is_over_and_the_code_stays_the_commands() {
    for place in BOTH_PLACES {
        let start = Instant::now();
        let mut run = place(with_timeout("600ms", &leaves(DEAF))).start();
        assert_eq!(run.wait_exit(), 7);
        // With the start of it all; the default is 30 s.
        let took = start.elapsed();
        assert!(took >= Duration::from_millis(600) && took < Duration::from_secs(10), "{took:?}");
        run.wait_for("graceful timeout over");
        // It was reaped by us, not left to whoever comes after us.
        let daemon: i64 = super::first_line(&run, "daemon").parse().unwrap();
        assert!(run.log.with_message("child reaped").iter().any(|line| line["pid"] == daemon));
    }
}

#[test]
fn the_time_runs_from_the_term_and_not_again_from_the_commands_end() {
    for place in BOTH_PLACES {
        // The command takes half of the time, so that the daemon has the rest. Again would be 6 s.
        let ending = format!("trap 'sleep 2; exit 0' TERM; {SLEEPER}");
        let mut run = place(with_timeout("4s", &leaves(DEAF).replace("exit 7", &ending))).start();
        run.wait_lines("stdout", 1);
        let sent = Watch::start();
        run.signal(15);
        assert_eq!(run.wait_exit(), 0);
        let took = run.took(&sent);
        assert!(took.all >= Duration::from_secs(4), "{took:?}");
        assert!(took.ran < Duration::from_millis(5_800), "{took:?}\n{}", run.log.text());
    }
}

#[test]
fn signals_reach_what_is_left_while_it_finishes() {
    let daemon =
        "trap '' TERM; trap 'echo got >work; exit' USR1; echo $$ >daemon; while :; do sleep 0.01; done";
    for place in BOTH_PLACES {
        let mut run = place(shell(&leaves(daemon))).start();
        run.wait_for("stopping the processes");
        run.signal(10);
        assert_eq!(run.wait_exit(), 7);
        assert_eq!(run.wait_lines("work", 1), "got\n");
    }
}

#[test]
fn the_stop_signal_can_be_another() {
    let daemon =
        "trap 'echo got >work; exit' USR1; trap '' TERM; echo $$ >daemon; while :; do sleep 0.01; done";
    for place in BOTH_PLACES {
        let mut run = place(launch(["--stop-signal", "USR1", "--", "sh", "-c", &leaves(daemon)])).start();
        assert_eq!(run.wait_exit(), 7);
        assert_eq!(run.wait_lines("work", 1), "got\n");
    }
}

fn with_timeout(timeout: &str, script: &str) -> Launch {
    launch(["--graceful-timeout", timeout, "--", "sh", "-c", script])
}

/// It got the TERM with its group. A second one would end a server whose handler acts once.
#[test]
fn what_got_the_term_already_is_not_asked_again() {
    let script = "
import os, signal, time
def drain(*_):
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    while not os.path.exists('go'): time.sleep(0.005)
    open('drained', 'w').close()
    os._exit(0)
signal.signal(signal.SIGTERM, drain)
print('ready', flush=True)
while True: time.sleep(0.05)";
    for place in BOTH_PLACES {
        let words: [OsString; 7] = [
            "--".into(),
            "sh".into(),
            "-c".into(),
            r#""$@" & wait"#.into(),
            "sh".into(),
            python(),
            format!("-ISc{script}").into(),
        ];
        let mut run = place(launch(words)).start();
        run.wait_lines("stdout", 1);
        run.signal(15);
        run.wait_for("stopping the processes that were left behind");
        fs::write(run.dir().join("go"), "").unwrap();
        assert_eq!(run.wait_exit(), 143);
        assert!(run.dir().join("drained").exists());
    }
}

/// A shell with job control puts what it starts into groups of their own, in its own session: the TERM that went to the
/// shell's group has not reached them.
#[test]
fn other_groups_of_the_commands_session_are_asked_too() {
    for place in BOTH_PLACES {
        let script = "set -m; (trap 'echo finished >work; exit' TERM; echo >up; while :; do sleep 0.01; done) & \
                      while [ ! -e up ]; do sleep 0.01; done; echo ready; wait";
        let mut run = place(launch(["--", "bash", "-c", script])).start();
        run.wait_lines("stdout", 1);
        run.signal(15);
        assert_eq!(run.wait_exit(), 143);
        assert_eq!(run.wait_lines("work", 1), "finished\n");
    }
}

#[test]
fn below_other_inits_and_above_them_all_get_their_time() {
    let work = leaves(TIDY);
    for above in [&["tini", "-s", "--"][..], &["dumb-init", "--"], &["catatonit", "-g", "--"]] {
        // Ours below: a second init is cheap, and does what the first does not.
        let mut run = shell(&work).through(above.iter().copied()).start();
        assert_eq!(run.wait_exit(), 7, "{above:?}");
        run.wait_lines("work", 1);
        // Ours above, and theirs gone before its descendants.
        let words: Vec<&str> = ["--"].iter().chain(above).copied().chain(["sh", "-c", &work]).collect();
        let mut run = launch(words).start();
        assert_eq!(run.wait_exit(), 7, "{above:?}");
        run.wait_lines("work", 1);
    }
}

/// Who is started by a handler of the very signal, or is being forked while everybody is asked, hears of it a little
/// later.
#[test]
fn who_comes_late_is_asked_too() {
    // A copy of the shell would still have the shell's handlers, and lose the signal.
    let handler =
        "trap 'sh -c \"echo >late; exec sleep 1000\" & while [ ! -e late ]; do sleep 0.01; done; exit 6' TERM
                   echo ready; while :; do sleep 0.01; done";
    let forking =
        "setsid sh -c 'i=0; while [ $i -lt 300 ]; do sleep 1000 & i=$((i+1)); done' & sleep 0.05; exit 6";
    for place in BOTH_PLACES {
        let start = Watch::start();
        let mut run = place(shell(handler)).start();
        run.wait_lines("stdout", 1);
        run.signal(15);
        assert_eq!(run.wait_exit(), 6);
        let mut run = place(shell(forking)).start();
        assert_eq!(run.wait_exit(), 6);
        assert!(run.log.with_message("graceful timeout over").is_empty());
        assert!(start.ran() < Duration::from_secs(15), "{:?}", start.elapsed());
    }
}

#[test]
fn a_stopped_member_of_the_group_is_continued_to_see_the_term() {
    for place in BOTH_PLACES {
        let script = "(trap 'exit 0' TERM; echo >up; while :; do sleep 0.01; done) & member=$!
                      while [ ! -e up ]; do sleep 0.01; done; kill -STOP $member
                      while ! grep -q 'State.*T' /proc/$member/status; do sleep 0.01; done
                      trap 'wait; exit 5' TERM; echo ready; while :; do sleep 0.01; done";
        let mut run = place(with_timeout("20s", script)).start();
        run.wait_lines("stdout", 1);
        run.signal(15);
        assert_eq!(run.wait_exit(), 5);
    }
}

/// What a daemon starts to end in order is its own: nobody asks anything of it.
#[test]
fn what_a_handler_starts_and_waits_for_may_finish() {
    // Nothing is finished where the sleep was cut short.
    let slow =
        "trap 'sleep 1.5 && echo finished >work; exit' TERM; echo $$ >daemon; while :; do sleep 0.01; done";
    for place in BOTH_PLACES {
        for script in [leaves(slow), leaves(slow).replace("exit 7", SLEEPER)] {
            let mut run = place(shell(&script)).start();
            if script.contains(SLEEPER) {
                run.wait_lines("stdout", 1);
            } else {
                run.wait_lines("daemon", 1);
            }
            run.signal(15);
            run.wait_exit();
            assert_eq!(run.wait_lines("work", 1), "finished\n");
        }
    }
}

/// Without /proc nobody can be told from anybody else: all are asked, once. One that shows another PID namespace, as
/// `unshare --pid` leaves it, is as good as none.
#[test]
fn without_a_proc_of_our_own_all_are_asked_once() {
    // It lives on for a while, so that a second one would be seen.
    let daemon = "trap 'echo asked >>asked' TERM; echo $$ >daemon; while [ ! -e asked ]; do sleep 0.01; done
                  i=0; while [ $i -lt 100 ]; do sleep 0.01; i=$((i+1)); done";
    let script = leaves(daemon);
    let hide = r#"mount -t tmpfs none /proc && exec "$@""#;
    let mut run = launch(["--", "sh", "-c", &script]).through(["sh", "-c", hide, "sh"]).start();
    assert_eq!(run.wait_exit(), 7);
    assert_eq!(run.wait_lines("asked", 1), "asked\n");
    // The outer shell's /proc, seen from a namespace below it.
    let inner = ["unshare", "--pid", "--fork"];
    let mut run = launch(["--", "sh", "-c", &script]).through(inner).start();
    assert_eq!(run.wait_exit(), 7);
    assert_eq!(run.wait_lines("asked", 1), "asked\n");
}
