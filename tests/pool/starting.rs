//! How a pool gets ready: what is said of one that does not, and when that comes to an end.

use super::python::python;
use super::{allow, gunicorn, pool, readiness, uvicorn, with_apps};
use crate::harness::{Launch, Run, http, launch};
use serde_json::Value;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::io::Write;
use std::net::TcpStream;

/// In a network namespace of its own, as in a container: what others send does not count.
fn alone(options: &[&str], command: Vec<OsString>) -> Launch {
    let words = ["-b", "0.0.0.0:0"].iter().chain(options).chain(&["--"]).map(OsString::from);
    launch(words.chain(command)).through(["unshare", "--net"])
}

/// How often each slot was tried.
fn attempts(run: &Run) -> BTreeMap<u64, usize> {
    let mut attempts = BTreeMap::new();
    for line in run.log.with_message("worker spawned") {
        *attempts.entry(line["slot"].as_u64().unwrap()).or_default() += 1;
    }
    attempts
}

/// One slot has tried `retries` times more than the others, which have once each.
fn assert_alone(run: &Run, workers: usize, retries: usize) {
    let attempts = attempts(run);
    let mut times: Vec<usize> = attempts.values().copied().collect();
    times.sort_unstable();
    // On a busy machine the first may fail before the last has its turn, which then waits.
    let others = times.len() - 1;
    let expected: Vec<usize> = std::iter::repeat_n(1, others).chain([1 + retries]).collect();
    assert_eq!(times, expected, "{attempts:?}\n{}", run.log.text());
    assert!((1..workers).contains(&others), "{attempts:?}");
}

fn delays(run: &Run) -> Vec<u64> {
    run.log.with_message("respawn delayed").iter().map(|line| line["delay_ms"].as_u64().unwrap()).collect()
}

#[test]
fn an_application_that_cannot_be_imported_is_not_tried_by_every_slot_again_and_again() {
    let mut uvicorn = uvicorn(&[]);
    for word in &mut uvicorn {
        if word == "apps:asgi" {
            *word = "nosuch:app".into();
        }
    }
    for server in [uvicorn, gunicorn(&["nosuch:app"])] {
        let mut run = alone(&["-n", "8"], server.clone()).start();
        assert_eq!(run.wait_exit(), 3, "{}", run.log.text());
        assert_alone(&run, 8, 5);
        let exits = run.log.with_message("worker exited");
        assert!(exits.iter().all(|line| line["reason"] == "boot-error"), "{exits:?}");
        // Both say that they cannot boot (3), which elsewhere is a second each.
        let waited: u64 = delays(&run).iter().sum();
        assert!(waited <= 5 * 125, "{:?} of {server:?}", delays(&run));
    }
}

#[test]
fn an_application_that_asks_for_a_database_is_given_the_time_it_always_had() {
    let app = "import socket, sys\ntry:\n socket.create_connection(('127.0.0.1', 1))\nexcept OSError:\n sys.exit(3)\n";
    let launch = alone(&["-n", "4", "--max-restarts", "2"], uvicorn(&[]));
    fs::write(launch.dir().join("apps.py"), app).unwrap();
    let mut run = launch.start();
    assert_eq!(run.wait_exit(), 3, "{}", run.log.text());
    assert_alone(&run, 4, 2);
    let alone: Vec<u64> = delays(&run);
    assert!(alone.len() == 2 && alone.iter().all(|delay| *delay >= 1_000), "{alone:?}");
}

#[test]
fn what_comes_up_late_brings_all_workers_up() {
    let script = "
note('tried', '')
if not os.path.exists('database'): sys.exit(3)
serve()";
    let options = ["-n", "4", "--max-restarts", "infinity", "--backoff-max", "250ms"];
    let run = pool(&options, python(script)).start();
    run.wait_lines("tried", 8);
    allow(&run, "database");
    run.log.wait_until(|lines| {
        let ready = |line: &&Value| line["message"] == "worker ready";
        lines.iter().filter(ready).count() == 4
    });
    let first_ready = run.log.lines().iter().position(|line| line["message"] == "worker ready").unwrap();
    let spawned: Vec<Value> = run.log.lines()[..first_ready]
        .iter()
        .filter(|line| line["message"] == "worker spawned")
        .map(|line| line["slot"].clone())
        .collect();
    let alone = spawned.last().unwrap();
    assert!(spawned[4..].iter().all(|slot| slot == alone), "{spawned:?}");
    assert!(run.log.with_message("crash loop").is_empty());
}

/// `uvicorn --port 8000`, as people have it in their scripts, and hypercorn's `-b`.
#[test]
fn a_server_with_a_listener_of_its_own_is_told_from_one_that_is_slow() {
    let server = |name: &str| OsString::from(crate::harness::servers::server(name));
    let words = |words: &[&str]| words.iter().map(OsString::from).collect::<Vec<_>>();
    let commands = [
        ("uvicorn", words(&["--port", "0", "--log-level", "warning", "apps:asgi"]), "127.0.0.1:"),
        ("uvicorn", words(&["--uds", "own.sock", "--log-level", "warning", "apps:asgi"]), "unix:own.sock"),
        ("hypercorn", words(&["-b", "127.0.0.1:0", "apps:asgi"]), "127.0.0.1:"),
    ];
    let runs = commands.map(|(name, options, address)| {
        let command = [server(name)].into_iter().chain(options).collect();
        // Where processors are few, the first attempts may not come so far.
        let options = ["--start-timeout", "12s", "--max-restarts", "infinity"];
        (with_apps(pool(&options, command)).start(), address)
    });
    for (run, address) in runs {
        let told = run.wait_for(&format!("worker listens on {address}"));
        let message = told["message"].as_str().unwrap();
        assert!(message.ends_with(", not on ours: does it take {fd}?"), "{message}");
        assert_eq!((&told["level"], &told["slot"]), (&"WARN".into(), &0.into()));
        let pid = told["pid"].clone();
        let stopping = run.log.wait_for("worker stopping", |line| line["pid"] == pid);
        assert_eq!(stopping["reason"], "boot-timeout");
    }
}

/// One has the port, the others fail until the pool is given up.
#[test]
fn a_port_of_its_own_is_told_of_when_the_pool_is_given_up() {
    let script = "
import fcntl, socket
lock = open('port', 'w')
try: fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
except OSError:
    while not os.path.exists('listens'): time.sleep(0.01)
    sys.exit(1)
own = socket.create_server(('127.0.0.1', 0))
open('listens', 'w').close()
sleep_for_ever()";
    let run = pool(&["-n", "3", "--backoff", "1ms"], python(script)).start();
    let told = run.wait_for("worker listens on 127.0.0.1:");
    let stopping = run.wait_for("worker stopping");
    assert_eq!((&stopping["pid"], &stopping["reason"]), (&told["pid"], &"stop".into()));
    run.wait_for("crash loop given up");
    assert!(run.log.with_message("worker listens nowhere").is_empty());
}

#[test]
fn one_that_listens_nowhere_is_said_to_do_so() {
    let run = pool(&["--start-timeout", "1s"], python("sleep_for_ever()")).start();
    let told = run.wait_for("worker listens nowhere else");
    assert_eq!((&told["level"], &told["state"]), (&"WARN".into(), &"S".into()));
    assert!(told["cpu_ms"].is_u64(), "{told}");
}

/// A window that holds not even one of them.
#[test]
fn workers_that_are_never_ready_in_time_end_the_pool() {
    let options = ["--start-timeout", "200ms", "--restart-window", "100ms", "--max-restarts", "3"];
    let mut run = pool(&options, python("sleep_for_ever()")).start();
    assert_eq!(run.wait_exit(), 3, "{}", run.log.text());
    let exits = run.log.with_message("worker exited");
    assert_eq!(exits.len(), 4, "the first and three restarts");
    assert!(exits.iter().all(|line| line["reason"] == "boot-timeout"), "{exits:?}");
}

#[test]
fn workers_without_listeners_that_only_crash_are_not_ready_for_living_a_second() {
    let script = "
if is_worker(0): sleep_for_ever()
time.sleep(1.5)
sys.exit(1)";
    let options = ["-n", "3", "--health", "127.0.0.1:0", "--backoff", "50ms", "--backoff-max", "50ms", "--"];
    let run = launch(options.iter().map(OsString::from).chain(python(script))).start();
    run.log.wait_until(|lines| {
        let died = |slot: u64| {
            lines.iter().filter(|l| l["message"] == "worker exited: code 1" && l["slot"] == slot).count()
        };
        died(1) >= 4 && died(2) >= 4
    });
    assert_eq!(readiness(&run).1, 1);
    let ready = run.log.with_message("worker ready");
    for slot in 0..3 {
        let times = ready.iter().filter(|line| line["slot"] == slot).count();
        assert!(times <= 1, "slot {slot} was ready {times} times\n{}", run.log.text());
    }
    // Each of them was up, though it was not believed any more.
    let exits = run.log.with_message("worker exited");
    assert!(exits.iter().all(|line| line["reason"] == "crash"), "{exits:?}");
}

#[test]
fn a_limit_of_requests_towards_which_nobody_counts_is_said_to_be_none() {
    let script = "
def later():
    time.sleep(35)
    note('halfway', '')
threading.Thread(target=later, daemon=True).start()
listener = socket.socket(fileno=3)
while True:
    connection, _ = listener.accept()
    note('accepted', '')
    threading.Thread(target=lambda c: c.recv(1), args=(connection,), daemon=True).start()";
    let options = ["--max-requests", "1000", "--count-requests", "notify"];
    let run = pool(&options, python(script)).start();
    run.wait_for("worker ready");
    let mut client = TcpStream::connect(run.address(0)).unwrap();
    run.wait_lines("accepted", 1);
    run.wait_lines("halfway", 1);
    let told = run.wait_for("worker has connections, and has not reported a single request");
    assert_eq!(told["level"], "WARN");
    client.write_all(b".").unwrap();
}

#[test]
fn a_number_is_no_other_living_workers_also_after_an_upgrade() {
    let script = "
note('numbers', os.environ['PREFORK_WORKER_ID'] + ' ' + os.environ['PREFORK_WORKER_NUMBER'])
serve()";
    let mut run = pool(&["-n", "2", "--drain-time", "10ms"], python(script)).of_a_copy().start();
    run.log.wait_count("worker ready", 2);
    super::upgrade::put(&run, &crate::harness::binary());
    run.signal(libc::SIGUSR2);
    run.wait_for("upgraded");
    run.signal(libc::SIGHUP);
    run.wait_for("reload finished");
    let numbers = run.wait_lines("numbers", 4);
    let mut lines: Vec<&str> = numbers.lines().collect();
    // The two that were there may have written in any order, the others came one after the other.
    lines[..2].sort_unstable();
    assert_eq!(lines[..3], ["0 0", "1 1", "0 2"]);
    assert!(["1 0", "1 3"].contains(&lines[3]) || lines[3] == "1 1", "{lines:?}");
    assert_eq!(http::get(&run.address(0), "/").unwrap().status, 200);
    run.signal(libc::SIGTERM);
    assert_eq!(run.wait_exit(), 0);
}
