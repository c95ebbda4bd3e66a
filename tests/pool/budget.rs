//! However many are to be replaced, and whatever happens meanwhile: how many are alive, and how many serve.

use super::history::{lives, time};
use super::python::python;
use super::{
    allow, assert_stops, catch_up, example_worker, freeze, pool, readiness, wait_serving, who_answers,
};
use crate::harness::http::Pending;
use crate::harness::load::Load;
use crate::harness::{Run, eventually, http, kill};
use serde_json::Value;
use std::collections::BTreeSet;
use std::time::Duration;

/// Workers that come of age as soon as they are ready, one after the other without a pause.
const STORM: [&str; 6] = ["--max-age", "300ms", "--replacement-gap", "0s", "--drain-time", "20ms"];

/// How many are alive, and how many serve, after each line of a log from the moment when each slot has served: until then
/// the worker of one may come of age, and be replaced, while that of another has not started yet.
fn counts(lines: &[Value], workers: usize) -> Vec<(i32, i32)> {
    let (mut alive, mut ready, mut counts) = (0, 0, Vec::new());
    let (mut serving, mut slots) = (BTreeSet::new(), BTreeSet::new());
    for line in lines {
        let (Some(message), Some(pid)) = (line["message"].as_str(), line["pid"].as_i64()) else { continue };
        match message {
            "worker spawned" => alive += 1,
            "worker ready" => {
                slots.insert(line["slot"].as_u64());
                ready += i32::from(serving.insert(pid));
            }
            _ if message.starts_with("worker exited") => {
                alive -= 1;
                ready -= i32::from(serving.remove(&pid));
            }
            "worker draining" | "worker stopping" => ready -= i32::from(serving.remove(&pid)),
            _ => continue,
        }
        if slots.len() == workers {
            counts.push((alive, ready));
        }
    }
    counts
}

/// Runs a storm until so many have gone; returns the most that were alive and the fewest that served.
fn storm(workers: usize, options: &[&str], replacements: usize) -> (i32, i32) {
    let number = workers.to_string();
    let options = [&STORM[..], &["-n", &number], options].concat();
    let run = pool(&options, example_worker(&["--fd", "{fd}"])).start();
    let load = Load::start(&run.address(0), "/", 2);
    run.log.wait_until(|lines| {
        let gone = |line: &&Value| line["message"].as_str().is_some_and(|m| m.starts_with("worker exited"));
        lines.iter().filter(gone).count() >= replacements
    });
    let counts = counts(&run.log.lines(), workers);
    let (ok, refused, lost, other) = load.stop();
    assert_eq!((refused, lost, other), (0, 0, 0), "{ok} answered\n{}", run.log.text());
    let exits = run.log.with_message("worker exited");
    assert!(exits.iter().all(|line| line["reason"] == "max-age"), "{exits:?}");
    assert_stops(run);
    let most = counts.iter().map(|(alive, _)| *alive).max().unwrap();
    (most, counts.iter().map(|(_, ready)| *ready).min().unwrap())
}

#[test]
fn one_more_than_wanted_is_alive_and_never_fewer_serve() {
    assert_eq!(storm(4, &[], 12), (5, 4));
}

#[test]
fn as_many_more_as_may_be_are_alive() {
    assert_eq!(storm(4, &["--max-surge", "2"], 12), (6, 4));
}

#[test]
fn where_none_more_may_be_alive_one_serves_less() {
    assert_eq!(storm(3, &["--max-surge", "0", "--max-unavailable", "1"], 9), (3, 2));
}

#[test]
fn both_may_be_allowed() {
    let (most, fewest) = storm(4, &["--max-surge", "1", "--max-unavailable", "2"], 12);
    assert!(most == 5 && (2..=4).contains(&fewest), "{most} alive, {fewest} serve");
}

#[test]
fn replacements_keep_their_gap() {
    const GAP: Duration = Duration::from_secs(2);
    let options = ["-n", "4", "--max-age", "100ms", "--replacement-gap", "2s", "--drain-time", "0s"];
    let run = pool(&options, example_worker(&["--fd", "{fd}"])).start();
    run.log.wait_count("worker spawned", 8);
    let lines = run.log.lines();
    let starts: Vec<Duration> = lives(&lines).iter().skip(4).map(|life| time(&life.spawn)).collect();
    // A line is written after the spawn, which takes its time: so each is held against a moment before the first of them.
    let ready = time(&run.wait_for("worker ready"));
    let after: Vec<Duration> = starts.iter().map(|start| *start - ready).collect();
    assert!(after.iter().zip(0..).all(|(after, gaps)| *after >= GAP * gaps), "{after:?}");
    assert_stops(run);
}

/// A pool of one whose second worker waits for `go`; returned when that one is on its way.
fn half_way(workers: &str) -> (Run, i64, i64) {
    let script = "if os.environ['PREFORK_GENERATION'] != '1': wait_for_file('go')\nserve()";
    let options = ["-n", workers, "--replacement-gap", "0s", "--drain-time", "50ms"];
    let run = pool(&options, python(script)).start();
    wait_serving(&run, workers.parse().unwrap());
    run.signal(libc::SIGHUP);
    let new = run.log.wait_for("worker spawned", |line| line["gen"] == 2);
    let old = run.log.wait_for("worker ready", |line| line["slot"] == new["slot"]);
    let pid = |line: &Value| line["pid"].as_i64().unwrap();
    (run, pid(&old), pid(&new))
}

#[test]
fn a_replacement_that_dies_leaves_the_old_one_alone() {
    let (run, old, new) = half_way("2");
    kill(run.outer_pid(new), libc::SIGKILL);
    run.wait_for("reload failed");
    assert_eq!(readiness(&run), (200, 2, 1, 2));
    assert!(who_answers(&run.address(0), 2).contains(&old));
    assert!(run.log.with_message("worker stopping").is_empty());
    assert_stops(run);
}

/// It takes the seat: nobody else is started for it.
#[test]
fn who_dies_while_its_replacement_comes_is_replaced_by_that() {
    let (run, old, _) = half_way("2");
    let load = Load::start(&run.address(0), "/", 2);
    load.wait_ok(20);
    let stopped = load.stop();
    assert_eq!((stopped.1, stopped.2, stopped.3), (0, 0, 0));
    kill(run.outer_pid(old), libc::SIGKILL);
    run.wait_for("worker exited");
    // The line comes before connections are led elsewhere.
    catch_up(&run);
    assert_eq!(http::get(&run.address(0), "/").unwrap().status, 200);
    allow(&run, "go");
    run.wait_for("reload finished");
    assert_eq!(readiness(&run), (200, 2, 1, 2));
    assert_eq!(run.log.with_message("worker spawned").len(), 4);
    assert_stops(run);
}
/// What waited for the old one is not forgotten because another has its seat.
#[test]
fn connections_of_one_that_dies_while_its_replacement_comes_are_served() {
    let (run, old, _) = half_way("1");
    freeze(&run, old);
    let address = run.address(0);
    let waiting: Vec<_> = (0..5).map(|_| Pending::get(&address, "/").unwrap()).collect();
    kill(run.outer_pid(old), libc::SIGKILL);
    run.wait_for("worker exited");
    let later = Pending::get(&address, "/").unwrap();
    allow(&run, "go");
    assert_eq!(later.answer().unwrap().status, 200);
    for waiting in waiting {
        assert_eq!(waiting.answer().unwrap().status, 200);
    }
    assert_stops(run);
}

/// As above, of one that has made way already.
#[test]
fn connections_of_one_that_dies_while_it_drains_are_served() {
    let (run, old, _) = half_way("1");
    freeze(&run, old);
    let address = run.address(0);
    let waiting: Vec<_> = (0..5).map(|_| Pending::get(&address, "/").unwrap()).collect();
    allow(&run, "go");
    run.wait_for("worker draining");
    kill(run.outer_pid(old), libc::SIGKILL);
    run.wait_for("reload finished");
    for waiting in waiting {
        assert_eq!(waiting.answer().unwrap().status, 200);
    }
    eventually("one worker", || (run.others().len() == 1).then_some(()));
    assert_stops(run);
}
