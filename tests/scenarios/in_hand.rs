//! What a worker has in hand is waited for before it is told to stop.

use super::replacing::{DRAIN, ONE_MORE, aging};
use super::*;
use prefork_core::action::{PoolCheck, Recipients, WorkerAction};
use prefork_core::event::{PoolFact, WorkerFact};
use prefork_core::note::{WorkerNote, WorkerRef};
use std::collections::HashMap;

const BUSY: Connections = Connections { open: 3, busy: 2, again: 1 };
const IDLE: Connections = Connections { open: 3, busy: 0, again: 0 };
const RESTLESS: Connections = Connections { open: 3, busy: 0, again: 1 };

/// The old worker of a replacement, pid 10, for which nothing waits any more.
fn emptied(drain: DrainPolicy) -> Scene {
    let mut scene = Scene::ready(PoolPolicy { drain, ..aging(1, ONE_MORE) });
    scene.after(s(100));
    scene.spawns(20);
    scene.sees_ready(20);
    scene.until("a look", |action| matches!(action, Action::Worker { act: WorkerAction::CheckQueue, .. }));
    scene.hears(10, WorkerFact::QueueSeen { waiting: 0 });
    scene
}

#[test]
fn a_busy_worker_is_stopped_once_it_is_not_and_then_has_its_graceful_timeout() {
    let mut scene = emptied(DRAIN);
    for _ in 0..50 {
        scene.answers_look(BUSY);
        assert!(!scene.sent(10, Signal::TERM));
    }
    scene.answers_look(IDLE);
    assert!(scene.sent(10, Signal::TERM));
    let stopped = scene.now;
    scene.until("the kill", |action| {
        *action == Action::Signal { to: Recipients::Group(Pid(10)), signal: Signal::KILL }
    });
    assert_eq!(scene.now, stopped + s(30));
}

#[test]
fn who_is_busy_for_ever_is_stopped_after_the_graceful_timeout_and_that_is_told_before() {
    let mut scene = emptied(DRAIN);
    let mut told = Vec::new();
    let is_told = |scene: &Scene| {
        scene.noted(|note| matches!(note, Note::Worker(_, WorkerNote::Busy { connections: 2, surge: None })))
    };
    while !scene.sent(10, Signal::TERM) {
        scene.deadline();
        told.extend(is_told(&scene).then_some(scene.now));
        if scene
            .did(|action| matches!(action, Action::Worker { act: WorkerAction::CheckConnections { .. }, .. }))
        {
            scene.hears(10, WorkerFact::ConnectionsSeen { found: Some(BUSY), took: Duration::ZERO });
            told.extend(is_told(&scene).then_some(scene.now));
        }
    }
    // It made way at 100 s.
    assert_eq!(scene.now, Monotonic(s(130)));
    assert!(matches!(told[..], [at] if at > Monotonic(s(103)) && at < Monotonic(s(104))), "{told:?}");
}

#[test]
fn who_never_stops_asking_is_waited_for_a_little() {
    let mut scene = emptied(DRAIN);
    let begun = scene.now;
    while !scene.sent(10, Signal::TERM) {
        scene.answers_look(RESTLESS);
    }
    let took = scene.now.since(begun);
    assert!(took >= s(2) + DRAIN.time && took < s(3) + DRAIN.time, "{took:?}");
}

#[test]
fn a_long_drain_time_ends_with_the_last_connection_or_where_nobody_says_goodbye_with_the_last_request() {
    let stopped_after = |told: bool, found: Connections| {
        let mut scene = emptied(DrainPolicy { time: s(60), told, ..DRAIN });
        let begun = scene.now;
        while !scene.sent(10, Signal::TERM) {
            scene.deadline();
            if scene.did(|action| {
                matches!(action, Action::Worker { act: WorkerAction::CheckConnections { .. }, .. })
            }) {
                let took = Duration::ZERO;
                scene.hears(10, WorkerFact::ConnectionsSeen { found: Some(found), took });
            }
        }
        scene.now.since(begun)
    };
    let half_a_second = Duration::from_millis(500);
    assert_eq!(stopped_after(true, Connections::default()), half_a_second);
    assert_eq!(stopped_after(false, IDLE), half_a_second);
    assert_eq!(stopped_after(true, IDLE), s(60));
}

#[test]
fn where_nothing_can_be_seen_the_drain_time_decides() {
    let mut scene = emptied(DRAIN);
    let quiet = scene.now;
    scene.until("a look", |action| {
        matches!(action, Action::Worker { act: WorkerAction::CheckConnections { .. }, .. })
    });
    scene.hears(10, WorkerFact::ConnectionsSeen { found: None, took: Duration::ZERO });
    assert!(scene.sent(10, Signal::TERM));
    assert_eq!(scene.now, quiet + DRAIN.time);
}

#[test]
fn what_costs_much_is_looked_at_rarely() {
    let mut scene = emptied(DRAIN);
    scene.until("a look", |action| {
        matches!(action, Action::Worker { act: WorkerAction::CheckConnections { .. }, .. })
    });
    let took = Duration::from_millis(50);
    scene.hears(10, WorkerFact::ConnectionsSeen { found: Some(BUSY), took });
    let looked = scene.now;
    scene.answers_look(BUSY);
    assert_eq!(scene.now, looked + s(1));
}

#[test]
fn many_that_are_looked_at_cost_no_more_than_one() {
    let budget = Budget { max_surge: Share::Number(4), ..ONE_MORE };
    let mut scene = Scene::ready(PoolPolicy { drain: DRAIN, budget, ..policy(4) });
    scene.signal(Signal::HUP);
    for pid in 20..24 {
        scene.until("a spawn", |action| matches!(action, Action::Spawn(_)));
        scene.spawns(pid);
        scene.sees_ready(pid);
    }
    let (mut looks, took) = (HashMap::new(), Duration::from_millis(10));
    let begun = scene.now;
    while scene.now < begun + s(20) {
        scene.deadline();
        for action in scene.actions.clone() {
            match action {
                Action::Worker { worker: WorkerRef { pid, .. }, act: WorkerAction::CheckQueue, .. } => {
                    scene.hears(pid.0, WorkerFact::QueueSeen { waiting: 0 });
                }
                Action::Worker {
                    worker: WorkerRef { pid, .. },
                    act: WorkerAction::CheckConnections { .. },
                    ..
                } => {
                    *looks.entry(pid).or_insert(0u32) += 1;
                    scene.hears(pid.0, WorkerFact::ConnectionsSeen { found: Some(BUSY), took });
                }
                _ => {}
            }
        }
    }
    let of_the_time = f64::from(looks.values().sum::<u32>()) * took.as_secs_f64() / 20.0;
    assert!(looks.len() == 4 && looks.values().all(|looks| *looks > 10) && of_the_time < 0.06, "{looks:?}");
}

#[test]
fn a_reload_that_waits_for_connections_names_the_remedy() {
    let mut scene = Scene::ready(PoolPolicy { drain: DRAIN, budget: ONE_MORE, ..policy(3) });
    scene.signal(Signal::HUP);
    scene.deadline();
    scene.spawns(20);
    scene.sees_ready(20);
    scene.until("a look", |action| matches!(action, Action::Worker { act: WorkerAction::CheckQueue, .. }));
    scene.hears(10, WorkerFact::QueueSeen { waiting: 0 });
    scene.answers_look(BUSY);
    scene.until("a word", |action| {
        matches!(action, Action::Note(Note::Worker(_, WorkerNote::Busy { connections: 2, surge: Some(2) })))
    });
    let status = scene.core.status(scene.now);
    assert_eq!(status.surge_to_go_on, Some(2));
    let waits: Vec<_> =
        status.workers.iter().filter_map(|worker| Some((worker.slot, worker.waits_for?))).collect();
    assert_eq!(waits, [(0, 2)]);
}

#[test]
fn at_the_end_what_is_in_hand_is_waited_for_half_of_the_time() {
    let stopped_after = |busy_for: Duration| {
        let mut scene = Scene::ready(PoolPolicy { drain: DRAIN, ..policy(2) });
        let begun = scene.now;
        scene.signal(Signal::TERM);
        while !scene.sent(10, Signal::TERM) {
            if scene.did(|action| matches!(action, Action::Check(PoolCheck::Queues { .. }))) {
                scene.happens(Event::Pool(PoolFact::QueuesSeen { waiting: 0 }));
            }
            scene.deadline();
            if scene
                .did(|action| matches!(action, Action::Check(PoolCheck::Connections { pids, .. }) if pids.len() == 2))
            {
                let found = if scene.now.since(begun) < busy_for { BUSY } else { IDLE };
                scene.happens(Event::Pool(PoolFact::ConnectionsSeen {
                    found: Some(found),
                    took: Duration::ZERO,
                }));
            }
        }
        assert!(scene.sent(11, Signal::TERM));
        scene.now.since(begun)
    };
    assert_eq!(stopped_after(Duration::ZERO), DRAIN.time);
    let took = stopped_after(s(3));
    assert!(took >= s(3) && took < s(4), "{took:?}");
    assert_eq!(stopped_after(s(3_600)), s(15));
}

#[test]
fn parts_of_the_workers_follow_their_number() {
    let of = |max_surge, max_unavailable, workers: [u32; 4]| {
        let budget = Budget { max_surge, max_unavailable, gap: Duration::ZERO };
        workers.map(|workers| (budget.surge(workers), budget.unavailable(workers)))
    };
    let quarter = Share::Percent(25);
    assert_eq!(of(quarter, quarter, [1, 3, 4, 9]), [(1, 0), (1, 0), (1, 1), (3, 2)]);
    assert_eq!(of(Share::Number(0), quarter, [1, 3, 4, 9]), [(0, 1), (0, 1), (0, 1), (0, 2)]);
    let mut scene = Scene::ready(PoolPolicy {
        budget: Budget { max_surge: Share::Percent(50), ..ONE_MORE },
        ..policy(2)
    });
    let ordered = |scene: &mut Scene, from: i32| {
        scene.signal(Signal::HUP);
        for pid in from.. {
            scene.now = scene.now + s(1);
            scene.happens(Event::DeadlinePassed);
            if scene.order().is_none() {
                return pid - from;
            }
            scene.spawns(pid);
            // The first is tried alone.
            if pid == from {
                scene.sees_ready(pid);
            }
        }
        0
    };
    assert_eq!(ordered(&mut scene, 20), 1, "1 of 2: the old one lives");
    let mut scene = Scene::ready(PoolPolicy {
        budget: Budget { max_surge: Share::Percent(50), ..ONE_MORE },
        ..policy(2)
    });
    scene.signal(Signal::TTIN);
    scene.deadline();
    scene.spawns(15);
    scene.sees_ready(15);
    assert_eq!(ordered(&mut scene, 20), 2, "2 of 3");
}
