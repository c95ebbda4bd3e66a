//! Simulation of the core: seeded histories on a kernel that never was, every rule checked after every step.
//!
//! `SIMULATION_HISTORIES=1000000 cargo test --test promises simulation` looks longer.

mod dice;
mod effects;
mod history;
mod init;
mod kernel;
mod plan;
mod pool;
mod rule;

use effects::Hash;
use history::{History, Kind};

/// Histories that once broke a rule; they run always and first. Each comes to what it says as long as the
/// generators stay as they are.
const ONCE_BROKEN: [(Kind, u64); 0] = [];

fn histories() -> u64 {
    std::env::var("SIMULATION_HISTORIES").ok().and_then(|n| n.parse().ok()).unwrap_or(20_000)
}

/// Runs these histories; a broken rule is told with the end of its trace. Returns the number of steps.
fn run(kind: Kind, seeds: impl IntoIterator<Item = u64>) -> u64 {
    let mut steps = 0;
    for (nth, seed) in (1..).zip(seeds) {
        match History::new(kind, seed).run() {
            Ok(taken) => steps += taken,
            Err(broken) => {
                let trace = History::new(kind, seed).traced().run_to_trace();
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
    for (kind, seed) in ONCE_BROKEN {
        run(kind, [seed]);
    }
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

/// Histories over which the hash is printed: a change of the core's types leaves it as it is.
const HASHED: u64 = 2_000;

#[test]
fn the_same_seed_gives_the_same_history() {
    for kind in [Kind::Pool, Kind::Init] {
        let mut all = Hash::default();
        let hash = |seed| History::new(kind, seed).hash();
        for seed in 0..HASHED {
            let first = hash(seed);
            all.add(&format!("{first:016x}"));
            if seed < 100 {
                assert_eq!(first, hash(seed), "{kind:?} seed {seed}");
                assert_ne!(first, hash(seed + 1_000), "the seed decides nothing");
            }
        }
        println!("{kind:?}, {HASHED} histories: {:016x}", all.0);
    }
}

/// What histories must come to if the rules are to mean anything.
const CORNERS: [&str; 41] = [
    "ReachedOut",
    "ExplainLateness",
    "CheckCounting",
    "}, Busy {",
    "surge: Some",
    "Pool(ConnectionsSeen { found: Some",
    "Worker { pid: Pid(3), fact: ConnectionsSeen { found: None",
    "DeadlinePassed { after",
    "Note(Pool(Stopped)), Exit(124)",
    ", Refused)",
    "graceful: Forever",
    "graceful: For(0ns)",
    "Exit(125)",
    "Exit(3)",
    "Exit(126)",
    "Exit(137)",
    "Note(Pool(Stopped)), Exit(0)",
    "GaveUp",
    "SpawnFailed {",
    "RespawnDelayed",
    "ShutdownStarted",
    "ShutdownHurried",
    "KillingAll",
    "StoppingOrphans",
    "to: Leftovers",
    "Note(Signal(Ignored",
    "Forward",
    "Note(Pool(Ready",
    "}, Unobservable)",
    "by: Accepting",
    "by: Notified",
    "by: Uptime",
    "reason: Crash",
    "reason: BootError",
    "reason: BootTimeout",
    "reason: MaxRequests",
    "reason: MaxAge",
    "reason: Stop",
    // A child is reaped in the middle of a step, twice told.
    "Ask(Reap)]",
    "}, Killed {",
    "Reaped { children_left: true } -> [Note(Init(StoppingOrphans))",
];

/// The same, under a policy that says the first: a step that says these, in this order. `value: 0 } })]` is the
/// end of a step in which a signal came and nothing else was done.
const CORNERS_UNDER: [(&str, &[&str]); 64] = [
    // The time of the whole run.
    ("Pool(", &["DeadlinePassed {", "ShutdownStarted"]),
    ("pause: false", &["DeadlinePassed {", "Forward {"]),
    ("pause: true", &["DeadlinePassed {", "Reap"]),
    ("deadline: Some", &["Exit(124)"]),
    // What signals become, and for whom they are.
    ("scope: Process", &["Forward { to: Process("]),
    ("job: Shared", &["Forward { to: Process("]),
    ("rewrites: Rewrites([])", &["Forward { to: Group("]),
    ("", &["Signalled", "code: -1", "Forward", "value: 3735928559"]),
    ("", &["Signal(Dropped { signal: Signal(15)"]),
    ("", &["Forward", "Signal(Forwarded { signal: Signal(15), came: Signal(1)"]),
    ("", &["Forward", "Signal(Forwarded", "ContinueStopped"]),
    ("", &["to: Everyone", "Signal(Forwarded"]),
    (
        "job: Shared",
        &["Signalled(Received { signal: Signal(2), code: 128", "Note(Signal(Received", "value: 0 })))]"],
    ),
    ("job: Shared", &["code: 0", "Forward"]),
    ("job: Shared", &["signal: Signal(1), code: 128", "Forward"]),
    ("spare_unaware: true", &["spare_unaware: true"]),
    ("spare_unaware: true", &["Signalled(Received { signal: Signal(15)", "spare_unaware: false"]),
    (
        "signal: Signal(10), graceful",
        &["signal: Signal(10)", "spare_unaware: false, asks: true }), ", "ContinueStopped"],
    ),
    ("gave_terminal_up: true", &["TerminalGivenUp"]),
    ("", &["HandOffIgnored { signal: Signal(1)"]),
    ("", &["HandOffIgnored { signal: Signal(18)"]),
    ("gave_terminal_up: true", &["Signal(Forwarded { signal: Signal(1), came: Signal(1)"]),
    // The terminal.
    ("job: OfShell", &["Stopped", "StopSelf { job: true }"]),
    ("job: Ours", &["Stopped", "signal: Signal(20)", "ContinueStopped"]),
    ("job: Ours", &["Stopped", "signal: Signal(21)", "-> []"]),
    ("job: Apart", &["Stopped", "-> []"]),
    ("", &["Signalled(Received { signal: Signal(20)", "Forward", "StopSelf { job: false }"]),
    ("job: OfShell", &["Terminal(Lend", "Forward", "signal: Signal(18)"]),
    ("job: Ours", &["Terminal(Lend", "Forward", "signal: Signal(18)"]),
    ("", &["CommandExited", "Terminal(TakeBack"]),
    // The end.
    ("orphans: Signal", &["Signal { to: Group(", "signal: Signal(10) }", "OrphansLeft", "Exit"]),
    ("job: Shared", &["OrphansLeft { signal: None", "Exit"]),
    ("orphans: Leave", &["OrphansLeft { signal: None", "Exit"]),
    ("", &["warn: true"]),
    ("job: Shared", &["Signal { to: Everyone, signal: Signal(9) }", "Signal { to: Process(", "KillingAll"]),
    ("scope: Process", &["to: Orphans {", "groups: []"]),
    // Codes.
    ("", &["Exit(77)"]),
    ("", &["SpawnFailed", "Exit(66)"]),
    ("137, 77", &["Exit(77)"]),
    // A pause.
    ("pause: true", &["Signalled", "Note(Signal(Received", " }))), Ask(Reap)]"]),
    ("pause: true", &["Signalled", "Note(Signal(Received", "value: 0 })))]"]),
    ("pause: true", &["to: Orphans {"]),
    // The signals of a pool.
    ("Pool(", &["Signal(Dropped"]),
    ("Pool(", &["Signalled(Received { signal: Signal(1)", "ShutdownStarted"]),
    ("Pool(", &["Signalled(Received { signal: Signal(15)", "Note(Signal(Ignored { signal: Signal(1)"]),
    ("Pool(", &["Note(Signal(Received", "to: Takers(", "signal: Signal(10) }", "Signal(Forwarded"]),
    ("Pool(", &["Note(Signal(Received", "value: 0 }))), Note(Signal(Forwarded"]),
    (
        "Pool(",
        &["Note(Signal(Received", "to: Takers(", "to: Takers(", "Signal(Forwarded { signal: Signal(28)"],
    ),
    // Workers that take no connections any more.
    ("Pool(", &["QueueWoke", "-> []"]),
    ("Pool(", &["found: Absent", "}, StoppedAccepting)", "Steer"]),
    ("Pool(", &["found: Left", "}, StoppedAccepting)", "}, Due {", "reason: Stop"]),
    (
        "Pool(",
        &[
            "found: Absent",
            "-> [Note(Worker(WorkerRef { slot: 0, generation: 1, pid: Pid(2) }, Due {",
            "reason: Stop",
        ],
    ),
    ("Pool(", &["found: Accepts", "}, AcceptsAgain)", "Steer"]),
    ("Pool(", &["found: Accepts", "}, Stopping {", "reason: Scale"]),
    ("shares: true", &["}, Exited {", "signal: Signal(15)", "reason: Stop"]),
    ("shares: false", &["found: Left", "}, Due {"]),
    // What is asked for.
    ("Pool(", &["Requested(Recycle", "}, Due {", "reason: Asked"]),
    ("Pool(", &["Requested(Recycle", "-> []"]),
    ("Pool(", &["}, Exited {", "reason: Asked"]),
    ("Pool(", &["Requested(Scale { workers: 9", "Scaled { workers: 9, from: 1 }"]),
    ("Pool(", &["Requested(Scale { workers: 1 }", "Scaled { workers: 1, from: "]),
    ("Pool(", &["Requested(Reload)", ", Started)"]),
    ("Pool(", &["Requested(Stop)", "ShutdownStarted"]),
    ("Init(", &["Requested(Stop)", "Forward", "Signal(Forwarded"]),
];

/// Whether the pieces are in the line, in this order.
fn has(line: &str, pieces: &[&str]) -> bool {
    let mut rest = line;
    pieces.iter().all(|piece| match rest.split_once(*piece) {
        Some((_, after)) => {
            rest = after;
            true
        }
        None => false,
    })
}

#[test]
fn the_histories_reach_every_corner() {
    let mut times = CORNERS.map(|corner| (corner, 0));
    let mut times_under = CORNERS_UNDER.map(|corner| (corner, 0));
    // Init mode has more rules, and shorter histories.
    for (kind, seeds) in [(Kind::Pool, 1_500), (Kind::Init, 6_000)] {
        for seed in 0..seeds {
            let trace = History::new(kind, seed).traced().run_to_trace();
            for (corner, times) in &mut times {
                *times += u32::from(trace.iter().any(|line| line.contains(*corner)));
            }
            for ((policy, step), times) in &mut times_under {
                let is_under = trace[0].contains(*policy);
                *times += u32::from(is_under && trace[1..].iter().any(|line| has(line, step)));
            }
        }
    }
    let rare: Vec<_> = times_under.iter().filter(|(_, times)| *times < 3).collect();
    assert!(rare.is_empty(), "hardly ever reached: {rare:?}");
    let rare: Vec<_> = times.iter().filter(|(_, times)| *times < 3).collect();
    assert!(rare.is_empty(), "hardly ever reached: {rare:?}");
}
