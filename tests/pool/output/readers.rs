//! Readers that stall, hang up, or come back.

use super::super::python::python;
use super::{Tally, WRITER, lines, start_into_fifo, writers};
use crate::harness::watch::Watch;
use crate::harness::{Run, eventually, http, launch};
use std::ffi::OsString;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// Serves, and floods one of its streams; the second worker does not heed TERM.
fn flooding(fd: u8, redirection: &str) -> (Run, File) {
    let script = format!(
        "{WRITER}
if is_worker(1): signal.signal(signal.SIGTERM, signal.SIG_IGN)
def flood():
    note('floods', '')
    while True: write_lines({fd}, 0, 1000)
threading.Thread(target=flood, daemon=True).start()
serve()"
    );
    let words = ["-n", "2", "-b", "127.0.0.1:0", "--health", "127.0.0.1:0", "--worker-output", "prefix"];
    let words = words.iter().chain(&["--graceful-timeout", "1s", "--drain-time", "10ms", "--"]);
    let launch = launch(words.map(OsString::from).chain(python(&script)));
    start_into_fifo(redirection, launch)
}

/// Holds that many answers came soon, nearly all of them at once; the machine itself may be held up now and then.
fn assert_prompt(address: &str) {
    let ask = |_| {
        let begin = Instant::now();
        assert_eq!(http::get(address, "/livez").unwrap().status, 200);
        begin.elapsed()
    };
    let mut times: Vec<Duration> = (0..100).map(ask).collect();
    times.sort();
    println!("the slowest answers took {:?}", &times[90..]);
    assert!(times[90] < Duration::from_millis(250), "{times:?}");
}

#[test]
fn a_reader_of_stdout_who_stalls_for_good_stops_neither_the_endpoint_nor_the_end() {
    let (mut run, reader) = flooding(1, ">fifo");
    run.log.wait_count("worker ready", 2);
    run.wait_lines("floods", 2);
    assert_prompt(&run.health());
    // Signals are heard, workers are replaced, and the new ones write as well.
    run.signal(libc::SIGHUP);
    run.wait_for("reload finished");
    let begin = Watch::start();
    run.signal(libc::SIGTERM);
    assert_eq!(run.wait_exit(), 0);
    assert!(begin.ran() < Duration::from_secs(10), "{:?}", begin.elapsed());
    drop(reader);
}

#[test]
fn a_reader_of_stderr_who_stalls_for_good_stops_neither_the_endpoint_nor_the_end() {
    let (mut run, reader) = flooding(2, "2>fifo");
    let mut reader = BufReader::new(reader);
    let mut health = None;
    while health.is_none() {
        let mut line = String::new();
        assert!(reader.read_line(&mut line).unwrap() > 0);
        let parsed: Option<serde_json::Value> = serde_json::from_str(&line).ok();
        health = parsed.filter(|line| line["message"] == "health endpoint");
    }
    let health = health.unwrap()["address"].as_str().unwrap().to_owned();
    run.wait_lines("floods", 2);
    eventually("readiness", || (http::get(&health, "/readyz").unwrap().status == 200).then_some(()));
    assert_prompt(&health);
    let begin = Watch::start();
    run.signal(libc::SIGTERM);
    assert_eq!(run.wait_exit(), 0);
    assert!(begin.ran() < Duration::from_secs(10), "{:?}", begin.elapsed());
}

/// While a reader takes all it can get, others get their turn.
#[test]
fn a_flood_keeps_nobody_waiting() {
    let (run, reader) = flooding(1, ">fifo");
    let (taken, piece) = (Arc::new(AtomicUsize::new(0)), vec![0; 64 * 1024]);
    let count = taken.clone();
    std::thread::spawn(move || {
        let (mut reader, mut piece) = (reader, piece);
        while let Ok(length @ 1..) = reader.read(&mut piece) {
            count.fetch_add(length, Ordering::Relaxed);
        }
    });
    run.log.wait_count("worker ready", 2);
    run.wait_lines("floods", 2);
    let health = run.health();
    assert_prompt(&health);
    while taken.load(Ordering::Relaxed) < 5_000_000 {
        assert_prompt(&health);
    }
}

#[test]
fn a_worker_waits_as_long_as_its_reader_and_nothing_is_lost_when_that_goes_on() {
    const LINES: usize = 30_000;
    let script = format!("write_lines(1, 0, {LINES}); note('done', ''); sleep_for_ever()");
    let (run, reader) = start_into_fifo(">fifo", writers(&["-n", "2", "--worker-output", "prefix"], &script));
    // By now they wait: nobody has read anything, and all there is room for is a part of it.
    run.log.wait_count("worker ready", 2);
    assert!(!run.dir().join("done").exists());
    let mut tally = Tally::default();
    tally.read_until(&mut lines(reader), 2 * LINES);
    run.wait_lines("done", 2);
    assert!(tally.0.values().all(|lines| *lines == LINES));
    crate::pool::assert_stops(run);
}

#[test]
fn a_reader_who_hangs_up_ends_no_worker_and_another_may_come() {
    let script = "
n = 0
while True:
    write_lines(1, n, n + 100)
    n += 100
    time.sleep(0.001)";
    let (run, reader) = start_into_fifo(">fifo", writers(&["-n", "1", "--worker-output", "prefix"], script));
    let mut reader = lines(reader);
    Tally::default().read_until(&mut reader, 1000);
    // Of a line that it has begun to take, the rest may be in the pipe for whoever comes next.
    let taken = String::from_utf8(reader.buffer().to_vec()).unwrap();
    let begun = taken.rsplit('\n').next().unwrap().to_owned();
    drop(reader);
    let lost = run.wait_for("workers' output is lost");
    assert_eq!((&lost["stream"], &lost["level"]), (&"stdout".into(), &"WARN".into()));
    // It comes back, and so do whole lines, later ones.
    let mut reader = lines(File::open(run.dir().join("fifo")).unwrap());
    run.wait_for("workers' output is taken again");
    let mut line = String::new();
    reader.read_line(&mut line).unwrap();
    let line = if line.starts_with('[') { line } else { begun + &line };
    let (_, _, _, text) = super::prefixed(line.trim_end());
    let n: usize = text.split(' ').next().unwrap().parse().unwrap();
    assert!(n >= 1000 && super::is_line(n, text), "{line}");
    assert_eq!(run.log.with_message("workers' output is lost").len(), 1);
    assert!(run.log.with_message("worker exited").is_empty());
    drop(reader);
    crate::pool::assert_stops(run);
}
