//! What a log tells of the workers: who lived when, as positions in the log.

use serde_json::Value;
use std::time::Duration;

/// One worker, from its spawn on.
#[derive(Debug)]
pub struct Life {
    pub slot: u64,
    pub pid: i64,
    pub spawn: Value,
    pub spawned: usize,
    pub ready: Option<usize>,
    pub due: Option<usize>,
    pub stopping: Option<usize>,
    pub exited: Option<usize>,
    pub exit: Option<Value>,
}

/// The workers in the order of their spawns.
pub fn lives(lines: &[Value]) -> Vec<Life> {
    let spawns = lines.iter().enumerate().filter(|(_, line)| line["message"] == "worker spawned");
    let life = |(spawned, spawn): (usize, &Value)| {
        // The namespace is too young for any pid to have come twice.
        let line = |message: &str| {
            let is_it = |line: &Value| {
                line["pid"] == spawn["pid"]
                    && line["message"].as_str().is_some_and(|m| m.starts_with(message))
            };
            lines.iter().position(is_it)
        };
        let exited = line("worker exited");
        Life {
            slot: spawn["slot"].as_u64().unwrap(),
            pid: spawn["pid"].as_i64().unwrap(),
            spawn: spawn.clone(),
            spawned,
            ready: line("worker ready"),
            due: line("worker due"),
            stopping: line("worker stopping"),
            exited,
            exit: exited.map(|at| lines[at].clone()),
        }
    };
    spawns.map(life).collect()
}

/// The most workers that were alive at once.
pub fn most_alive(lives: &[Life]) -> usize {
    let alive_at =
        |at: usize| lives.iter().filter(|l| l.spawned <= at && l.exited.is_none_or(|end| end > at)).count();
    lives.iter().map(|life| alive_at(life.spawned)).max().unwrap_or(0)
}

/// Holds if each of these was stopped only after another of its slot, spawned later, was ready.
pub fn assert_made_before_broken(lives: &[Life], reason: &str, lines: &[Value]) -> usize {
    let stopped = lives.iter().filter(|life| life.stopping.is_some_and(|at| lines[at]["reason"] == reason));
    let mut count = 0;
    for old in stopped {
        let is_replacement = |new: &&Life| {
            new.slot == old.slot
                && new.spawned > old.due.unwrap()
                && new.ready.is_some_and(|at| at < old.stopping.unwrap())
        };
        assert_eq!(lives.iter().filter(is_replacement).count(), 1, "replacements of {old:?}");
        count += 1;
    }
    count
}

/// When a line was written.
pub fn time(line: &Value) -> Duration {
    let time = humantime::parse_rfc3339(line["timestamp"].as_str().unwrap()).unwrap();
    time.duration_since(std::time::UNIX_EPOCH).unwrap()
}
