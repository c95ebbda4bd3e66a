//! The end of a pool: for workers that start, for servers that print, and where all processes are stopped at once.

use super::{STEERED, Scene, ms, policy, s};
use prefork_core::action::{ListenerAction, PoolCheck, Recipients, WorkerAction};
use prefork_core::event::{PoolFact, WorkerFact};
use prefork_core::exit::{Exit, Reason};
use prefork_core::note::{PoolNote, WorkerNote, WorkerRef};
use prefork_core::policy::{DrainPolicy, PoolPolicy, RespawnPolicy};
use prefork_core::{Action, Event, Lane, Mode, Note, Pid, Signal};
use std::time::Duration;

const DRAIN: DrainPolicy = DrainPolicy { told: true, time: ms(300), ..STEERED };

fn listening(workers: u32) -> PoolPolicy {
    PoolPolicy { drain: DRAIN, ..policy(workers) }
}

/// Two workers run, and the first is ready.
fn half_ready() -> Scene {
    let mut scene = Scene::new(Mode::Pool(listening(2)));
    scene.spawns(10);
    scene.sees_ready(10);
    scene.deadline();
    scene.spawns(11);
    scene
}

fn unseen(scene: &mut Scene, pid: i32) {
    scene.hears(pid, WorkerFact::NotSeenAccepting { took: Duration::ZERO, more: false });
}

fn looks_at(lanes: &[u32]) -> Action {
    Action::Check(PoolCheck::Queues { lanes: lanes.iter().copied().map(Lane).collect() })
}

/// Nothing waits from now on, and no client is busy.
fn stops_after_the_drain_time(scene: &mut Scene, pid: i32) {
    scene.happens(Event::Pool(PoolFact::QueuesSeen { waiting: 0 }));
    let quiet = scene.now;
    scene.nobody_is_busy();
    assert!(scene.sent(pid, Signal::TERM));
    assert_eq!(scene.now, quiet + DRAIN.time);
}

const REFUSED: Action = Action::Listeners(ListenerAction::Refuse { held_off: true });

#[test]
fn a_worker_that_serves_and_was_not_seen_to_yet_is_waited_for() {
    let mut scene = Scene::new(Mode::Pool(listening(1)));
    scene.spawns(10);
    scene.signal(Signal::TERM);
    assert!(scene.did(|action| *action == Action::Listeners(ListenerAction::HoldOff)));
    assert!(!scene.sent(10, Signal::TERM), "it may serve");
    assert!(scene.did(|action| *action == looks_at(&[0])));
    scene.happens(Event::Pool(PoolFact::QueuesSeen { waiting: 1 }));
    scene.until("a look", |action| {
        matches!(
            action,
            Action::Worker {
                worker: WorkerRef { pid: Pid(10), .. },
                lane: Lane(0),
                act: WorkerAction::Observe,
            }
        )
    });
    scene.sees_ready(10);
    assert!(scene.did(|action| matches!(
        action,
        Action::Worker { worker: WorkerRef { pid: Pid(10), .. }, act: WorkerAction::Hint { .. }, .. }
    )));
    stops_after_the_drain_time(&mut scene, 10);
}

#[test]
fn workers_none_of_which_serves_are_stopped_in_a_moment() {
    for (waiting, most) in [(0, ms(25)), (3, ms(125))] {
        let mut scene = Scene::new(Mode::Pool(listening(1)));
        scene.spawns(10);
        scene.after(s(1));
        unseen(&mut scene, 10);
        let asked = scene.now;
        scene.signal(Signal::TERM);
        while !scene.sent(10, Signal::TERM) {
            assert!(scene.now <= asked + most, "{waiting} wait");
            scene.deadline();
            let (observed, looked) = (
                scene.did(|action| matches!(action, Action::Worker { act: WorkerAction::Observe, .. })),
                scene.did(|action| matches!(action, Action::Check(PoolCheck::Queues { .. }))),
            );
            if observed {
                unseen(&mut scene, 10);
            }
            if looked && !scene.sent(10, Signal::TERM) {
                scene.happens(Event::Pool(PoolFact::QueuesSeen { waiting }));
            }
        }
    }
}

#[test]
fn who_waits_for_a_worker_that_starts_beside_others_is_served() {
    let mut scene = half_ready();
    scene.signal(Signal::TERM);
    assert!(scene.did(|action| *action == looks_at(&[0, 1])));
    while scene.now.0 < s(3) {
        if scene.did(|action| matches!(action, Action::Worker { act: WorkerAction::Observe, .. })) {
            unseen(&mut scene, 11);
        } else if scene.did(|action| matches!(action, Action::Check(PoolCheck::Queues { .. }))) {
            assert!(scene.did(|action| *action == looks_at(&[0, 1])));
            scene.happens(Event::Pool(PoolFact::QueuesSeen { waiting: 1 }));
        }
        scene.deadline();
        assert!(!scene.sent(10, Signal::TERM) && !scene.sent(11, Signal::TERM));
    }
    scene.sees_ready(11);
    stops_after_the_drain_time(&mut scene, 11);
}

#[test]
fn connections_are_refused_when_the_workers_have_let_go() {
    let mut scene = Scene::ready(listening(2));
    scene.signal(Signal::TERM);
    scene.happens(Event::Pool(PoolFact::QueuesSeen { waiting: 0 }));
    scene.until("the stop", |action| {
        *action == Action::Signal { to: Recipients::Process(Pid(11)), signal: Signal::TERM }
    });
    assert!(!scene.did(|action| *action == REFUSED), "they would trip over it");
    let both = vec![(Pid(10), Lane(0)), (Pid(11), Lane(1))];
    scene.until("a look", |action| *action == Action::Check(PoolCheck::Listeners { workers: both.clone() }));
    scene.happens(Event::Pool(PoolFact::ListenersSeen { awaited: true }));
    assert!(!scene.did(|action| *action == REFUSED));
    scene.until("another look", |action| matches!(action, Action::Check(PoolCheck::Listeners { .. })));
    scene.happens(Event::Pool(PoolFact::ListenersSeen { awaited: false }));
    assert!(scene.did(|action| *action == REFUSED));
    scene.after(s(2));
    assert!(!scene.did(|action| *action == REFUSED), "once");
}

#[test]
fn connections_are_refused_within_a_second_whatever_the_workers_do() {
    let mut scene = Scene::ready(listening(1));
    scene.signal(Signal::TERM);
    scene.happens(Event::Pool(PoolFact::QueuesSeen { waiting: 0 }));
    scene.until("the stop", |action| {
        *action == Action::Signal { to: Recipients::Process(Pid(10)), signal: Signal::TERM }
    });
    let stopped = scene.now;
    let mut looks = 0;
    while !scene.did(|action| *action == REFUSED) {
        scene.deadline();
        if scene.did(|action| matches!(action, Action::Check(PoolCheck::Listeners { .. }))) {
            looks += 1;
            scene.happens(Event::Pool(PoolFact::ListenersSeen { awaited: true }));
        }
    }
    assert_eq!(scene.now, stopped + s(1));
    assert!((3..10).contains(&looks), "{looks} looks");
}

#[test]
fn connections_are_refused_when_the_last_worker_is_gone() {
    let mut scene = Scene::ready(listening(1));
    scene.signal(Signal::TERM);
    scene.happens(Event::Pool(PoolFact::QueuesSeen { waiting: 0 }));
    scene.until("the stop", |action| {
        *action == Action::Signal { to: Recipients::Process(Pid(10)), signal: Signal::TERM }
    });
    scene.exits(10, Exit::Code(0));
    assert!(scene.did(|action| *action == REFUSED));
    scene.happens(Event::Reaped { children_left: false });
    assert_eq!(scene.code(), Some(0));
}

const TERMINATED: Exit = Exit::Signal { signal: Signal::TERM, core_dumped: false };

fn exited(scene: &Scene, pid: i32) -> Option<Reason> {
    scene.actions.iter().find_map(|action| match action {
        Action::Note(Note::Worker(worker, WorkerNote::Exited { reason, .. })) if worker.pid == Pid(pid) => {
            Some(*reason)
        }
        _ => None,
    })
}

#[test]
fn workers_stopped_a_moment_before_us_were_stopped() {
    let ends = [TERMINATED, Exit::Code(0), Exit::Code(143)];
    for exit in ends {
        let mut scene = Scene::ready(listening(2));
        scene.exits(10, exit);
        assert_eq!(exited(&scene, 10), None, "too early to say");
        assert_eq!(scene.steered(), Some(vec![1]), "but it serves nobody");
        scene.after(ms(40));
        assert_eq!((exited(&scene, 10), scene.order()), (None, None));
        scene.signal(Signal::TERM);
        assert_eq!(exited(&scene, 10), Some(Reason::Stop));
        scene.exits(11, exit);
        assert_eq!(exited(&scene, 11), Some(Reason::Stop));
        scene.after(s(1));
        assert_eq!(scene.order(), None, "nobody comes any more");
        scene.happens(Event::Reaped { children_left: false });
        assert_eq!(scene.code(), Some(0));
    }
}

#[test]
fn a_worker_that_was_stopped_alone_is_replaced_in_a_moment() {
    let mut scene = Scene::ready(listening(2));
    scene.exits(10, TERMINATED);
    let ended = scene.now;
    scene.until("a respawn", |action| matches!(action, Action::Spawn(_)));
    assert!(scene.now <= ended + ms(100));
    assert_eq!(scene.order().map(|order| order.lane), Some(Lane(0)));
    assert_eq!(exited(&scene, 10), Some(Reason::Crash));
}

#[test]
fn a_pool_in_which_a_worker_is_ready_meanwhile_is_not_given_up() {
    let respawn = RespawnPolicy { max_restarts: Some(0), ..policy(2).respawn };
    let mut scene = Scene::new(Mode::Pool(PoolPolicy { respawn, ..listening(2) }));
    for pid in [10, 11] {
        scene.spawns(pid);
        scene.deadline();
    }
    scene.sees_ready(10);
    scene.exits(10, TERMINATED);
    scene.sees_ready(11);
    scene.after(ms(100));
    assert_eq!(exited(&scene, 10), Some(Reason::Crash));
    assert!(!scene.sent(11, Signal::TERM), "it serves");
}

#[test]
fn a_worker_that_ends_otherwise_is_replaced_at_once() {
    let killed = Exit::Signal { signal: Signal::KILL, core_dumped: false };
    for exit in [Exit::Code(1), killed] {
        let mut scene = Scene::ready(listening(2));
        scene.after(s(1));
        scene.exits(10, exit);
        let ended = scene.now;
        assert_eq!(exited(&scene, 10), Some(Reason::Crash));
        scene.until("a respawn", |action| matches!(action, Action::Spawn(_)));
        assert_eq!(scene.now, ended);
    }
}

#[test]
fn a_drain_delay_ends_when_all_were_stopped_and_what_they_have_in_hand_is_theirs_to_finish() {
    let mut scene = Scene::ready(PoolPolicy { drain_delay: s(100), ..listening(2) });
    scene.exits(10, TERMINATED);
    scene.signal(Signal::TERM);
    scene.after(s(20));
    assert_eq!(scene.order(), None, "it was stopped, and is not missed");
    assert!(!scene.sent(11, Signal::TERM), "it finishes what it has");
    scene.exits(11, Exit::Code(0));
    assert_eq!(exited(&scene, 11), Some(Reason::Stop));
    assert!(scene.did(|action| *action == REFUSED));
    scene.happens(Event::Reaped { children_left: false });
    assert_eq!(scene.code(), Some(0));
}

#[test]
fn a_managers_watchdog_that_aborts_everybody_is_a_stop() {
    let aborted = Exit::Signal { signal: Signal::ABRT, core_dumped: true };
    let mut scene = Scene::ready(PoolPolicy { drain_delay: s(100), ..listening(2) });
    scene.exits(10, aborted);
    scene.signal(Signal::ABRT);
    assert!(
        scene
            .noted(|note| matches!(note, Note::Pool(PoolNote::ShutdownStarted { signal: Signal::ABRT, .. })))
    );
    assert_eq!(exited(&scene, 10), Some(Reason::Stop));
    scene.exits(11, aborted);
    assert_eq!(exited(&scene, 11), Some(Reason::Stop));
    scene.happens(Event::Reaped { children_left: false });
    assert_eq!(scene.code(), Some(0));
}
