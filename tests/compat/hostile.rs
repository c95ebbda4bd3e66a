//! Where the originals hang, spin or die, we do not.

use super::Original::{DumbInit, Tini};
use super::run;
use super::signals::family;
use crate::harness::{eventually, python};
use std::ffi::OsString;

/// Through a Python that first makes the world hostile.
fn after(setup: &str) -> [OsString; 4] {
    let script = format!("import os, signal, sys\n{setup}\nos.execvp(sys.argv[1], sys.argv[1:])");
    [python(), "-IS".into(), "-c".into(), script.into()]
}

/// tini hangs for ever.
#[test]
fn chld_inherited_as_ignored_hides_no_death() {
    for (original, args) in [(DumbInit, &["-c"][..]), (Tini, &["-s"])] {
        for pid1 in [true, false] {
            let words = [args, &["--", "sh", "-c", "exit 7"]].concat();
            let launch = run(&original.ours(), &words, &[]);
            let launch = launch.through(after("signal.signal(signal.SIGCHLD, signal.SIG_IGN)"));
            assert_eq!(if pid1 { launch } else { launch.not_pid1() }.finish().0, 7);
        }
    }
}

/// `tini true <&-` ends with 1.
#[test]
fn closed_streams_are_no_reason_to_fail() {
    for original in [DumbInit, Tini] {
        for closed in ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"] {
            let exec = format!(r#"exec "$@" {closed}"#);
            let words = ["--", "sh", "-c", "exit 7"];
            let launch = run(&original.ours(), &words, &[]).through(["sh", "-c", &exec, "sh"]);
            assert_eq!(launch.finish().0, 7, "{} {closed}", original.name());
        }
    }
}

/// `dumb-init -v` spins for ever: each line that it cannot write raises a SIGPIPE, which it tells of.
#[test]
fn a_reader_of_the_debug_lines_who_is_gone_or_asleep_changes_nothing() {
    let gone = "r, w = os.pipe()\nos.close(r)\nos.dup2(w, 2)\nsignal.signal(signal.SIGPIPE, signal.SIG_DFL)";
    let asleep = "r, w = os.pipe()\nos.set_inheritable(r, True)\nos.dup2(w, 2)\nos.set_blocking(w, False)
try:
    while True: os.write(w, b'x' * 512)
except BlockingIOError: pass
os.set_blocking(w, True)";
    for (original, verbose) in [(DumbInit, "-v"), (Tini, "-vvv")] {
        for reader in [gone, asleep] {
            let script = "import os, signal, time
count = 0
def counted(*_):
    global count
    count += 1
    if count == 40: raise SystemExit(7)
    os.write(out, b'%d\\n' % count)
out = os.open('count', os.O_WRONLY | os.O_CREAT)
signal.signal(signal.SIGUSR1, counted)
open('up', 'w').write('up\\n')
while True: time.sleep(0.05)";
            let python = python();
            let words = [verbose, "--", python.to_str().unwrap(), "-IS", "-c", script];
            let mut run = run(&original.ours(), &words, &[]).through(after(reader)).start();
            run.wait_lines("up", 1);
            for sent in 1..=40 {
                run.signal(10);
                if sent < 40 {
                    run.wait_lines("count", sent);
                }
            }
            assert_eq!(run.wait_exit(), 7, "{}", original.name());
        }
    }
}

/// tini ends with 1, and the container with it.
#[test]
fn a_child_that_we_may_not_signal_is_no_reason_to_end() {
    for original in [DumbInit, Tini] {
        let script = "trap 'exit 5' USR1; echo up; while :; do sleep 0.01; done";
        let words = ["--", "setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "sh", "-c", script];
        let without = ["setpriv", "--bounding-set=-kill", "--inh-caps=-kill"];
        let mut run = run(&original.ours(), &words, &[]).through(without).start();
        run.wait_lines("stdout", 1);
        run.signal(15);
        eventually("the warning", || run.log.text().contains("give us the capability KILL").then_some(()));
        let shell = crate::harness::children(run.pid)[0];
        crate::harness::kill(shell, 10);
        assert_eq!(run.wait_exit(), 5, "{}", original.name());
    }
}

/// A fault's signal from kill(1) ends tini and leaves its command behind, where it is not PID 1.
#[test]
fn a_fault_from_kill_does_not_end_us() {
    let run = family(&Tini.ours(), &[], &[], false);
    for signal in [4, 5, 6, 7, 8, 11, 31] {
        run.signal(signal);
    }
    run.signal(64);
    assert_eq!(run.wait_lines("code", 1), "7\n");
}
