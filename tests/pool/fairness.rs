//! Whatever comes at full speed, the others get their turn.

use super::{assert_stops, catch_up, example_worker, pool};
use crate::harness::abuse::{Abuse, LINES, NOTICES, ORPHANS, Times};
use crate::harness::watch::Watch;
use crate::harness::{Launch, Run, http, kill, launch, python, status_line};
use std::ffi::OsString;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// What a machine that does much else may need for what takes milliseconds.
const SOON: Duration = Duration::from_millis(1_500);

/// A pool in which slot 0 runs a script and slot 1 sleeps.
fn beside(options: &[&str], script: &str) -> Launch {
    let words = ["--health", "127.0.0.1:0", "-n", "2", "--ready", "delay:1ms"].iter().chain(options);
    let choose = r#"[ "$PREFORK_WORKER_ID" = 0 ] && exec "$@"; exec sleep 1000"#;
    let command = ["--", "sh", "-c", choose, "sh"];
    let words = words.chain(&command).map(OsString::from);
    let script = [python(), "-IS".into(), "-c".into(), script.into()];
    // Lines are for nobody.
    launch(words.chain(script)).through(["sh", "-c", r#"exec "$@" >/dev/null"#, "sh"])
}

/// Holds that the endpoint answers, that a killed worker is replaced, and that TERM is heard, all soon.
fn assert_fair(run: Run, name: &str, abuse: impl FnOnce(&Run) -> Abuse) {
    let ready = run.log.wait_for("worker ready", |line| line["slot"] == 1);
    let health = run.health();
    let abuse = abuse(&run);
    let answers = Times::of_requests(&health, "/livez", 15);
    assert!(answers.median() < SOON, "{name}: {:?} for an answer", answers.median());

    let begin = Watch::start();
    kill(run.outer_pid(ready["pid"].as_i64().unwrap()), libc::SIGKILL);
    run.log.wait_for("worker spawned", |line| line["slot"] == 1 && line["pid"] != ready["pid"]);
    assert!(begin.ran() < 2 * SOON, "{name}: {:?} for another worker", begin.elapsed());

    let begin = Watch::start();
    run.signal(libc::SIGTERM);
    run.wait_for("shutdown started");
    assert!(begin.ran() < SOON, "{name}: {:?} to hear TERM", begin.elapsed());
    drop(abuse);
}

const SLEEPS: &str = "import time
while True: time.sleep(1000)";

#[test]
fn a_storm_of_signals_holds_nothing_up() {
    let storms: [(&str, &[i32], &[&str]); 3] = [
        ("discarded", &[34, 40, 64], &[]),
        // Passed on to both workers as what ends none.
        (
            "heeded",
            &[34, 40, 64],
            &["--rewrite-signal", "RTMIN=CONT,RTMIN+6=CONT,RTMAX=CONT", "--forward-signal", "CONT"],
        ),
        ("ordinary", &[libc::SIGWINCH, libc::SIGURG], &[]),
    ];
    for (name, signals, options) in storms {
        // Lines that each signal is worth would crowd out those that are waited for.
        let options = [&["--log-level", "info"], options].concat();
        assert_fair(beside(&options, SLEEPS).start(), name, |run| Abuse::signals(run.pid, signals));
    }
}

#[test]
fn a_flood_of_output_holds_nothing_up() {
    for style in ["prefix", "json"] {
        let run = beside(&["--worker-output", style], LINES).start();
        assert_fair(run, style, |_| Abuse::none());
    }
}

#[test]
fn a_flood_of_notices_from_far_below_holds_nothing_up() {
    assert_fair(beside(&[], NOTICES).start(), "notices", |_| Abuse::none());
}

#[test]
fn orphans_that_end_at_full_speed_hold_nothing_up() {
    // Each is worth a line, unless it is not.
    let run = beside(&["--log-level", "info"], ORPHANS).start();
    assert_fair(run, "orphans", |_| Abuse::none());
}

#[test]
fn a_worker_that_is_stopped_and_continued_at_full_speed_holds_nothing_up() {
    assert_fair(beside(&[], SLEEPS).start(), "stops", |run| {
        let ready = run.log.wait_for("worker ready", |line| line["slot"] == 0);
        let worker = run.outer_pid(ready["pid"].as_i64().unwrap());
        Abuse::signals(worker, &[libc::SIGSTOP, libc::SIGCONT])
    });
}

/// Each has its answers one by one, so that who asks once waits for a few of them and not for all.
#[test]
fn requests_that_come_at_once_on_many_connections_are_answered_in_turn() {
    const CONNECTIONS: usize = 50;
    const AT_ONCE: usize = 200;
    let run = pool(&["-n", "1"], example_worker(&[])).start();
    run.wait_for("worker ready");
    let request = "GET /livez HTTP/1.1\r\nHost: x\r\n\r\n";
    let mut streams: Vec<TcpStream> = Vec::new();
    let mut length = 0;
    let mut room = [0; 4096];
    for _ in 0..CONNECTIONS {
        let mut stream = TcpStream::connect(run.health()).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        length = stream.read(&mut room).unwrap();
        streams.push(stream);
    }
    catch_up(&run);
    let mut all = vec![0; length * AT_ONCE];
    let mut play = || {
        kill(run.pid, libc::SIGSTOP);
        let stopped = || status_line(run.pid, "State").filter(|s| s.starts_with('T'));
        crate::harness::eventually("stopped", stopped);
        for stream in &mut streams {
            stream.write_all(request.repeat(AT_ONCE).as_bytes()).unwrap();
        }
        let once = http::Pending::get(&run.health(), "/livez").unwrap();
        let begin = Instant::now();
        kill(run.pid, libc::SIGCONT);
        assert_eq!(once.answer().unwrap().status, 200);
        let one = begin.elapsed();
        for stream in &mut streams {
            stream.read_exact(&mut all).unwrap();
        }
        (one, begin.elapsed())
    };
    // A machine with much else to do may give this test its turn late; were all answered first, they always were.
    let tries: Vec<_> = std::iter::repeat_with(&mut play).take(8).collect();
    assert!(tries.iter().any(|(one, all)| *one < *all / 5), "for one and for all: {tries:?}");
    assert_stops(run);
}
