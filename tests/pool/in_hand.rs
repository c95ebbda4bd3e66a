//! What a server has in hand is answered, whatever it does at the stop signal: node and Python know nothing of one.

use super::python::python;
use super::{BRISK, allow, assert_stops, pool, wait_serving};
use crate::harness::http::{KeptAlive, Pending};
use crate::harness::{Launch, Run, binary, eventually};
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// `/held` is answered when a file appears, `/later` after a second and a half, and `/big` is more than fits in a socket.
const NODE: &str = r#"
const fs = require('fs')
const took = () => fs.appendFileSync('taken', process.pid + '\n')
const server = require('http').createServer((request, response) => {
  const answer = () => response.end(String(process.pid))
  switch (request.url) {
    case '/held': {
      took()
      const timer = setInterval(() => {
        if (fs.existsSync('go')) { clearInterval(timer); answer() }
      }, 10)
      return
    }
    case '/later': took(); return setTimeout(answer, 1500)
    case '/big': took(); return response.end('x'.repeat(64 << 20))
    default: return answer()
  }
})
server.keepAliveTimeout = 600000
server.listen({fd: 3})
"#;

/// The server of tests/loss, whose answers are as those of [`NODE`].
fn held() -> Vec<OsString> {
    let apps = crate::loss::apps();
    python(&format!(
        "
os.environ['SLOW'] = '0'
sys.path.insert(0, {apps:?})
import plain

def body_of(path):
    if path in ('/held', '/later'): note('taken', str(os.getpid()))
    if path == '/held': wait_for_file('go')
    return str(os.getpid()).encode(), 1.5 if path == '/later' else 0

plain.body_of = body_of
import plain_http"
    ))
}

fn node() -> Vec<OsString> {
    ["node", "-e", NODE].map(OsString::from).to_vec()
}

fn brisk(options: &[&str], command: Vec<OsString>) -> Launch {
    pool(&[&BRISK[..], options].concat(), command)
}

/// Requests until each of these workers has taken one.
fn one_in_each_hand(run: &Run, workers: &BTreeSet<i64>) -> Vec<Pending> {
    let mut held = Vec::new();
    eventually("a request in each hand", || {
        held.push(Pending::get(&run.address(0), "/held").unwrap());
        (taken(run, held.len()) == *workers).then_some(())
    });
    held
}

fn all_are_answered(run: &Run, held: Vec<Pending>) {
    for held in held {
        assert_eq!(held.answer().unwrap().status, 200, "{}", run.log.text());
    }
}

/// The workers that have taken a request, as soon as so many have been taken.
fn taken(run: &Run, count: usize) -> BTreeSet<i64> {
    let told = run.wait_lines("taken", count);
    told.lines().map(|line| line.parse().unwrap()).collect()
}

fn busy(run: &Run) -> serde_json::Value {
    run.log.wait_for("worker busy", |_| true)
}

/// A reload waits for a request that is answered only after the new worker serves, and for the answer on a kept
/// connection; not for one that is idle.
fn a_reload_answers_what_is_in_hand(command: Vec<OsString>) {
    let run = brisk(&["-n", "1"], command).start();
    wait_serving(&run, 1);
    let mut idle = KeptAlive::connect(&run.address(0)).unwrap();
    let mut kept = KeptAlive::connect(&run.address(0)).unwrap();
    let old = idle.get("/").unwrap().body;
    assert_eq!(kept.get("/").unwrap().body, old);
    // The kernel tells what comes in from what goes out by its ticks, which are 10 ms at most.
    let begin = Instant::now();
    eventually("another tick", || (begin.elapsed() > Duration::from_millis(30)).then_some(()));
    let held = Pending::get(&run.address(0), "/held").unwrap();
    let kept = std::thread::spawn(move || kept.get("/held").map(|answer| answer.body));
    taken(&run, 2);
    run.signal(libc::SIGHUP);
    assert_eq!(busy(&run)["connections"], 2, "{}", run.log.text());
    assert!(run.log.with_message("worker stopping").is_empty(), "{}", run.log.text());
    allow(&run, "go");
    assert_eq!(held.answer().unwrap().body, old);
    assert_eq!(kept.join().unwrap().unwrap(), old);
    run.wait_for("reload finished");
    let stopped = &run.log.with_message("worker stopping")[0];
    assert_eq!((stopped["pid"].to_string(), &stopped["reason"]), (old, &"reload".into()));
    assert_stops(run);
}

#[test]
fn node_answers_what_it_has_in_hand_at_a_reload() {
    a_reload_answers_what_is_in_hand(node());
}

#[test]
fn a_python_server_answers_what_it_has_in_hand_at_a_reload() {
    a_reload_answers_what_is_in_hand(held());
}

/// Requests that all workers have in hand when this is done are answered.
fn everybody_is_answered(options: &[&str], act: impl Fn(&Run)) {
    let run = brisk(&[&["-n", "2"], options].concat(), held()).start();
    let workers = wait_serving(&run, 2);
    let held = one_in_each_hand(&run, &workers);
    act(&run);
    busy(&run);
    allow(&run, "go");
    all_are_answered(&run, held);
    run.wait_for("worker exited");
    assert_stops(run);
}

#[test]
fn one_worker_fewer_drops_nothing() {
    everybody_is_answered(&[], |run| run.signal(libc::SIGTTOU));
}

#[test]
fn a_recycled_worker_drops_nothing() {
    everybody_is_answered(&["--max-age", "2s"], |_| {});
}

/// The end of the pool waits too, within the same deadline.
fn the_end_answers_what_is_in_hand(command: Vec<OsString>) {
    let mut run = brisk(&["-n", "1"], command).start();
    wait_serving(&run, 1);
    let later = Pending::get(&run.address(0), "/later").unwrap();
    let pid = taken(&run, 1).pop_first().unwrap();
    run.signal(libc::SIGTERM);
    assert_eq!(later.answer().unwrap().body, pid.to_string(), "{}", run.log.text());
    assert_eq!(run.wait_exit(), 0, "{}", run.log.text());
}

#[test]
fn node_answers_what_it_has_in_hand_at_the_end() {
    the_end_answers_what_is_in_hand(node());
}

#[test]
fn a_python_server_answers_what_it_has_in_hand_at_the_end() {
    the_end_answers_what_is_in_hand(held());
}

#[test]
fn clients_that_keep_their_connections_idle_do_not_delay_a_reload() {
    let run = brisk(&["-n", "1", "--graceful-timeout", "10m"], node()).start();
    wait_serving(&run, 1);
    let mut clients: Vec<_> = (0..20).map(|_| KeptAlive::connect(&run.address(0)).unwrap()).collect();
    for client in &mut clients {
        assert_eq!(client.get("/").unwrap().status, 200);
    }
    // And one that has never asked for anything.
    let _silent = TcpStream::connect(run.address(0)).unwrap();
    let begin = Instant::now();
    run.signal(libc::SIGHUP);
    run.wait_for("reload finished");
    assert!(begin.elapsed() < Duration::from_secs(60), "{}", run.log.text());
    assert!(run.log.with_message("worker busy").is_empty(), "{}", run.log.text());
    assert_stops(run);
}

#[test]
fn a_client_that_never_reads_holds_nobody_for_ever() {
    // Longer than it takes until nothing that moves counts as busy.
    let run = brisk(&["-n", "1", "--graceful-timeout", "10m"], node()).start();
    wait_serving(&run, 1);
    let mut deaf = TcpStream::connect(run.address(0)).unwrap();
    deaf.write_all(b"GET /big HTTP/1.1\r\nHost: test\r\n\r\n").unwrap();
    taken(&run, 1);
    run.signal(libc::SIGHUP);
    run.wait_for("reload finished");
    assert_eq!(busy(&run)["connections"], 1);
    assert_stops(run);
}

#[test]
fn who_waits_for_a_reload_is_told_what_it_waits_for() {
    let run = brisk(&["-n", "2", "--control", "control"], node()).start();
    let workers = wait_serving(&run, 2);
    let held = one_in_each_hand(&run, &workers);
    let mut ctl = Command::new(binary())
        .args(["ctl", "reload", "--control"])
        .arg(run.dir().join("control"))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut told = String::new();
    BufReader::new(ctl.stderr.take().unwrap()).read_line(&mut told).unwrap();
    assert!(told.starts_with("waits for ") && told.contains(" of slot "), "{told:?}");
    assert!(told.trim_end().ends_with("; --max-surge 2 would go on"), "{told:?}");
    let message = busy(&run)["message"].as_str().unwrap().to_owned();
    assert!(message.ends_with("; --max-surge 2 would go on"), "{message}");
    allow(&run, "go");
    all_are_answered(&run, held);
    let ended = ctl.wait_with_output().unwrap();
    assert_eq!((ended.status.code(), &ended.stdout[..]), (Some(0), &b"reload finished: generation 2\n"[..]));
    assert_stops(run);
}

#[test]
fn all_workers_are_replaced_at_once_where_the_surge_is_all_of_them() {
    let run = brisk(&["-n", "2", "--max-surge", "100%"], node()).start();
    let workers = wait_serving(&run, 2);
    let held = one_in_each_hand(&run, &workers);
    run.signal(libc::SIGHUP);
    // The second one does not wait for the first, which is busy.
    run.log.wait_count("worker draining", 2);
    assert!(run.log.with_message("worker stopping").is_empty(), "{}", run.log.text());
    allow(&run, "go");
    all_are_answered(&run, held);
    run.wait_for("reload finished");
    assert_stops(run);
}
