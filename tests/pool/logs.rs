//! One line a transition, for machines or for people, and never a wait for a reader.

use super::python::python;
use super::{allow, pool};
use crate::harness::{eventually, http, kill, launch};
use serde_json::Value;
use std::ffi::OsString;
use std::process::Command;

#[test]
fn every_line_about_a_worker_has_the_same_fields() {
    let script = "
if is_worker(1):
    # Not before another serves: a crash loop would be given up.
    wait_for_file('fail')
    sys.exit(7)
serve()";
    let options = ["-n", "2", "--backoff", "1ms", "--backoff-max", "1ms", "--max-age", "500ms"];
    let mut run = pool(&options, python(script)).start();
    let ready = run.log.wait_for("worker ready", |line| line["slot"] == 0);
    allow(&run, "fail");
    run.log.wait_for("worker stopping", |line| line["reason"] == "max-age");
    run.log.wait_count("respawn delayed", 2);
    run.signal(libc::SIGTERM);
    assert_eq!(run.wait_exit(), 0);
    assert_eq!(ready["gen"], 1);

    let text = run.log.text();
    for line in text.lines() {
        let line: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        let message = line["message"].as_str().unwrap_or_else(|| panic!("no message: {line}"));
        assert!(line["timestamp"].is_string() && line["level"].is_string(), "{line}");
        if message.starts_with("worker ") {
            assert!(["slot", "gen", "pid"].iter().all(|field| line[field].is_u64()), "{line}");
        }
        if ["worker exited", "worker stopping", "worker due"].iter().any(|begin| message.starts_with(begin)) {
            assert!(line["reason"].is_string(), "{line}");
        }
        if message.starts_with("worker exited") {
            assert!(line["uptime_ms"].is_u64(), "{line}");
            assert!(line["exit_code"].is_u64() == line["signal"].is_null(), "{line}");
        }
    }
    let failed = run.log.wait_for("worker exited: code 7", |_| true);
    assert_eq!(
        (&failed["exit_code"], &failed["reason"], &failed["level"]),
        (&7.into(), &"boot-error".into(), &"ERROR".into())
    );
}

/// As tracing writes it, and what RFC 3339 calls UTC: 2026-11-21T23:40:00.123456Z.
pub fn is_rfc3339(time: &Value) -> bool {
    let shape = |byte: u8| if byte.is_ascii_digit() { b'0' } else { byte };
    let shape: Vec<u8> = time.as_str().unwrap_or_default().bytes().map(shape).collect();
    shape == b"0000-00-00T00:00:00.000000Z"
}

/// What a field is called is for ever, and what it is, too.
#[test]
fn a_field_has_one_type_in_every_line_of_a_chaotic_run() {
    let script = "
signal.signal(signal.SIGUSR1, lambda *_: None)
if is_worker(1):
    sys.exit(7)
if is_worker(2) and os.environ['PREFORK_GENERATION'] == '1':
    os.kill(os.getpid(), signal.SIGKILL)
if is_worker(3):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
daemon(lambda: sleep_for_ever())
serve()";
    let options = ["-n", "4", "--backoff", "1ms", "--backoff-max", "20ms", "--max-age", "300ms"];
    let more = [
        "--max-restarts",
        "infinity",
        "--graceful-timeout",
        "500ms",
        "--forward-signal",
        "USR1",
        "--watchdog",
        "700ms",
    ];
    let options: Vec<&str> = options.into_iter().chain(more).chain(super::BRISK).collect();
    let mut run = pool(&options, python(script)).start();
    run.log.wait_count("worker draining", 3);
    for signal in [libc::SIGUSR1, libc::SIGALRM, libc::SIGTTIN, libc::SIGHUP, libc::SIGTTOU] {
        run.signal(signal);
    }
    run.log.wait_count("scaled", 2);
    run.wait_for("worker killed");
    run.signal(libc::SIGTERM);
    assert_eq!(run.wait_exit(), 0);
    let mut types = std::collections::BTreeMap::<String, (&str, Value)>::new();
    for line in run.log.text().lines() {
        let line: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        assert!(is_rfc3339(&line["timestamp"]), "{line}");
        assert!(["ERROR", "WARN", "INFO", "DEBUG"].iter().any(|level| line["level"] == *level), "{line}");
        assert!(line["message"].is_string(), "{line}");
        for (name, value) in line.as_object().unwrap() {
            let kind = match value {
                Value::String(_) => "string",
                Value::Number(number) if number.is_u64() || number.is_i64() => "integer",
                Value::Bool(_) => "boolean",
                other => panic!("{name} is {other}: {line}"),
            };
            let (known, first) = types.entry(name.clone()).or_insert((kind, line.clone()));
            assert_eq!(*known, kind, "{name} in {line}, and in {first}");
        }
    }
    let kind = |name: &str| types.get(name).map(|(kind, _)| *kind);
    for (name, expected) in [
        ("slot", "integer"),
        ("gen", "integer"),
        ("pid", "integer"),
        ("uptime_ms", "integer"),
        ("exit_code", "integer"),
        ("signal", "string"),
        ("reason", "string"),
    ] {
        assert_eq!(kind(name), Some(expected), "{name}");
    }
}

#[test]
fn the_level_bounds_what_is_logged() {
    let mut run = pool(&["--log-level", "warn"], python("serve()")).start();
    // No line tells where it listens.
    eventually("a worker", || run.others().iter().any(|(_, state)| *state == 'S').then_some(()));
    run.signal(libc::SIGTERM);
    assert_eq!(run.wait_exit(), 0);
    assert_eq!(run.log.text(), "");
}

fn failing(words: &[&str]) -> Vec<OsString> {
    words.iter().chain(&["-n", "1", "--max-restarts", "0", "--", "false"]).map(OsString::from).collect()
}

#[test]
fn text_has_no_colours_where_nobody_would_see_them() {
    let mut run = launch(failing(&[])).env("PREFORK_LOG_FORMAT", "text").start();
    assert_eq!(run.wait_exit(), 3);
    let text = run.log.text();
    assert!(text.contains("worker exited: code 1") && text.contains("crash loop given up"), "{text}");
    assert!(text.contains(" slot=0 gen=1 pid="), "{text}");
    assert!(!text.contains('\x1b'), "{text}");
}

/// Nobody's controlling terminal: what is in one when its session ends, the kernel throws away.
const TERMINAL: &str = "
import os, pty, subprocess, sys
master, slave = pty.openpty()
child = subprocess.Popen(sys.argv[1:], stdin=slave, stdout=slave, stderr=slave, start_new_session=True)
os.close(slave)
try:
    while data := os.read(master, 65536): sys.stdout.buffer.write(data)
except OSError: pass
sys.stdout.buffer.flush()
sys.exit(child.wait())";

/// What appears on a terminal.
fn on_a_terminal(env: &[(&str, &str)]) -> String {
    let output = Command::new(crate::harness::python())
        .args(["-ISc", TERMINAL])
        .arg(crate::harness::binary())
        .args(failing(&["--log-format", "text"]))
        .env_remove("NO_COLOR")
        .envs(env.iter().copied())
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// The progress line gives way to a log line; that is no colour.
const ERASE: &str = "\x1b[K";

#[test]
fn text_has_colours_on_a_terminal_unless_they_are_unwanted() {
    let text = on_a_terminal(&[]);
    assert!(text.contains("crash loop given up") && text.contains("\x1b["), "{text:?}");
    let text = on_a_terminal(&[("NO_COLOR", "1")]);
    assert!(text.contains("crash loop given up") && !text.replace(ERASE, "").contains('\x1b'), "{text:?}");
}

#[test]
fn nobody_who_reads_the_log_is_nobody_to_wait_for() {
    // The first lines pass, the rest stays in the pipe until the file `read` exists.
    let stall = r#"exec 2> >( (sed -u '/worker spawned/q'; while [ ! -e read ]; do sleep 0.02; done; exec cat) >&2 )
        exec "$@""#;
    // They mean something to the pool, or the kernel would discard them.
    let heeded = ["--rewrite-signal", "RTMIN+1=CONT", "--forward-signal", "CONT"];
    let mut run = pool(&heeded, python("serve()")).through(["bash", "-c", stall, "bash"]).start();
    let health = run.health();
    let address = run.address(0);
    let pid: i64 = http::get(&address, "/").unwrap().body.parse().unwrap();
    // 64 KiB fit into the pipe; this is several times as much.
    let full = 2_000;
    for _ in 0..full {
        run.signal(libc::SIGRTMIN() + 1);
    }
    // Each is taken in its turn; this many fill the pipe.
    eventually("lost lines", || {
        let page = http::get(&health, "/metrics").ok()?.body;
        let count = page.lines().find_map(|line| line.strip_prefix("prefork_log_lines_dropped_total "))?;
        (count.parse::<u64>().ok()? > 0).then_some(())
    });
    // It answers, and it still replaces a worker, which answers too.
    assert_eq!(http::get(&health, "/livez").unwrap().status, 200);
    kill(run.outer_pid(pid), libc::SIGKILL);
    let next: i64 =
        eventually("a new worker", || http::get(&address, "/").ok()?.body.parse().ok().filter(|p| *p != pid));
    assert_ne!(next, pid);
    eventually("readiness", || (http::get(&health, "/readyz").ok()?.status == 200).then_some(()));
    // A reader who comes back learns how much was lost.
    allow(&run, "read");
    let note = eventually("a note of the loss", || {
        run.signal(libc::SIGWINCH);
        run.log.text().lines().find(|line| line.contains("log lines dropped")).map(str::to_owned)
    });
    println!("{note}");
    run.signal(libc::SIGTERM);
    assert_eq!(run.wait_exit(), 0);
}

#[test]
fn a_reader_who_hangs_up_ends_nothing() {
    let hang_up = r#"exec 2> >(exec sed -u '/worker ready/q' >&2); exec "$@""#;
    let mut run = pool(&["-n", "2"], python("serve()")).through(["bash", "-c", hang_up, "bash"]).start();
    let first = run.wait_for("worker ready")["pid"].as_i64().unwrap();
    eventually("the end of the reader", || run.others().iter().all(|(pid, _)| !is_sed(*pid)).then_some(()));
    // Every line from here on breaks the pipe.
    kill(run.outer_pid(first), libc::SIGKILL);
    let serving = || http::get(&run.address(0), "/").ok().filter(|answer| answer.body != first.to_string());
    eventually("its replacement", || {
        run.signal(libc::SIGUSR1);
        let pids: Vec<_> = (0..8).filter_map(|_| serving()).map(|answer| answer.body).collect();
        (pids.len() == 8 && pids.iter().any(|pid| *pid != pids[0])).then_some(())
    });
    // A worker may answer a moment before it is seen to.
    let health = run.health();
    eventually("readiness", || (http::get(&health, "/readyz").ok()?.status == 200).then_some(()));
    run.signal(libc::SIGTERM);
    assert_eq!(run.wait_exit(), 0);
}

fn is_sed(pid: i32) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name.trim() == "sed")
}

/// Each line beyond it makes the kernel raise a signal, which would be worth a line.
#[test]
fn a_log_beyond_the_limit_of_file_sizes_does_not_feed_itself() {
    let health = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let words = ["-n", "1", "--health", &health, "--", "sleep", "1000"];
    let limited = ["sh", "-c", r#"ulimit -f 1; exec "$@" 2>log"#, "sh"];
    let mut run = launch(words).through(limited).start();
    let dropped = || {
        let page = http::get(&health, "/metrics").ok()?.body;
        let line = page.lines().find_map(|line| line.strip_prefix("prefork_log_lines_dropped_total "))?;
        line.parse::<f64>().ok()
    };
    eventually("the endpoint", dropped);
    // Two, for the first may be the one that fills the file to its last byte.
    for _ in 0..2 {
        run.signal(libc::SIGUSR1);
        assert_eq!(http::get(&health, "/livez").unwrap().status, 200);
    }
    let before = eventually("a dropped line", || dropped().filter(|count| *count >= 1.0));
    for _ in 0..100 {
        assert_eq!(http::get(&health, "/livez").unwrap().status, 200);
    }
    // A page may be as old as its cache.
    for _ in 0..2 {
        run.signal(libc::SIGUSR1);
        let now = eventually("another page", || dropped().filter(|count| *count > before));
        assert!(now < before + 20.0, "{before} lines, and then {now}");
    }
    run.signal(libc::SIGTERM);
    assert_eq!(run.wait_exit(), 0);
}
