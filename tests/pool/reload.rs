//! HUP: a new version takes over worker by worker, or not at all.

use super::python::{app, python, write_app};
use super::{BRISK, allow, assert_stops, catch_up, pool, readiness, serving, wait_serving, who_answers};
use crate::harness::load::Load;
use crate::harness::{Run, http, kill};
use serde_json::Value;
use std::collections::BTreeSet;

const CLIENTS: usize = 3;

const SERVES: &str = "note('generations', os.environ['PREFORK_GENERATION'])\nserve()";

/// Serves once the file `go` is there; the first generation at once.
const LATER_WAIT: &str = "if os.environ['PREFORK_GENERATION'] != '1': wait_for_file('go')\nserve()";

fn brisk(options: &[&str], command: Vec<std::ffi::OsString>) -> crate::harness::Launch {
    pool(&[&BRISK[..], options].concat(), command)
}

fn of_generation(generation: u64) -> impl Fn(&Value) -> bool {
    move |line| line["gen"] == generation
}

/// Reloads, and waits until everybody is of the new generation.
fn reload(run: &Run) -> u64 {
    let finished = run.log.with_message("reload finished").len();
    run.signal(libc::SIGHUP);
    run.log.wait_count("reload finished", finished + 1);
    run.log.with_message("reload finished")[finished]["gen"].as_u64().unwrap()
}

#[test]
fn every_worker_is_replaced_and_nothing_is_lost() {
    let run = brisk(&["-n", "3"], python(SERVES)).start();
    let mut old = wait_serving(&run, 3);
    let load = Load::start(&run.address(0), "/", CLIENTS);
    load.wait_ok(20);
    for generation in 2..=3 {
        assert_eq!(reload(&run), generation);
        let new = serving(&run.log.lines());
        assert_eq!(new.len(), 3);
        assert!(new.is_disjoint(&old), "{old:?} {new:?}");
        let gone: BTreeSet<i64> =
            run.log.with_message("worker exited").iter().map(|line| line["pid"].as_i64().unwrap()).collect();
        assert!(gone.is_superset(&old), "{old:?} {gone:?}");
        assert_eq!(who_answers(&run.address(0), 3), new);
        old = new;
    }
    let (ok, refused, lost, other) = load.stop();
    assert_eq!((refused, lost, other), (0, 0, 0), "{ok} answered\n{}", run.log.text());
    let told = run.wait_lines("generations", 9);
    assert_eq!(told.lines().collect::<Vec<_>>(), [["1"; 3], ["2"; 3], ["3"; 3]].concat());
    assert_stops(run);
}

/// Under load, a new version that does not come up is given up and nobody notices; once it is mended, it takes over.
fn broken_and_mended(broken: &str, reason: &str) {
    let launch = brisk(&["-n", "2", "--min-ready", "2", "--start-timeout", "3s"], app());
    write_app(launch.dir(), "serve()");
    let run = launch.start();
    let old = wait_serving(&run, 2);
    let load = Load::start(&run.address(0), "/", CLIENTS);
    let probes = Load::start(&run.health(), "/readyz", 1);
    write_app(run.dir(), broken);
    run.signal(libc::SIGHUP);
    let failed = run.wait_for("reload failed");
    assert_eq!(
        (&failed["gen"], &failed["reason"], &failed["level"]),
        (&2.into(), &reason.into(), &"ERROR".into())
    );
    load.wait_ok(50);
    catch_up(&run);
    assert_eq!(serving(&run.log.lines()), old);
    assert_eq!(run.log.with_message("worker spawned").len(), 3, "one of the new ones was tried, once");
    assert_eq!(who_answers(&run.address(0), 2), old);

    write_app(run.dir(), "serve()");
    assert_eq!(reload(&run), 3);
    assert!(serving(&run.log.lines()).is_disjoint(&old));
    for (what, load) in [("requests", load), ("probes of readiness", probes)] {
        let (ok, refused, lost, other) = load.stop();
        assert_eq!((refused, lost, other), (0, 0, 0), "{what}: {ok} answered\n{}", run.log.text());
    }
    assert_stops(run);
}

#[test]
fn a_version_that_cannot_boot_never_takes_over() {
    broken_and_mended("sys.exit(3)", "boot-error");
}

#[test]
fn a_version_that_ends_well_at_its_boot_never_takes_over() {
    broken_and_mended("sys.exit(0)", "boot-error");
}

#[test]
fn a_version_that_is_never_ready_never_takes_over() {
    broken_and_mended("sleep_for_ever()", "boot-timeout");
}

#[test]
fn a_reload_overtakes_the_one_that_is_under_way() {
    let run = brisk(&["-n", "2"], python(LATER_WAIT)).start();
    let old = wait_serving(&run, 2);
    run.signal(libc::SIGHUP);
    run.log.wait_for("worker spawned", of_generation(2));
    run.signal(libc::SIGHUP);
    let overtaken = run.log.wait_for("worker exited", of_generation(2));
    assert_eq!(overtaken["reason"], "reload");
    run.log.wait_for("worker spawned", of_generation(3));
    assert_eq!(serving(&run.log.lines()), old);
    allow(&run, "go");
    let finished = run.wait_for("reload finished");
    assert_eq!(finished["gen"], 3);
    assert!(run.log.with_message("reload failed").is_empty());
    assert_eq!(who_answers(&run.address(0), 2), wait_serving(&run, 2));
    assert_stops(run);
}

/// The first worker of the new generation is ready and its elder still goes when the next reload comes.
#[test]
fn a_reload_overtakes_one_that_has_proved_itself() {
    let options = ["-n", "3", "--replacement-gap", "1h", "--drain-time", "50ms"];
    let run = pool(&options, python("serve()")).start();
    wait_serving(&run, 3);
    run.signal(libc::SIGHUP);
    run.log.wait_for("worker ready", of_generation(2));
    run.signal(libc::SIGHUP);
    run.log.wait_for("worker ready", of_generation(3));
    assert!(run.log.with_message("reload finished").is_empty());
    assert_eq!(readiness(&run), (200, 3, 1, 3));
    assert_stops(run);
}

#[test]
fn a_reload_during_the_first_boot_waits_for_it() {
    let run = brisk(&["-n", "2"], python("wait_for_file('go')\nserve()")).start();
    run.log.wait_count("worker spawned", 2);
    run.signal(libc::SIGHUP);
    run.wait_for("reload started");
    allow(&run, "go");
    run.wait_for("reload finished");
    let spawned: Vec<_> =
        run.log.with_message("worker spawned").iter().map(|line| line["gen"].as_u64().unwrap()).collect();
    assert_eq!(spawned, [1, 1, 2, 2]);
    assert_eq!(who_answers(&run.address(0), 2), wait_serving(&run, 2));
    assert_stops(run);
}

/// What does not get ready may be what the reload is to mend.
#[test]
fn a_reload_mends_a_first_boot_that_failed() {
    let launch = brisk(&["-n", "2", "--backoff", "1h", "--backoff-max", "1h"], app());
    write_app(launch.dir(), "sys.exit(1)");
    let run = launch.start();
    // One of them alone tries again, and then waits.
    run.log.wait_count("worker exited: code 1", 3);
    run.log.wait_count("respawn delayed", 1);
    write_app(run.dir(), "serve()");
    run.signal(libc::SIGHUP);
    assert_eq!(run.wait_for("reload finished")["gen"], 2);
    assert_eq!(readiness(&run), (200, 2, 1, 2));
    assert_stops(run);
}

#[test]
fn term_during_a_reload_stops_both_generations_in_order() {
    let mut run = brisk(&["-n", "2"], python(LATER_WAIT)).start();
    wait_serving(&run, 2);
    run.signal(libc::SIGHUP);
    run.log.wait_for("worker spawned", of_generation(2));
    run.signal(libc::SIGTERM);
    assert_eq!(run.wait_exit(), 0);
    let exits = run.log.with_message("worker exited");
    assert_eq!(exits.len(), 3);
    assert!(exits.iter().all(|line| line["reason"] == "stop"), "{exits:?}");
    assert!(
        run.log.with_message("worker killed").is_empty() && run.log.with_message("reload failed").is_empty()
    );
    assert_eq!(run.log.lines().last().unwrap()["message"], "pool stopped");
}

#[test]
fn one_more_and_one_fewer_during_a_reload() {
    let run = brisk(&["-n", "2"], python(LATER_WAIT)).start();
    wait_serving(&run, 2);
    let load = Load::start(&run.address(0), "/", CLIENTS);
    run.signal(libc::SIGHUP);
    run.log.wait_for("worker spawned", of_generation(2));
    run.signal(libc::SIGTTIN);
    run.log.wait_count("scaled", 1);
    // There are as many as there may be while one of the new ones is tried, and one seat is free for the next.
    run.log.wait_for("worker spawned", |line| line["slot"] == 2);
    run.signal(libc::SIGTTOU);
    run.log.wait_count("scaled", 2);
    run.signal(libc::SIGTTIN);
    run.log.wait_count("scaled", 3);
    allow(&run, "go");
    run.wait_for("reload finished");
    assert_eq!(readiness(&run), (200, 3, 1, 3));
    let generations = run.log.with_message("worker ready").iter().filter(|line| line["gen"] == 2).count();
    assert_eq!(generations, 3);
    let (_, refused, lost, other) = load.stop();
    assert_eq!((refused, lost, other), (0, 0, 0), "{}", run.log.text());
    assert_stops(run);
}

#[test]
fn reloads_that_come_at_once_end_in_one_generation() {
    let run = brisk(&["-n", "2"], python("serve()")).start();
    let old = wait_serving(&run, 2);
    for _ in 0..3 {
        run.signal(libc::SIGHUP);
    }
    catch_up(&run);
    let last = run.log.with_message("reload started").last().unwrap()["gen"].as_u64().unwrap();
    run.log.wait_for("reload finished", of_generation(last));
    let lines = run.log.lines();
    let serving = serving(&lines);
    let ready = lines.iter().filter(|line| line["message"] == "worker ready");
    let last_ready: BTreeSet<i64> =
        ready.filter(|line| line["gen"] == last).map(|line| line["pid"].as_i64().unwrap()).collect();
    assert!(serving.is_disjoint(&old) && serving == last_ready, "{}", run.log.text());
    assert_stops(run);
}

#[test]
fn a_slot_that_waits_after_failures_is_tried_at_once() {
    let launch = brisk(&["-n", "2", "--backoff", "1h", "--backoff-max", "1h"], app());
    write_app(launch.dir(), "if is_worker(1): sys.exit(1)\nserve()");
    let run = launch.start();
    run.wait_for("respawn delayed");
    write_app(run.dir(), "serve()");
    assert_eq!(reload(&run), 2);
    assert_eq!(readiness(&run), (200, 2, 1, 2));
    // Not mended, the next version is given up and the slot waits again, without a word to the others.
    let pids = wait_serving(&run, 2);
    write_app(run.dir(), "sys.exit(1)");
    let first = *pids.first().unwrap();
    kill(run.outer_pid(first), libc::SIGKILL);
    run.log.wait_count("respawn delayed", 2);
    run.signal(libc::SIGHUP);
    run.wait_for("reload failed");
    assert_eq!(readiness(&run), (200, 1, 1, 2));
    assert_stops(run);
}

#[test]
fn a_reload_in_the_drain_delay_is_ignored() {
    let mut run = brisk(&["-n", "2", "--drain-delay", "1h"], python("serve()")).start();
    let pids = wait_serving(&run, 2);
    run.signal(libc::SIGTERM);
    run.wait_for("shutdown started");
    for (signal, name) in [(libc::SIGHUP, "HUP"), (libc::SIGTTIN, "TTIN"), (libc::SIGTTOU, "TTOU")] {
        run.signal(signal);
        run.log.wait_for("signal ignored", |line| line["signal"] == name);
    }
    assert_eq!(serving(&run.log.lines()), pids);
    assert_eq!(http::get(&run.address(0), "/").unwrap().status, 200);
    assert!(run.log.with_message("reload started").is_empty() && run.log.with_message("scaled").is_empty());
    run.signal(libc::SIGTERM);
    assert_eq!(run.wait_exit(), 0);
}
