//! Pool mode, black box, with real servers: one module a promise.

mod addresses;
mod backoff;
mod before;
mod budget;
mod control;
mod crash;
mod deadline;
mod discovery;
mod dispositions;
mod drain_signal;
mod endpoint;
mod endpoint_limits;
mod environment;
mod fairness;
mod hanging;
mod hints;
mod history;
mod hooks;
mod hostile;
mod idle;
mod in_hand;
mod in_use;
mod lanes;
mod leaving;
mod listeners;
mod logs;
mod many;
mod memory;
mod metrics;
mod notify_sockets;
mod open_files;
mod output;
mod passed;
mod python;
mod quiet_stop;
mod readiness;
mod ready_check;
mod ready_modes;
mod reaping;
mod recycling_by_age;
mod recycling_by_requests;
mod reload;
mod renew;
mod scale;
mod scoreboard;
mod serving;
mod shutdown;
mod signals;
mod sizing;
mod socket_rights;
mod starting;
mod status;
mod stopped_together;
mod summary;
mod suspended;
mod upgrade;

use crate::harness::{Launch, Run, eventually, example, http, kill, launch};
use python::python;
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;

/// A pool with these options on a free port, with an endpoint on another.
fn pool(options: &[&str], command: Vec<OsString>) -> Launch {
    let listeners = ["-b", "127.0.0.1:0", "--health", "127.0.0.1:0"];
    let words = listeners.iter().chain(options).chain(&["--"]).map(OsString::from);
    launch(words.chain(command))
}

/// The example worker in Rust.
fn example_worker(options: &[&str]) -> Vec<OsString> {
    let program = OsString::from(example("worker"));
    [program].into_iter().chain(options.iter().map(OsString::from)).collect()
}

/// uvicorn on the inherited listener, with one of the applications of [`python::APPS`].
fn uvicorn(options: &[&str]) -> Vec<OsString> {
    let quiet = ["--fd", "{fd}", "--log-level", "warning", "apps:asgi"];
    let program = OsString::from(crate::harness::servers::server("uvicorn"));
    [program].into_iter().chain(quiet.iter().chain(options).map(OsString::from)).collect()
}

/// gunicorn, which takes the listener from `LISTEN_FDS`. It must not also be told of it by `-b`, or it opens the
/// descriptor twice (EBADF). The worker is its arbiter; who answers is a child of that.
fn gunicorn(options: &[&str]) -> Vec<OsString> {
    let words = ["-w", "1", "--no-control-socket"].iter().chain(options).map(OsString::from);
    [OsString::from(crate::harness::servers::server("gunicorn"))].into_iter().chain(words).collect()
}

/// Puts the applications of [`python::APPS`] where the servers look for them.
fn with_apps(launch: Launch) -> Launch {
    fs::write(launch.dir().join("apps.py"), python::APPS).unwrap();
    launch
}

/// Creates the file for which `wait_for_file` waits in a worker.
fn allow(run: &Run, name: &str) {
    fs::write(run.dir().join(name), "").unwrap();
}

/// Options that leave out the pauses of a replacement which no client of these tests needs.
const BRISK: [&str; 4] = ["--replacement-gap", "0s", "--drain-time", "50ms"];

/// A pool without those pauses, of workers that run this script.
fn brisk(options: &[&str], script: &str) -> Run {
    pool(&[&BRISK[..], options].concat(), python(script)).start()
}

/// Reloads, and waits for the end of it.
fn reload(run: &Run) {
    let finished = run.log.with_message("reload finished").len();
    run.signal(libc::SIGHUP);
    run.log.wait_count("reload finished", finished + 1);
}

/// Whose worker is ready and has not been told to go, as the log has it.
fn serving(lines: &[serde_json::Value]) -> BTreeSet<i64> {
    let mut pids = BTreeSet::new();
    for line in lines {
        let (Some(message), Some(pid)) = (line["message"].as_str(), line["pid"].as_i64()) else { continue };
        if message == "worker ready" {
            pids.insert(pid);
        } else if ["worker draining", "worker stopping", "worker exited"]
            .iter()
            .any(|m| message.starts_with(m))
        {
            pids.remove(&pid);
        }
    }
    pids
}

/// Waits until so many serve and connections are led to them, and returns who.
fn wait_serving(run: &Run, workers: usize) -> BTreeSet<i64> {
    run.log.wait_until(|lines| serving(lines).len() == workers);
    // The line comes first.
    catch_up(run);
    serving(&run.log.lines())
}

/// Stops a process, and waits until it is stopped: it may have been about to take a connection.
fn freeze(run: &Run, pid: i64) {
    let pid = run.outer_pid(pid);
    kill(pid, libc::SIGSTOP);
    eventually("a stopped process", || run.others().contains(&(pid, 'T')).then_some(()));
}

/// Who answers at this address: asks until so many have.
fn who_answers(address: &str, workers: usize) -> BTreeSet<i64> {
    let mut seen = BTreeSet::new();
    eventually("an answer of every worker", || {
        seen.insert(http::get(address, "/").unwrap().body.trim().parse().unwrap());
        (seen.len() >= workers).then(|| seen.clone())
    })
}

/// What the endpoint says of the pool: the status, and how many are ready, have to be, and are wanted.
fn readiness(run: &Run) -> (u16, u64, u64, u64) {
    let answer = http::get(&run.health(), "/readyz").unwrap();
    let body: serde_json::Value = serde_json::from_str(&answer.body).unwrap();
    let number = |name: &str| body[name].as_u64().unwrap();
    (answer.status, number("ready"), number("min_ready"), number("workers"))
}

/// Stops the pool and holds that it ended in order.
fn assert_stops(mut run: Run) {
    run.signal(libc::SIGTERM);
    assert_eq!(run.wait_exit(), 0, "{}", run.log.text());
    assert_eq!(run.log.lines().last().unwrap()["message"], "pool stopped");
}

/// Waits until the supervisor has taken in whatever reached it before this call: it reads signals before
/// datagrams, so that two rounds of signals enclose a reading of the datagrams.
fn catch_up(run: &Run) {
    for _ in 0..2 {
        let ignored = |line: &serde_json::Value| {
            line["message"].as_str().is_some_and(|message| message.starts_with("signal ignored"))
        };
        let before = run.log.lines().iter().filter(|line| ignored(line)).count();
        run.signal(libc::SIGWINCH);
        run.log.wait_until(|lines| lines.iter().filter(|line| ignored(line)).count() > before);
    }
}
