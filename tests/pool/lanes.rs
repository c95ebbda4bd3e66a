//! Each worker has listeners of its own: who gets which connections, and what becomes of them.

use super::python::python;
use super::{allow, assert_stops, brisk, catch_up, freeze, reload, wait_serving, who_answers};
use crate::harness::http::{self, Pending};
use crate::harness::{Run, eventually, kill, launch};
use nix::sys::socket::{self, AddressFamily, Backlog, SockFlag, SockType, SockaddrStorage, sockopt};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::Read;
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsRawFd;

/// Holds that of 400 connections each of four workers has its share: within five standard deviations, which chance
/// leaves once in a million.
fn assert_even(shares: &BTreeMap<String, usize>) {
    assert_eq!((shares.len(), shares.values().sum::<usize>()), (4, 400), "{shares:?}");
    assert!(shares.values().all(|share| (57..=143).contains(share)), "{shares:?}");
}

#[test]
fn connections_are_spread_evenly() {
    let run = brisk(&["-n", "4"], "serve()");
    wait_serving(&run, 4);
    for _ in 0..2 {
        let mut shares = BTreeMap::new();
        for _ in 0..400 {
            *shares.entry(http::get(&run.address(0), "/").unwrap().body).or_insert(0) += 1;
        }
        assert_even(&shares);
        // The lanes are in another order then.
        reload(&run);
    }
    assert_stops(run);
}

#[test]
fn connections_that_are_kept_are_spread_evenly_though_one_worker_is_slow() {
    let script = "
listener, kept = socket.socket(fileno=3), []
while True:
    kept.append(listener.accept()[0])
    if is_worker(0): time.sleep(0.01)
    kept[-1].sendall(b'%06d' % os.getpid())";
    let run = brisk(&["-n", "4"], script);
    wait_serving(&run, 4);
    let address = run.address(0);
    let mut clients: Vec<_> = (0..400).map(|_| TcpStream::connect(&address).unwrap()).collect();
    let mut shares = BTreeMap::new();
    for client in &mut clients {
        let mut pid = [0; 6];
        client.read_exact(&mut pid).unwrap();
        *shares.entry(String::from_utf8_lossy(&pid).into_owned()).or_insert(0) += 1;
    }
    assert_even(&shares);
}

#[test]
fn accepted_connections_have_nodelay_in_every_lane() {
    let script = "
listener = socket.socket(fileno=3)
while True:
    connection = listener.accept()[0]
    connection.recv(65536)
    body = '%d %d' % (connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY), os.getpid())
    head = 'HTTP/1.1 200 OK\\r\\nContent-Length: %d\\r\\n\\r\\n' % len(body)
    connection.sendall((head + body).encode())
    connection.close()";
    let run = brisk(&["-n", "3"], script);
    let mut pids = wait_serving(&run, 3);
    while !pids.is_empty() {
        let answer = http::get(&run.address(0), "/").unwrap().body;
        let (nodelay, pid) = answer.split_once(' ').unwrap();
        assert_eq!(nodelay, "1");
        pids.remove(&pid.parse().unwrap());
    }
}

/// The first worker 1 does this with its listener once the file `go` is there, and serves no more; all others serve.
fn spoil(what: &str) -> Run {
    let script = format!(
        "
if is_worker(1) and not os.path.exists('spoilt'):
    listener = socket.socket(fileno=3)
    listener.settimeout(0.005)
    while not os.path.exists('go'):
        try:
            answer(listener, lambda: str(os.getpid()))
        except TimeoutError:
            pass
    listener.setblocking(True)
    {what}
    note('spoilt', str(os.getpid()))
    sleep_for_ever()
serve()"
    );
    let run = brisk(&["-n", "3"], &script);
    wait_serving(&run, 3);
    allow(&run, "go");
    run
}

#[test]
fn what_a_worker_did_to_its_listener_is_set_right_for_the_next() {
    let limit =
        "int.from_bytes(listener.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104)[28:32], 'little')";
    for what in [
        "listener.shutdown(socket.SHUT_RDWR)",
        "listener.listen(1)",
        "listener.setblocking(False)",
        "listener.close()",
    ] {
        // It stays until it is killed, though one that shuts its listener down is asked to stop.
        let run = spoil(&format!("signal.signal(signal.SIGTERM, signal.SIG_IGN); {what}"));
        let spoiler: i64 = run.wait_lines("spoilt", 1).trim().parse().unwrap();
        kill(run.outer_pid(spoiler), libc::SIGKILL);
        run.log.wait_count("worker ready", 4);
        let all = wait_serving(&run, 3);
        assert!(!all.contains(&spoiler));
        assert_eq!(who_answers(&run.address(0), 3), all, "{what}");
        let again = run.log.with_message("worker spawned");
        assert_eq!(again.len(), 4, "{what}: {again:?}");
        assert!(run.log.with_message("connections cannot be steered").is_empty(), "{what}");
        assert_stops(run);
    }
    let script = format!("listener = socket.socket(fileno=3)\nserve(listener, lambda: str({limit}))");
    let run = brisk(&["-n", "2", "--backlog", "77"], &script);
    wait_serving(&run, 2);
    let limits: std::collections::BTreeSet<_> =
        (0..40).map(|_| http::get(&run.address(0), "/").unwrap().body).collect();
    assert_eq!(limits.into_iter().collect::<Vec<_>>(), ["77"]);
}

#[test]
fn connections_of_a_killed_worker_wait_for_its_respawn_while_others_serve() {
    let script = "
if os.path.exists('slow'): wait_for_file('go')
serve()";
    let run = brisk(&["-n", "2"], script);
    wait_serving(&run, 2);
    let victim = run.log.wait_for("worker ready", |line| line["slot"] == 1)["pid"].as_i64().unwrap();
    let address = run.address(0);
    freeze(&run, victim);
    let all: Vec<_> = (0..40).map(|_| Pending::get(&address, "/").unwrap()).collect();
    allow(&run, "slow");
    kill(run.outer_pid(victim), libc::SIGKILL);
    run.log.wait_count("worker spawned", 3);
    catch_up(&run);
    for _ in 0..40 {
        // Nobody is led to where nobody serves.
        assert_eq!(http::get(&address, "/").unwrap().status, 200);
    }
    allow(&run, "go");
    let mut served = BTreeMap::new();
    for waiting in all {
        let answer = waiting.answer().unwrap();
        assert_eq!(answer.status, 200);
        *served.entry(answer.body).or_insert(0) += 1;
    }
    let next = run.log.wait_for("worker ready", |line| line["slot"] == 1 && line["pid"] != victim);
    assert!(served.contains_key(&next["pid"].to_string()), "{served:?} {next}");
    assert_eq!(run.log.with_message("worker ready").len(), 3);
    assert_stops(run);
}

/// Listens where the kernel chooses, perhaps in the way of those who share an address.
fn stranger(address: &str, shares: bool) -> (std::os::fd::OwnedFd, String) {
    let address: SocketAddr = address.parse().unwrap();
    let family = if address.is_ipv6() { AddressFamily::Inet6 } else { AddressFamily::Inet };
    let fd = socket::socket(family, SockType::Stream, SockFlag::SOCK_CLOEXEC, None).unwrap();
    socket::setsockopt(&fd, sockopt::ReusePort, &shares).unwrap();
    socket::setsockopt(&fd, sockopt::ReuseAddr, &true).unwrap();
    socket::bind(fd.as_raw_fd(), &SockaddrStorage::from(address)).unwrap();
    socket::listen(&fd, Backlog::new(5).unwrap()).unwrap();
    let name = socket::getsockname::<SockaddrStorage>(fd.as_raw_fd()).unwrap().to_string();
    (fd, name)
}

#[test]
fn an_address_at_which_a_stranger_listens_is_refused_at_the_start() {
    for at in ["127.0.0.1:0", "[::1]:0", "0.0.0.0:0"] {
        for (shares, how) in [(false, "per-worker"), (true, "per-worker"), (true, "shared")] {
            let (_held, address) = stranger(at, shares);
            let words = ["-n", "2", "--listener", how, "-b", &address, "--"].map(OsString::from);
            let (code, _, log) = launch(words.into_iter().chain(python("serve()"))).finish();
            assert_eq!(code, 125, "{address} {shares} {how}: {log}");
            assert!(log.contains("stop what listens there, or use another port"), "{log}");
        }
    }
}

#[test]
fn nobody_else_gets_in_among_the_listeners_while_the_pool_runs() {
    for how in ["per-worker", "shared"] {
        let run = brisk(&["-n", "2", "--listener", how], "serve()");
        wait_serving(&run, 2);
        let words = ["-n", "2", "--listener", how, "-b", &run.address(0), "--"].map(OsString::from);
        let (code, _, log) = launch(words.into_iter().chain(python("serve()"))).finish();
        assert_eq!(code, 125, "{how}: {log}");
        assert_eq!(who_answers(&run.address(0), 2), wait_serving(&run, 2));
    }
}

#[test]
fn no_lane_leaks_into_a_worker_however_often_they_change() {
    let script = "
fds = sorted(int(fd) for fd in os.listdir('/proc/self/fd'))
note('fds', ' '.join(map(str, fds[:-1])))
serve()";
    let run = brisk(&["-n", "2"], script);
    wait_serving(&run, 2);
    run.signal(libc::SIGTTIN);
    wait_serving(&run, 3);
    reload(&run);
    run.signal(libc::SIGTTOU);
    wait_serving(&run, 2);
    reload(&run);
    let told = run.wait_lines("fds", 8);
    assert!(told.lines().all(|line| line == "0 1 2 3"), "{told}");
    let held = || std::fs::read_dir(format!("/proc/{}/fd", run.pid)).unwrap().count();
    // A look at somebody takes one for a moment.
    let before = (0..50).map(|_| held()).min().unwrap();
    reload(&run);
    eventually("no more descriptors than before", || (held() <= before).then_some(()));
    assert_stops(run);
}

#[test]
fn a_worker_that_shuts_its_listener_down_and_lives_on_costs_nobody_anything() {
    let run = spoil("listener.shutdown(socket.SHUT_RDWR)");
    let spoiler: i64 = run.wait_lines("spoilt", 1).trim().parse().unwrap();
    let warning = run.log.wait_for("worker shut its listener down", |line| line["pid"] == spoiler);
    assert_eq!(warning["level"], "WARN");
    // The line comes first.
    catch_up(&run);
    // It takes none, and nobody waits for it.
    for _ in 0..60 {
        let who: i64 = http::get(&run.address(0), "/").unwrap().body.trim().parse().unwrap();
        assert_ne!(who, spoiler);
    }
    run.log.wait_for("worker stopping", |line| line["pid"] == spoiler);
    assert_eq!(who_answers(&run.address(0), 3), wait_serving(&run, 3));
    assert_stops(run);
}
