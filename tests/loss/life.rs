//! The life of one pool under load: what a pool goes through in months, in seconds, and what each part of it cost.

use super::servers::{Counted, Server, apps};
use crate::harness::clients::counts::Counts;
use crate::harness::clients::{ByModel, Clients, Model};
use crate::harness::{Run, eventually, http, kill, launch};
use serde_json::Value;
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::time::Duration;

/// Clients of each model.
pub const CLIENTS: usize = 2;
const WORKERS: usize = 2;
/// Clients with a slow request in hand, for each worker about two.
const SLOW: usize = 4;
/// What the pool's settings are in that a reload takes back.
const SETTINGS: &str = "prefork.toml";
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
    /// TERM to one worker, from somebody else.
    Leave,
    /// KILL: a worker is lost.
    Crash,
    /// TERM: the end.
    Term,
}

impl Phase {
    /// In the order in which one pool can go through them.
    pub const ALL: [Self; 7] =
        [Self::Age, Self::Requests, Self::Reload, Self::Scale, Self::Leave, Self::Crash, Self::Term];

    /// As the table and the tool's options have it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Age => "age",
            Self::Requests => "requests",
            Self::Reload => "reload",
            Self::Scale => "scale",
            Self::Leave => "leave",
            Self::Crash => "crash",
            Self::Term => "term",
        }
    }
}

impl Server {
    /// Age has a life of its own: where a boot takes long, workers come of age before anything else happens to them. So
    /// has a worker that reports each request.
    pub fn lives(&self) -> Vec<Vec<Phase>> {
        if let Some(plain) = &self.plain {
            return vec![plain.phases.to_vec()];
        }
        let others = |but: &[Phase]| Phase::ALL.into_iter().filter(|phase| !but.contains(phase)).collect();
        match self.counted {
            Counted::OnDemand | Counted::Itself => {
                vec![vec![Phase::Age], others(&[Phase::Age, Phase::Leave])]
            }
            Counted::Each => {
                let rest = others(&[Phase::Age, Phase::Requests, Phase::Leave]);
                vec![vec![Phase::Age], vec![Phase::Requests], rest]
            }
        }
    }
}

/// What a phase cost.
pub struct Row {
    pub server: String,
    pub phase: Phase,
    /// By model.
    pub counts: ByModel<Counts>,
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
    let each = if server.plain.is_some() { [CLIENTS, 0, 0, 0] } else { [CLIENTS, CLIENTS, CLIENTS, 0] };
    let clients = Clients::start(&run.address(0), each, server.is_right);
    clients.wait_ok(20);
    let row = |phase: Phase, mut counts: ByModel<Counts>, slow: Option<Clients>| {
        // They wait for the end of what they have in hand.
        if let Some(slow) = slow {
            counts[Model::Slow as usize] = slow.stop()[Model::Slow as usize].clone();
        }
        Row { server: server.name.to_owned(), phase, counts }
    };
    let mut rows = Vec::new();
    let _steady = clients.take();
    for phase in phases.iter().copied().filter(|phase| *phase != Phase::Term) {
        let slow = go_through(&run, server, phase);
        if phase == Phase::Leave {
            // Some may still wait for the one that has left.
            clients.wait_more(20);
        }
        rows.push(row(phase, clients.take(), slow));
    }
    let mut code = None;
    if phases.contains(&Phase::Term) {
        let slow = take_in_hand(&run, server, Phase::Term);
        run.signal(libc::SIGTERM);
        code = Some(run.wait_exit());
        rows.push(row(Phase::Term, clients.stop(), slow));
    }
    (rows, code)
}

fn start(server: &Server, phases: &[Phase], options: &[&str]) -> Run {
    let workers = WORKERS.to_string();
    let mut words = vec!["-n", &workers, "-b", "127.0.0.1:0", "--graceful-timeout", "10s"];
    if let Some(plain) = &server.plain {
        words.extend(["--config", SETTINGS]);
        // One after the other would take the time of a slow answer once more.
        if plain.slow > Duration::from_secs(1) {
            words.extend(["--max-surge", "2"]);
        }
    } else if phases.contains(&Phase::Age) {
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
    let slow = server.plain.map_or(Duration::ZERO, |plain| plain.slow).as_secs_f32().to_string();
    let launch = launch(words).env("PYTHONPATH", apps().to_str().unwrap()).env("SLOW", &slow);
    let age =
        if phases.contains(&Phase::Age) { "max-age = \"1s\"\nmax-age-jitter = \"500ms\"\n" } else { "" };
    fs::write(launch.dir().join(SETTINGS), age).unwrap();
    launch.start()
}

/// Has a plain server take slow requests: one of each client, or one after the other where the moment is not known.
fn take_in_hand(run: &Run, server: &Server, phase: Phase) -> Option<Clients> {
    let _plain = server.plain?;
    let taken = || fs::read_to_string(run.dir().join("taken")).map_or(0, |text| text.lines().count());
    let before = taken();
    let slow = Clients::start(&run.address(0), [0, 0, 0, SLOW], server.is_right);
    slow.wait_opened(SLOW);
    if phase != Phase::Age {
        slow.last_round();
    }
    // One that takes one after the other has not taken all of them yet, but those wait for it.
    run.wait_lines("taken", before + WORKERS);
    Some(slow)
}

/// Makes it happen, and waits until it is over.
fn go_through(run: &Run, server: &Server, phase: Phase) -> Option<Clients> {
    let take_in_hand = || take_in_hand(run, server, phase);
    match phase {
        Phase::Age => {
            let slow = take_in_hand();
            wait_replaced(run, "max-age", told(&run.log.lines(), "worker exited", "max-age").len(), serving);
            slow
        }
        Phase::Requests => {
            // One that reports as it goes is due again before the one that it replaced is gone.
            use_up(run, if server.counted == Counted::Each { serving } else { staying });
            None
        }
        Phase::Reload => {
            let before = run.log.with_message("reload finished").len();
            // No worker comes of age from now on.
            fs::write(run.dir().join(SETTINGS), "").unwrap();
            let slow = take_in_hand();
            run.signal(libc::SIGHUP);
            run.log.wait_count("reload finished", before + 1);
            slow
        }
        Phase::Scale => {
            let third = |line: &Value| line["slot"] == WORKERS;
            run.signal(libc::SIGTTIN);
            run.log.wait_for("worker ready", third);
            let slow = take_in_hand();
            run.signal(libc::SIGTTOU);
            run.log.wait_for("worker exited", third);
            slow
        }
        Phase::Leave => {
            let slow = take_in_hand();
            stop_one(run, libc::SIGTERM);
            slow
        }
        Phase::Crash => {
            stop_one(run, libc::SIGKILL);
            None
        }
        Phase::Term => unreachable!("the end is awaited with the pool's exit code"),
    }
}

/// Sends this to a worker that is to stay, and waits until another serves in its place.
fn stop_one(run: &Run, signal: i32) {
    run.log.wait_until(|lines| !staying(lines).is_empty());
    let victim = *staying(&run.log.lines()).last().unwrap();
    kill(run.outer_pid(victim), signal);
    run.log.wait_for("worker exited", |line| line["pid"] == victim);
    run.log.wait_until(|lines| staying(lines).len() >= WORKERS);
}

/// Asks for `/used-up` until enough workers are due, or have ended by themselves.
fn use_up(run: &Run, whole: Whole) {
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
    wait_replaced(run, REASON, before, whole);
}

/// Of which workers there have to be enough. Where a new one takes as long to come as an old one lives, there is always
/// one that is due.
type Whole = fn(&[Value]) -> BTreeSet<i64>;

/// Waits until enough more have ended for this reason, and the pool is whole again.
fn wait_replaced(run: &Run, reason: &str, before: usize, whole: Whole) {
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
