//! What is passed on as what, and to whom, when the user says so.

use super::{BOTH_PLACES, first_line, shell};
use crate::harness::{Launch, Run, eventually, launch, python};
use std::ffi::OsString;

/// A shell that tells USR1 and USR2 in `got` and ends with 3 at HUP, with a child that does the same in `child`. Not at
/// QUIT: a shell lets what it starts in the background ignore that, and INT.
const TELLING: &str = "
(trap 'echo usr1 >>child' USR1; trap 'echo usr2 >>child' USR2; trap 'exit 4' HUP; echo >child-ready
 while :; do sleep 0.01; done) &
trap 'echo usr1 >>got' USR1; trap 'echo usr2 >>got' USR2; trap 'exit 3' HUP
while [ ! -e child-ready ]; do sleep 0.01; done
echo ready; while :; do sleep 0.01; done";

fn telling(options: &[&str]) -> Launch {
    launch(options.iter().copied().chain(["--", "sh", "-c", TELLING]))
}

fn got(run: &Run, name: &str) -> String {
    std::fs::read_to_string(run.dir().join(name)).unwrap_or_default()
}

#[test]
fn a_signal_is_rewritten_or_dropped_and_the_last_rule_counts() {
    for place in BOTH_PLACES {
        let rules = "USR1=RTMIN+3,SIGUSR1=USR2,12:0,term=SIGHUP,RTMIN+1=10";
        let mut run = place(telling(&["--rewrite-signal", rules])).start();
        run.wait_lines("stdout", 1);
        run.signal(12);
        run.wait_for("signal dropped");
        run.signal(10);
        run.wait_lines("got", 1);
        run.signal(35);
        run.wait_lines("got", 2);
        run.signal(15);
        assert_eq!(run.wait_exit(), 3);
        assert_eq!(got(&run, "got"), "usr2\nusr1\n");
    }
}

#[test]
fn what_term_is_rewritten_to_starts_the_clock_and_a_dropped_term_does_not() {
    let deaf = "trap '' TERM QUIT; echo ready; while :; do sleep 0.01; done";
    for (rule, ends) in [("TERM=QUIT", true), ("TERM=0", false), ("HUP=TERM", true)] {
        let options = ["--graceful-timeout", "200ms", "--rewrite-signal", rule, "--", "sh", "-c", deaf];
        let mut run = launch(options).start();
        run.wait_lines("stdout", 1);
        run.signal(if rule == "HUP=TERM" { 1 } else { 15 });
        if ends {
            assert_eq!(run.wait_exit(), 137, "{rule}");
        } else {
            run.wait_for("signal dropped");
            let late = run.wait_exit_within(std::time::Duration::from_millis(600));
            assert_eq!(late, None, "{rule}");
        }
    }
}

#[test]
fn the_command_alone_gets_it_where_the_scope_is_the_process() {
    for place in BOTH_PLACES {
        for (scope, child) in [("process", ""), ("group", "usr1\n")] {
            let mut run = place(telling(&["--signal-scope", scope])).start();
            run.wait_lines("stdout", 1);
            run.signal(10);
            run.wait_lines("got", 1);
            if scope == "group" {
                run.wait_lines("child", 1);
            }
            run.signal(1);
            assert_eq!(run.wait_exit(), 3, "{scope}");
            assert_eq!(got(&run, "child"), child, "{scope}");
        }
    }
}

/// A `sigwait` is an rt_sigtimedwait(2).
fn waits_for_signals(pid: i32) -> bool {
    let call = std::fs::read_to_string(format!("/proc/{pid}/syscall")).unwrap_or_default();
    call.split(' ').next() == Some(&libc::SYS_rt_sigtimedwait.to_string())
}

#[test]
fn a_signal_that_nobody_knows_can_be_held_back() {
    // The shell knows USR1 only, its child, which waits for signals with them blocked, all; a third none.
    let script = "
import os, signal, time
if os.fork() == 0:
    signal.pthread_sigmask(signal.SIG_BLOCK, [10, 12, 34])
    open('waiting', 'w').write('%d\\n' % os.getpid())
    while True:
        number = signal.sigwait([10, 12, 34])
        print(int(number), file=open('got', 'a'))
unaware = os.fork()
if unaware == 0:
    while True: time.sleep(1000)
signal.signal(10, lambda *_: print('main', file=open('got', 'a')))
while not os.path.exists('waiting'): time.sleep(0.01)
print('ready', flush=True)
while True:
    time.sleep(0.05)";
    let words = |how: &str| -> Vec<OsString> {
        vec![
            format!("--unhandled={how}").into(),
            "--".into(),
            python(),
            "-IS".into(),
            "-c".into(),
            script.into(),
        ]
    };
    // Where we are not PID 1, a shell is.
    for (place, shells) in BOTH_PLACES.into_iter().zip([0, 1]) {
        let mut run = place(launch(words("drop"))).start();
        run.wait_lines("stdout", 1);
        let waiting = run.outer_pid(first_line(&run, "waiting").parse().unwrap());
        for (sent, signal) in [10, 12, 34].into_iter().enumerate() {
            // Whether it waits for a signal is seen while it does.
            eventually("it waits", || waits_for_signals(waiting).then_some(()));
            run.signal(signal);
            // The first comes to the shell, too.
            run.wait_lines("got", sent + 2);
        }
        let got = run.wait_lines("got", 4);
        let mut got: Vec<&str> = got.lines().collect();
        got.sort_unstable();
        assert_eq!(got, ["10", "12", "34", "main"]);
        assert_eq!(run.others().len(), 3 + shells);
        run.signal(15);
        assert_eq!(run.wait_exit(), 143, "TERM is never held back");

        let mut run = place(launch(words("forward"))).start();
        run.wait_lines("stdout", 1);
        run.signal(12);
        assert_eq!(run.wait_exit(), 128 + 12);
    }
}

#[test]
fn in_a_pool_a_rewritten_signal_acts_as_the_other() {
    let words = ["-n", "1", "--rewrite-signal", "HUP=TERM,USR1=0", "--", "sleep", "1000"];
    let mut run = launch(words).start();
    run.wait_for("worker spawned");
    run.signal(10);
    run.wait_for("signal dropped");
    run.signal(1);
    assert_eq!(run.wait_for("shutdown started")["signal"], "TERM");
    assert_eq!(run.wait_exit(), 0);
}

#[test]
fn the_command_may_share_our_group_and_gets_each_signal_once() {
    let script = "read -r _ _ _ _ group _ <\"/proc/$PPID/stat\"; read -r _ _ _ _ own _ </proc/$$/stat
                  echo $group $own; trap 'echo usr1 >>got' USR1; trap 'exit 6' TERM; echo ready
                  while :; do sleep 0.01; done";
    let mut run = launch(["--process-group", "none", "--", "sh", "-c", script]).start();
    let line = first_line(&run, "stdout");
    let groups: Vec<&str> = line.split(' ').collect();
    assert_eq!(groups[0], groups[1], "{line}");
    run.wait_lines("stdout", 2);
    run.signal(10);
    run.wait_lines("got", 1);
    run.signal(15);
    assert_eq!(run.wait_exit(), 6);
    assert_eq!(got(&run, "got"), "usr1\n");
}

#[test]
fn a_death_of_our_parent_is_told_by_the_signal_asked_for() {
    // The middle man is killed; we get USR1 and pass it on.
    let below = r#""$@" & echo $! >middle; exec sleep 1000"#;
    let script = "trap 'exit 5' USR1; echo ready; while :; do sleep 0.01; done";
    let inner = ["sh", "-c", below, "sh", "sh", "-c", r#""$@"; exit 1"#, "sh"];
    let words = ["--parent-death-signal", "USR1", "--", "sh", "-c", script];
    let run = launch(words).through(inner).start();
    run.wait_lines("stdout", 1);
    let middle: i64 = first_line(&run, "middle").parse().unwrap();
    crate::harness::kill(run.outer_pid(middle), 9);
    assert_eq!(run.wait_for("command exited")["exit_code"], 5);
}

#[test]
fn a_killed_parent_takes_the_command_along_where_that_is_asked_for() {
    let below = r#""$@" & echo $! >middle; exec sleep 1000"#;
    let inner = ["sh", "-c", below, "sh", "sh", "-c", r#""$@"; exit 1"#, "sh"];
    let words = ["--parent-death-signal", "KILL", "--", "sh", "-c", "echo $$; exec sleep 1000"];
    let run = launch(words).through(inner).start();
    let command = run.outer_pid(first_line(&run, "stdout").parse().unwrap());
    let middle: i64 = first_line(&run, "middle").parse().unwrap();
    crate::harness::kill(run.outer_pid(middle), 9);
    let gone = |pid: i32| run.others().iter().all(|(other, state)| *other != pid || *state == 'Z');
    eventually("both are gone", || (gone(command) && gone(run.pid)).then_some(()));
}

#[test]
fn not_a_subreaper_means_that_orphans_go_elsewhere() {
    let script = "sh -c 'sh -c \"echo \\$\\$ >orphan; sleep 1000\" &'; echo ready; sleep 1000";
    for (when, ours) in [("auto", true), ("never", false)] {
        let run = launch(["--subreaper", when, "--", "sh", "-c", script]).not_pid1().start();
        let orphan: i64 = first_line(&run, "orphan").parse().unwrap();
        run.wait_lines("stdout", 1);
        let orphan = run.outer_pid(orphan);
        let is_ours = || crate::harness::status_line(orphan, "PPid") == Some(run.pid.to_string());
        eventually("a parent", || (is_ours() == ours).then_some(()));
    }
}

#[test]
fn a_reaped_orphan_is_worth_a_warning_where_asked() {
    for place in BOTH_PLACES {
        // The command ends when the orphan has been reaped.
        let script = "sh -c 'sh -c \"echo \\$\\$ >orphan; sleep 0.05; exit 4\" &'
                      until [ -s orphan ]; do sleep 0.01; done
                      while [ -e /proc/$(cat orphan) ]; do sleep 0.01; done";
        let (_, _, log) = place(launch(["--warn-on-reap", "--", "sh", "-c", script])).finish();
        let warned = |line: &&str| line.contains("WARN") && line.contains("orphan reaped: code 4");
        assert_eq!(log.lines().filter(warned).count(), 1, "{log}");
        let (_, _, log) = place(shell(script)).finish();
        assert!(!log.contains("WARN"), "{log}");
    }
}

/// A main thread in sigwait(3) for TERM knows nothing of a HUP.
#[test]
fn who_waits_for_another_signal_does_not_know_this_one() {
    let script = "
import signal
signal.pthread_sigmask(signal.SIG_BLOCK, [15])
open('up', 'w').write('up\\n')
raise SystemExit(20 + int(signal.sigwait([15])))";
    for place in BOTH_PLACES {
        let words: [OsString; 6] =
            ["--unhandled=drop".into(), "--".into(), python(), "-IS".into(), "-c".into(), script.into()];
        let mut run = place(launch(words)).start();
        run.wait_lines("up", 1);
        run.signal(1);
        run.wait_for("signal forwarded");
        run.signal(15);
        assert_eq!(run.wait_exit(), 35);
    }
}
