//! How a pool gets ready, and what becomes of one that does not.

use super::{Scene, policy, s};
use prefork_core::action::{Action, Ask, Recipients, WorkerAction};
use prefork_core::event::{PoolFact, WorkerFact};
use prefork_core::exit::{Exit, Reason};
use prefork_core::note::{PoolNote, ReadyBy, WorkerNote};
use prefork_core::policy::{DrainPolicy, Jittered, PoolPolicy, ReadyPolicy, RecyclePolicy, RespawnPolicy};
use prefork_core::time::Patience;
use prefork_core::{Event, Mode, Monotonic, Note, Pid, Signal};
use std::time::Duration;

const STARTUP_FAILURE: Exit = Exit::Code(3);

fn is_spawn(action: &Action) -> bool {
    matches!(action, Action::Spawn(_))
}

/// A pool whose workers, pids 10, 11, ..., all run and are not ready.
fn starting(policy: PoolPolicy) -> Scene {
    let workers = policy.workers;
    let mut scene = Scene::new(Mode::Pool(policy));
    for pid in (10..).take(workers as usize) {
        scene.until("a spawn", is_spawn);
        scene.spawns(pid);
    }
    scene
}

/// Lets time pass until a worker is to be spawned, or the pool ends; returns for which slot.
fn next_slot(scene: &mut Scene) -> Option<u32> {
    while scene.order().is_none() && !scene.did(|action| *action == Action::Ask(Ask::Reap)) {
        scene.deadline();
    }
    scene.order().map(|order| order.slot)
}

/// All of them end so, and each that comes after them. Returns which came, how long it took, and the code.
fn never_starts(scene: &mut Scene, workers: i32, exit: Exit) -> (Vec<u32>, Duration, Option<u8>) {
    let begin = scene.now;
    for pid in 10..10 + workers {
        scene.exits(pid, exit);
    }
    let mut retries = Vec::new();
    let mut pid = 100;
    while let Some(slot) = next_slot(scene) {
        retries.push(slot);
        scene.spawns(pid);
        scene.exits(pid, exit);
        pid += 1;
    }
    let took = scene.now.since(begin);
    scene.happens(Event::Reaped { children_left: false });
    (retries, took, scene.code())
}

#[test]
fn what_cannot_start_is_tried_again_by_one_slot_alone() {
    let mut scene = starting(policy(8));
    let (retries, took, code) = never_starts(&mut scene, 8, STARTUP_FAILURE);
    assert_eq!((retries, code), (vec![0, 0, 0], Some(3)), "three restarts are accepted");
    assert!(took < s(1), "nothing was asked for that could come up later: {took:?}");
}

#[test]
fn where_something_was_asked_for_the_pool_waits_for_it_as_long_as_ever() {
    let mut scene = starting(policy(8));
    scene.happens(Event::Pool(PoolFact::ReachedOut));
    let (retries, took, code) = never_starts(&mut scene, 8, STARTUP_FAILURE);
    assert_eq!((retries, code), (vec![0, 0, 0], Some(3)));
    assert!(took >= s(3), "a second after each that says it cannot boot: {took:?}");
}

#[test]
fn restarts_without_end_stay_without_end() {
    let respawn = RespawnPolicy { max_restarts: None, ..policy(1).respawn };
    let mut scene = starting(PoolPolicy { respawn, ..policy(4) });
    for pid in 10..14 {
        scene.exits(pid, STARTUP_FAILURE);
    }
    for pid in 100..200 {
        assert_eq!(next_slot(&mut scene), Some(0));
        scene.spawns(pid);
        scene.exits(pid, STARTUP_FAILURE);
    }
    assert!(scene.now >= Monotonic(s(60)), "the waits grow: {:?}", scene.now);
}

#[test]
fn when_the_first_worker_is_ready_all_the_others_come_at_once() {
    let mut scene = starting(policy(4));
    for pid in [12, 11, 13] {
        scene.exits(pid, Exit::Code(1));
    }
    assert_eq!(next_slot(&mut scene), Some(2), "the first that failed");
    scene.spawns(20);
    let began = scene.now;
    scene.sees_ready(10);
    let came: Vec<u32> = (21..23)
        .map(|pid| {
            let slot = next_slot(&mut scene).unwrap();
            scene.spawns(pid);
            slot
        })
        .collect();
    assert_eq!((came, scene.now), (vec![1, 3], began));
}

#[test]
fn workers_that_start_are_waited_for_though_one_has_failed() {
    let mut scene = starting(policy(3));
    scene.exits(11, Exit::Code(1));
    assert_eq!(next_slot(&mut scene), Some(1));
    scene.spawns(20);
    scene.sees_ready(20);
    scene.sees_ready(10);
    scene.sees_ready(12);
    assert_eq!(scene.core.snapshot().ready, 3);
}

#[test]
fn should_the_slot_that_tries_not_be_wanted_any_more_another_tries() {
    let mut scene = starting(policy(3));
    for pid in [12, 11, 10] {
        scene.exits(pid, Exit::Code(1));
    }
    scene.signal(Signal::TTOU);
    assert_eq!(next_slot(&mut scene), Some(0));
    scene.spawns(20);
    scene.sees_ready(20);
    assert_eq!(next_slot(&mut scene), Some(1));
}

/// Observed and never seen, as a server on a port of its own.
#[test]
fn workers_that_are_never_ready_in_time_come_to_an_end() {
    let drain = DrainPolicy { listens: true, ..policy(1).drain };
    let mut scene = starting(PoolPolicy { drain, ..policy(2) });
    let mut given_up = 0;
    let mut living = vec![10, 11];
    while !scene.did(|action| matches!(action, Action::Note(Note::Pool(PoolNote::GaveUp { .. })))) {
        assert!(scene.now < Monotonic(s(1_000)), "it goes on for ever");
        scene.deadline();
        let late: Vec<Pid> = scene
            .actions
            .iter()
            .filter_map(|action| match action {
                Action::Worker { worker, act: WorkerAction::ExplainLateness { watched: true }, .. } => {
                    Some(worker.pid)
                }
                _ => None,
            })
            .collect();
        for pid in late {
            assert!(scene.sent(pid.0, Signal::TERM), "it was explained and goes on");
        }
        let ended: Vec<i32> = living.iter().copied().filter(|pid| scene.sent(*pid, Signal::TERM)).collect();
        living.retain(|pid| !ended.contains(pid));
        for pid in ended {
            given_up += 1;
            scene.exits(pid, Exit::Signal { signal: Signal::TERM, core_dumped: false });
        }
        if living.is_empty() && scene.did(|action| *action == Action::Ask(Ask::Reap)) {
            scene.happens(Event::Reaped { children_left: false });
        }
        if scene.order().is_some() {
            let pid = 100 + given_up;
            scene.spawns(pid);
            living.push(pid);
        }
    }
    assert_eq!((given_up, scene.code()), (2 + 3, Some(3)), "three restarts, whatever the window");
}

#[test]
fn those_that_start_are_explained_when_the_pool_is_given_up() {
    for listens in [true, false] {
        let drain = DrainPolicy { listens, ..policy(1).drain };
        let mut scene = starting(PoolPolicy { drain, ..policy(3) });
        let mut failing = 11;
        scene.exits(failing, Exit::Code(1));
        while !scene.sent(10, Signal::TERM) {
            assert_eq!(next_slot(&mut scene), Some(1));
            failing += 10;
            scene.spawns(failing);
            scene.exits(failing, Exit::Code(1));
        }
        let explained: Vec<i32> = scene
            .actions
            .iter()
            .filter_map(|action| match action {
                Action::Worker { worker, act: WorkerAction::ExplainLateness { watched: false }, .. } => {
                    Some(worker.pid.0)
                }
                _ => None,
            })
            .collect();
        let expected: &[i32] = if listens { &[10, 12] } else { &[] };
        assert_eq!(explained, expected);
    }
}

#[test]
fn one_that_was_ready_meanwhile_makes_late_ones_forgotten() {
    let mut scene = starting(policy(1));
    let mut pid = 10;
    for round in 0..12 {
        if round % 3 == 2 {
            scene.sees_ready(pid);
        } else {
            scene.until("the end of the patience", |action| {
                *action == Action::Signal { to: Recipients::Process(Pid(pid)), signal: Signal::TERM }
            });
        }
        scene.exits(pid, Exit::Code(1));
        scene.now = scene.now + s(100);
        assert_eq!(next_slot(&mut scene), Some(0), "given up in round {round}");
        pid += 1;
        scene.spawns(pid);
    }
}

/// Nothing but a worker's life is to be seen.
fn blind(workers: u32) -> PoolPolicy {
    let ready = ReadyPolicy {
        observe: false,
        believe: true,
        probe: false,
        after: Some(s(1)),
        start_timeout: Patience::For(s(60)),
    };
    let respawn = RespawnPolicy { max_restarts: None, backoff: Duration::ZERO, ..policy(1).respawn };
    PoolPolicy { ready, respawn, ..policy(workers) }
}

#[test]
fn who_died_soon_has_to_be_outlived_by_far_before_mere_life_is_readiness() {
    let mut scene = starting(blind(1));
    let ready_after =
        |scene: &mut Scene, pid: i32| {
            let begin = scene.now;
            scene.until("readiness", |action| {
                matches!(action, Action::Note(Note::Worker(_, WorkerNote::Ready { by: ReadyBy::Uptime, .. })))
            });
            let took = scene.now.since(begin);
            scene.after(s(2));
            assert_eq!(scene.core.snapshot().ready, 1);
            scene.exits(pid, Exit::Code(1));
            assert!(scene.noted(|note| matches!(
                note,
                Note::Worker(_, WorkerNote::Exited { reason: Reason::Crash, .. })
            )));
            next_slot(scene);
            scene.spawns(pid + 1);
            took
        };
    let took: Vec<Duration> = (10..15).map(|pid| ready_after(&mut scene, pid)).collect();
    assert_eq!(took, [s(1), s(10), s(20), s(30), s(30)], "half of the start timeout is the most");
    // One that serves for a while makes that forgotten.
    scene.until("readiness", |action| {
        matches!(action, Action::Note(Note::Worker(_, WorkerNote::Ready { .. })))
    });
    scene.after(s(10));
    scene.exits(15, Exit::Code(1));
    next_slot(&mut scene);
    scene.spawns(20);
    scene.after(s(1));
    assert_eq!(scene.core.snapshot().ready, 1);
}

#[test]
fn a_slot_that_only_crashes_is_not_ready_though_each_lives_longer_than_a_second() {
    let mut scene = starting(blind(3));
    scene.after(s(1));
    assert_eq!(scene.core.snapshot().ready, 3);
    let mut pids = [11, 12];
    for round in 0..20 {
        scene.after(s(4));
        for pid in &mut pids {
            scene.exits(*pid, Exit::Code(1));
            assert!(scene.noted(|note| matches!(
                note,
                Note::Worker(_, WorkerNote::Exited { reason: Reason::Crash, .. })
            )));
            next_slot(&mut scene);
            *pid += 10;
            scene.spawns(*pid);
        }
        assert_eq!(scene.core.snapshot().ready, 1, "in round {round}");
        scene.after(s(3));
        assert_eq!(scene.core.snapshot().ready, 1, "in round {round}");
    }
}

#[test]
fn one_that_ends_at_its_own_limit_before_it_is_believed_ends_by_plan() {
    let max_requests = Some(Jittered { base: 100, jitter: 0 });
    let recycle = RecyclePolicy { max_requests, counted_by_worker: true, ..RecyclePolicy::default() };
    let mut scene = starting(PoolPolicy { recycle, ..blind(1) });
    scene.after(s(2));
    scene.exits(10, Exit::Code(1));
    for pid in 20..25 {
        assert_eq!(next_slot(&mut scene), Some(0));
        scene.spawns(pid);
        scene.after(s(3));
        assert_eq!(scene.core.snapshot().ready, 0);
        scene.exits(pid, Exit::Code(0));
        assert!(scene.noted(|note| matches!(
            note,
            Note::Worker(_, WorkerNote::Exited { reason: Reason::MaxRequests, .. })
        )));
        assert!(!scene.noted(|note| matches!(note, Note::Pool(PoolNote::RespawnDelayed { .. }))));
    }
}

#[test]
fn a_number_is_of_one_living_worker_and_the_lowest_that_is_free() {
    let max_age = Some(Jittered { base: s(100), jitter: Duration::ZERO });
    let recycle = RecyclePolicy { max_age, ..RecyclePolicy::default() };
    let mut scene = Scene::ready(PoolPolicy { recycle, ..policy(2) });
    scene.after(s(100));
    let order = scene.order().unwrap();
    assert_eq!((order.slot, order.number), (0, 2), "two workers of one slot have two numbers");
    scene.spawns(20);
    scene.sees_ready(20);
    assert!(scene.sent(10, Signal::TERM));
    scene.after(s(30));
    assert!(scene.sent(10, Signal::KILL));
    scene.after(s(1));
    assert_eq!(scene.order(), None, "one that was killed and does not end keeps its room and its number");
    scene.exits(10, Exit::Signal { signal: Signal::KILL, core_dumped: false });
    scene.until("the next", is_spawn);
    let order = scene.order().unwrap();
    assert_eq!((order.slot, order.number), (1, 0), "it is free when its worker is reaped");
}

fn reporting() -> PoolPolicy {
    let max_requests = Some(Jittered { base: 100, jitter: 0 });
    PoolPolicy { recycle: RecyclePolicy { max_requests, ..RecyclePolicy::default() }, ..policy(1) }
}

#[test]
fn a_worker_that_reports_no_request_is_looked_at_less_and_less_often() {
    let mut scene = Scene::ready(reporting());
    let mut looks = Vec::new();
    let mut last = scene.now;
    for _ in 0..9 {
        scene.until("a look", |action| {
            matches!(action, Action::Worker { act: WorkerAction::CheckCounting, .. })
        });
        looks.push(scene.now.since(last).as_secs() / 60);
        last = scene.now;
        scene.actions.clear();
    }
    assert_eq!(looks, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
    scene.hears(10, WorkerFact::RequestsReported { total: 1 });
    assert_eq!(scene.core.next_deadline(), None, "somebody counts");
}

#[test]
fn who_counts_for_itself_and_who_has_no_limit_is_not_asked() {
    let recycle = RecyclePolicy { counted_by_worker: true, ..reporting().recycle };
    for policy in [policy(1), PoolPolicy { recycle, ..policy(1) }] {
        assert_eq!(Scene::ready(policy).core.next_deadline(), None);
    }
}
