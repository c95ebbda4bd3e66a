//! HUP, TTIN and TTOU.

use super::*;
use prefork_core::note::{PoolNote, ReloadNote};

fn generation(scene: &Scene) -> Option<u32> {
    scene.order().map(|order| order.generation)
}

#[test]
fn a_reload_replaces_every_worker_one_after_the_other() {
    let mut scene = Scene::ready(policy(3));
    scene.signal(Signal::HUP);
    for (old, new) in [(10, 20), (11, 21), (12, 22)] {
        scene.until("a new worker", |action| matches!(action, Action::Spawn(_)));
        assert_eq!(generation(&scene), Some(2));
        scene.spawns(new);
        assert!(!scene.sent(old, Signal::TERM));
        scene.sees_ready(new);
        assert!(scene.sent(old, Signal::TERM));
        scene.exits(old, Exit::Code(0));
    }
    assert!(scene.noted(|note| matches!(note, Note::Reload(2, ReloadNote::Finished { .. }))));
}

#[test]
fn a_reload_whose_first_worker_fails_leaves_the_old_ones_alone() {
    let mut scene = Scene::ready(policy(3));
    scene.signal(Signal::HUP);
    scene.deadline();
    scene.spawns(20);
    scene.exits(20, Exit::Code(3));
    let failed =
        |note: &Note| matches!(note, Note::Reload(2, ReloadNote::Failed { reason: Reason::BootError }));
    assert!(scene.noted(failed));
    scene.after(s(3_600));
    assert_eq!(scene.order(), None, "it is not tried again");
    assert_eq!(scene.core.snapshot().ready, 3);
    scene.signal(Signal::HUP);
    scene.deadline();
    assert_eq!(generation(&scene), Some(3), "the next one is another");
}

#[test]
fn a_worker_that_is_seen_to_serve_when_it_was_told_to_stop_proves_no_reload() {
    let mut scene = Scene::ready(policy(1));
    scene.signal(Signal::HUP);
    scene.deadline();
    scene.spawns(20);
    scene.after(s(60));
    assert!(scene.sent(20, Signal::TERM), "it is late");
    scene.sees_ready(20);
    assert!(!scene.noted(|note| matches!(note, Note::Reload(_, ReloadNote::Confirmed))));
    scene.exits(20, Exit::Code(0));
    let failed =
        |note: &Note| matches!(note, Note::Reload(2, ReloadNote::Failed { reason: Reason::BootTimeout }));
    assert!(scene.noted(failed));
}

#[test]
fn a_reload_during_a_reload_overtakes_it() {
    let mut scene = Scene::ready(policy(2));
    scene.signal(Signal::HUP);
    scene.deadline();
    scene.spawns(20);
    scene.signal(Signal::HUP);
    assert!(scene.sent(20, Signal::TERM), "it is out of date before it is ready");
    scene.exits(20, Exit::Code(0));
    assert!(!scene.noted(|note| matches!(note, Note::Reload(_, ReloadNote::Failed { .. }))));
    for new in [30, 31] {
        scene.until("a new worker", |action| matches!(action, Action::Spawn(_)));
        assert_eq!(generation(&scene), Some(3));
        let old = if scene.order().is_some_and(|order| order.slot == 0) { 10 } else { 11 };
        scene.spawns(new);
        scene.sees_ready(new);
        assert!(scene.sent(old, Signal::TERM));
        scene.exits(old, Exit::Code(0));
    }
    assert!(scene.noted(|note| matches!(note, Note::Reload(3, ReloadNote::Finished { .. }))));
}

#[test]
fn term_during_a_reload_stops_both_generations() {
    let mut scene = Scene::ready(policy(2));
    scene.signal(Signal::HUP);
    scene.deadline();
    scene.spawns(20);
    scene.signal(Signal::TERM);
    assert!([10, 11, 20].iter().all(|pid| scene.sent(*pid, Signal::TERM)));
    scene.after(s(1));
    assert_eq!(scene.order(), None);
}

#[test]
fn one_more_and_one_fewer_also_during_a_reload() {
    let mut scene = Scene::ready(policy(2));
    scene.signal(Signal::HUP);
    scene.signal(Signal::TTIN);
    assert_eq!(scene.core.snapshot().workers, 3);
    scene.until("the third", |action| matches!(action, Action::Spawn(order) if order.slot == 2));
    assert_eq!(generation(&scene), Some(2), "it is of the new generation");
    scene.spawns(20);
    scene.sees_ready(20);
    scene.signal(Signal::TTOU);
    assert!(scene.sent(20, Signal::TERM));
    scene.exits(20, Exit::Code(0));
    for (old, new) in [(10, 30), (11, 31)] {
        scene.until("a new worker", |action| matches!(action, Action::Spawn(_)));
        scene.spawns(new);
        scene.sees_ready(new);
        scene.exits(old, Exit::Code(0));
    }
    assert!(scene.noted(|note| matches!(note, Note::Reload(2, ReloadNote::Finished { .. }))));
}

#[test]
fn one_worker_is_the_fewest() {
    let mut scene = Scene::ready(policy(1));
    scene.signal(Signal::TTOU);
    assert!(scene.noted(|note| matches!(note, Note::Pool(PoolNote::NotScaled { workers: 1 }))));
    assert!(!scene.sent(10, Signal::TERM));
}

#[test]
fn a_reload_whose_first_worker_is_not_wanted_any_more_ends_all_the_same() {
    let mut slow = policy(2);
    slow.respawn.backoff = s(10);
    let mut scene = Scene::ready(slow);
    for pid in [11, 12] {
        scene.exits(pid, Exit::Code(1));
        if pid == 11 {
            scene.until("a respawn", |action| matches!(action, Action::Spawn(_)));
            scene.spawns(12);
        }
    }
    // The slot in backoff gets the first of the new generation, the other one the second, after a crash.
    scene.after(s(1));
    scene.signal(Signal::HUP);
    scene.until("the first", |action| matches!(action, Action::Spawn(order) if order.slot == 1));
    scene.spawns(20);
    scene.exits(10, Exit::Code(1));
    scene.until("the second", |action| matches!(action, Action::Spawn(order) if order.slot == 0));
    assert_eq!(generation(&scene), Some(2));
    scene.spawns(21);
    scene.signal(Signal::TTOU);
    scene.exits(20, Exit::Code(0));
    scene.sees_ready(21);
    let finished = |note: &Note| matches!(note, Note::Reload(2, ReloadNote::Finished { .. }));
    assert!(scene.noted(finished), "{:?}", scene.actions);
}
