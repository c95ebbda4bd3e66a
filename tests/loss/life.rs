//! The life of one pool under load: what a pool goes through in months, in seconds, and what each part of it cost.

use super::servers::{Counted, Server, apps};
use crate::harness::clients::Clients;
use crate::harness::clients::counts::Counts;
use crate::harness::{Run, eventually, http, kill, launch};
use serde_json::Value;
use std::collections::BTreeSet;
use std::ffi::OsString;

/// Clients of each model.
pub const CLIENTS: usize = 2;
const WORKERS: usize = 2;
/// Replacements awaited in a phase that replaces.
const REPLACEMENTS: usize = 2;
/// More than anybody serves; `/used-up` claims it.
const NEVER: &str = "1000000000";
/// What a worker that reports as it goes may serve.
const FEW: &str = "2000";

/// One part of a life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Workers are replaced for their age.
    Age,
    /// Workers are replaced for the requests that they have served.
    Requests,
    /// HUP: all workers are replaced.
    Reload,
    /// TTIN, then TTOU: one worker more, then one fewer.
    Scale,
    /// KILL: a worker is lost.
    Crash,
    /// TERM: the end.
    Term,
}

impl Phase {
    /// In the order in which one pool can go through them.
    pub const ALL: [Self; 6] =
        [Self::Age, Self::Requests, Self::Reload, Self::Scale, Self::Crash, Self::Term];

    /// As the table and the tool's options have it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Age => "age",
            Self::Requests => "requests",
            Self::Reload => "reload",
            Self::Scale => "scale",
            Self::Crash => "crash",
            Self::Term => "term",
        }
    }
}

impl Server {
    /// Age has a life of its own: where a boot takes long, workers come of age before anything else happens to them. So
    /// has a worker that reports each request.
    pub fn lives(&self) -> Vec<Vec<Phase>> {
        let others = |but: &[Phase]| Phase::ALL.into_iter().filter(|phase| !but.contains(phase)).collect();
        match self.counted {
            Counted::OnDemand | Counted::Itself => vec![vec![Phase::Age], others(&[Phase::Age])],
            Counted::Each => {
                vec![vec![Phase::Age], vec![Phase::Requests], others(&[Phase::Age, Phase::Requests])]
            }
        }
    }
}

/// What a phase cost.
pub struct Row {
    pub server: String,
    pub phase: &'static str,
    /// By model.
    pub counts: [Counts; 3],
}

impl Row {
    /// Adds a row to those of the same server and phase.
    pub fn join(self, rows: &mut Vec<Self>) {
        let same = |row: &&mut Self| row.server == self.server && row.phase == self.phase;
        match rows.iter_mut().find(same) {
            Some(row) => row.counts.iter_mut().zip(&self.counts).for_each(|(sum, counts)| sum.add(counts)),
            None => rows.push(self),
        }
    }
}

/// Runs a server through phases, with these options of the pool beside the necessary ones.
/// Returns what each cost, and the exit code if the last was the end.
pub fn live(server: &Server, phases: &[Phase], options: &[&str]) -> (Vec<Row>, Option<i32>) {
    let mut run = start(server, phases, options);
    run.log.wait_until(|lines| serving(lines).len() >= WORKERS);
    let clients = Clients::start(&run.address(0), CLIENTS, server.is_right);
    clients.wait_ok(20);
    let row = |phase: Phase, counts| Row { server: server.name.to_owned(), phase: phase.name(), counts };
    let mut rows = Vec::new();
    let _steady = clients.take();
    for phase in phases.iter().copied().filter(|phase| *phase != Phase::Term) {
        go_through(&run, phase);
        rows.push(row(phase, clients.take()));
    }
    let mut code = None;
    if phases.contains(&Phase::Term) {
        run.signal(libc::SIGTERM);
        code = Some(run.wait_exit());
        rows.push(row(Phase::Term, clients.stop()));
    }
    (rows, code)
}

fn start(server: &Server, phases: &[Phase], options: &[&str]) -> Run {
    let workers = WORKERS.to_string();
    let mut words = vec!["-n", &workers, "-b", "127.0.0.1:0", "--graceful-timeout", "10s"];
    if phases.contains(&Phase::Age) {
        words.extend(["--max-age", "3s", "--max-age-jitter", "1s"]);
    }
    // A worker that ends by itself has to be told when.
    if phases.contains(&Phase::Requests) || server.counted == Counted::Itself {
        words.extend(["--max-requests", if server.counted == Counted::Each { FEW } else { NEVER }]);
        words.extend([
            "--count-requests",
            if server.counted == Counted::Itself { "worker" } else { "notify" },
        ]);
    }
    words.extend(options);
    words.push("--");
    let words = words.into_iter().map(OsString::from).chain((server.command)());
    launch(words).env("PYTHONPATH", apps().to_str().unwrap()).start()
}

/// Makes it happen, and waits until it is over.
fn go_through(run: &Run, phase: Phase) {
    match phase {
        Phase::Age => wait_replaced(run, "max-age", told(&run.log.lines(), "worker exited", "max-age").len()),
        Phase::Requests => use_up(run),
        Phase::Reload => {
            let before = run.log.with_message("reload finished").len();
            run.signal(libc::SIGHUP);
            run.log.wait_count("reload finished", before + 1);
        }
        Phase::Scale => {
            let third = |line: &Value| line["slot"] == WORKERS;
            run.signal(libc::SIGTTIN);
            run.log.wait_for("worker ready", third);
            run.signal(libc::SIGTTOU);
            run.log.wait_for("worker exited", third);
        }
        Phase::Crash => {
            run.log.wait_until(|lines| !staying(lines).is_empty());
            let victim = *staying(&run.log.lines()).last().unwrap();
            kill(run.outer_pid(victim), libc::SIGKILL);
            run.log.wait_for("worker exited", |line| line["pid"] == victim);
            run.log.wait_until(|lines| staying(lines).len() >= WORKERS);
        }
        Phase::Term => unreachable!("the end is awaited with the pool's exit code"),
    }
}

/// Asks for `/used-up` until enough workers are due, or have ended by themselves.
fn use_up(run: &Run) {
    const REASON: &str = "max-requests";
    let before = told(&run.log.lines(), "worker exited", REASON).len();
    let due = || {
        let lines = run.log.lines();
        let mut pids = told(&lines, "worker due", REASON);
        pids.extend(told(&lines, "worker exited", REASON));
        pids.len()
    };
    eventually("workers that have served their requests", || {
        let _lost = http::get(&run.address(0), "/used-up");
        (due() >= before + REPLACEMENTS).then_some(())
    });
    wait_replaced(run, REASON, before);
}

/// Waits until enough more have ended for this reason, and the pool is whole again.
fn wait_replaced(run: &Run, reason: &str, before: usize) {
    // Where a new worker takes as long to come as an old one lives, there is always one that is due.
    let whole = if reason == "max-age" { serving } else { staying };
    run.log.wait_until(|lines| {
        told(lines, "worker exited", reason).len() >= before + REPLACEMENTS && whole(lines).len() >= WORKERS
    });
}

/// Of whom there is such a line.
fn told(lines: &[Value], message: &str, reason: &str) -> BTreeSet<i64> {
    lines.iter().filter(|line| line["reason"] == reason).filter_map(|line| pid_in(line, message)).collect()
}

/// Who is ready and was not told to stop.
fn serving(lines: &[Value]) -> BTreeSet<i64> {
    let mut gone = of(lines, "worker exited");
    gone.extend(of(lines, "worker stopping"));
    of(lines, "worker ready").difference(&gone).copied().collect()
}

/// Who serves and is not about to be replaced.
fn staying(lines: &[Value]) -> BTreeSet<i64> {
    serving(lines).difference(&of(lines, "worker due")).copied().collect()
}

fn of(lines: &[Value], message: &str) -> BTreeSet<i64> {
    lines.iter().filter_map(|line| pid_in(line, message)).collect()
}

fn pid_in(line: &Value, message: &str) -> Option<i64> {
    line["message"].as_str()?.starts_with(message).then(|| line["pid"].as_i64())?
}
