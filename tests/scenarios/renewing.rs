//! A reload that reads its configuration anew.

use super::*;
use prefork_core::action::Ask;
use prefork_core::event::Answer;
use prefork_core::note::{InitNote, PoolNote, ReloadNote, WorkerNote};

/// A pool of two whose first reload is asked for, and whose configuration says this from then on.
fn renewed(renew: impl Fn(PoolPolicy) -> PoolPolicy) -> Scene {
    let old = PoolPolicy { rereads: true, ..policy(2) };
    let mut scene = Scene::ready(old.clone());
    scene.signal(Signal::HUP);
    assert!(scene.did(|action| *action == Action::Ask(Ask::ReadConfiguration)));
    assert!(
        !scene.noted(|note| matches!(note, Note::Reload(_, ReloadNote::Started))),
        "not before it is read"
    );
    scene.core.renew(renew(old));
    scene.happens(Event::Answered(Answer::ConfigurationRead { accepted: true }));
    assert!(scene.noted(|note| matches!(note, Note::Reload(2, ReloadNote::Started))));
    scene.until("a new worker", |action| matches!(action, Action::Spawn(_)));
    scene.spawns(20);
    scene
}

#[test]
fn workers_of_the_new_generation_live_under_the_new_rules() {
    let max_age = Some(Jittered { base: s(100), jitter: Duration::ZERO });
    let mut scene = renewed(|old| PoolPolicy { recycle: RecyclePolicy { max_age, ..old.recycle }, ..old });
    let drawn = |note: &Note| matches!(note, Note::Worker(_, WorkerNote::Spawned { limits }) if limits.age == Some(s(100)));
    assert!(scene.noted(drawn), "{:?}", scene.actions);
    scene.sees_ready(20);
    scene.exits(10, Exit::Code(0));
    scene.until("the other one", |action| matches!(action, Action::Spawn(_)));
    scene.spawns(21);
    assert!(scene.noted(drawn));
}

#[test]
fn the_number_of_workers_changes_when_the_first_new_one_is_ready() {
    let mut scene = renewed(|old| PoolPolicy { workers: 4, ..old });
    assert_eq!(scene.core.snapshot().workers, 2);
    scene.sees_ready(20);
    assert!(
        scene.noted(|note| *note == Note::Pool(PoolNote::Scaled { workers: 4, from: 2 })),
        "{:?}",
        scene.actions
    );
}

#[test]
fn what_somebody_has_scaled_stays_where_the_configuration_says_what_it_said() {
    let mut scene = Scene::ready(PoolPolicy { rereads: true, ..policy(2) });
    scene.signal(Signal::TTOU);
    scene.exits(11, Exit::Code(0));
    scene.signal(Signal::HUP);
    scene.core.renew(PoolPolicy { rereads: true, ..policy(2) });
    scene.happens(Event::Answered(Answer::ConfigurationRead { accepted: true }));
    scene.until("a new worker", |action| matches!(action, Action::Spawn(_)));
    scene.spawns(20);
    scene.sees_ready(20);
    assert_eq!(scene.core.snapshot().workers, 1);
}

#[test]
fn a_reload_that_fails_takes_its_rules_back() {
    let graceful = StopPolicy { signal: Signal::INT, ..STOP };
    let mut scene = renewed(|old| PoolPolicy { workers: 4, stop: graceful, ..old });
    scene.exits(20, Exit::Code(1));
    assert!(scene.noted(|note| matches!(note, Note::Reload(2, ReloadNote::Failed { .. }))));
    assert_eq!(scene.core.snapshot().workers, 2);
    scene.signal(Signal::INT);
    assert!(scene.sent(10, Signal::TERM), "{:?}", scene.actions);
}

#[test]
fn what_workers_were_told_and_when_it_all_ends_stays_as_at_the_start() {
    let mut scene = renewed(|old| PoolPolicy {
        hang: HangPolicy { watchdog: Some(s(2)), ..old.hang },
        ready: ReadyPolicy { observe: false, believe: false, ..old.ready },
        deadline: Some(Monotonic::default()),
        ..old
    });
    scene.sees_ready(20);
    assert!(
        scene.noted(|note| matches!(note, Note::Worker(_, WorkerNote::Ready { .. }))),
        "{:?}",
        scene.actions
    );
    scene.after(s(60));
    assert!(!scene.noted(|note| matches!(
        note,
        Note::Worker(_, WorkerNote::Hung { .. }) | Note::Init(InitNote::DeadlinePassed { .. })
    )));
}

#[test]
fn a_reload_that_was_overtaken_by_one_that_fails_goes_on() {
    let mut scene = Scene::ready(policy(2));
    scene.signal(Signal::HUP);
    scene.until("a new worker", |action| matches!(action, Action::Spawn(_)));
    scene.spawns(20);
    scene.sees_ready(20);
    scene.exits(10, Exit::Code(0));
    scene.signal(Signal::HUP);
    scene.until("the first of the third", |action| matches!(action, Action::Spawn(_)));
    assert_eq!(scene.order().map(|order| order.generation), Some(3));
    scene.spawns(30);
    scene.exits(30, Exit::Code(1));
    assert!(scene.noted(|note| matches!(note, Note::Reload(3, ReloadNote::Failed { .. }))));
    assert!(scene.noted(|note| *note == Note::Reload(2, ReloadNote::Resumed)));
    let failed = |scene: &Scene| scene.core.status(scene.now).reload.map(|reload| reload.generation);
    assert_eq!(failed(&scene), Some(3));
    scene.until("the second of the second", |action| matches!(action, Action::Spawn(_)));
    assert_eq!(scene.order().map(|order| order.generation), Some(2));
    scene.spawns(21);
    scene.sees_ready(21);
    scene.exits(11, Exit::Code(0));
    assert!(
        scene.noted(|note| matches!(note, Note::Reload(2, ReloadNote::Finished { .. }))),
        "{:?}",
        scene.actions
    );
    assert_eq!(failed(&scene), Some(3), "what failed last is still to be seen");
}

#[test]
fn a_configuration_that_is_refused_changes_nothing() {
    let mut scene = Scene::ready(PoolPolicy { rereads: true, ..policy(2) });
    scene.signal(Signal::HUP);
    scene.happens(Event::Answered(Answer::ConfigurationRead { accepted: false }));
    assert!(scene.noted(|note| *note == Note::Reload(2, ReloadNote::Refused)));
    scene.after(s(3_600));
    assert_eq!((scene.order(), scene.core.snapshot().ready), (None, 2));
}
