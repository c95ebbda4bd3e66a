//! The endpoint under abuse: many connections, slow ones, long heads, bodies; and as a unix socket.

use super::python::python;
use super::{allow, example_worker, pool};
use crate::harness::watch::Watch;
use crate::harness::{Run, http, kill, launch, status_line};
use std::ffi::OsString;
use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::process::Command;
use std::time::{Duration, Instant};

fn connect(run: &Run, first: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect(run.health()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream.write_all(first).unwrap();
    stream
}

/// What comes until the other side closes, or resets.
fn rest(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    let _reset = stream.read_to_end(&mut bytes);
    String::from_utf8_lossy(&bytes).into_owned()
}

const ASK: &[u8] = b"GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n";

fn resident(run: &Run) -> u64 {
    let text = status_line(run.pid, "VmRSS").unwrap();
    text.trim_end_matches("kB").trim().parse().unwrap()
}

#[test]
fn of_500_connections_that_ask_each_is_answered_though_all_workers_are_stopped() {
    let run = pool(&["-n", "2"], example_worker(&[])).start();
    run.log.wait_count("worker ready", 2);
    for worker in run.log.with_message("worker ready") {
        kill(run.outer_pid(worker["pid"].as_i64().unwrap()), libc::SIGSTOP);
    }
    let before = resident(&run);
    // They stay connected, and have asked.
    let mut open: Vec<_> = (0..500).map(|_| connect(&run, ASK)).collect();
    let mut answered = 0;
    for stream in &mut open {
        let mut head = [0; 15];
        answered += usize::from(stream.read_exact(&mut head).is_ok() && head.starts_with(b"HTTP/1.1 200 OK"));
    }
    assert_eq!(answered, 500);
    // And 500 that say nothing at all keep nobody from an answer.
    let idle: Vec<_> = (0..500).map(|_| connect(&run, b"")).collect();
    let begun = Watch::start();
    assert_eq!(http::get(&run.health(), "/readyz").unwrap().status, 200);
    // After 3 s those who say nothing are cut off.
    assert!(begun.ran() < Duration::from_millis(2_500), "{:?}", begun.elapsed());
    let grown = resident(&run).saturating_sub(before);
    assert!(grown < 4_000, "{grown} kB more for {} connections", open.len() + idle.len());
    let fds = fs::read_dir(format!("/proc/{}/fd", run.pid)).unwrap().count();
    assert!(fds < 200, "{fds} descriptors");
}

#[test]
fn a_slow_head_is_cut_off_after_a_few_seconds() {
    let run = pool(&[], example_worker(&[])).start();
    run.wait_for("worker ready");
    let begun = Instant::now();
    let mut slow = connect(&run, b"GET /livez HTTP/1.1\r\n");
    slow.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    let mut byte = [0; 1];
    let cut = loop {
        match slow.read(&mut byte) {
            Ok(0) => break begun.elapsed(),
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                if slow.write_all(b"a").is_err() {
                    break begun.elapsed();
                }
            }
            Err(_) => break begun.elapsed(),
        }
        assert!(begun.elapsed() < Duration::from_secs(9), "it may go on");
    };
    assert!(cut > Duration::from_secs(2) && cut < Duration::from_secs(6), "{cut:?}");
    assert_eq!(http::get(&run.health(), "/livez").unwrap().status, 200);
}

#[test]
fn heads_that_are_too_long_and_bodies_are_not_read() {
    let run = pool(&[], example_worker(&[])).start();
    run.wait_for("worker ready");
    let before = resident(&run);
    let long = [
        format!("GET /{} HTTP/1.1\r\nHost: x\r\n\r\n", "x".repeat(60_000)),
        format!("GET /livez HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(1_000_000)),
        format!("GET /livez HTTP/1.1\r\n{}\r\n", "X: y\r\n".repeat(10_000)),
    ];
    for head in long {
        let mut stream = TcpStream::connect(run.health()).unwrap();
        let _refused = stream.write_all(head.as_bytes());
        let answer = rest(&mut stream);
        assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{answer}");
    }
    for (method, code) in [("GET", 200), ("POST", 405), ("PUT", 405)] {
        for head in [
            "Content-Length: 1000000000",
            "Transfer-Encoding: chunked",
            "Content-Length: 5\r\nExpect: 100-continue",
        ] {
            let first = format!("{method} /livez HTTP/1.1\r\nHost: x\r\n{head}\r\n\r\n");
            let mut stream = connect(&run, first.as_bytes());
            // The answer comes before the body, and then it is over.
            let answer = rest(&mut stream);
            assert!(answer.starts_with(&format!("HTTP/1.1 {code}")), "{method} {head}: {answer}");
            assert!(!answer.contains("100 Continue"), "{answer}");
        }
    }
    // Nobody reads what is sent all the same.
    let mut stream = connect(&run, b"POST /livez HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000000\r\n\r\n");
    let megabyte = vec![b'x'; 1 << 20];
    let sent = (0..64).take_while(|_| stream.write_all(&megabyte).is_ok()).count();
    assert!(sent < 64, "64 MB were taken");
    let grown = resident(&run).saturating_sub(before);
    assert!(grown < 4_000, "{grown} kB more");
    assert_eq!(http::get(&run.health(), "/livez").unwrap().status, 200);
}

#[test]
fn verbose_names_each_check() {
    let run = pool(&["-n", "2", "--min-ready", "2"], python("if is_worker(1): wait_for_file('go')\nserve()"))
        .start();
    run.log.wait_for("worker ready", |line| line["slot"] == 0);
    let get = |path: &str| http::get(&run.health(), path).unwrap();
    for path in ["/readyz?verbose", "/ready?verbose=1", "/health/ready?x=y&verbose"] {
        let answer = get(path);
        assert_eq!(answer.status, 503, "{path}");
        assert_eq!(answer.body, "[+]phase ok\n[-]workers failed: 1 of 2 ready\nreadyz check failed\n");
        assert!(answer.header("content-type").starts_with("text/plain"), "{answer:?}");
    }
    assert_eq!(get("/startupz?verbose").body.lines().last(), Some("startupz check failed"));
    allow(&run, "go");
    run.wait_for("pool ready");
    assert_eq!(get("/readyz?verbose").body, "[+]phase ok\n[+]workers ok\nreadyz check passed\n");
    assert_eq!(get("/livez?verbose").body, "[+]loop ok\n[+]workers ok\nlivez check passed\n");
    assert_eq!(get("/startupz?verbose").body, "[+]started ok\nstartupz check passed\n");
    // Without the question it is as it was.
    assert!(get("/readyz").body.starts_with("{\"status\":\"ok\","));
}

#[test]
fn health_on_a_unix_socket_is_for_everybody_who_gets_there() {
    let words = ["-b", "127.0.0.1:0", "--health", "unix:health", "--"].map(OsString::from);
    let mut run = launch(words.into_iter().chain(example_worker(&[])))
        .through(["sh", "-c", "umask 077; exec \"$@\"", "sh"])
        .start();
    run.wait_for("worker ready");
    let path = run.dir().join("health");
    assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o666);
    let mut stream = UnixStream::connect(&path).unwrap();
    stream.write_all(b"GET /readyz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");

    fs::set_permissions(run.dir(), fs::Permissions::from_mode(0o755)).unwrap();
    let copy = run.dir().join("client");
    crate::harness::install(&crate::harness::binary(), &copy);
    fs::set_permissions(&copy, fs::Permissions::from_mode(0o755)).unwrap();
    let mut nobody = Command::new("setpriv");
    nobody.args(["--reuid", "65534", "--regid", "65534", "--clear-groups"]).arg(&copy);
    nobody.args(["healthcheck", "--ready"]).env("PREFORK_HEALTH", format!("unix:{}", path.display()));
    assert!(nobody.status().unwrap().success());

    run.signal(libc::SIGTERM);
    assert_eq!(run.wait_exit(), 0);
    assert!(!path.exists(), "the socket is left");
}

/// As `nc -N` does: it says at once that it will ask no more.
#[test]
fn who_has_nothing_more_to_ask_is_answered() {
    let run = pool(&[], example_worker(&[])).start();
    run.wait_for("worker ready");
    for path in ["/livez", "/status", "/metrics"] {
        for _ in 0..10 {
            let mut stream = TcpStream::connect(run.health()).unwrap();
            stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).unwrap();
            stream.shutdown(std::net::Shutdown::Write).unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).unwrap();
            assert!(answer.starts_with("HTTP/1.1 200 "), "{path}: {answer}");
        }
    }
}
