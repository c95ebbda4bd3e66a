//! One line when a pool is ready, and one when it has ended: where it is, and what it has come to.

use super::python::python;
use super::{BRISK, example_worker, pool};
use crate::harness::{Run, eventually, http, kill, launch};
use serde_json::Value;
use std::ffi::OsString;

fn stop(run: &mut Run) -> Value {
    run.signal(libc::SIGTERM);
    assert_eq!(run.wait_exit(), 0, "{}", run.log.text());
    let last = run.log.lines().pop().unwrap();
    assert_eq!(last["message"], "pool stopped", "{}", run.log.text());
    last
}

#[test]
fn when_it_is_ready_it_says_where_everything_is() {
    let options = ["-n", "2", "--min-ready", "2", "-b", "unix:app.sock", "--control", "control"];
    let run = pool(&options, example_worker(&["--fd", "{fd}"])).start();
    let ready = run.wait_for("pool ready");
    assert_eq!((&ready["ready"], &ready["workers"]), (&2.into(), &2.into()));
    assert_eq!(ready["listening"], format!("{}, unix:app.sock", run.address(0)));
    assert_eq!((&ready["health"], &ready["control"]), (&run.health().into(), &"unix:control".into()));
    assert_eq!(ready["level"], "INFO");
}

#[test]
fn what_is_not_there_is_not_told_and_people_read_it_in_one_line() {
    let words = ["-n", "1", "--ready", "notify", "--"].map(OsString::from);
    let launch = launch(words.into_iter().chain(python("say('READY=1')\nsleep_for_ever()")));
    let mut run = launch.env("PREFORK_LOG_FORMAT", "text").start();
    let text = eventually("the line", || {
        let text = run.log.text();
        text.lines().find(|line| line.contains("pool ready")).map(str::to_owned)
    });
    assert!(text.ends_with("pool ready ready=1 workers=1"), "{text}");
    run.signal(libc::SIGTERM);
    assert_eq!(run.wait_exit(), 0);
    let text = run.log.text();
    let last = text.lines().last().unwrap();
    assert!(last.contains("pool stopped restarts=0 killed=0 took_ms="), "{last}");
}

fn status(run: &Run) -> Value {
    serde_json::from_str(&http::get(&run.health(), "/status").unwrap().body).unwrap()
}

#[test]
fn at_the_end_it_says_what_was_served_and_restarted() {
    let options = ["-n", "2", "--max-requests", "1000", "--count-requests", "notify"];
    let script = "say('X_PREFORK_REQUESTS=17')\nserve()";
    let mut run = pool(&[&options[..], &BRISK].concat(), python(script)).start();
    let counted = |run: &Run| {
        eventually("the requests of both", || {
            let status = status(run);
            let workers = status["workers"].as_array()?;
            let both = workers.len() == 2 && workers.iter().all(|worker| worker["requests"] == 17);
            both.then(|| workers[0]["pid"].as_i64())?
        })
    };
    let first = counted(&run);
    kill(run.outer_pid(first), libc::SIGKILL);
    run.wait_for("worker exited");
    counted(&run);
    let end = stop(&mut run);
    assert_eq!(
        (&end["requests"], &end["restarts"], &end["killed"]),
        (&51.into(), &1.into(), &0.into()),
        "{end}"
    );
    assert!(end["took_ms"].as_u64().unwrap() < 30_000, "{end}");
}

#[test]
fn it_says_who_was_killed_and_how_long_that_took() {
    let script = "signal.signal(signal.SIGTERM, signal.SIG_IGN)\nserve()";
    let options = ["-n", "2", "--graceful-timeout", "1s"];
    let mut run = pool(&[&options[..], &BRISK].concat(), python(script)).start();
    run.log.wait_count("worker ready", 2);
    let end = stop(&mut run);
    assert_eq!(
        (&end["restarts"], &end["killed"], &end["requests"]),
        (&0.into(), &2.into(), &Value::Null),
        "{end}"
    );
    assert!(end["took_ms"].as_u64().unwrap() >= 1_000, "{end}");
}
