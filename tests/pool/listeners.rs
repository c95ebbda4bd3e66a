//! The listeners: made well, kept well, cleaned up.

use super::python::python;
use super::{pool, uvicorn, with_apps};
use crate::harness::{Run, eventually, http, launch};
use std::ffi::OsString;
use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::time::{Duration, Instant};

#[test]
fn tcp_listeners_have_nodelay() {
    let script = "listener = socket.socket(fileno=3)
serve(listener, lambda: str(listener.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)))";
    let run = pool(&[], python(script)).start();
    assert_eq!(http::get(&run.address(0), "/").unwrap().body, "1");
}

/// Without TCP_NODELAY a request takes 44 ms: the head and the body of the answer are written apart, and the body
/// waits for the client's delayed acknowledgement.
#[test]
fn keep_alive_requests_to_uvicorn_do_not_wait_for_acknowledgements() {
    let run = with_apps(pool(&[], uvicorn(&[]))).start();
    run.wait_for("worker ready");
    let mut connection = http::KeptAlive::connect(&run.address(0)).unwrap();
    let mut one = || {
        let start = Instant::now();
        assert_eq!(connection.get("/").unwrap().status, 200);
        start.elapsed()
    };
    let mut times: Vec<Duration> = (0..50).map(|_| one()).collect();
    times.sort();
    assert!(times[25] < Duration::from_millis(20), "{times:?}");
}

#[test]
fn the_backlog_is_restored_after_a_worker_changed_it() {
    // `struct tcp_info` of a listener tells the queue's limit in tcpi_sacked, at byte 28.
    let script = "listener = socket.socket(fileno=3)
limit = lambda: int.from_bytes(listener.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104)[28:32], 'little')
given = limit()
listener.listen(5)
changed = limit()
serve(listener, lambda: '%d %d %d' % (given, changed, limit()))";
    let run = pool(&["--backlog", "300"], python(script)).start();
    let restored = |run: &Run| {
        eventually("a restored backlog", || {
            (http::get(&run.address(0), "/").unwrap().body == "300 5 300").then_some(())
        });
    };
    restored(&run);
    // A worker that comes later changes it again.
    let first = run.wait_for("worker ready")["pid"].as_i64().unwrap();
    crate::harness::kill(run.outer_pid(first), libc::SIGKILL);
    run.log.wait_count("worker ready", 2);
    restored(&run);
}

#[test]
fn the_same_address_listens_again_at_once_after_a_stop() {
    let mut run = pool(&[], python("serve()")).start();
    let address = run.address(0);
    // The server closes first, so that the connection stays behind in TIME_WAIT.
    assert_eq!(http::get(&address, "/").unwrap().status, 200);
    run.signal(libc::SIGTERM);
    assert_eq!(run.wait_exit(), 0);
    let words = ["-b", &address, "--"].map(OsString::from);
    let run = launch(words.into_iter().chain(python("serve()"))).start();
    assert_eq!(http::get(&run.address(0), "/").unwrap().status, 200);
}

fn unix_pool() -> crate::harness::Launch {
    launch(["-b", "unix:app.sock", "--"].map(OsString::from).into_iter().chain(python("serve()")))
}

fn get_at(path: &Path) -> String {
    let mut stream = UnixStream::connect(path).unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn a_unix_socket_serves_and_is_removed_at_the_end() {
    let mut run = unix_pool().start();
    run.wait_for("worker ready");
    let path = run.dir().join("app.sock");
    assert!(get_at(&path).starts_with("HTTP/1.1 200 OK"));
    run.signal(libc::SIGTERM);
    assert_eq!(run.wait_exit(), 0);
    assert!(!path.exists());
}

#[test]
fn a_unix_socket_that_nobody_serves_any_more_is_replaced() {
    let launch = unix_pool();
    let path = launch.dir().join("app.sock");
    drop(UnixListener::bind(&path).unwrap());
    let run = launch.start();
    run.wait_for("worker ready");
    assert!(get_at(&path).starts_with("HTTP/1.1 200 OK"));
}

#[test]
fn a_unix_socket_of_a_successor_is_left_alone() {
    let mut run = unix_pool().start();
    run.wait_for("worker ready");
    let path = run.dir().join("app.sock");
    std::fs::remove_file(&path).unwrap();
    let _successor = UnixListener::bind(&path).unwrap();
    run.signal(libc::SIGTERM);
    assert_eq!(run.wait_exit(), 0);
    assert!(path.exists());
}

#[test]
fn a_unix_socket_whose_owner_takes_nobody_any_more_is_in_use() {
    let launch = unix_pool();
    let path = launch.dir().join("app.sock");
    let script = "
import socket, sys
owner = socket.socket(socket.AF_UNIX); owner.bind(sys.argv[1]); owner.listen(0)
clients = [socket.socket(socket.AF_UNIX) for _ in range(3)]
for client in clients: client.setblocking(False)
try:
    for client in clients: client.connect(sys.argv[1])
except BlockingIOError: print('full', flush=True)
sys.stdin.read()";
    let mut owner = std::process::Command::new(crate::harness::python())
        .args(["-c".as_ref(), script.as_ref(), path.as_os_str()])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut full = [0; 4];
    let mut said = owner.stdout.take().unwrap();
    said.read_exact(&mut full).unwrap();
    let mut run = launch.start();
    assert_eq!(run.wait_exit(), 125, "{}", run.log.text());
    assert!(run.log.text().contains("somebody listens there"), "{}", run.log.text());
    drop(owner.stdin.take());
    owner.wait().unwrap();
}
