//! Simulation of the core: seeded histories on a kernel that never was, every rule checked after every step.
//!
//! `SIMULATION_HISTORIES=1000000 cargo test --test promises simulation` looks longer.

mod corners;
mod dice;
mod effects;
mod history;
mod init;
mod kernel;
mod plan;
mod pool;
mod rule;

use corners::Step;
use effects::Hash;
use history::{History, Kind};
use prefork_core::Monotonic;

/// A corner counts as reached when this many histories have come to it.
const ENOUGH: u32 = 3;

fn histories() -> u64 {
    std::env::var("SIMULATION_HISTORIES").ok().and_then(|n| n.parse().ok()).unwrap_or(20_000)
}

/// What happens in a history, up to the rule that is broken.
fn trace(kind: Kind, seed: u64) -> Vec<String> {
    let mut trace = Vec::new();
    let write = |now: Monotonic, step: &Step<'_>| {
        if trace.is_empty() {
            trace.push(format!("{:?}", step.mode));
        }
        trace.push(format!("{:?} {:?} -> {:?}", now.0, step.event, step.actions));
    };
    let _ = History::new(kind, seed).observed(write).run();
    trace
}

/// Runs these histories; a broken rule is told with the end of its trace. Returns the number of steps.
fn run(kind: Kind, seeds: impl IntoIterator<Item = u64>) -> u64 {
    let mut steps = 0;
    for (nth, seed) in (1..).zip(seeds) {
        match History::new(kind, seed).run() {
            Ok(taken) => steps += taken,
            Err(broken) => {
                let trace = trace(kind, seed);
                let (head, rest) = trace.split_at(trace.len().min(8));
                let tail = rest.split_at(rest.len().saturating_sub(40)).1;
                panic!(
                    "{}\n...\n{}\n\nhistory {nth}, {kind:?} seed {seed}: {broken}",
                    head.join("\n"),
                    tail.join("\n")
                );
            }
        }
    }
    steps
}

#[test]
fn a_pool_keeps_every_rule_in_every_history() {
    let began = std::time::Instant::now();
    let steps = run(Kind::Pool, 0..histories());
    println!("{steps} events of a pool in {:?}", began.elapsed());
}

#[test]
fn an_init_keeps_every_rule_in_every_history() {
    let began = std::time::Instant::now();
    let steps = run(Kind::Init, 0..histories());
    println!("{steps} events of an init in {:?}", began.elapsed());
}

/// Over all that a history does, until it ends or breaks a rule.
fn hash(kind: Kind, seed: u64) -> u64 {
    let mut hash = Hash::default();
    let add = |now: Monotonic, step: &Step<'_>| hash.add(&effects::of_step(now, step.core, step.actions));
    let _ = History::new(kind, seed).observed(add).run();
    hash.0
}

/// Histories over which the hash is printed: a change of the core's types leaves it as it is.
const HASHED: u64 = 2_000;

#[test]
fn the_same_seed_gives_the_same_history() {
    for kind in [Kind::Pool, Kind::Init] {
        let mut all = Hash::default();
        for seed in 0..HASHED {
            let first = hash(kind, seed);
            all.add(&format!("{first:016x}"));
            if seed < 100 {
                assert_eq!(first, hash(kind, seed), "{kind:?} seed {seed}");
                assert_ne!(first, hash(kind, seed + 1_000), "the seed decides nothing");
            }
        }
        println!("{kind:?}, {HASHED} histories: {:016x}", all.0);
    }
}

#[test]
fn the_histories_reach_every_corner() {
    let corners = corners::all();
    let mut times = vec![0; corners.len()];
    // Init mode has more rules, and shorter histories.
    for (kind, seeds) in [(Kind::Pool, 1_500), (Kind::Init, 6_000)] {
        for seed in 0..seeds {
            let mut reached = vec![false; corners.len()];
            let look = |_, step: &Step<'_>| {
                for (((_, is_it), reached), times) in corners.iter().zip(&mut reached).zip(&times) {
                    *reached |= *times < ENOUGH && is_it(step);
                }
            };
            // Whether a rule is broken is for the other tests.
            let _ = History::new(kind, seed).observed(look).run();
            times.iter_mut().zip(reached).for_each(|(times, reached)| *times += u32::from(reached));
        }
    }
    let rare: Vec<_> =
        corners.iter().zip(times).filter(|(_, times)| *times < ENOUGH).map(|((what, _), _)| what).collect();
    assert!(rare.is_empty(), "hardly ever reached: {rare:?}");
}
