//! `--ready-check`: the application's own word counts for readiness, and for nothing else.

use super::python::python;
use super::{allow, pool};
use crate::harness::{Run, eventually, http};
use serde_json::Value;
use std::fs;

/// Workers that serve, the first of which also answers checks on a unix socket and a port of its own, with the status
/// that the file says; a dot is no answer.
const APP: &str = "
def word():
    return open('status').read().strip() if os.path.exists('status') else '503'
def answers(listener):
    held = []
    while True:
        connection, _ = listener.accept()
        request = connection.recv(65536).decode()
        note('asked', request.split(' ')[1])
        status = word()
        if status == '.':
            held.append(connection)
        else:
            connection.sendall(('HTTP/1.1 %s x\\r\\nContent-Length: 0\\r\\n\\r\\n' % status).encode())
            connection.close()
def check(listener):
    listener.listen(64)
    threading.Thread(target=answers, args=[listener], daemon=True).start()
on_path = socket.socket(socket.AF_UNIX)
on_path.bind(sys.argv[1])
check(on_path)
on_port = socket.create_server(('127.0.0.1', int(sys.argv[2])))
check(on_port)
serve()";

/// A machine that is busy for a second does no harm.
const BRISK: [&str; 4] = ["--ready-check-interval", "50ms", "--ready-check-timeout", "1500ms"];

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn readyz(run: &Run) -> (u16, String) {
    let answer = http::get(&run.health(), "/readyz").unwrap();
    let body: Value = serde_json::from_str(&answer.body).unwrap();
    (answer.status, body["reason"].as_str().unwrap_or_default().to_owned())
}

fn wait_readyz(run: &Run, status: u16, reason: &str) {
    eventually(&format!("{status} {reason}"), || {
        let (got, why) = readyz(run);
        (got == status && why.contains(reason)).then_some(())
    });
}

fn others(run: &Run) -> [u16; 2] {
    ["/livez", "/startupz"].map(|path| http::get(&run.health(), path).unwrap().status)
}

/// Puts the status in place at once.
fn say(run: &Run, status: &str) {
    fs::write(run.dir().join("new"), status).unwrap();
    fs::rename(run.dir().join("new"), run.dir().join("status")).unwrap();
}

#[test]
fn over_tcp_and_unix_sockets_it_decides_readiness_alone() {
    for over_tcp in [true, false] {
        let port = free_port();
        let socket = std::env::temp_dir().join(format!("prefork-check-{}-{port}", std::process::id()));
        let target = if over_tcp {
            format!("http://localhost:{port}/ready?db=1")
        } else {
            format!("unix:{}:/ready?db=1", socket.display())
        };
        let mut command = python(APP);
        command.extend([socket.clone().into(), port.to_string().into()]);
        let mut run = pool(&[&["--ready-check", &target][..], &BRISK].concat(), command).start();
        run.wait_for("worker ready");
        wait_readyz(&run, 503, "--ready-check failed: answered 503");
        assert_eq!(others(&run), [200, 200]);
        for status in ["200", "302"] {
            say(&run, status);
            wait_readyz(&run, 200, "");
            say(&run, "500");
            wait_readyz(&run, 503, "--ready-check failed: answered 500");
            assert_eq!(others(&run), [200, 200]);
        }
        // No answer at all is one too.
        say(&run, "200");
        wait_readyz(&run, 200, "");
        say(&run, ".");
        wait_readyz(&run, 503, "--ready-check failed: no answer in time");
        say(&run, "200");
        wait_readyz(&run, 200, "");
        assert!(run.wait_lines("asked", 1).lines().all(|path| path == "/ready?db=1"));

        // Each change is told once.
        let told: Vec<String> = run
            .log
            .lines()
            .iter()
            .filter_map(|line| line["message"].as_str())
            .filter(|message| message.starts_with("ready check"))
            .map(str::to_owned)
            .collect();
        let failed = "ready check failed: ";
        assert!(told[0].starts_with(failed), "{told:?}");
        for (nth, line) in told.iter().enumerate() {
            let passes = nth % 2 == 1;
            assert_eq!(line == "ready check passes again", passes, "{told:?}");
        }

        // The last word of the program before holds until the next one has asked.
        run.signal(libc::SIGUSR2);
        run.wait_for("upgraded");
        assert_eq!(readyz(&run).0, 200);
        say(&run, "503");
        wait_readyz(&run, 503, "answered 503");
        assert!(run.log.with_message("worker exited").is_empty(), "nobody is restarted for it");
        run.signal(libc::SIGTERM);
        assert_eq!(run.wait_exit(), 0);
        fs::remove_file(&socket).unwrap();
    }
}

#[test]
fn by_a_command_it_does_too_and_one_that_hangs_is_killed() {
    let check = "sh -c 'test -e hang && { echo hanging >> hangs; sleep 1000; }; test -e go'";
    let options = ["--ready-check", &format!("exec:{check}"), "--min-ready", "1"];
    let mut run = pool(&[&options[..], &BRISK].concat(), python("serve()")).start();
    wait_readyz(&run, 503, "--ready-check failed: ended with code 1");
    allow(&run, "go");
    wait_readyz(&run, 200, "");
    allow(&run, "hang");
    wait_readyz(&run, 503, "--ready-check failed: no answer in time");
    run.wait_lines("hangs", 3);
    // Were it not one at a time, there would always be more.
    eventually("one at a time", || (run.others().len() <= 4).then_some(()));
    assert_eq!(others(&run), [200, 200]);
    fs::remove_file(run.dir().join("hang")).unwrap();
    wait_readyz(&run, 200, "");
    run.signal(libc::SIGTERM);
    assert_eq!(run.wait_exit(), 0);
    assert!(run.log.with_message("stopping the processes").is_empty());
}

#[test]
fn the_interval_is_kept() {
    let options = ["--ready-check", "exec:sh -c 'date +%s%N >> asked'", "--ready-check-interval", "300ms"];
    let mut run = pool(&options, python("serve()")).start();
    let asked = run.wait_lines("asked", 5);
    let at: Vec<u64> = asked.lines().map(|line| line.parse().unwrap()).collect();
    assert!(at.windows(2).all(|two| two[1] - two[0] >= 250_000_000), "{at:?}");
    run.signal(libc::SIGTERM);
    assert_eq!(run.wait_exit(), 0);
}

#[test]
fn nobody_is_asked_before_workers_are_ready_nor_when_the_end_has_begun() {
    let script = "
signal.signal(signal.SIGTERM, lambda *_: None)
wait_for_file('go')
serve()";
    let options = ["--ready-check", "exec:sh -c 'echo asked >> asked'", "--drain-time", "0s"];
    let options = [&options[..], &BRISK, &["--graceful-timeout", "1s"]].concat();
    let mut run = pool(&options, python(script)).start();
    run.wait_for("worker spawned");
    assert_eq!(readyz(&run), (503, "not enough workers are ready".to_owned()));
    assert!(!run.dir().join("asked").exists());
    allow(&run, "go");
    wait_readyz(&run, 200, "");
    run.wait_lines("asked", 3);
    run.signal(libc::SIGTERM);
    run.wait_for("shutdown started");
    // The last may have begun just before.
    super::catch_up(&run);
    let asked = run.wait_lines("asked", 3).lines().count();
    assert_eq!(run.wait_exit(), 0);
    let after = run.wait_lines("asked", 3).lines().count();
    assert!(after <= asked + 1, "{asked}, then {after}");
}

#[test]
fn a_server_that_is_not_there_is_a_failure_with_its_reason() {
    let port = free_port();
    let target = format!("http://127.0.0.1:{port}/");
    let mut run = pool(&[&["--ready-check", &target][..], &BRISK].concat(), python("serve()")).start();
    wait_readyz(&run, 503, "--ready-check failed: cannot connect: connection refused");
    assert_eq!(others(&run), [200, 200]);
    run.signal(libc::SIGTERM);
    assert_eq!(run.wait_exit(), 0);
}
