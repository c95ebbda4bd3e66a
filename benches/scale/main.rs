//! What a pool of many workers costs: a table for 10, 100, 300 and 1,000 of them.
//!
//! ```sh
//! cargo build --release --example worker
//! cargo bench --bench scale -- [WORKERS...] [-- POOL OPTIONS]
//! ```
//!
//! Each row is a life: all workers are spawned, asked about, one of them is killed, all are replaced, a tenth at a time,
//! and all are stopped. Beside the time there is the processor time that the supervisor itself took for it, and how long
//! `/readyz` took meanwhile, asked every 20 ms. A pool of N needs some 2 N descriptors: `ulimit -n`.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
#![allow(clippy::arithmetic_side_effects, clippy::cast_possible_truncation)]

#[allow(dead_code, reason = "shared with the tests, which use the rest")]
#[path = "../../tests/harness/mod.rs"]
mod harness;

use harness::{Run, example, http, kill, launch};
use std::ffi::OsString;
use std::fs;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

/// How long any phase may take.
const LIMIT: Duration = Duration::from_secs(600);

fn main() {
    let words: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    let mut parts = words.split(|word| word == "--");
    let sizes: Vec<usize> = parts.next().unwrap_or_default().iter().map(|n| n.parse().unwrap()).collect();
    let options = parts.next().unwrap_or_default();
    let sizes = if sizes.is_empty() { vec![10, 100, 300, 1_000] } else { sizes };
    println!(
        "{:>7} {:<10} {:>10} {:>12} {:>14} {:>14}",
        "workers", "phase", "time", "own cpu", "readyz median", "worst"
    );
    for size in sizes {
        Life::begin(size, options).live();
    }
}

struct Life {
    run: Run,
    workers: usize,
    /// How long each answer took since the last row.
    answers: Arc<Mutex<Vec<Duration>>>,
    ended: Arc<AtomicBool>,
}

impl Life {
    fn begin(workers: usize, options: &[String]) -> Self {
        let (count, surge) = (workers.to_string(), (workers / 10).max(1).to_string());
        let ours = ["-n", &count, "-b", "127.0.0.1:0", "--health", "127.0.0.1:0", "--max-surge", &surge];
        let brisk = ["--replacement-gap", "0s", "--drain-time", "50ms", "--start-timeout", "5m"];
        let words = ours.iter().chain(&brisk).map(OsString::from).chain(options.iter().map(OsString::from));
        let command = [OsString::from("--"), example("worker").into()];
        let run = launch(words.chain(command)).env("PREFORK_LOG_LEVEL", "info").start();
        let life = Self { run, workers, answers: Arc::default(), ended: Arc::default() };
        life.ask_all_the_time();
        life
    }

    fn ask_all_the_time(&self) {
        let (address, answers, ended) = (self.run.health(), self.answers.clone(), self.ended.clone());
        thread::spawn(move || {
            while !ended.load(Ordering::Relaxed) {
                let begun = Instant::now();
                // At the very end nobody answers.
                if http::get(&address, "/readyz").is_ok() {
                    answers.lock().unwrap().push(begun.elapsed());
                }
                thread::sleep(Duration::from_millis(20));
            }
        });
    }

    fn live(mut self) {
        let workers = self.workers;
        self.phase("spawn", |life| life.wait_count("worker ready", workers));
        for page in ["/metrics", "/status"] {
            self.phase(page, |life| {
                http::get(&life.run.health(), page).unwrap();
            });
        }
        self.phase("respawn", |life| {
            let victim = life.run.wait_for("worker ready")["pid"].as_i64().unwrap();
            kill(life.run.outer_pid(victim), libc::SIGKILL);
            life.wait_count("worker ready", workers + 1);
        });
        self.phase("reload", |life| {
            life.run.signal(libc::SIGHUP);
            life.wait_count("reload finished", 1);
        });
        self.phase("stop", |life| {
            life.run.signal(libc::SIGTERM);
            assert_eq!(life.run.wait_exit_within(LIMIT), Some(0));
        });
        self.ended.store(true, Ordering::Relaxed);
    }

    fn phase(&mut self, name: &str, act: impl FnOnce(&mut Self)) {
        self.answers.lock().unwrap().clear();
        let before = self.processor_time();
        let begun = Instant::now();
        act(self);
        let took = begun.elapsed();
        // What has ended cannot be asked any more.
        let own = self.processor_time().zip(before).map(|(after, before)| format!("{:.2?}", after - before));
        let mut answers = std::mem::take(&mut *self.answers.lock().unwrap());
        answers.sort_unstable();
        let shown = |answer: Option<&Duration>| answer.map_or("-".to_owned(), |took| format!("{took:.1?}"));
        println!(
            "{:>7} {name:<10} {:>10} {:>12} {:>14} {:>14}",
            self.workers,
            format!("{took:.2?}"),
            own.unwrap_or("-".to_owned()),
            shown(answers.get(answers.len() / 2)),
            shown(answers.last()),
        );
    }

    /// Waits until this many lines have this message.
    fn wait_count(&self, message: &str, count: usize) {
        let begun = Instant::now();
        while self.run.log.with_message(message).len() < count {
            assert!(begun.elapsed() < LIMIT, "{count} times {message}:\n{}", self.run.log.text());
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// The supervisor's own, in user and kernel mode (proc_pid_stat(5)).
    fn processor_time(&self) -> Option<Duration> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.run.pid)).ok()?;
        let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_ascii_whitespace().collect();
        let ticks = |at: usize| fields.get(at)?.parse::<u64>().ok();
        Some(Duration::from_millis((ticks(11)? + ticks(12)?) * 10))
    }
}
