//! How a worker makes way: connections first, then the hint, then the stop signal.

use super::*;
use prefork_core::Lane;
use prefork_core::action::{ListenerAction, PoolCheck, Recipients, WorkerAction};
use prefork_core::event::{ChildChange, Connections, PoolFact, WorkerFact};
use prefork_core::note::{WorkerNote, WorkerRef};

pub const DRAIN: DrainPolicy = DrainPolicy { told: true, hint: Some(Signal::USR2), time: ms(400), ..STEERED };

pub fn aging(workers: u32, budget: Budget) -> PoolPolicy {
    let max_age = Some(Jittered { base: s(100), jitter: Duration::ZERO });
    let recycle = RecyclePolicy { max_age, ..RecyclePolicy::default() };
    PoolPolicy { recycle, budget, drain: DRAIN, ..policy(workers) }
}

pub const ONE_MORE: Budget =
    Budget { max_surge: Share::Number(1), max_unavailable: Share::Number(0), gap: Duration::ZERO };

fn hints(pid: i32) -> impl Fn(&Action) -> bool {
    move |action| matches!(action, Action::Worker { worker: WorkerRef { pid: hinted, .. }, act: WorkerAction::Hint { signal: Some(Signal::USR2) }, .. } if hinted.0 == pid)
}

#[test]
fn connections_go_elsewhere_before_the_hint_and_the_hint_comes_before_the_stop() {
    let mut scene = Scene::ready(aging(1, ONE_MORE));
    scene.after(s(100));
    scene.spawns(20);
    assert_eq!(scene.steered(), None, "a worker that is not ready gets no connection");
    scene.sees_ready(20);
    assert_eq!(scene.steered(), Some(vec![1]));
    assert!(!scene.sent(10, Signal::TERM) && !scene.did(hints(10)));

    // Somebody still waits for the old one.
    scene.until("a look", |action| {
        matches!(action, Action::Worker { lane: Lane(0), act: WorkerAction::CheckQueue, .. })
    });
    scene.hears(10, WorkerFact::QueueSeen { waiting: 1 });
    scene.after(s(1));
    assert!(!scene.did(hints(10)) && !scene.sent(10, Signal::TERM));

    scene.hears(10, WorkerFact::QueueSeen { waiting: 0 });
    assert!(scene.did(hints(10)));
    let hinted = scene.now;
    scene.answers_look(Connections { open: 1, ..Connections::default() });
    assert!(scene.sent(10, Signal::TERM), "nobody is busy");
    assert_eq!(scene.now, hinted + DRAIN.time);
}

#[test]
fn a_queue_that_never_empties_delays_the_stop_by_the_graceful_timeout_at_most() {
    let mut scene = Scene::ready(aging(1, ONE_MORE));
    scene.after(s(100));
    scene.spawns(20);
    scene.sees_ready(20);
    let begun = scene.now;
    while !scene.sent(10, Signal::TERM) {
        scene.deadline();
        if scene.did(|action| matches!(action, Action::Worker { act: WorkerAction::CheckQueue, .. })) {
            scene.hears(10, WorkerFact::QueueSeen { waiting: 3 });
        }
    }
    assert_eq!(scene.now, begun + s(30));
    assert!(scene.noted(|note| matches!(note, Note::Worker(_, WorkerNote::DrainCutShort))));
}

#[test]
fn where_none_more_may_be_alive_one_less_serves_meanwhile_if_that_is_allowed() {
    let budget =
        Budget { max_surge: Share::Number(0), max_unavailable: Share::Number(1), gap: Duration::ZERO };
    let mut scene = Scene::ready(aging(2, budget));
    scene.after(s(100));
    assert_eq!(scene.order(), None, "there is no room");
    assert_eq!(scene.steered(), Some(vec![1]), "the old one goes first");
    scene.hears(10, WorkerFact::QueueSeen { waiting: 0 });
    scene.answers_look(Connections::default());
    assert!(scene.sent(10, Signal::TERM));
    assert_eq!(scene.core.snapshot().ready, 1);
    scene.exits(10, Exit::Code(0));
    scene.deadline();
    assert!(scene.order().is_some());
    assert!(!scene.sent(11, Signal::TERM), "the other waits for its turn");
}

#[test]
fn planned_replacements_keep_their_gap_though_all_are_due_at_once() {
    let gap = s(7);
    let mut scene = Scene::ready(aging(64, Budget { gap, ..ONE_MORE }));
    let mut starts = Vec::new();
    for (pid, old) in (1_000..).zip(10..74) {
        scene.until("a replacement", |action| matches!(action, Action::Spawn(_)));
        starts.push(scene.now);
        scene.spawns(pid);
        scene.sees_ready(pid);
        assert!(scene.core.snapshot().ready == 64, "capacity dips");
        scene.hears(old, WorkerFact::QueueSeen { waiting: 0 });
        scene.answers_look(Connections::default());
        assert!(scene.sent(old, Signal::TERM));
        scene.exits(old, Exit::Code(0));
    }
    assert!(starts.windows(2).all(|pair| pair[1].since(pair[0]) >= gap), "{starts:?}");
}

#[test]
fn who_died_leaves_its_queue_to_its_respawn() {
    let mut scene = Scene::ready(PoolPolicy { drain: DRAIN, ..policy(3) });
    scene.exits(11, Exit::Code(1));
    assert_eq!(scene.steered(), Some(vec![0, 2]));
    scene.deadline();
    assert_eq!(scene.order().map(|order| (order.slot, order.lane)), Some((1, Lane(1))));
    scene.spawns(20);
    scene.sees_ready(20);
    assert_eq!(scene.steered(), Some(vec![0, 1, 2]));
}

#[test]
fn at_the_end_nobody_new_is_let_in_before_anybody_is_stopped() {
    let mut scene = Scene::ready(PoolPolicy { drain: DRAIN, ..policy(2) });
    scene.signal(Signal::TERM);
    assert!(scene.did(|action| *action == Action::Listeners(ListenerAction::HoldOff)));
    assert!(scene.did(hints(10)) && scene.did(hints(11)));
    assert!(!scene.sent(10, Signal::TERM));
    scene.happens(Event::Pool(PoolFact::QueuesSeen { waiting: 2 }));
    scene.after(s(1));
    assert!(!scene.sent(10, Signal::TERM), "somebody waits");
    scene.happens(Event::Pool(PoolFact::QueuesSeen { waiting: 0 }));
    let quiet = scene.now;
    scene.until("a look", |action| matches!(action, Action::Check(PoolCheck::Connections { .. })));
    scene.happens(Event::Pool(PoolFact::ConnectionsSeen {
        found: Some(Connections::default()),
        took: Duration::ZERO,
    }));
    assert_eq!(scene.now, quiet + DRAIN.time);
    let at = |wanted: &Action| scene.actions.iter().position(|action| action == wanted);
    let refused =
        at(&Action::Listeners(ListenerAction::Refuse { held_off: false })).expect("nobody is refused");
    let stopped = |pid| {
        at(&Action::Signal { to: Recipients::Process(Pid(pid)), signal: Signal::TERM }).expect("a stop")
    };
    assert!(stopped(10).max(stopped(11)) < refused, "a worker that knows nothing yet would spin");
}

#[test]
fn a_second_term_does_not_wait_for_the_queues() {
    let mut scene = Scene::ready(PoolPolicy { drain: DRAIN, ..policy(1) });
    scene.signal(Signal::TERM);
    assert!(!scene.sent(10, Signal::TERM));
    scene.signal(Signal::TERM);
    assert!(scene.sent(10, Signal::TERM));
}

#[test]
fn a_worker_beyond_its_memory_waits_its_turn_and_one_beyond_the_hard_limit_does_not() {
    let recycle = RecyclePolicy {
        max_memory: Some(Jittered { base: 100, jitter: 0 }),
        max_memory_hard: Some(1_000),
        memory_samples: 3,
        ..RecyclePolicy::default()
    };
    let measure_every = Some(s(1));
    let mut scene = Scene::ready(PoolPolicy { recycle, measure_every, drain: DRAIN, ..policy(2) });
    let measured = |scene: &mut Scene, pid: i32, memory: u64| {
        scene.after(s(1));
        let found = prefork_core::event::Measured { memory: Some(memory), ..Default::default() };
        scene.hears(pid, WorkerFact::Measured(found));
    };
    let due = |scene: &Scene| {
        scene.noted(|note| matches!(note, Note::Worker(_, WorkerNote::Due { reason: Reason::MaxMemory, .. })))
    };
    for memory in [101, 101, 100, 101, 101] {
        measured(&mut scene, 10, memory);
        assert!(!due(&scene), "not three in a row");
    }
    measured(&mut scene, 10, 101);
    assert!(due(&scene) && !scene.sent(10, Signal::TERM), "its replacement comes first");
    measured(&mut scene, 11, 1_001);
    assert!(scene.sent(11, Signal::TERM));
}

#[test]
fn a_kill_that_the_kernel_made_for_want_of_memory_is_called_that() {
    let mut scene = Scene::ready(policy(1));
    let killed = Exit::Signal { signal: Signal::KILL, core_dumped: false };
    scene.happens(Event::Child {
        pid: Pid(10),
        change: ChildChange::Exited { exit: killed, out_of_memory: true },
    });
    assert!(
        scene.noted(|note| matches!(note, Note::Worker(_, WorkerNote::Exited { reason: Reason::Oom, .. })))
    );
}

#[test]
fn where_all_together_take_too_much_the_heaviest_makes_way_and_one_at_a_time() {
    let recycle = RecyclePolicy { memory_pressure: Some(90), memory_samples: 2, ..RecyclePolicy::default() };
    let mut scene =
        Scene::ready(PoolPolicy { recycle, measure_every: Some(s(1)), drain: DRAIN, ..policy(3) });
    let due = |pid: i32| move |note: &Note| matches!(note, Note::Worker(worker, WorkerNote::Due { .. }) if worker.pid == Pid(pid));
    let measured = |scene: &mut Scene, used: u64| {
        scene.after(s(1));
        assert_eq!(scene.actions.last(), Some(&Action::Check(PoolCheck::Container)), "after its workers");
        for (pid, memory) in [(10, 1), (11, 3), (12, 2)] {
            let found = prefork_core::event::Measured { memory: Some(memory), ..Default::default() };
            scene.hears(pid, WorkerFact::Measured(found));
        }
        scene.happens(Event::Pool(PoolFact::ContainerMeasured { used, limit: 1_000 }));
    };
    for used in [901, 900, 901] {
        measured(&mut scene, used);
        assert!(!scene.noted(due(11)), "not twice in a row");
    }
    measured(&mut scene, 901);
    assert!(scene.noted(due(11)));
    for _ in 0..3 {
        scene.after(s(1));
        scene.happens(Event::Pool(PoolFact::ContainerMeasured { used: 1_000, limit: 1_000 }));
        assert!(!scene.noted(due(12)) && !scene.noted(due(10)), "the first is not done");
    }
}

#[test]
fn who_waits_where_nobody_serves_any_more_gets_another() {
    let mut scene = Scene::ready(aging(1, ONE_MORE));
    scene.after(s(100));
    scene.spawns(20);
    // The old one dies while its successor starts, which has a queue of its own.
    scene.exits(10, Exit::Code(1));
    scene.until("a look", |action| *action == Action::Check(PoolCheck::Lane { lane: Lane(0) }));
    scene.happens(Event::Pool(PoolFact::LaneSeen { lane: Lane(0), waiting: 3 }));
    scene.sees_ready(20);
    let makes_way =
        |note: &Note| matches!(note, Note::Worker(_, WorkerNote::Due { reason: Reason::Queue, .. }));
    assert!(scene.noted(makes_way), "{:?}", scene.actions);
    scene.until("one for that queue", |action| matches!(action, Action::Spawn(_)));
    assert_eq!(scene.order().map(|order| order.lane), Some(Lane(0)));
}

#[test]
fn a_graceful_timeout_of_zero_takes_no_connection_away_from_who_waits() {
    let stop = StopPolicy { graceful: Patience::For(Duration::ZERO), ..STOP };
    let mut scene = Scene::ready(PoolPolicy { stop, ..aging(1, ONE_MORE) });
    scene.after(s(100));
    scene.spawns(20);
    scene.sees_ready(20);
    assert!(!scene.sent(10, Signal::TERM));
    scene.until("a look", |action| matches!(action, Action::Worker { act: WorkerAction::CheckQueue, .. }));
    scene.hears(10, WorkerFact::QueueSeen { waiting: 0 });
    let quiet = scene.now;
    scene.until("the end", |action| {
        *action == Action::Signal { to: Recipients::Group(Pid(10)), signal: Signal::KILL }
    });
    assert_eq!(scene.now, quiet + DRAIN.time);
}

#[test]
fn what_one_worker_left_is_not_killed_early_for_many_that_left_nothing() {
    let mut scene = Scene::ready(policy(100));
    let exit = Exit::Signal { signal: Signal::KILL, core_dumped: false };
    scene.exits(10, exit);
    assert!(scene.core.awaits_group(Pid(10)));
    for pid in 11..110 {
        scene.exits(pid, exit);
        assert_eq!(scene.happens(Event::Child { pid: Pid(pid), change: ChildChange::GroupEnded }), []);
        assert!(!scene.core.awaits_group(Pid(pid)));
    }
    let killed =
        |action: &Action| matches!(action, Action::Signal { to: Recipients::Leftovers(Pid(10)), .. });
    scene.after(s(29));
    assert!(!scene.did(killed) && scene.core.awaits_group(Pid(10)));
    scene.after(s(1));
    assert!(scene.did(killed));
}
