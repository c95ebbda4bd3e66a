//! What we were given at the start may be broken; we are not.

use super::{BOTH_PLACES, SLEEPER};
use crate::harness::{Launch, Run, launch, python};
use std::ffi::OsString;
use std::fs;

/// Counts USR1 in a file, whatever its descriptors are; ends with 3 on USR2.
const COUNTER: &str = "
import os, signal
signals = [signal.SIGUSR1, signal.SIGUSR2, signal.SIGPIPE]
signal.pthread_sigmask(signal.SIG_BLOCK, signals)
signal.signal(signal.SIGPIPE, signal.SIG_DFL)
out = open('got', 'w', buffering=1)
print('ready', file=out)
while True:
    number = signal.sigwait(signals)
    print(int(number), file=out)
    if number == signal.SIGUSR2:
        os._exit(3)
";

fn counter(setup: &str) -> Launch {
    let wrapper = format!("import os, signal, sys\n{setup}\nos.execvp(sys.argv[1], sys.argv[1:])");
    let words: [OsString; 5] = ["--".into(), python(), "-IS".into(), "-c".into(), COUNTER.into()];
    launch(words).through([python(), "-IS".into(), "-c".into(), wrapper.into()])
}

/// Sends USR1 and waits for it, so often; then ends it.
fn works(run: &mut Run, times: usize) {
    run.wait_lines("got", 1);
    for time in 0..times {
        run.signal(10);
        run.wait_lines("got", time + 2);
    }
    run.signal(12);
    assert_eq!(run.wait_exit(), 3);
    let expected = format!("ready\n{}12\n", "10\n".repeat(times));
    assert_eq!(fs::read_to_string(run.dir().join("got")).unwrap(), expected);
}

#[test]
fn chld_inherited_as_ignored_hides_no_death() {
    for place in BOTH_PLACES {
        works(&mut place(counter("signal.signal(signal.SIGCHLD, signal.SIG_IGN)")).start(), 1);
    }
}

#[test]
fn every_signal_inherited_as_blocked_or_ignored_stops_nothing() {
    let all = "signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
for n in signal.valid_signals() - {9, 19}: signal.signal(n, signal.SIG_IGN)";
    for place in BOTH_PLACES {
        works(&mut place(counter(all)).start(), 3);
    }
}

#[test]
fn without_stdin_stdout_and_stderr_it_works_and_hands_none_of_its_own_over() {
    for closed in ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"] {
        for place in BOTH_PLACES {
            let script = "for fd in 0 1 2 3 4 5; do readlink /proc/$$/fd/$fd; done >descriptors; \
                          trap 'exit 3' TERM; echo >ready; while :; do sleep 0.01; done";
            let exec = format!(r#"exec "$@" {closed}"#);
            let launch = place(launch(["--", "sh", "-c", script])).through(["sh", "-c", &exec, "sh"]);
            let mut run = launch.start();
            run.wait_lines("ready", 1);
            run.signal(15);
            assert_eq!(run.wait_exit(), 3, "{closed}");
            let descriptors = fs::read_to_string(run.dir().join("descriptors")).unwrap();
            let ours = |line: &&str| line.contains("anon_inode") || line.contains("socket:");
            assert_eq!(descriptors.lines().find(ours), None, "{closed}: {descriptors}");
        }
    }
}

/// Makes stderr a pipe that has a reader and no room.
const FULL: &str = "r, w = os.pipe()
os.set_inheritable(r, True)
os.set_blocking(w, False)
try:
    while True: os.write(w, b'x' * 4096)
except BlockingIOError:
    pass
try:
    while True: os.write(w, b'x')
except BlockingIOError:
    pass
os.set_blocking(w, True)
os.dup2(w, 2)";

#[test]
fn a_full_stderr_that_nobody_reads_holds_nothing_up() {
    for place in BOTH_PLACES {
        works(&mut place(counter(FULL)).start(), 100);
    }
}

#[test]
fn a_stderr_that_nobody_can_read_any_more_makes_us_neither_die_nor_spin() {
    let gone = "r, w = os.pipe()
os.close(r)
os.dup2(w, 2)
signal.signal(signal.SIGPIPE, signal.SIG_DFL)";
    for place in BOTH_PLACES {
        let mut run = place(counter(gone)).start();
        run.wait_lines("got", 1);
        for time in 0..50 {
            run.signal(10);
            run.wait_lines("got", time + 2);
        }
        let ticks = cpu_ticks(run.pid);
        assert!(ticks < 50, "{ticks} ticks of CPU for 50 signals");
        run.signal(12);
        assert_eq!(run.wait_exit(), 3);
        // No PIPE of our own making was passed on.
        assert!(!fs::read_to_string(run.dir().join("got")).unwrap().contains("13"));
    }
}

#[test]
fn with_nobody_left_to_tell_it_still_ends_with_its_code() {
    let gone = "import os, signal, sys
signal.signal(signal.SIGPIPE, signal.SIG_DFL)
r, w = os.pipe()
for fd in [1, 2]: os.dup2(w, fd)
for fd in [r, w]: os.close(fd)
os.execvp(sys.argv[1], sys.argv[1:])";
    for (argument, code) in
        [("--help", 0), ("--version", 0), ("--no-such-option", 2), ("/no/such/command", 127)]
    {
        for place in BOTH_PLACES {
            let mut run = place(launch([argument])).through([python(), "-c".into(), gone.into()]).start();
            assert_eq!(run.wait_exit(), code, "{argument}");
        }
    }
}

/// User and system time of a process, in hundredths of a second.
fn cpu_ticks(pid: i32) -> u64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<&str> = stat.rsplit_once(") ").unwrap().1.split(' ').collect();
    fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
}

#[test]
fn a_pipe_signal_from_somebody_else_is_passed_on() {
    let mut run = counter("").start();
    run.wait_lines("got", 1);
    run.signal(13);
    assert!(run.wait_lines("got", 2).ends_with("13\n"));
    run.signal(12);
    assert_eq!(run.wait_exit(), 3);
}

#[test]
fn a_working_directory_that_is_gone_stops_nothing() {
    let script = r#"mkdir gone && cd gone && rmdir ../gone && exec "$@""#;
    for place in BOTH_PLACES {
        let launch = place(launch(["--", "sh", "-c", "exit 5"])).through(["sh", "-c", script, "sh"]);
        assert_eq!(launch.finish().0, 5);
    }
}

#[test]
fn without_proc_and_without_environment_it_works() {
    let hide = r#"mount -t tmpfs none /proc && exec env -i "$@""#;
    let mut run = launch(["--", "/bin/sh", "-c", &format!("trap 'exit 3' TERM; {SLEEPER}")])
        .through(["sh", "-c", hide, "sh"])
        .start();
    run.wait_lines("stdout", 1);
    run.signal(15);
    assert_eq!(run.wait_exit(), 3);
}

#[test]
fn a_terminal_that_nobody_reads_holds_nothing_up() {
    let paused = "import pty
master, slave = pty.openpty()
os.set_inheritable(master, True)
os.dup2(slave, 2)";
    for place in BOTH_PLACES {
        works(&mut place(counter(paused)).start(), 300);
    }
}

#[test]
fn a_full_stderr_that_nobody_reads_does_not_hold_up_an_error_at_start() {
    let full = format!("import os, sys\n{FULL}\nos.execvp(sys.argv[1], sys.argv[1:])");
    for place in BOTH_PLACES {
        let launch = place(launch(["/no/such/command"]));
        let mut run = launch.through([python(), "-IS".into(), "-c".into(), full.clone().into()]).start();
        assert_eq!(run.wait_exit(), 127);
    }
}

#[test]
fn lines_that_nobody_read_are_told_of_in_the_format_of_the_log() {
    let script = "
import json, os, signal, subprocess, sys, time
r, w = os.pipe()
# None of these is lost, however late they are read; the command gets none.
words = ['--log-format', 'json', '--log-level', 'debug', '--rewrite-signal', 'RTMIN+6=0', '--', 'sleep', '1000']
p = subprocess.Popen([sys.argv[1], *words], stderr=w)
os.close(w)
signal.alarm(30)
os.read(r, 65536)
for _ in range(3000): os.kill(p.pid, signal.SIGRTMIN + 6); time.sleep(0.0002)
os.set_blocking(r, False)
try:
    while True: os.read(r, 65536)
except BlockingIOError: pass
os.set_blocking(r, True)
os.kill(p.pid, signal.SIGTERM)
lines = [json.loads(line) for line in open(r).read().splitlines()]
dropped = [line for line in lines if line['message'].startswith('log lines dropped')]
print(dropped[0]['count'] > 0, dropped[0]['level'], 'timestamp' in dropped[0])
sys.exit(p.wait())";
    let output = std::process::Command::new(python())
        .args(["-IS".as_ref(), "-c".as_ref(), script.as_ref(), crate::harness::binary().as_os_str()])
        .output()
        .unwrap();
    let err = String::from_utf8_lossy(&output.stderr);
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), "True WARN True", "{err}");
    assert_eq!(output.status.code(), Some(143));
}

/// A terminal that belongs to another user and is not our own cannot be opened again. An error at start is told there
/// all the same.
#[test]
fn an_error_at_start_is_told_on_a_terminal_that_cannot_be_opened() {
    let script = "
import os, pty, subprocess, sys
master, slave = pty.openpty()
words = ['setpriv', '--reuid=65534', '--clear-groups', '--', sys.argv[1], '--no-such-option']
code = subprocess.call(words, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=slave, start_new_session=True)
os.close(slave)
print(code, os.read(master, 4096).decode().strip())";
    let binary = tempfile::tempdir().unwrap();
    let copy = binary.path().join("prefork-init");
    crate::harness::install(&crate::harness::binary(), &copy);
    fs::set_permissions(binary.path(), std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let output = std::process::Command::new(python())
        .args(["-IS".as_ref(), "-c".as_ref(), script.as_ref(), copy.as_os_str()])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(said.starts_with("2 prefork-init: --no-such-option: no such option"), "{said} {output:?}");
}

/// Names that are chosen by others reach the terminal by many ways. None of them moves its cursor, turns its text or
/// forges a line.
#[test]
fn a_name_in_a_line_forges_nothing() {
    const NAME: &str = "a\n2026 INFO forged\r\u{9b}2J\u{7f}\u{202e}\u{61c}b";
    let misleads = |c: char| c.is_control() || "\u{202e}\u{61c}".contains(c);
    for format in ["json", "text"] {
        let words = ["--health".to_owned(), format!("unix:{NAME}"), "--".to_owned(), "true".to_owned()];
        let (code, _, log) = launch(words).env("PREFORK_LOG_FORMAT", format).finish();
        assert_eq!(code, 0, "{log}");
        let lines: Vec<&str> = log.lines().collect();
        assert!(
            lines.iter().any(|line| line.contains("health endpoint") && line.contains("forged")),
            "{log}"
        );
        assert!(
            !lines.iter().any(|line| line.starts_with("2026 INFO") || line.contains(misleads)),
            "{log:?}"
        );
        if format == "json" {
            let parsed = lines.iter().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
            let mut addresses = parsed.filter_map(|line| line["address"].as_str().map(str::to_owned));
            assert_eq!(addresses.next().as_deref(), Some(format!("unix:{NAME}").as_str()));
        }
    }
    let missing = format!("no\u{9b}2J\u{202e}such {NAME}");
    let (code, _, said) = launch(["--", &missing]).finish();
    assert_eq!((code, said.lines().count(), said.trim_end().contains(misleads)), (127, 1, false), "{said:?}");
}

/// Sends itself USR1 through us, again and again, and holds that nothing else comes.
const ASKS: &str = "
import os, signal
others = [number for number in range(1, 32) if number not in (9, 17, 19)]
signal.pthread_sigmask(signal.SIG_BLOCK, others)
for time in range(50):
    os.kill(os.getppid(), signal.SIGUSR1)
    number = signal.sigwait(others)
    if number != signal.SIGUSR1: os._exit(100 + number)
os._exit(5)
";

/// From the second line on, each one makes the kernel raise XFSZ.
#[test]
fn a_log_beyond_the_limit_of_file_sizes_costs_the_command_nothing() {
    for place in BOTH_PLACES {
        let words: [OsString; 5] = ["--".into(), python(), "-IS".into(), "-c".into(), ASKS.into()];
        let limited = ["sh", "-c", r#"ulimit -f 1; exec "$@" 2>log"#, "sh"];
        let mut run = place(launch(words)).through(limited).start();
        assert_eq!(run.wait_exit(), 5);
        assert!(fs::metadata(run.dir().join("log")).unwrap().len() >= 512);
    }
}

/// `RLIMIT_CPU` is each process's own: of ours, the command hears nothing.
#[test]
fn our_own_processor_time_is_not_the_commands() {
    let command = "trap 'exit 7' XCPU; trap 'exit 5' TERM; echo ready; while :; do sleep 0.05; done";
    let words = ["--health", "127.0.0.1:0", "--log-level", "info", "--", "sh", "-c", command];
    let mut run = launch(words).through(["prlimit", "--cpu=1:1000"]).start();
    run.wait_lines("stdout", 1);
    let flood = crate::harness::abuse::Abuse::pipelined(&run.health(), "/metrics", 20);
    crate::harness::eventually("two seconds of work", || (cpu_ticks(run.pid) > 210).then_some(()));
    drop(flood);
    run.signal(15);
    assert_eq!(run.wait_exit(), 5);
}
