//! Workers that hang, and those that only seem to.

use super::*;
use prefork_core::action::WorkerAction;
use prefork_core::event::{Measured, Request, WorkerFact};
use prefork_core::note::{Sign, Verdict, WorkerNote};
use prefork_core::policy::ProbePolicy;

const NOTHING: HangPolicy = HangPolicy {
    watchdog: None,
    accept_stall: None,
    probe: None,
    abort_signal: Signal::ABRT,
    abort_time: s(2),
};

fn watched(workers: u32, hang: HangPolicy) -> PoolPolicy {
    PoolPolicy { hang, drain: STEERED, ..policy(workers) }
}

fn hung(scene: &Scene, by: Sign) -> bool {
    scene.noted(|note| matches!(note, Note::Worker(_, WorkerNote::Hung { sign }) if *sign == by))
}

#[test]
fn a_worker_that_stops_pinging_is_aborted_and_killed_and_comes_back() {
    let mut scene = Scene::ready(watched(2, HangPolicy { watchdog: Some(s(10)), ..NOTHING }));
    scene.now = scene.now + s(9);
    for pid in [10, 11] {
        scene.hears(pid, WorkerFact::Pinged);
    }
    scene.now = scene.now + s(9);
    scene.hears(11, WorkerFact::Pinged);
    scene.after(s(1));
    assert!(hung(&scene, Sign::Watchdog) && scene.sent(10, Signal::ABRT), "{:?}", scene.actions);
    assert!(scene.did(|action| matches!(action, Action::Worker { act: WorkerAction::Inspect, .. })));
    assert_eq!(scene.steered(), Some(vec![1]));
    scene.hears(11, WorkerFact::Pinged);
    scene.after(s(2));
    assert!(scene.sent(10, Signal::KILL));
    scene.exits(10, Exit::Signal { signal: Signal::KILL, core_dumped: false });
    assert!(
        scene.noted(|note| matches!(note, Note::Worker(_, WorkerNote::Exited { reason: Reason::Hung, .. })))
    );
    scene.deadline();
    assert!(scene.order().is_some());
}

#[test]
fn a_deadline_by_which_somebody_is_hurt_is_told_from_others() {
    let drain = DrainPolicy { hint: None, time: s(1), ..STEERED };
    let quiet = PoolPolicy { drain, ..policy(2) };
    let mut scene = Scene::new(Mode::Pool(quiet.clone()));
    assert!(!scene.core.hurts());
    scene.spawns(10);
    assert!(scene.core.hurts(), "the start timeout");
    let mut scene = Scene::ready(PoolPolicy { deadline: Some(Monotonic(s(1_000))), ..quiet.clone() });
    assert!(scene.core.next_deadline().is_some() && !scene.core.hurts(), "all are ready");
    scene.happens(Event::Requested(Request::Scale { workers: 1 }));
    assert!(scene.core.hurts(), "one is emptied, for so long");
    let watchdog = HangPolicy { watchdog: Some(s(10)), ..NOTHING };
    assert!(Scene::ready(watched(1, watchdog)).core.hurts(), "a ping is awaited");
    for patience in [Patience::Forever, Patience::For(s(30))] {
        let stop = StopPolicy { graceful: patience, ..STOP };
        let mut scene = Scene::ready(PoolPolicy { stop, ..policy(1) });
        scene.signal(Signal::TERM);
        assert_eq!(scene.core.hurts(), patience != Patience::Forever);
        let mut scene = Scene::ready(PoolPolicy { stop, ..policy(2) });
        scene.happens(Event::Requested(Request::Scale { workers: 1 }));
        assert_eq!(scene.core.hurts(), patience != Patience::Forever, "one is stopped");
        let mut scene = Scene::new(Mode::Init(InitPolicy::new(stop)));
        scene.spawns(10);
        assert!(!scene.core.hurts());
        scene.signal(Signal::TERM);
        assert_eq!(scene.core.hurts(), patience != Patience::Forever);
    }
    let limit = Some(Monotonic(s(5)));
    let mut scene = Scene::new(Mode::Init(InitPolicy { limit, ..InitPolicy::new(STOP) }));
    scene.spawns(10);
    assert!(scene.core.hurts());
    scene.core.is_behind(s(3));
    assert_eq!(scene.core.next_deadline(), limit, "it counts what we were told");
}

#[test]
fn were_it_the_database_that_hangs_only_one_worker_at_a_time_is_ended() {
    let probe = Some(ProbePolicy { interval: s(5), failures: 2 });
    let mut scene = Scene::ready(watched(4, HangPolicy { probe, ..NOTHING }));
    for _ in 0..2 {
        scene.after(s(5));
        for pid in 10..14 {
            scene.hears(pid, WorkerFact::Probed { passed: Some(false) });
            assert!((11..14).all(|pid| !scene.sent(pid, Signal::ABRT)), "one goes first");
        }
    }
    assert_eq!(scene.core.snapshot().ready, 0);
    scene.hears(12, WorkerFact::Probed { passed: Some(true) });
    assert_eq!(scene.core.snapshot().ready, 1, "who answers again has its peace");
    scene.exits(10, Exit::Signal { signal: Signal::ABRT, core_dumped: true });
    scene.until("a new one", |action| matches!(action, Action::Spawn(_)));
    scene.spawns(20);
    scene.sees_ready(20);
    assert!(scene.sent(11, Signal::ABRT), "then the next");
}

#[test]
fn a_queue_that_stands_still_is_first_steered_away_from() {
    let mut scene = Scene::ready(PoolPolicy {
        measure_every: Some(s(1)),
        ..watched(2, HangPolicy { accept_stall: Some(s(4)), ..NOTHING })
    });
    let waits = |scene: &mut Scene, waiting: u32| {
        scene.after(s(1));
        let found = Measured { waiting: Some(waiting), ..Measured::default() };
        scene.hears(10, WorkerFact::Measured(found));
    };
    let suspected =
        |note: &Note| matches!(note, Note::Worker(_, WorkerNote::Suspected { verdict: Verdict::Suspected }));
    for waiting in [1, 2, 3, 3, 3] {
        assert!(!scene.noted(suspected));
        waits(&mut scene, waiting);
    }
    assert!(scene.noted(suspected));
    assert_eq!(scene.steered(), Some(vec![1]));
    // It was only busy.
    waits(&mut scene, 1);
    for _ in 0..3 {
        waits(&mut scene, 1);
    }
    waits(&mut scene, 0);
    assert_eq!(scene.steered(), Some(vec![0, 1]));
    // And now it is not.
    for _ in 0..9 {
        waits(&mut scene, 1);
    }
    assert!(scene.sent(10, Signal::ABRT) || hung(&scene, Sign::AcceptStall));
}

#[test]
fn a_worker_that_says_it_is_stopping_gets_no_more_connections_and_a_replacement() {
    let mut scene = Scene::ready(watched(2, NOTHING));
    scene.hears(10, WorkerFact::SaidStopping);
    assert_eq!(scene.steered(), Some(vec![1]));
    scene.until("a replacement", |action| matches!(action, Action::Spawn(_)));
    scene.spawns(20);
    scene.exits(10, Exit::Code(0));
    assert!(
        scene.noted(|note| matches!(note, Note::Worker(_, WorkerNote::Exited { reason: Reason::Stop, .. })))
    );
}
