//! The endpoint tells the truth, at once, whatever the workers do.

use super::python::python;
use super::{allow, example_worker, pool};
use crate::harness::{Run, http, kill};
use serde_json::Value;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

const LIVE: [&str; 5] = ["/livez", "/healthz", "/health", "/health/live", "/live"];
const READY: [&str; 3] = ["/readyz", "/ready", "/health/ready"];
const STARTED: [&str; 2] = ["/startupz", "/health/startup"];

fn status(run: &Run, path: &str) -> u16 {
    http::get(&run.health(), path).unwrap().status
}

fn body(answer: &http::Answer) -> Value {
    serde_json::from_str(&answer.body).unwrap_or_else(|error| panic!("{error}: {answer:?}"))
}

/// The statuses of every path of liveness, readiness and start-up.
fn assert_statuses(run: &Run, live: u16, ready: u16, started: u16) {
    for (paths, expected) in [(&LIVE[..], live), (&READY, ready), (&STARTED, started)] {
        for path in paths {
            let get = http::get(&run.health(), path).unwrap();
            assert_eq!(get.status, expected, "{path}: {get:?}");
            assert_eq!(body(&get)["reason"].is_string(), expected != 200, "{path}: {get:?}");
            assert_eq!(get.header("content-type"), "application/json");
            let head = http::request(&run.health(), "HEAD", path).unwrap();
            assert_eq!((head.status, head.body.as_str()), (expected, ""), "{path}");
            assert_eq!(head.header("content-length"), get.body.len().to_string());
        }
    }
}

/// Worker 1 accepts only while the file `go` exists.
const ONE_MAY_WAIT: &str = "if is_worker(1): wait_for_file('go')\nserve()";

#[test]
fn it_is_not_ready_until_enough_workers_are_and_whenever_too_few_are() {
    let run = pool(&["-n", "2", "--min-ready", "2"], python(ONE_MAY_WAIT)).start();
    run.log.wait_for("worker ready", |line| line["slot"] == 0);
    assert_statuses(&run, 200, 503, 503);
    let answer = body(&http::get(&run.health(), "/readyz").unwrap());
    assert_eq!(answer["reason"], "not enough workers are ready");
    assert_eq!(
        (&answer["ready"], &answer["min_ready"], &answer["workers"]),
        (&1.into(), &2.into(), &2.into())
    );

    allow(&run, "go");
    let second = run.log.wait_for("worker ready", |line| line["slot"] == 1);
    run.wait_for("pool ready");
    assert_statuses(&run, 200, 200, 200);
    assert_eq!(body(&http::get(&run.health(), "/readyz").unwrap())["ready"], 2);

    std::fs::remove_file(run.dir().join("go")).unwrap();
    kill(run.outer_pid(second["pid"].as_i64().unwrap()), libc::SIGKILL);
    run.wait_for("worker exited");
    // It was ready once: a restart of the container would help nobody.
    assert_statuses(&run, 200, 503, 200);
    allow(&run, "go");
    run.log.wait_count("worker ready", 3);
    assert_statuses(&run, 200, 200, 200);
}

#[test]
fn it_answers_before_the_first_worker_is_ready() {
    let run = pool(&[], python("wait_for_file('go')\nserve()")).start();
    assert_statuses(&run, 200, 503, 503);
    allow(&run, "go");
    run.wait_for("worker ready");
    assert_statuses(&run, 200, 200, 200);
}

#[test]
fn it_is_not_ready_from_the_first_term_on() {
    // The worker takes its time.
    let script = "signal.signal(signal.SIGTERM, lambda *_: wait_for_file('go') or os._exit(0))\nserve()";
    let mut run = pool(&[], python(script)).start();
    run.wait_for("worker ready");
    run.signal(libc::SIGTERM);
    run.wait_for("worker stopping");
    let answer = http::get(&run.health(), "/readyz").unwrap();
    assert_eq!((answer.status, &body(&answer)["reason"]), (503, &"stopping".into()));
    assert_eq!(status(&run, "/livez"), 200);
    assert_eq!(status(&run, "/startupz"), 200);
    allow(&run, "go");
    assert_eq!(run.wait_exit(), 0);
}

#[test]
fn other_methods_and_other_paths_are_refused() {
    let run = pool(&[], example_worker(&[])).start();
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "PATCH", "BREW"] {
        let answer = http::request(&run.health(), method, "/livez").unwrap();
        assert_eq!((answer.status, answer.header("allow")), (405, "GET, HEAD"), "{method}");
    }
    for path in ["/", "/livez/", "/Livez", "//livez", "/metrics2", "/livez%20", "/../livez"] {
        assert_eq!(status(&run, path), 404, "{path}");
    }
    assert_eq!(status(&run, "/livez?verbose=1"), 200);
}

#[test]
fn nonsense_is_refused_and_does_not_disturb() {
    let run = pool(&[], example_worker(&[])).start();
    let huge = format!("GET /livez HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(100_000));
    let many = format!("GET /livez HTTP/1.1\r\n{}\r\n", "X: y\r\n".repeat(500));
    for nonsense in ["\r\n\r\n", "GET\r\n\r\n", "\0\0\0\0", "GET /livez HTTP/9.9\r\n\r\n", &huge, &many] {
        let mut stream = TcpStream::connect(run.health()).unwrap();
        let _refused = stream.write_all(nonsense.as_bytes());
        let _refused = stream.shutdown(std::net::Shutdown::Write);
        let mut answer = Vec::new();
        let _reset = stream.read_to_end(&mut answer);
        assert!(!answer.starts_with(b"HTTP/1.1 2"), "{:?}", String::from_utf8_lossy(&answer));
        assert_eq!(status(&run, "/livez"), 200);
    }
}

/// The median of 50 answers' times.
fn median(run: &Run) -> Duration {
    let address = run.health();
    let one = |_| {
        let start = Instant::now();
        assert_eq!(http::get(&address, "/readyz").unwrap().status, 200);
        start.elapsed()
    };
    let mut times: Vec<_> = (0..50).map(one).collect();
    times.sort();
    times[25]
}

#[test]
fn it_answers_in_milliseconds_while_every_worker_is_stopped() {
    let run = pool(&["-n", "2"], example_worker(&[])).start();
    run.log.wait_count("worker ready", 2);
    for worker in run.log.with_message("worker ready") {
        kill(run.outer_pid(worker["pid"].as_i64().unwrap()), libc::SIGSTOP);
    }
    let median = median(&run);
    println!("median while stopped: {median:?}");
    assert!(median < Duration::from_millis(100), "{median:?}");
}

#[test]
fn idle_and_slow_clients_do_not_keep_it_from_answering() {
    let run = pool(&[], example_worker(&[])).start();
    run.wait_for("worker ready");
    let connect = |first: &[u8]| {
        let mut stream = TcpStream::connect(run.health()).unwrap();
        stream.write_all(first).unwrap();
        stream
    };
    // Some say nothing, some never finish, some have asked once and stay.
    let idle: Vec<_> = (0..200)
        .map(|n| connect([&b""[..], b"GET /livez HT", b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n"][n % 3]))
        .collect();
    let median = median(&run);
    println!("median among {} idle clients: {median:?}", idle.len());
    assert!(median < Duration::from_millis(100), "{median:?}");
}

#[test]
fn a_client_may_ask_many_times_on_one_connection() {
    let run = pool(&[], example_worker(&[])).start();
    run.wait_for("worker ready");
    let mut client = http::KeptAlive::connect(&run.health()).unwrap();
    for _ in 0..20 {
        assert_eq!(client.get("/readyz").unwrap().status, 200);
    }
    run.signal(libc::SIGTERM);
    // And it learns of the change on it.
    let mut last = client.get("/readyz");
    while last.as_ref().is_ok_and(|answer| answer.status == 200) {
        last = client.get("/readyz");
    }
    if let Ok(answer) = last {
        assert_eq!(answer.status, 503);
    }
}
