//! Children that have asked to be traced, and a kernel that refuses the calls by which we learn of children.

use super::{BOTH_PLACES, shell};
use crate::harness::seccomp::{refusing, refusing_by};
use crate::harness::strace::fail_once;
use crate::harness::{Launch, Run, eventually, kill, launch, python, status_line};
use std::ffi::OsString;

/// `PTRACE_TRACEME`, as anti-debugging has it: from then on any signal stops a process until its tracer, its parent, has
/// it go on.
const TRACED: &str = "
import ctypes, os, signal, subprocess, sys, time
def note(text): print(text, file=open('notes', 'a'), flush=True)
def trace_me():
    if ctypes.CDLL(None, use_errno=True).ptrace(0, 0, 0, 0) != 0: note('refused')
signal.signal(signal.SIGTERM, lambda *_: os._exit(5))
signal.signal(signal.SIGTRAP, lambda *_: os._exit(6))
";

fn python_script(script: &str) -> Launch {
    let script = format!("{TRACED}{script}");
    let words: [OsString; 5] = ["--".into(), python(), "-IS".into(), "-c".into(), script.into()];
    launch(words)
}

/// User and system time of a process, in hundredths of a second.
fn cpu_ticks(pid: i32) -> u64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

fn warnings(run: &Run, of: &str) -> usize {
    let lines = run.log.lines();
    lines.iter().filter(|line| line["level"] != "DEBUG" && line["message"].to_string().contains(of)).count()
}

#[test]
fn a_command_that_asked_to_be_traced_gets_its_signals() {
    let script = "trace_me()\nsubprocess.run(['true'])\nnote('went on')\nwhile True: time.sleep(1)";
    for place in BOTH_PLACES {
        for (signal, code) in [(15, 5), (5, 6), (10, 138)] {
            let mut run = place(python_script(script)).start();
            assert_eq!(run.wait_lines("notes", 1), "went on\n");
            run.signal(signal);
            assert_eq!(run.wait_exit(), code, "{signal}");
        }
    }
}

/// The kernel sends it a TRAP then, which is for the tracer only: without one there is none.
#[test]
fn a_command_that_asked_to_be_traced_executes_another_and_does_not_die_of_it() {
    for place in BOTH_PLACES {
        let script = "trace_me()\nos.execvp('sh', ['sh', '-c', 'exit 7'])";
        assert_eq!(place(python_script(script)).finish().0, 7);
    }
}

#[test]
fn a_command_that_asked_to_be_traced_is_stopped_and_continued_as_any() {
    let mut run = python_script("trace_me()\nnote('up')\nwhile True: time.sleep(0.01)").start();
    run.wait_lines("notes", 1);
    let command = run.command();
    for _ in 0..3 {
        kill(command, libc::SIGSTOP);
        // Traced, it would be in `t (tracing stop)`.
        eventually("the stop", || status_line(command, "State")?.starts_with('T').then_some(()));
        kill(command, libc::SIGCONT);
        eventually("going on", || status_line(command, "State")?.starts_with(['S', 'R']).then_some(()));
    }
    run.signal(15);
    assert_eq!(run.wait_exit(), 5);
}

#[test]
fn an_orphan_that_asks_to_be_traced_goes_on() {
    let script = "
init = os.getppid()
if os.fork() == 0:
    if os.fork() == 0:
        while os.getppid() != init: time.sleep(0.005)
        trace_me()
        subprocess.run(['true'])
        note('went on')
        os._exit(0)
    os._exit(0)
os.wait()
while True: time.sleep(1)";
    for place in BOTH_PLACES {
        let mut run = place(python_script(script)).start();
        assert_eq!(run.wait_lines("notes", 1), "went on\n");
        // Waited for before we are told to stop, which it would be too.
        run.wait_for("child reaped");
        run.signal(15);
        assert_eq!(run.wait_exit(), 5);
    }
}

/// The sandbox leaves it `PTRACE_TRACEME` and refuses us `PTRACE_DETACH`.
#[test]
fn where_ptrace_is_refused_that_is_told_once_and_nobody_spins() {
    let script = "trace_me()\nnote('up')\nos.kill(os.getpid(), 10)\ntime.sleep(1000)";
    let sandbox = refusing_by([format!("1:{}:0={}", libc::SYS_ptrace, libc::PTRACE_DETACH)]);
    let mut run = python_script(script).env("PREFORK_GRACEFUL_TIMEOUT", "300ms").through(sandbox).start();
    eventually("the line", || (warnings(&run, "ptrace is refused") > 0).then_some(()));
    run.signal(12);
    run.signal(15);
    assert_eq!(run.wait_exit(), 137);
    assert_eq!(warnings(&run, "ptrace is refused"), 1);
}

/// wait4(2) reaps what it tells of. Nothing else may be seen of that.
#[test]
fn where_waitid_is_refused_wait4_has_its_place() {
    for place in BOTH_PLACES {
        for error in [libc::EPERM, libc::ENOSYS, libc::EINVAL, libc::EAGAIN, libc::EINTR, libc::ENOMEM] {
            let sandbox = || refusing(&[(libc::SYS_waitid, error)]);
            let script =
                "(sh -c 'echo orphan >orphan' &); while [ ! -e orphan ]; do sleep 0.01; done; exit 7";
            let (code, _, log) = place(shell(script)).through(sandbox()).finish();
            assert_eq!((code, log.matches("waitid is refused").count()), (7, 1), "{error}: {log}");
            let (code, ..) = place(shell("kill -9 $$")).through(sandbox()).finish();
            assert_eq!(code, 137, "{error}");
        }
    }
}

#[test]
fn where_waitid_is_refused_who_asked_to_be_traced_goes_on_and_what_is_left_is_stopped() {
    let script = "
trace_me()
subprocess.run(['true'])
note('went on')
if os.fork() == 0:
    signal.signal(signal.SIGTERM, lambda *_: (note('asked'), os._exit(0)))
    note('left')
    while True: time.sleep(1)
while open('notes').read().count('\\n') < 2: time.sleep(0.01)
os._exit(9)";
    let sandbox = refusing(&[(libc::SYS_waitid, libc::EPERM)]);
    let mut run = python_script(script).through(sandbox).start();
    assert_eq!(run.wait_exit(), 9);
    assert_eq!(run.wait_lines("notes", 3), "went on\nleft\nasked\n");
}

#[test]
fn where_wait4_is_refused_nothing_is_missed() {
    for error in [libc::EPERM, libc::ENOSYS] {
        let (code, _, log) =
            shell("sleep 0.01 & exec sh -c 'exit 7'").through(refusing(&[(libc::SYS_wait4, error)])).finish();
        assert_eq!(code, 7, "{log}");
        assert!(!log.contains("refused"), "{log}");
    }
}

/// There is nothing to be done then but to say so.
#[test]
fn where_both_are_refused_that_is_told_once_and_nobody_spins() {
    let sandbox = refusing(&[(libc::SYS_waitid, libc::EPERM), (libc::SYS_wait4, libc::EPERM)]);
    let mut run = launch(["--", "true"]).env("PREFORK_GRACEFUL_TIMEOUT", "2s").through(sandbox).start();
    run.wait_for("waitid and wait4 are refused: we cannot see who has ended; loosen the sandbox");
    let before = cpu_ticks(run.pid);
    run.signal(15);
    run.wait_for("graceful timeout over: killing what is left");
    let used = cpu_ticks(run.pid) - before;
    assert!(used < 50, "{used} ticks of CPU in two seconds");
    assert_eq!(warnings(&run, "waitid and wait4"), 1);
    assert_eq!(run.wait_exit(), 137);
}

/// It is asked again, not taken for the answer that there are no children.
#[test]
fn a_waitid_that_fails_once_is_made_again() {
    for error in ["EINTR", "EAGAIN", "ENOMEM"] {
        let mut run = shell("echo up >up; while [ ! -e go ]; do sleep 1000 & wait; done; exit 7").start();
        run.wait_lines("up", 1);
        let injected = fail_once(run.pid, "waitid", error);
        std::fs::write(run.dir().join("go"), "").unwrap();
        let sleep = eventually("the sleep", || crate::harness::children(run.command()).first().copied());
        kill(sleep, 9);
        assert_eq!(run.wait_exit(), 7, "{error}");
        assert!(injected.text().contains(&format!("{error} (")), "{}", injected.text());
        assert_eq!(warnings(&run, "waitid"), 0);
    }
}
