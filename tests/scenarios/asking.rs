//! What somebody asks for over the control socket.

use super::*;
use prefork_core::event::Request;
use prefork_core::note::{PoolNote, ReloadNote, WorkerNote};
use prefork_core::snapshot::State;

fn asked(scene: &mut Scene, demand: Request) {
    scene.happens(Event::Requested(demand));
}

fn is_due(scene: &Scene) -> bool {
    scene.noted(|note| matches!(note, Note::Worker(_, WorkerNote::Due { reason: Reason::Asked, .. })))
}

#[test]
fn a_worker_that_serves_makes_way_in_its_turn() {
    let mut scene = Scene::ready(policy(3));
    asked(&mut scene, Request::Recycle { slot: 1 });
    assert!(is_due(&scene));
    asked(&mut scene, Request::Recycle { slot: 1 });
    assert!(!is_due(&scene), "once is enough");
    asked(&mut scene, Request::Recycle { slot: 2 });
    scene.deadline();
    assert_eq!(scene.order().map(|order| order.slot), Some(1));
    scene.spawns(20);
    assert!(!scene.sent(11, Signal::TERM));
    scene.sees_ready(20);
    assert!(scene.sent(11, Signal::TERM) && !scene.sent(12, Signal::TERM));
    scene.exits(11, Exit::Code(0));
    assert!(
        scene.noted(|note| matches!(note, Note::Worker(_, WorkerNote::Exited { reason: Reason::Asked, .. })))
    );
    scene.until("the other one", |action| matches!(action, Action::Spawn(order) if order.slot == 2));
}

#[test]
fn one_that_starts_is_new_already() {
    let mut scene = Scene::new(Mode::Pool(policy(1)));
    scene.spawns(10);
    asked(&mut scene, Request::Recycle { slot: 0 });
    scene.sees_ready(10);
    assert!(!is_due(&scene));
    scene.after(s(60));
    assert_eq!(scene.order(), None);
}

#[test]
fn where_nobody_is_the_next_comes_at_once() {
    let mut slow = policy(2);
    slow.respawn.backoff = s(100);
    slow.respawn.backoff_max = s(100);
    let mut scene = Scene::ready(slow);
    scene.exits(11, Exit::Code(1));
    scene.until("a respawn", |action| matches!(action, Action::Spawn(_)));
    scene.spawns(12);
    scene.exits(12, Exit::Code(1));
    scene.after(s(1));
    assert_eq!(scene.order(), None, "it waits out its backoff");
    asked(&mut scene, Request::Recycle { slot: 1 });
    scene.deadline();
    assert_eq!(scene.order().map(|order| order.slot), Some(1));
}

#[test]
fn a_replacement_that_failed_is_tried_again_at_once() {
    let mut slow = policy(1);
    slow.respawn.backoff = s(100);
    slow.respawn.backoff_max = s(100);
    let mut scene = Scene::ready(slow);
    asked(&mut scene, Request::Recycle { slot: 0 });
    for pid in [20, 21] {
        scene.until("a successor", |action| matches!(action, Action::Spawn(_)));
        scene.spawns(pid);
        scene.exits(pid, Exit::Code(1));
    }
    let status = scene.core.status(scene.now);
    assert_eq!((status.slots[0].failures, status.workers[0].state), (2, State::Ready));
    scene.after(s(1));
    assert_eq!(scene.order(), None);
    asked(&mut scene, Request::Recycle { slot: 0 });
    scene.deadline();
    assert!(scene.order().is_some());
}

#[test]
fn during_a_reload_it_waits_for_the_first_of_the_new_generation() {
    let mut scene = Scene::ready(policy(2));
    scene.signal(Signal::HUP);
    scene.deadline();
    assert_eq!(scene.order().map(|order| order.slot), Some(0));
    scene.spawns(20);
    asked(&mut scene, Request::Recycle { slot: 1 });
    assert!(is_due(&scene));
    scene.after(s(1));
    assert_eq!(scene.order(), None, "the first one is tried alone");
    scene.sees_ready(20);
    scene.exits(10, Exit::Code(0));
    scene.until("the next", |action| matches!(action, Action::Spawn(_)));
    assert_eq!(scene.order().map(|order| (order.slot, order.generation)), Some((1, 2)));
    scene.spawns(21);
    scene.sees_ready(21);
    assert!(scene.sent(11, Signal::TERM));
    scene.exits(11, Exit::Code(0));
    assert!(scene.noted(|note| matches!(note, Note::Reload(_, ReloadNote::Finished { .. }))));
    scene.after(s(60));
    assert_eq!(scene.order(), None, "once is enough for both");
}

#[test]
fn there_may_be_several_more_and_several_fewer() {
    let mut scene = Scene::ready(policy(1));
    asked(&mut scene, Request::Scale { workers: 4 });
    assert!(scene.noted(|note| matches!(note, Note::Pool(PoolNote::Scaled { workers: 4, from: 1 }))));
    for slot in 1..4 {
        scene.until("one more", |action| matches!(action, Action::Spawn(_)));
        assert_eq!(scene.order().map(|order| order.slot), Some(slot));
        scene.spawns(20 + i32::try_from(slot).unwrap());
        scene.sees_ready(20 + i32::try_from(slot).unwrap());
    }
    assert_eq!(scene.core.snapshot().ready, 4);
    asked(&mut scene, Request::Scale { workers: 2 });
    assert!(scene.noted(|note| matches!(note, Note::Pool(PoolNote::Scaled { workers: 2, from: 4 }))));
    assert!(scene.sent(23, Signal::TERM) && scene.sent(22, Signal::TERM), "those with the highest numbers");
    assert!(!scene.sent(21, Signal::TERM) && !scene.sent(10, Signal::TERM));
    asked(&mut scene, Request::Scale { workers: 2 });
    assert!(scene.noted(|note| matches!(note, Note::Pool(PoolNote::NotScaled { workers: 2 }))));
}

#[test]
fn a_stop_is_one_as_by_term_and_nothing_else_is_begun_after_it() {
    let mut scene = Scene::ready(PoolPolicy { drain_delay: s(10), ..policy(2) });
    asked(&mut scene, Request::Stop);
    assert!(
        scene
            .noted(|note| matches!(note, Note::Pool(PoolNote::ShutdownStarted { signal: Signal::TERM, .. })))
    );
    for demand in [Request::Reload, Request::Recycle { slot: 0 }, Request::Scale { workers: 9 }] {
        asked(&mut scene, demand);
        assert_eq!(scene.actions, [], "{demand:?}");
    }
    scene.after(s(10));
    assert!(scene.sent(10, Signal::TERM) && scene.sent(11, Signal::TERM));
}

#[test]
fn a_slot_that_is_not_there_is_nobodys() {
    let mut scene = Scene::ready(policy(2));
    for slot in [2, u32::MAX] {
        asked(&mut scene, Request::Recycle { slot });
        assert_eq!(scene.actions, []);
    }
}
