//! A worker that hangs is found, shown and replaced; one that only seems to is spared.

use super::python::{SERVER, python};
use super::{allow, catch_up, pool};
use crate::harness::http::{self, Pending};
use crate::harness::watch::Watch;
use crate::harness::{LIMIT, Run, eventually, kill, status_line};
use serde_json::Value;
use std::time::{Duration, Instant};

/// A pool of these workers, all of them ready.
fn ready(workers: usize, options: &[&str], script: &str) -> Run {
    let count = workers.to_string();
    let options: Vec<&str> = ["-n", &count].iter().chain(options).copied().collect();
    let run = pool(&options, python(&format!("{SERVER}\n{script}"))).start();
    run.log.wait_count("worker ready", workers);
    run
}

/// Stops a slot's first worker. When this returns it takes no connection any more.
fn stop(run: &Run, slot: u64) {
    let ready = run.log.wait_for("worker ready", |line| line["slot"] == slot);
    let pid = run.outer_pid(ready["pid"].as_i64().unwrap());
    kill(pid, libc::SIGSTOP);
    let stopped = || status_line(pid, "State")?.starts_with('T').then_some(());
    eventually("that it is stopped", stopped);
}

/// The lines about a slot's workers but for their beginning.
fn troubles(run: &Run, slot: u64) -> Vec<Value> {
    let begins = |line: &Value| ["worker spawned", "worker ready"].iter().any(|m| line["message"] == *m);
    run.log.lines().into_iter().filter(|line| line["slot"] == slot && !begins(line)).collect()
}

/// Asks so many times, one after the other: each is answered, by this slot, without having to wait for another.
fn assert_only_served_by(run: &Run, slot: u64, requests: u32) {
    catch_up(run);
    for _ in 0..requests {
        let begun = Watch::start();
        let answer = http::get(&run.address(0), "/").unwrap();
        assert_eq!((answer.status, answer.body), (200, slot.to_string()), "{}", run.log.text());
        assert!(begun.ran() < Duration::from_secs(5), "{:?}", begun.elapsed());
    }
}

/// Checks how a hung worker is told of from the first to the last line, and that another came.
fn assert_hung(run: &Run, slot: u64, sign: &str, signal: &str) {
    let of = |message: &str| run.log.wait_for(message, |line| line["slot"] == slot);
    let hung = of("worker hung");
    assert_eq!((&hung["sign"], &hung["level"]), (&sign.into(), &"ERROR".into()));
    let portrait = of("worker as it was found hung");
    assert!(portrait["state"].as_str().is_some_and(|state| "RSDT".contains(state)), "{portrait}");
    assert!(portrait["rss"].as_u64().unwrap() > 1 << 20, "{portrait}");
    assert!(portrait["threads"].as_u64() > Some(0) && portrait["cpu_ms"].is_u64(), "{portrait}");
    let stopping = of("worker stopping");
    assert_eq!((&stopping["reason"], &stopping["signal"]), (&"hung".into(), &"ABRT".into()));
    let exited = of("worker exited");
    assert_eq!((&exited["reason"], &exited["signal"]), (&"hung".into(), &signal.into()));
    for line in [&hung, &portrait, &stopping, &exited] {
        assert_eq!(line["pid"], hung["pid"]);
    }
    run.log.wait_for("worker ready", |line| line["slot"] == slot && line["pid"] != hung["pid"]);
}

/// Says that it lives, and stops doing so, in slot 0 and once only, when it is told to.
const PINGS: &str = "
assert os.environ['WATCHDOG_USEC'] == '2000000', os.environ
signal.signal(signal.SIGABRT, lambda *_: note('aborted', me))
serve_beside()
while True:
    say('WATCHDOG=1')
    time.sleep(0.05)
    if is_worker(0) and os.path.exists('hang'):
        os.remove('hang')
        wait_for_signals()";

#[test]
fn a_worker_that_stops_pinging_is_shown_aborted_killed_and_replaced() {
    let run = ready(2, &["--watchdog", "2s", "--abort-time", "2s"], PINGS);
    catch_up(&run);
    allow(&run, "hang");
    assert_hung(&run, 0, "watchdog", "KILL");
    assert_eq!(run.wait_lines("aborted", 1).trim(), "0");
    assert_eq!(run.wait_for("worker killed")["reason"], "hung");
    assert_eq!(troubles(&run, 1), [] as [Value; 0], "{}", run.log.text());
}

#[test]
fn a_worker_that_says_itself_that_it_hangs_is_believed() {
    let script = "
serve_beside()
if is_worker(0) and not os.path.exists('triggered'):
    wait_for_file('hang')
    note('triggered', '')
    say('STATUS=deadlock\\nWATCHDOG=trigger')
sleep_for_ever()";
    let run = ready(2, &[], script);
    allow(&run, "hang");
    assert_hung(&run, 0, "watchdog", "ABRT");
    assert_eq!(troubles(&run, 1), [] as [Value; 0], "{}", run.log.text());
}

/// Fails after three seconds, so that a machine that is busy for one does no harm.
const PROBED: [&str; 8] =
    ["--probe", "/probe", "--probe-interval", "100ms", "--probe-timeout", "1s", "--probe-failures", "3"];

#[test]
fn a_stopped_worker_is_found_by_its_probe_and_no_request_is_lost() {
    let run = ready(2, &PROBED, "server()");
    let begun = Instant::now();
    stop(&run, 0);
    // Some of them wait for the stopped one, and then for who comes in its place.
    let waiting: Vec<_> = (0..16).map(|_| Pending::get(&run.address(0), "/").unwrap()).collect();
    assert_hung(&run, 0, "probe", "ABRT");
    assert_eq!(run.wait_for("worker as it was found hung")["state"], "T");
    assert!(begun.elapsed() >= Duration::from_secs(3), "three answers were waited for");
    for request in waiting {
        assert_eq!(request.answer().unwrap().status, 200);
    }
    assert_eq!(troubles(&run, 1), [] as [Value; 0], "{}", run.log.text());
}

#[test]
fn a_worker_that_is_found_by_its_probe_gets_no_new_connections() {
    let options: Vec<&str> = PROBED.into_iter().chain(["--abort-time", "1m"]).collect();
    // Ends when it is told to, long after it was aborted.
    let script = "
def aborted(*_):
    wait_for_file('end')
    os._exit(7)
signal.signal(signal.SIGABRT, aborted)
serve_beside()
wait_for_signals()";
    let run = ready(2, &options, script);
    stop(&run, 0);
    run.log.wait_for("worker stopping", |line| line["reason"] == "hung");
    assert_only_served_by(&run, 1, 20);
    allow(&run, "end");
    let exited = run.wait_for("worker exited");
    assert_eq!((&exited["reason"], &exited["exit_code"]), (&"hung".into(), &7.into()));
    run.log.wait_count("worker ready", 3);
}

#[test]
fn were_it_the_database_that_hangs_one_worker_at_a_time_is_aborted() {
    // Whoever was there before has its probe fail from a moment on, and does not end for as long as it may.
    let script = "
old = not os.path.exists('ill')
def ill():
    return old and os.path.exists('ill')
def aborted(*_):
    wait_for_file('end')
    os._exit(0)
signal.signal(signal.SIGABRT, aborted)
serve_beside()
wait_for_signals()";
    let options: Vec<&str> = PROBED.into_iter().chain(["--abort-time", "1m"]).collect();
    let run = ready(3, &options, script);
    allow(&run, "ill");
    run.log.wait_count("worker hung", 3);
    catch_up(&run);
    assert_eq!(run.log.with_message("worker stopping").len(), 1, "{}", run.log.text());
    assert_eq!(http::get(&run.health(), "/readyz").unwrap().status, 503);
    assert_eq!(http::get(&run.address(0), "/").unwrap().status, 200, "they are better than nobody");
    allow(&run, "end");
    run.log.wait_count("worker ready", 6);
    let told: Vec<(String, u64)> = run
        .log
        .lines()
        .iter()
        .filter(|line| ["worker stopping", "worker ready"].iter().any(|m| line["message"] == *m))
        .map(|line| (line["message"].as_str().unwrap().to_owned(), line["slot"].as_u64().unwrap()))
        .collect();
    for pair in told[3..].chunks(2) {
        let [(first, old), (then, new)] = pair else { panic!("{told:?}") };
        assert_eq!(
            (first.as_str(), then.as_str(), old),
            ("worker stopping", "worker ready", new),
            "{told:?}"
        );
    }
}

/// A request that blocks its worker, and others, of which some come to wait for that one. Returns them and its slot.
fn block(run: &Run) -> (Pending, Vec<Pending>, u64) {
    let blocking = Pending::get(&run.address(0), "/block").unwrap();
    let slot = run.wait_lines("blocked", 1).trim().parse().unwrap();
    let waiting = (0..16).map(|_| Pending::get(&run.address(0), "/").unwrap()).collect();
    run.log.wait_for("worker does not take its connections", |line| line["slot"] == slot);
    (blocking, waiting, slot)
}

#[test]
fn a_worker_that_takes_no_connections_is_left_alone_first_and_replaced_then() {
    let run = ready(2, &["--accept-stall", "6s"], "server()");
    let (blocking, waiting, slot) = block(&run);
    assert_only_served_by(&run, 1 - slot, 10);
    assert_hung(&run, slot, "accept-stall", "ABRT");
    assert!(blocking.answer().is_err(), "who hangs takes its request along");
    for request in waiting {
        assert_eq!(request.answer().unwrap().status, 200);
    }
    assert_eq!(troubles(&run, 1 - slot), [] as [Value; 0], "{}", run.log.text());
}

#[test]
fn a_worker_that_takes_connections_again_is_spared() {
    let run = ready(2, &["--accept-stall", "6s"], "server()");
    let (blocking, waiting, slot) = block(&run);
    allow(&run, "go");
    run.log.wait_for("worker goes on after all", |line| line["slot"] == slot);
    for request in waiting.into_iter().chain([blocking]) {
        assert_eq!(request.answer().unwrap().status, 200);
    }
    let begun = Instant::now();
    while http::get(&run.address(0), "/").unwrap().body != slot.to_string() {
        assert!(begun.elapsed() < LIMIT, "it gets connections again");
    }
    assert!(run.log.with_message("worker hung").is_empty(), "{}", run.log.text());
    assert!(run.log.with_message("worker stopping").is_empty(), "{}", run.log.text());
}

#[test]
fn a_supervisor_that_was_stopped_takes_nobody_for_hung() {
    // The notes are made whether or not anybody reads the pings.
    let script = "
def pings():
    while True:
        say('WATCHDOG=1')
        time.sleep(0.05)
serve_beside()
threading.Thread(target=pings, daemon=True).start()
while True:
    note('moments', '')
    time.sleep(0.05)";
    let run = ready(2, &["--watchdog", "2s"], script);
    // A little longer than it waits for a ping, and much longer.
    for moments in [84, 92, 180] {
        let before = run.wait_lines("moments", 1).lines().count();
        run.signal(libc::SIGSTOP);
        run.wait_lines("moments", before + moments);
        run.signal(libc::SIGCONT);
        catch_up(&run);
        let before = run.wait_lines("moments", 1).lines().count();
        run.wait_lines("moments", before + 20);
        catch_up(&run);
        assert!(run.log.with_message("worker hung").is_empty(), "{}", run.log.text());
    }
}

#[test]
fn a_worker_that_says_it_is_stopping_gets_no_new_connections_and_has_its_time() {
    let script = "
leaves, successor = is_worker(0), os.path.exists('leaving')
if successor: wait_for_file('go')
serve_beside()
while not (leaves and os.path.exists('leave') and not successor):
    say('WATCHDOG=1')
    note('moments', '')
    time.sleep(0.05)
note('leaving', '')
say('STOPPING=1')
wait_for_file('end')
os._exit(0)";
    let run = ready(2, &["--watchdog", "2s"], script);
    allow(&run, "leave");
    let due = run.wait_for("worker due");
    assert_eq!((&due["slot"], &due["reason"]), (&0.into(), &"stop".into()));
    assert_only_served_by(&run, 1, 20);
    // It pings no more, and is not held to it.
    let before = run.wait_lines("moments", 1).lines().count();
    run.wait_lines("moments", before + 60);
    catch_up(&run);
    assert!(run.log.with_message("worker hung").is_empty(), "{}", run.log.text());
    allow(&run, "end");
    let exited = run.wait_for("worker exited");
    assert_eq!(
        (&exited["slot"], &exited["reason"], &exited["exit_code"], &exited["level"]),
        (&0.into(), &"stop".into(), &0.into(), &"INFO".into())
    );
    allow(&run, "go");
    run.log.wait_count("worker ready", 3);
    assert!(run.log.with_message("respawn delayed").is_empty(), "{}", run.log.text());
}
