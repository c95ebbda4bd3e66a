//! Every signal that can be caught reaches the command, once, as it was sent.

use super::{BOTH_PLACES, SLEEPER, first_line, shell};
use crate::harness::{Launch, Run, eventually, kill, launch, python, status_line};
use std::ffi::OsString;

const RECEIVER: &str = include_str!("receiver.py");

/// All but KILL and STOP, which nobody can catch, and CHLD, which tells an init of its own children.
fn forwardable() -> impl Iterator<Item = i32> {
    (1..=64).filter(|signal| ![9, 17, 19].contains(signal))
}

/// A command that prints this many signals and ends.
pub(super) fn receiver(count: usize) -> Launch {
    let words: [OsString; 6] =
        ["--".into(), python(), "-IS".into(), "-c".into(), RECEIVER.into(), count.to_string().into()];
    launch(words)
}

/// Sends a signal with a value, as sigqueue(3).
fn queue(pid: i32, signal: i32, value: usize) {
    assert!(pid > 1);
    eventually("room for a signal", || {
        let value = libc::sigval { sival_ptr: value as *mut libc::c_void };
        // SAFETY: takes three plain values.
        (unsafe { libc::sigqueue(pid, signal, value) } == 0).then_some(())
    });
}

/// What the receiver printed: number, code, pid, value.
fn received(run: &Run) -> Vec<[i64; 4]> {
    let parse = |line: &str| -> [i64; 4] {
        let numbers: Vec<i64> = line.split(' ').map(|word| word.parse().unwrap()).collect();
        numbers.try_into().unwrap()
    };
    run.stdout().lines().skip(1).map(parse).collect()
}

#[test]
fn every_signal_arrives_once_and_none_has_its_default_effect() {
    for place in BOTH_PLACES {
        let signals: Vec<i32> = forwardable().collect();
        let mut run = place(receiver(signals.len())).start();
        run.wait_lines("stdout", 1);
        for (index, signal) in signals.iter().enumerate() {
            run.signal(*signal);
            // One at a time, for pending standard signals have no order, and CONT cancels TSTP.
            run.wait_lines("stdout", index + 2);
        }
        assert_eq!(run.wait_exit(), 0, "as the command, not 128 + one of them");
        let numbers: Vec<i32> = received(&run).iter().map(|[number, ..]| *number as i32).collect();
        assert_eq!(numbers, signals);
    }
}

#[test]
fn a_chld_from_outside_is_no_childs_death() {
    for place in BOTH_PLACES {
        let mut run = place(receiver(1)).start();
        run.wait_lines("stdout", 1);
        run.signal(17);
        run.signal(10);
        assert_eq!(run.wait_exit(), 0);
        assert_eq!(received(&run)[0][0], 10);
    }
}

#[test]
fn two_thousand_queued_real_time_signals_arrive_in_order_with_value_and_sender() {
    const COUNT: usize = 2_000;
    for place in BOTH_PLACES {
        let mut run = place(with_room(receiver(COUNT + 1))).start();
        run.wait_lines("stdout", 1);
        // Stopped, so that all of them are queued at once.
        run.signal(19);
        eventually("stopped", || status_line(run.pid, "State").filter(|state| state.starts_with('T')));
        for value in 0..COUNT {
            queue(run.pid, 34, 1_000_000_000_000 + value);
        }
        run.signal(18);
        assert_eq!(run.wait_exit(), 0);
        let (conts, queued): (Vec<_>, Vec<_>) =
            received(&run).into_iter().partition(|[number, ..]| *number == 18);
        assert_eq!(conts.len(), 1);
        // Sender 0 is somebody outside the namespace.
        let sent: Vec<_> = (0..COUNT as i64).map(|value| [34, -1, 0, 1_000_000_000_000 + value]).collect();
        assert_eq!(queued, sent);
    }
}

/// The limit of queued signals is 1,024 on small machines, and each waits twice: with us and with the command.
fn with_room(launch: Launch) -> Launch {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: `limit` has room for the answer.
    unsafe { libc::getrlimit(libc::RLIMIT_SIGPENDING, &raw mut limit) };
    if limit.rlim_cur > 5_000 { launch } else { launch.through(["prlimit", "--sigpending=5000:5000"]) }
}

#[test]
fn a_signal_queued_from_inside_keeps_its_sender_too() {
    for place in BOTH_PLACES {
        let words =
            ["--".into(), python(), "-IS".into(), "-c".into(), RECEIVER.into(), "1".into(), "77".into()];
        let mut run = place(launch::<OsString>(words)).start();
        assert_eq!(run.wait_exit(), 0);
        let own: i64 = first_line(&run, "stdout").strip_prefix("ready as ").unwrap().parse().unwrap();
        assert_eq!(received(&run), [[40, -1, own, 77]]);
    }
}

#[test]
fn a_signal_killed_from_inside_comes_back_from_us() {
    let script = "import os, signal, sys
signal.pthread_sigmask(signal.SIG_BLOCK, [10, 40])
for number in 10, 40:
    os.kill(os.getppid(), number)
    info = signal.sigwaitinfo([10, 40])
    print(info.si_signo, info.si_pid == os.getppid(), flush=True)";
    let words: [OsString; 5] = ["--".into(), python(), "-IS".into(), "-c".into(), script.into()];
    let (code, out, _) = launch(words).finish();
    assert_eq!((code, out.as_str()), (0, "10 True\n40 True\n"));
}

#[test]
fn children_of_a_shell_get_the_signal_too() {
    for place in BOTH_PLACES {
        let script = "
            trap 'echo shell' USR1
            sh -c 'trap \"echo child; exit\" USR1; echo ready; while :; do sleep 0.01; done' & child=$!
            wait; wait $child; exit 3";
        let mut run = place(shell(script)).start();
        run.wait_lines("stdout", 1);
        run.signal(10);
        assert_eq!(run.wait_exit(), 3);
        let out = run.stdout();
        let mut lines: Vec<&str> = out.lines().collect();
        lines.sort_unstable();
        assert_eq!(lines, ["child", "ready", "shell"]);
    }
}

#[test]
fn a_shell_that_waits_for_a_background_job_ends_with_it() {
    for place in BOTH_PLACES {
        let mut run = place(shell(SLEEPER)).start();
        run.wait_lines("stdout", 1);
        run.signal(15);
        assert_eq!(run.wait_exit(), 143);
    }
}

#[test]
fn the_command_has_a_session_and_a_process_group_of_its_own() {
    for place in BOTH_PLACES {
        let script = "read -r _ _ _ _ group session _ </proc/$$/stat; echo $$ $group $session; sleep 1000";
        let run = place(shell(script)).start();
        let line = first_line(&run, "stdout");
        let ids: Vec<&str> = line.split(' ').collect();
        assert!(ids[0] == ids[1] && ids[0] == ids[2], "pid, group, session: {line}");
    }
}

#[test]
fn a_command_of_another_user_that_we_may_not_signal_is_no_reason_to_give_up() {
    // SAFETY: takes nothing and cannot fail.
    if unsafe { libc::geteuid() } != 0 {
        eprintln!("not tried: without root there is no other user to become");
        return;
    }
    for place in BOTH_PLACES {
        let script = "trap 'exit 5' USR1; trap 'exit 9' TERM; echo ready; while :; do sleep 0.01; done";
        let words = ["--", "setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "sh", "-c", script];
        let launch = place(launch(words)).through(["setpriv", "--bounding-set=-kill", "--inh-caps=-kill"]);
        let mut run = launch.start();
        run.wait_lines("stdout", 1);
        run.signal(15);
        run.wait_for("signal not sent");
        kill(run.command(), 10);
        assert_eq!(run.wait_exit(), 5);
    }
}
