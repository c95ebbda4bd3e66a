//! Workers are replaced by plan at an age that is drawn for each.

use super::history::{assert_made_before_broken, lives, most_alive};
use super::{example_worker, gunicorn, pool, uvicorn, with_apps};
use crate::harness::Run;
use crate::harness::load::Load;
use std::collections::BTreeSet;

const CLIENTS: usize = 4;

/// How old the workers get.
const AGE: [&str; 4] = ["--max-age", "700ms", "--max-age-jitter", "300ms"];

/// Loads a pool of so many until at least so many have been replaced, and checks what holds for every pool.
fn replace_under_load(run: &Run, workers: usize, least: usize) {
    run.log.wait_count("worker ready", workers);
    let load = Load::start(&run.address(0), "/", CLIENTS);
    run.log.wait_until(|lines| {
        lines.iter().filter(|l| l["message"] == "worker exited: code 0").count() >= least
    });
    let (ok, refused, lost, other) = load.stop();
    println!("by age: {ok} answered, {refused} refused, {lost} lost, {other} other");
    assert_eq!((refused, lost, other), (0, 0, 0));

    let lines = run.log.lines();
    let lives = lives(&lines);
    assert!(run.log.with_message("respawn delayed").is_empty(), "{}", run.log.text());
    let limits: Vec<u64> = lives.iter().map(|life| life.spawn["max_age_ms"].as_u64().unwrap()).collect();
    assert!(limits.iter().all(|limit| (700..=1000).contains(limit)), "{limits:?}");
    assert!(limits.iter().collect::<BTreeSet<_>>().len() > 1, "{limits:?}");
    assert!(assert_made_before_broken(&lives, "max-age", &lines) >= least);
    assert!(most_alive(&lives) <= workers + 1);
    for exit in lives.iter().filter_map(|life| life.exit.as_ref()) {
        assert_eq!(exit["reason"], "max-age");
        let limit = lives.iter().find(|life| exit["pid"] == life.pid).unwrap().spawn["max_age_ms"].as_u64();
        assert!(exit["uptime_ms"].as_u64() >= limit, "{exit}");
    }
    // One replacement begins when the one before it has ended.
    let replaced: Vec<_> = lives.iter().filter(|life| life.stopping.is_some()).collect();
    for old in &replaced {
        let new = lives.iter().find(|l| l.slot == old.slot && l.spawned > old.spawned).unwrap();
        let until = old.exited.unwrap_or(lines.len());
        let between = lives.iter().filter(|l| l.spawned > new.spawned && l.spawned < until);
        assert_eq!(between.count(), 0, "while {old:?} was replaced");
    }
}

#[test]
fn old_workers_are_replaced_one_at_a_time_and_nothing_is_lost() {
    let options = [&["-n", "3"], &AGE[..]].concat();
    replace_under_load(&pool(&options, example_worker(&["--fd", "{fd}"])).start(), 3, 8);
}

/// Its arbiter, which is the worker, never ends by itself, whatever it is told of `--max-requests`. Where the load
/// never lets gunicorn wait, its `READY=1` is believed only after 5 s: so two are enough.
#[test]
fn old_gunicorns_are_replaced_one_at_a_time_and_nothing_is_lost() {
    let options = [&["-n", "2"], &AGE[..]].concat();
    replace_under_load(&with_apps(pool(&options, gunicorn(&["apps:wsgi"]))).start(), 2, 2);
}

#[test]
fn an_old_uvicorn_that_is_stopped_ends_by_plan_although_a_signal_ended_it() {
    let run = with_apps(pool(&["--max-age", "500ms"], uvicorn(&[]))).start();
    let exit = run.wait_for("worker exited");
    assert_eq!((&exit["reason"], &exit["signal"]), (&"max-age".into(), &"TERM".into()));
    assert_eq!(exit["level"], "INFO");
    assert!(run.log.with_message("respawn delayed").is_empty());
    let lines = run.log.lines();
    assert_eq!(assert_made_before_broken(&lives(&lines), "max-age", &lines), 1);
}

#[test]
fn an_old_worker_that_does_not_stop_is_killed_after_the_graceful_timeout() {
    let script = "signal.signal(signal.SIGTERM, signal.SIG_IGN)\nserve()";
    let options = ["--max-age", "100ms", "--graceful-timeout", "300ms"];
    let run = pool(&options, super::python::python(script)).start();
    let killed = run.wait_for("worker killed");
    assert_eq!(killed["reason"], "max-age");
    let exit = run.log.wait_for("worker exited", |line| line["pid"] == killed["pid"]);
    assert_eq!((&exit["reason"], &exit["signal"]), (&"max-age".into(), &"KILL".into()));
    assert_eq!(run.log.with_message("respawn delayed").len(), 0);
}
