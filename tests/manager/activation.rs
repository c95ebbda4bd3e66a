//! Sockets that somebody bound for us become the workers'.

use crate::harness::http::{self, Pending};
use crate::harness::load::Load;
use crate::harness::{LIMIT, Launch, Run, binary, eventually, kill, launch, python};
use nix::sys::socket::{ControlMessage, MsgFlags, sendmsg, setsockopt, sockopt};
use serde_json::Value;
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::io::{IoSlice, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;

const LAUNCHER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/manager/launcher.py");

/// Serves every listener, and answers with its pid; notes what it was given. At TERM it serves nobody new.
const SERVER: &str = r#"
import json, os, select, signal, socket

listeners = [socket.socket(fileno=3 + n) for n in range(int(os.environ["LISTEN_FDS"]))]
with open("seen", "a") as file:
    seen = {
        "env": dict(os.environ), "pid": os.getpid(), "inodes": [os.fstat(l.fileno()).st_ino for l in listeners],
        "fds": sorted(map(int, os.listdir("/proc/self/fd"))), "ttl": [l.getsockopt(0, 21) for l in listeners if l.family == 2],
    }
    file.write(json.dumps(seen) + "\n")
stopping = []
signal.signal(signal.SIGTERM, lambda *_: stopping.append(1))
for listener in listeners: listener.setblocking(False)
while not stopping:
    for listener in select.select(listeners, [], [], 0.02)[0]:
        try:
            connection = listener.accept()[0]
        except OSError:
            continue
        with connection:
            connection.settimeout(5)
            connection.recv(65536)
            body = str(os.getpid())
            connection.sendall(("HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(body) + body).encode())
"#;

/// At its end it shuts its listeners down for everybody.
const RUDE: &str = "\nfor listener in listeners: listener.shutdown(socket.SHUT_RD)\n";

fn server(script: &str) -> Vec<OsString> {
    [python(), "-I".into(), "-S".into(), "-c".into(), script.into()].to_vec()
}

/// A pool on these sockets.
fn given(sockets: &str, names: &str, options: &[&str], command: Vec<OsString>) -> Launch {
    let brisk = ["--replacement-gap", "0s", "--drain-time", "50ms"];
    let brisk = if options.contains(&"--drain-time") { &brisk[..2] } else { &brisk };
    let words = brisk.iter().chain(options).chain(&["--"]).map(OsString::from);
    let launcher = [python(), "-IS".into(), LAUNCHER.into(), sockets.into(), names.into()];
    launch(words.chain(command)).through(launcher)
}

fn seen(run: &Run, workers: usize) -> Vec<Value> {
    eventually("whole lines", || {
        run.wait_lines("seen", workers).lines().map(|line| serde_json::from_str(line).ok()).collect()
    })
}

/// Where the sockets are.
fn places(run: &Run, count: usize) -> Vec<String> {
    run.wait_lines("stdout", count).lines().map(str::to_owned).collect()
}

fn stops(mut run: Run) {
    run.signal(libc::SIGTERM);
    assert_eq!(run.wait_exit(), 0, "{}", run.log.text());
}

fn answering(address: &str, workers: usize) -> BTreeSet<String> {
    let mut seen = BTreeSet::new();
    eventually("an answer of every worker", || {
        seen.insert(http::get(address, "/").unwrap().body);
        (seen.len() >= workers).then(|| seen.clone())
    })
}

fn get_at(mut stream: UnixStream) -> String {
    stream.write_all(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// Where a socket of this test is to be had.
struct Offer(tempfile::TempDir);

impl Offer {
    /// As the launcher is told.
    fn sockets(&self) -> String {
        format!("fd:{}", self.0.path().join("give").display())
    }
}

/// Gives a socket of this test to the launcher, each time that one asks for it.
fn give(socket: BorrowedFd<'_>) -> Offer {
    let offer = Offer(tempfile::tempdir().unwrap());
    let socket = socket.try_clone_to_owned().unwrap();
    let listener = UnixListener::bind(offer.0.path().join("give")).unwrap();
    std::thread::spawn(move || {
        for asks in listener.incoming() {
            let fds = [socket.as_raw_fd()];
            let rights = [ControlMessage::ScmRights(&fds)];
            let byte = [IoSlice::new(b"!")];
            sendmsg::<()>(asks.unwrap().as_raw_fd(), &byte, &rights, MsgFlags::empty(), None).unwrap();
        }
    });
    offer
}

#[test]
fn each_worker_gets_a_listener_of_its_own_at_the_given_address() {
    for host in ["127.0.0.1", "0.0.0.0", "::1", "::"] {
        let run = given(&format!("tcp:{host}:0"), "web", &["-n", "3"], server(SERVER)).start();
        run.log.wait_count("worker ready", 3);
        let place = places(&run, 1).remove(0);
        let port = place.rsplit(':').next().unwrap();
        let address = if host == "::1" { format!("[::1]:{port}") } else { format!("127.0.0.1:{port}") };
        assert_eq!(answering(&address, 3).len(), 3);
        let seen = seen(&run, 3);
        let inodes: BTreeSet<_> = seen.iter().map(|worker| worker["inodes"].to_string()).collect();
        assert_eq!(inodes.len(), 3, "{}", run.log.text());
        for worker in &seen {
            let env = &worker["env"];
            assert_eq!((&env["LISTEN_FDS"], &env["LISTEN_FDNAMES"]), (&"1".into(), &"web".into()));
            assert_eq!(env["LISTEN_PID"], worker["pid"].to_string());
            // Its listener, and the directory by which it looks.
            assert_eq!(worker["fds"], serde_json::json!([0, 1, 2, 3, 4, 5]), "and the file it writes");
            assert_ne!(worker["ttl"], serde_json::json!([255]), "it hears everybody");
        }
        let listening = run.wait_for("listening");
        assert_eq!(listening["by"], "LISTEN_FDS");
        stops(run);
    }
}

#[test]
fn several_sockets_keep_their_order_and_their_names_and_bind_adds_to_them() {
    let options = ["-n", "2", "-b", "127.0.0.1:0"];
    let run = given("unix:app.sock,tcp:127.0.0.1:0,unix:@here", "a:b:c", &options, server(SERVER)).start();
    run.log.wait_count("worker ready", 2);
    let tcp = places(&run, 3).remove(1);
    let seen = seen(&run, 2);
    assert_eq!(seen[0]["env"]["LISTEN_FDS"], "4");
    assert_eq!(seen[0]["env"]["LISTEN_FDNAMES"], "a:b:c:listener-3");
    let inode = |worker: usize, listener: usize| seen[worker]["inodes"][listener].as_u64();
    assert_eq!(inode(0, 0), inode(1, 0), "a unix socket is shared");
    assert_ne!(inode(0, 1), inode(1, 1));
    for address in [tcp, run.address(3)] {
        assert_eq!(answering(&address, 2).len(), 2);
    }
    let path = run.dir().join("app.sock");
    assert!(get_at(UnixStream::connect(&path).unwrap()).starts_with("HTTP/1.1 200 OK"));
    stops_and_leaves(run, &path);
}

fn stops_and_leaves(mut run: Run, path: &Path) {
    run.signal(libc::SIGTERM);
    assert_eq!(run.wait_exit(), 0);
    assert!(path.exists(), "it is not ours to remove");
}

#[test]
fn a_variable_and_the_port_are_for_when_nothing_is_given() {
    for (name, value) in [("PREFORK_BIND", "127.0.0.1:1"), ("PORT", "1")] {
        let command = server(SERVER).into_iter().chain(["{fd}".into()]).collect();
        let run = given("tcp:127.0.0.1:0", "", &[], command).env(name, value).start();
        run.wait_for("worker ready");
        assert_eq!(run.log.with_message("listening").len(), 1);
        assert_eq!(run.log.with_message("bind is ignored").len(), usize::from(name != "PORT"));
        assert_eq!(seen(&run, 1)[0]["env"]["LISTEN_FDNAMES"], "listener-0");
        assert_eq!(http::get(&places(&run, 1)[0], "/").unwrap().status, 200);
        stops(run);
    }
}

#[test]
fn a_reload_and_a_change_of_the_number_lose_nothing() {
    let run = given("tcp:127.0.0.1:0", "", &["-n", "2"], server(SERVER)).start();
    run.log.wait_count("worker ready", 2);
    let load = Load::start(&places(&run, 1)[0], "/", 4);
    load.wait_ok(50);
    for round in 1..=3 {
        run.signal(libc::SIGHUP);
        run.log.wait_count("reload finished", round);
    }
    run.signal(libc::SIGTTIN);
    run.log.wait_until(|lines| lines.iter().filter(|line| line["message"] == "worker ready").count() == 9);
    run.signal(libc::SIGTTOU);
    run.log.wait_for("worker exited", |line| line["reason"] == "scale");
    load.wait_ok(50);
    let (_, refused, lost, other) = load.stop();
    assert_eq!((refused, lost, other), (0, 0, 0));
    stops(run);
}

/// systemd keeps its socket, and starts the service again when somebody comes.
#[test]
fn whoever_comes_at_the_end_waits_for_the_next_who_gets_the_socket() {
    for listener in ["per-worker", "shared"] {
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap().to_string();
        let offer = give(socket.as_fd());
        let start = || {
            // Handshakes that are under way may take as long.
            let options = ["-n", "2", "--listener", listener, "--drain-time", "1s"];
            given(&offer.sockets(), "", &options, server(SERVER)).start()
        };
        // These came before the first program.
        let early: Vec<_> = (0..5).map(|_| Pending::get(&address, "/").unwrap()).collect();
        let run = start();
        for early in early {
            assert_eq!(early.answer().unwrap().status, 200);
        }
        assert!(run.log.with_message("connections to a socket").is_empty(), "{}", run.log.text());
        let load = Load::start(&address, "/", 4);
        load.wait_ok(50);
        // One that serves may not have been seen to yet, and is not waited for.
        run.log.wait_count("worker ready", 2);
        stops(run);
        // Nobody is there, and nobody is refused.
        let waits: Vec<_> = (0..5).map(|_| Pending::get(&address, "/").unwrap()).collect();
        let run = start();
        for waits in waits {
            assert_eq!(waits.answer().unwrap().status, 200);
        }
        load.wait_ok(50);
        let (_, refused, lost, other) = load.stop();
        assert_eq!((refused, lost, other), (0, 0, 0), "{listener}");
        stops(run);
    }
}

/// Clients, a connection a request, that wait as long as it takes: one that asked while none was let in asks again
/// later and later.
struct Patient {
    answered: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
    clients: Vec<JoinHandle<Vec<String>>>,
}

impl Patient {
    fn start(address: &str, clients: usize) -> Self {
        let (answered, stop) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
        let one = |_| {
            let (answered, stop) = (Arc::clone(&answered), Arc::clone(&stop));
            let address = address.to_owned();
            let come = move || {
                let mut lost = Vec::new();
                while !stop.load(Ordering::Relaxed) {
                    match ask(&address) {
                        Ok(answer) if answer.starts_with("HTTP/1.1 200 OK") => {
                            answered.fetch_add(1, Ordering::Relaxed);
                        }
                        other => lost.push(format!("{other:?}")),
                    }
                }
                lost
            };
            std::thread::spawn(come)
        };
        let clients = (0..clients).map(one).collect();
        Self { answered, stop, clients }
    }

    fn wait_answered(&self, more: usize) {
        let target = self.answered.load(Ordering::Relaxed) + more;
        eventually("more answers", || (self.answered.load(Ordering::Relaxed) >= target).then_some(()));
    }

    /// What became of those that got no answer.
    fn stop(self) -> Vec<String> {
        self.stop.store(true, Ordering::Relaxed);
        self.clients.into_iter().flat_map(|client| client.join().unwrap()).collect()
    }
}

fn ask(address: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(LIMIT))?;
    stream.write_all(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

/// Ends come one after the other, and some while workers start; many clients come all the time.
#[test]
fn nobody_is_lost_however_often_the_socket_changes_hands() {
    for listener in ["per-worker", "shared"] {
        let socket = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap().to_string();
        let offer = give(socket.as_fd());
        let clients = Patient::start(&address, 40);
        for round in 0..6 {
            let options = ["-n", "4", "--listener", listener, "--drain-time", "1s"];
            let run = given(&offer.sockets(), "", &options, server(SERVER)).start();
            // Those that are ready serve; others may, and have not been seen to.
            run.log.wait_count("worker ready", 1 + round % 4);
            clients.wait_answered(20);
            stops(run);
        }
        let run = given(&offer.sockets(), "", &["-n", "1"], server(SERVER)).start();
        clients.wait_answered(50);
        let lost = clients.stop();
        assert!(lost.is_empty(), "{listener}: {lost:?}");
        stops(run);
    }
}

#[test]
fn one_that_a_worker_shuts_down_at_its_end_listens_again() {
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let offer = give(socket.as_fd());
    for listener in ["per-worker", "shared"] {
        let (script, options) = (format!("{SERVER}{RUDE}"), ["-n", "2", "--listener", listener]);
        let run = given(&offer.sockets(), "", &options, server(&script)).start();
        run.log.wait_count("worker ready", 2);
        assert_eq!(http::get(&socket.local_addr().unwrap().to_string(), "/").unwrap().status, 200);
        stops(run);
        let client = TcpStream::connect(socket.local_addr().unwrap()).unwrap();
        socket.set_nonblocking(false).unwrap();
        assert_eq!(socket.accept().unwrap().1, client.local_addr().unwrap());
    }
}

#[test]
fn a_crash_loop_that_is_given_up_leaves_the_socket_listening() {
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let offer = give(socket.as_fd());
    let options = ["-n", "2", "--max-restarts", "0"];
    let mut run = given(&offer.sockets(), "", &options, server("raise SystemExit(1)")).start();
    assert_eq!(run.wait_exit(), 3);
    let client = TcpStream::connect(socket.local_addr().unwrap()).unwrap();
    assert_eq!(socket.accept().unwrap().1, client.local_addr().unwrap());
}

#[test]
fn an_exchange_of_the_program_keeps_them() {
    let launch = given("tcp:127.0.0.1:0,unix:app.sock", "web:local", &["-n", "2"], server(SERVER));
    let run = launch.of_a_copy().start();
    run.log.wait_count("worker ready", 2);
    let address = places(&run, 2).remove(0);
    let before = answering(&address, 2);
    let load = Load::start(&address, "/", 3);
    for round in 1..=2 {
        run.signal(libc::SIGUSR2);
        run.log.wait_count("upgraded", round);
        load.wait_ok(30);
    }
    assert_eq!(answering(&address, 2), before, "nobody was restarted");
    run.signal(libc::SIGHUP);
    run.wait_for("reload finished");
    assert!(answering(&address, 2).is_disjoint(&before));
    let (_, refused, lost, other) = load.stop();
    assert_eq!((refused, lost, other), (0, 0, 0));
    let seen = seen(&run, 4);
    assert_eq!(seen[3]["env"]["LISTEN_FDNAMES"], "web:local");
    assert!(!seen[3]["env"].to_string().contains("HANDOVER"), "{}", seen[3]);
    let path = run.dir().join("app.sock");
    assert!(get_at(UnixStream::connect(&path).unwrap()).starts_with("HTTP/1.1 200 OK"));
    stops_and_leaves(run, &path);
}

#[test]
fn what_a_worker_could_not_serve_is_an_error_before_anything_starts() {
    let table = [
        ("tcp:127.0.0.1:0,udp:", "descriptor 4", "not a stream socket"),
        ("deaf:", "descriptor 3", "does not listen"),
        ("connected:", "descriptor 3", "does not listen"),
        ("file:", "descriptor 3", "not a socket"),
        ("tcp:127.0.0.1:0,none:", "descriptor 4", "no such descriptor"),
    ];
    for (sockets, which, problem) in table {
        let (code, _, log) = given(sockets, "", &["-n", "1"], server(SERVER)).finish();
        assert_eq!(code, 125, "{sockets}: {log}");
        assert!(log.contains("LISTEN_FDS") && log.contains(which) && log.contains(problem), "{log}");
    }
    let script = "LISTEN_FDS=many LISTEN_PID=$$ exec \"$@\"";
    let words = ["-n", "1", "--", "true"];
    let (code, _, log) = launch(words).through(["sh", "-c", script, "sh"]).finish();
    assert_eq!(code, 2, "{log}");
    assert!(log.contains("LISTEN_FDS 'many'"), "{log}");
}

/// The command of init mode has them, and those that mean somebody else are nobody's.
#[test]
fn what_is_not_meant_for_us_is_left_alone() {
    let tell = "import os; print(os.environ.get('LISTEN_FDS'), os.environ.get('LISTEN_PID') == str(os.getpid()), os.path.exists('/proc/self/fd/3'), flush=True)";
    let command = server(tell);
    let words = ["--"].map(OsString::from).into_iter().chain(command.clone());
    let launcher = [python(), "-IS".into(), LAUNCHER.into(), "udp:".into(), "".into()];
    let (code, out, log) = launch(words).through(launcher.clone()).finish();
    assert_eq!((code, out.as_str()), (0, "1 True True\n"), "{log}");

    let other = [OsString::from("env"), "LISTEN_PID=1".into()];
    let words = ["-n", "1", "--ready", "delay:0s", "--"].map(OsString::from).into_iter().chain(command);
    let run = launch(words).through(launcher.into_iter().chain(other)).start();
    assert_eq!(run.wait_lines("stdout", 1).lines().next(), Some("None False False"));
}

/// As a service with `User=`: systemd's sockets are root's, and another user may not listen beside them.
#[test]
fn a_socket_of_another_user_is_shared() {
    // Another user may not see the Python of the tests.
    let mut command = server(SERVER);
    command[0] = "/usr/bin/python3".into();
    let launch = given("tcp:127.0.0.1:0", "", &["-n", "2"], command);
    fs::write(launch.dir().join("seen"), "").unwrap();
    for path in [launch.dir().to_owned(), launch.dir().join("seen")] {
        fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
    }
    let copy = launch.dir().join("supervisor");
    crate::harness::install(&binary(), &copy);
    let launcher = [python(), "-IS".into(), LAUNCHER.into(), "tcp:127.0.0.1:0".into(), "".into()];
    let user = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"].map(OsString::from);
    let launch = launch.through(launcher.into_iter().chain(user)).program(&copy);
    let launch = launch.env("PREFORK_LOG_FORMAT", "json").env("PREFORK_LOG_LEVEL", "debug");
    let run = launch.start();
    run.wait_for("connections to a socket that was given cannot be steered");
    run.log.wait_count("worker ready", 2);
    let inodes: BTreeSet<_> = seen(&run, 2).iter().map(|worker| worker["inodes"].to_string()).collect();
    assert_eq!(inodes.len(), 1);
    assert_eq!(answering(&places(&run, 1)[0], 2).len(), 2);
    stops(run);
}

/// Whose places in the kernel's list are not to be known.
#[test]
fn a_socket_beside_which_others_listen_is_shared() {
    let bind = |address: SocketAddr| {
        use nix::sys::socket::{
            AddressFamily, Backlog, SockFlag, SockType, SockaddrStorage, bind, listen, socket,
        };
        let fd = socket(AddressFamily::Inet, SockType::Stream, SockFlag::SOCK_CLOEXEC, None).unwrap();
        setsockopt(&fd, sockopt::ReuseAddr, &true).unwrap();
        setsockopt(&fd, sockopt::ReusePort, &true).unwrap();
        bind(fd.as_raw_fd(), &SockaddrStorage::from(address)).unwrap();
        listen(&fd, Backlog::new(10).unwrap()).unwrap();
        TcpListener::from(fd)
    };
    let socket = bind("127.0.0.1:0".parse().unwrap());
    let stranger = bind(socket.local_addr().unwrap());
    let offer = give(socket.as_fd());
    let start = || given(&offer.sockets(), "", &["-n", "2"], server(SERVER)).start();
    let run = start();
    run.wait_for("connections to a socket that was given cannot be steered");
    run.log.wait_count("worker ready", 2);
    assert_eq!(seen(&run, 2)[0]["inodes"], seen(&run, 2)[1]["inodes"]);
    stops(run);
    drop(stranger);
    let run = start();
    run.log.wait_count("worker ready", 2);
    assert_ne!(seen(&run, 2)[0]["inodes"], seen(&run, 2)[1]["inodes"]);
    stops(run);
}

#[test]
fn systemd_socket_activate_starts_a_pool() {
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let dir = tempfile::tempdir().unwrap();
    let mut child = Command::new("systemd-socket-activate")
        .args(["-l", &address, "--fdname", "web"])
        .arg(binary())
        .args(["-n", "2", "--drain-time", "50ms", "--"])
        .args(server(SERVER))
        .current_dir(dir.path())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("systemd-socket-activate is needed (Debian: systemd)");
    let answer = eventually("an answer", || http::get(&address, "/").ok());
    assert_eq!(answer.status, 200);
    assert_eq!(answering(&address, 2).len(), 2);
    kill(child.id() as i32, libc::SIGTERM);
    assert_eq!(child.wait().unwrap().code(), Some(0));
    let seen = fs::read_to_string(dir.path().join("seen")).unwrap();
    assert!(seen.contains(r#""LISTEN_FDNAMES": "web""#), "{seen}");
}
