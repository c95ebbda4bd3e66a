//! Workers that take no connections any more, and those that only pause.

use super::*;
use prefork_core::Lane;
use prefork_core::action::{PoolCheck, WorkerAction};
use prefork_core::event::{Found, Measured, PoolFact, Request, WorkerFact};
use prefork_core::note::{WorkerNote, WorkerRef};
use prefork_core::policy::ProbePolicy;

fn two() -> PoolPolicy {
    PoolPolicy { drain: STEERED, ..policy(2) }
}

fn watches(pid: i32) -> impl Fn(&Action) -> bool {
    move |action| matches!(action, Action::Worker { worker: WorkerRef { pid: watched, .. }, act: WorkerAction::WatchQueue, .. } if watched.0 == pid)
}

fn looks(pid: i32) -> impl Fn(&Action) -> bool {
    move |action| matches!(action, Action::Worker { worker: WorkerRef { pid: seen, .. }, act: WorkerAction::CheckAccepting, .. } if seen.0 == pid)
}

fn stopped_accepting(note: &Note) -> bool {
    matches!(note, Note::Worker(_, WorkerNote::StoppedAccepting))
}

impl Scene {
    /// Something comes for the first worker and goes on waiting, until it is looked at.
    fn is_looked_at(&mut self) {
        self.hears(10, WorkerFact::QueueWoke);
        self.until("a look at its queue", watches(10));
        self.hears(10, WorkerFact::QueueSeen { waiting: 1 });
        self.until("a look", looks(10));
    }

    fn sees(&mut self, found: Found) -> &[Action] {
        self.hears(10, WorkerFact::AcceptingSeen { found, took: Duration::ZERO })
    }

    /// It is away from now on: the second look has shown that.
    fn is_away(&mut self, found: Found) {
        self.is_looked_at();
        self.sees(found);
        self.until("another look", looks(10));
        self.sees(found);
    }
}

#[test]
fn a_pool_in_which_nothing_comes_waits_for_nothing() {
    let mut scene = Scene::ready(two());
    assert_eq!(scene.core.next_deadline(), None);
    scene.hears(10, WorkerFact::QueueWoke);
    let woke = scene.now;
    scene.until("a watch", watches(10));
    let rested = scene.now.since(woke);
    assert!((ms(100)..=ms(120)).contains(&rested), "{rested:?}");
    assert_eq!(scene.core.next_deadline(), None, "and nothing more");
}

#[test]
fn connections_go_elsewhere_within_300_ms_and_not_after_one_look() {
    let mut scene = Scene::ready(two());
    scene.is_looked_at();
    scene.sees(Found::Absent);
    assert_eq!(scene.steered(), None);
    let first = scene.now;
    scene.until("another look", looks(10));
    assert!(scene.now.since(first) >= ms(100));
    scene.sees(Found::Absent);
    assert!(scene.noted(stopped_accepting));
    assert_eq!(scene.steered(), Some(vec![1]));
    assert!(scene.now.0 <= ms(300), "{:?}", scene.now);
    assert_eq!(scene.order(), None, "it may only pause");
    let states: Vec<_> =
        scene.core.status(scene.now).workers.iter().map(|worker| worker.state.name()).collect();
    assert_eq!(states, ["not-accepting", "ready"]);
}

#[test]
fn who_pauses_for_half_a_second_is_steered_back_to_and_not_replaced() {
    let mut scene = Scene::ready(two());
    scene.is_away(Found::Absent);
    let since = scene.now;
    while scene.now.since(since) < ms(500) {
        scene.until("another look", looks(10));
        scene.sees(Found::Absent);
        assert!(
            !scene.noted(|note| matches!(note, Note::Worker(_, WorkerNote::Due { .. }))),
            "{:?}",
            scene.now.since(since)
        );
    }
    scene.until("another look", looks(10));
    scene.sees(Found::Accepts);
    assert!(scene.noted(|note| matches!(note, Note::Worker(_, WorkerNote::AcceptsAgain))));
    assert_eq!(scene.steered(), Some(vec![0, 1]));
    // Another pause a moment later is not told again.
    scene.until("a watch", watches(10));
    scene.is_away(Found::Absent);
    assert_eq!((scene.steered(), scene.noted(stopped_accepting)), (Some(vec![1]), false));
}

#[test]
fn who_stays_away_has_a_successor_with_the_same_listeners_and_is_not_told_to_stop() {
    for found in [Found::Absent, Found::Left] {
        let mut scene = Scene::ready(two());
        scene.is_away(found);
        let since = scene.now;
        while !scene
            .noted(|note| matches!(note, Note::Worker(_, WorkerNote::Due { reason: Reason::Stop, .. })))
        {
            scene.until("another look", looks(10));
            scene.sees(found);
        }
        let waited = scene.now.since(since);
        match found {
            Found::Left => assert_eq!(waited, ms(0), "it has closed its listener"),
            _ => assert!((s(1)..ms(1_500)).contains(&waited), "{waited:?}"),
        }
        scene.until("a successor", |action| matches!(action, Action::Spawn(_)));
        assert_eq!(scene.order().unwrap().lane.0, 0, "somebody waits there");
        scene.spawns(20);
        scene.sees_ready(20);
        assert_eq!(scene.steered(), Some(vec![0, 1]));
        let ready = scene.now;
        if found == Found::Absent {
            assert_eq!(scene.answers_look(Connections::default()), Pid(10));
        }
        scene.until("the end of its patience", |action| {
            matches!(action, Action::Note(Note::Worker(_, WorkerNote::Stopping { .. })))
        });
        let went_on = scene.now.since(ready);
        match found {
            Found::Left => assert!(went_on >= s(30), "it ends by itself"),
            _ => assert!(went_on < s(1), "it may come back, and take what is its successor's"),
        }
        scene.exits(10, Exit::Code(0));
        scene.after(s(1));
        assert!(
            !scene.did(|action| matches!(action, Action::Check(PoolCheck::Lane { .. }))),
            "its listeners are another's"
        );
    }
}

#[test]
fn one_that_leaves_and_ends_by_the_signal_it_got_has_not_crashed() {
    let mut scene = Scene::ready(two());
    scene.is_away(Found::Absent);
    scene.exits(10, Exit::Signal { signal: Signal::TERM, core_dumped: false });
    assert!(
        scene.noted(|note| matches!(note, Note::Worker(_, WorkerNote::Exited { reason: Reason::Stop, .. })))
    );
    let ended = scene.now;
    scene.until("a respawn", |action| matches!(action, Action::Spawn(_)));
    assert_eq!(
        (scene.now, scene.order().unwrap().lane.0),
        (ended, 0),
        "without a pause, where somebody waits"
    );
}

#[test]
fn after_a_crash_new_connections_go_elsewhere_at_once() {
    let mut scene = Scene::ready(two());
    scene.exits(10, Exit::Code(1));
    assert_eq!(scene.steered(), Some(vec![1]));
}

#[test]
fn a_successor_that_is_not_needed_any_more_goes() {
    let mut scene = Scene::ready(two());
    scene.is_away(Found::Left);
    scene.until("a successor", |action| matches!(action, Action::Spawn(_)));
    scene.spawns(20);
    scene.until("another look", looks(10));
    scene.sees(Found::Accepts);
    assert!(scene.sent(20, Signal::TERM), "{:?}", scene.actions);
    assert_eq!(scene.steered(), Some(vec![0, 1]));
    scene.exits(20, Exit::Signal { signal: Signal::TERM, core_dumped: false });
    scene.after(s(5));
    assert_eq!(scene.order(), None);
}

#[test]
fn a_reload_whose_first_worker_was_such_a_successor_goes_on_with_another() {
    let mut scene = Scene::ready(two());
    scene.is_away(Found::Left);
    scene.signal(Signal::HUP);
    scene.until("the first", |action| matches!(action, Action::Spawn(_)));
    assert_eq!(scene.order().map(|order| (order.lane, order.generation)), Some((Lane(0), 2)));
    scene.spawns(20);
    scene.until("another look", looks(10));
    scene.sees(Found::Accepts);
    assert!(scene.sent(20, Signal::TERM), "it has the same listeners");
    scene.exits(20, Exit::Signal { signal: Signal::TERM, core_dumped: false });
    scene.until("another", |action| matches!(action, Action::Spawn(_)));
    assert_eq!(scene.order().map(|order| order.generation), Some(2));
}

#[test]
fn one_that_accepts_no_more_and_ends_at_its_own_limit_ends_by_plan() {
    let max_requests = Some(Jittered { base: 100, jitter: 10 });
    let recycle = RecyclePolicy { max_requests, counted_by_worker: true, ..RecyclePolicy::default() };
    let mut scene = Scene::ready(PoolPolicy { recycle, ..two() });
    scene.is_away(Found::Absent);
    scene.exits(10, Exit::Code(0));
    let by_plan =
        |note: &Note| matches!(note, Note::Worker(_, WorkerNote::Exited { reason: Reason::MaxRequests, .. }));
    assert!(scene.noted(by_plan), "{:?}", scene.actions);
}

#[test]
fn nobody_is_aborted_for_being_away() {
    let hang = HangPolicy {
        accept_stall: Some(s(1)),
        probe: Some(ProbePolicy { interval: s(1), failures: 1 }),
        ..two().hang
    };
    let mut scene = Scene::ready(PoolPolicy { hang, measure_every: Some(s(1)), ..two() });
    scene.is_away(Found::Absent);
    for _ in 0..9 {
        scene.after(s(1));
        let found = Measured { waiting: Some(7), ..Measured::default() };
        scene.hears(10, WorkerFact::Measured(found));
        assert!(!scene.sent(10, Signal::ABRT));
        scene.hears(10, WorkerFact::Probed { passed: Some(false) });
        assert!(!scene.sent(10, Signal::ABRT), "{:?}", scene.actions);
    }
}

#[test]
fn who_was_never_seen_to_accept_is_not_judged() {
    let mut scene = Scene::ready(two());
    for _ in 0..20 {
        scene.is_looked_at();
        scene.sees(Found::Unknown);
        assert_eq!(scene.steered(), None);
        scene.until("a watch", watches(10));
    }
    assert!(scene.now.0 > s(600), "and is looked at more and more rarely: {:?}", scene.now);
}

#[test]
fn alone_it_keeps_its_connections_and_the_next_serves_them() {
    let mut scene = Scene::ready(PoolPolicy { drain: STEERED, ..policy(1) });
    scene.is_away(Found::Left);
    assert_eq!(scene.steered(), None, "there is nobody else");
    assert_eq!(scene.core.snapshot().ready, 1);
    scene.until("a successor", |action| matches!(action, Action::Spawn(_)));
    assert_eq!(scene.order().unwrap().lane.0, 0);
}

#[test]
fn who_says_that_it_leaves_is_looked_at_before_its_successor_gets_listeners() {
    for (found, lane) in [(Found::Absent, 0), (Found::Accepts, 2)] {
        let mut scene = Scene::ready(two());
        scene.hears(10, WorkerFact::SaidStopping);
        assert_eq!(scene.steered(), Some(vec![1]));
        for _ in 0..2 {
            if !scene.did(|action| matches!(action, Action::Spawn(_))) {
                scene.until("a look or a successor", |action| {
                    looks(10)(action) || matches!(action, Action::Spawn(_))
                });
            }
            if scene.did(looks(10)) {
                scene.sees(found);
            }
        }
        if scene.order().is_none() {
            scene.until("a successor", |action| matches!(action, Action::Spawn(_)));
        }
        assert_eq!(scene.order().unwrap().lane.0, lane);
        assert!(scene.now.0 <= ms(350), "{:?}", scene.now);
    }
}

#[test]
fn with_a_scoreboard_nobody_shares_listeners() {
    let drain = DrainPolicy { shares: false, ..STEERED };
    let mut scene = Scene::ready(PoolPolicy { drain, ..two() });
    scene.is_away(Found::Left);
    scene.until("a successor", |action| matches!(action, Action::Spawn(_)));
    assert_eq!(scene.order().unwrap().lane.0, 2);
}

#[test]
fn while_the_pool_stops_nobody_looks() {
    let drain = DrainPolicy { time: s(5), ..STEERED };
    let mut scene = Scene::ready(PoolPolicy { drain, ..two() });
    scene.happens(Event::Requested(Request::Stop));
    scene.hears(10, WorkerFact::QueueWoke);
    for _ in 0..50 {
        assert!(!scene.did(|action| watches(10)(action) || looks(10)(action)));
        scene.deadline();
        if scene.did(|action| matches!(action, Action::Check(PoolCheck::Queues { .. }))) {
            scene.happens(Event::Pool(PoolFact::QueuesSeen { waiting: 1 }));
        }
    }
}
