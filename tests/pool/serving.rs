//! Workers serve on the listener that they inherit, whatever they are written in.

use super::{example_worker, gunicorn, pool, python, uvicorn, with_apps};
use crate::harness::http;
use crate::harness::servers::server;
use crate::harness::{Run, eventually, launch};
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::path::Path;
use std::thread;

/// Who answers, as the body of `/pid` or of `/` says.
fn pid_at(address: &str, path: &str) -> i64 {
    let answer = http::get(address, path).unwrap();
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.body.trim().parse().unwrap()
}

/// Asks by pairs, so that one is busy while the other is asked, until so many have answered.
fn all_answer(address: &str, path: &str, workers: usize) -> BTreeSet<i64> {
    let mut seen = BTreeSet::new();
    eventually("an answer of every worker", || {
        let ask = || {
            let (address, path) = (address.to_owned(), path.to_owned());
            thread::spawn(move || pid_at(&address, &path))
        };
        let asked: Vec<_> = (0..4).map(|_| ask()).collect();
        seen.extend(asked.into_iter().map(|client| client.join().unwrap()));
        (seen.len() >= workers).then(|| seen.clone())
    })
}

fn pids(run: &Run, message: &str) -> BTreeSet<i64> {
    run.log.with_message(message).iter().map(|line| line["pid"].as_i64().unwrap()).collect()
}

fn assert_ends_well(mut run: Run) {
    run.signal(libc::SIGTERM);
    assert_eq!(run.wait_exit(), 0, "{}", run.log.text());
    assert_eq!(run.log.with_message("worker killed").len(), 0, "{}", run.log.text());
    assert_eq!(run.log.lines().last().unwrap()["message"], "pool stopped");
}

#[test]
fn every_example_worker_serves_and_knows_its_slot() {
    let run = pool(&["-n", "2"], example_worker(&["--fd", "{fd}"])).start();
    run.log.wait_count("worker ready", 2);
    assert_eq!(all_answer(&run.address(0), "/pid", 2), pids(&run, "worker ready"));
    let answer = http::get(&run.address(0), "/").unwrap();
    let body: serde_json::Value = serde_json::from_str(&answer.body).unwrap();
    let ready = run.log.wait_for("worker ready", |line| line["pid"] == body["pid"]);
    assert_eq!((&body["worker_id"], &body["generation"]), (&ready["slot"], &ready["gen"]));
    assert_ends_well(run);
}

#[test]
fn uvicorn_serves_the_fastapi_example() {
    let app = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/fastapi_app");
    let command = [server("uvicorn").into(), "app:app".into(), "--app-dir".into(), app.into(), "--fd".into()];
    let command = command.into_iter().chain(["{fd}".into()]).collect();
    let run = pool(&["-n", "2"], command).start();
    run.log.wait_count("worker ready", 2);
    let answer = http::get(&run.address(0), "/").unwrap();
    let body: serde_json::Value = serde_json::from_str(&answer.body).unwrap();
    let ready = run.log.wait_for("worker ready", |line| line["pid"] == body["pid"]);
    assert_eq!((&body["worker_id"], &body["generation"]), (&ready["slot"], &ready["gen"]));
    assert_eq!(ready["by"], "accept");
    assert_ends_well(run);
}

#[test]
fn the_fastapi_example_says_goodbye_before_its_worker_is_stopped() {
    let app = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/fastapi_app");
    let command = [server("uvicorn").into(), "app:app".into(), "--app-dir".into(), app.into(), "--fd".into()];
    // Its own patience with an idle connection must not end before ours.
    let more = ["{fd}", "--timeout-keep-alive", "60"].map(Into::into);
    let command = command.into_iter().chain(more).collect();
    let run = pool(&["--drain-signal", "USR2", "--drain-time", "5s"], command).start();
    run.wait_for("worker ready");
    let mut client = http::KeptAlive::connect(&run.address(0)).unwrap();
    assert_eq!(client.get("/").unwrap().header("connection"), "");
    run.signal(libc::SIGHUP);
    run.wait_for("worker draining");
    let goodbye = eventually("a goodbye", || {
        let answer = client.get("/").unwrap();
        (answer.header("connection") == "close").then_some(answer)
    });
    assert_eq!(goodbye.status, 200);
    assert!(run.log.with_message("worker stopping").is_empty(), "it came in time");
    assert_ends_well(run);
}

#[test]
fn uvicorn_workers_share_the_load() {
    let run = with_apps(pool(&["-n", "2"], uvicorn(&[]))).start();
    run.log.wait_count("worker ready", 2);
    assert_eq!(all_answer(&run.address(0), "/", 2), pids(&run, "worker ready"));
    assert_ends_well(run);
}

#[test]
fn hypercorn_serves_on_the_inherited_listener() {
    let words = ["--bind", "fd://{fd}", "--workers", "0", "apps:asgi"].map(OsString::from);
    let command = [OsString::from(server("hypercorn"))].into_iter().chain(words).collect();
    let run = with_apps(pool(&["-n", "2"], command)).start();
    run.log.wait_count("worker ready", 2);
    assert_eq!(all_answer(&run.address(0), "/", 2), pids(&run, "worker ready"));
    assert_ends_well(run);
}

#[test]
fn gunicorn_as_a_worker_takes_the_listener_from_listen_fds() {
    for options in [&["apps:wsgi"][..], &["-k", "gthread", "apps:wsgi"], &["-k", "asgi", "apps:asgi"]] {
        let run = with_apps(pool(&["-n", "2"], gunicorn(options))).start();
        run.log.wait_count("worker ready", 2);
        assert!(
            run.log.with_message("worker ready").iter().all(|line| line["by"] == "accept"),
            "{}",
            run.log.text()
        );
        // Those who answer are children of the workers.
        all_answer(&run.address(0), "/", 2);
        let log = run.log.clone();
        assert_ends_well(run);
        let exits = log.with_message("worker exited");
        assert!(
            exits.len() == 2 && exits.iter().all(|line| line["exit_code"] == 0),
            "{options:?}: {exits:?}"
        );
    }
}

#[test]
fn gunicorn_with_an_application_that_cannot_be_imported_is_not_retried_hot() {
    let command = vec![server("gunicorn").into(), "--no-control-socket".into(), "reaching:missing".into()];
    let launch = pool(&["--max-restarts", "1"], command);
    // One that uses no network waits for nothing, and is tried again at once.
    let reaches = "import socket\nsocket.socket().connect_ex(('127.0.0.1', 9))\n";
    fs::write(launch.dir().join("reaching.py"), reaches).unwrap();
    let mut run = launch.start();
    assert_eq!(run.wait_exit(), 3);
    let exits = run.log.with_message("worker exited");
    assert!(exits.iter().all(|line| line["reason"] == "boot-error"), "{exits:?}");
    assert!(run.log.wait_for("respawn delayed", |_| true)["delay_ms"].as_u64().unwrap() >= 1000);
}

#[test]
fn gunicorn_as_the_one_command_of_an_init_stops_in_order() {
    let words = ["-w", "2", "-b", "127.0.0.1:0", "--no-control-socket", "apps:wsgi"].map(OsString::from);
    let command = [OsString::from("--"), server("gunicorn").into()].into_iter().chain(words);
    let mut run = with_apps(launch(command)).start();
    let address = eventually("gunicorn's line", || {
        let text = run.log.text();
        let (_, rest) = text.split_once("Listening at: http://")?;
        Some(rest.split_once(' ')?.0.to_owned())
    });
    all_answer(&address, "/", 2);
    // A request in hand at TERM is answered. The second one shows that the first was taken before it.
    let slow = http::Pending::get(&address, "/slow").unwrap();
    // Not the arbiter: it sleeps for a moment after each worker that it has started.
    let arbiter = run.command();
    eventually("a worker in its request", || {
        run.others().iter().any(|&(pid, _)| pid != arbiter && waits_in_sleep(pid)).then_some(())
    });
    run.signal(libc::SIGTERM);
    assert_eq!(slow.answer().unwrap().status, 200);
    assert_eq!(run.wait_exit(), 0, "{}", run.log.text());
}

#[test]
fn gunicorn_as_the_one_command_of_an_init_ends_with_its_own_code() {
    let words = ["-b", "127.0.0.1:0", "--no-control-socket", "apps:missing"].map(OsString::from);
    let command = [OsString::from("--"), server("gunicorn").into()].into_iter().chain(words);
    let (code, _, log) = with_apps(launch(command)).finish();
    // APP_LOAD_ERROR.
    assert_eq!(code, 4, "{log}");
}

/// Python's `time.sleep` is a clock_nanosleep(2).
fn waits_in_sleep(pid: i32) -> bool {
    let call = fs::read_to_string(format!("/proc/{pid}/syscall")).unwrap_or_default();
    call.split(' ').next() == Some(&libc::SYS_clock_nanosleep.to_string())
}

#[test]
fn a_request_that_comes_before_the_first_worker_is_ready_waits_for_it() {
    let run = pool(&[], python("wait_for_file('go')\nserve()")).start();
    let early = http::Pending::get(&run.address(0), "/").unwrap();
    run.wait_for("worker spawned");
    assert!(run.log.with_message("worker ready").is_empty());
    super::allow(&run, "go");
    assert_eq!(early.answer().unwrap().status, 200);
}
