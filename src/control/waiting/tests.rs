use super::*;
use crate::core::snapshot::{Slot, Snapshot};
use crate::report::metrics::sample_worker;
use std::time::Duration;

/// A running pool in which every worker is ready: pids from 10.
fn pool(workers: u32) -> Status {
    Status {
        summary: Snapshot { phase: Phase::Running, workers, ready: workers, min_ready: 1, started: true },
        generation: 1,
        reload: None,
        surge_to_go_on: None,
        slots: (0..workers).map(|_| Slot { failures: 0, respawn_in: None, kept_lane: None }).collect(),
        workers: (0..workers).zip(10..).map(|(slot, pid)| sample_worker(slot, pid, State::Ready)).collect(),
    }
}

fn init() -> Status {
    Status { slots: Vec::new(), ..pool(1) }
}

fn begun(demand: Request, before: &Status, after: &Status) -> Pending {
    assert_eq!(check(Order::Demand(demand), before), Ok(()));
    Pending::new(demand, before, after).unwrap()
}

fn reload(generation: u32, state: ReloadState) -> Status {
    Status { reload: Some(Reload { generation, state }), ..pool(2) }
}

#[test]
fn a_reload_with_a_wrong_configuration_was_never_begun() {
    let outcome = |before: &Status, after: &Status| begun(Request::Reload, before, after).outcome(after);
    assert_eq!(outcome(&pool(2), &reload(2, ReloadState::Refused)), Some(Outcome::ReloadRefused));
    // The reload before it goes on.
    let running = reload(2, ReloadState::Running);
    assert_eq!(outcome(&running, &running), Some(Outcome::ReloadRefused));
    assert_eq!(outcome(&pool(2), &pool(2)), Some(Outcome::ReloadRefused));
}

const RECYCLE: Request = Request::Recycle { slot: 1 };

#[test]
fn a_reload_is_finished_failed_overtaken_or_interrupted() {
    let begin = || {
        let mut waiting = begun(Request::Reload, &pool(2), &reload(2, ReloadState::Running));
        assert_eq!(waiting.outcome(&reload(2, ReloadState::Running)), None);
        waiting
    };
    let finished = begin().outcome(&reload(2, ReloadState::Finished));
    assert_eq!(finished, Some(Outcome::Reloaded { generation: 2 }));
    let failed = begin().outcome(&reload(2, ReloadState::Failed(Reason::BootError)));
    assert_eq!(failed, Some(Outcome::ReloadFailed { generation: 2, reason: Reason::BootError }));
    for state in [ReloadState::Running, ReloadState::Finished, ReloadState::Failed(Reason::Crash)] {
        let overtaken = begin().outcome(&reload(3, state));
        assert_eq!(
            overtaken,
            Some(Outcome::Overtaken { order: Order::Demand(Request::Reload) }),
            "{state:?}"
        );
    }
    let mut stopping = reload(2, ReloadState::Running);
    stopping.summary.phase = Phase::Draining;
    assert_eq!(
        begin().outcome(&stopping),
        Some(Outcome::Interrupted { order: Order::Demand(Request::Reload) })
    );
    stopping.reload = None;
    assert_eq!(
        begin().outcome(&stopping),
        Some(Outcome::Interrupted { order: Order::Demand(Request::Reload) })
    );
    // An order that ended in the same turn has its own outcome.
    let mut done = reload(2, ReloadState::Finished);
    done.summary.phase = Phase::Stopping;
    assert_eq!(begin().outcome(&done), Some(Outcome::Reloaded { generation: 2 }));
}

#[test]
fn a_worker_is_replaced_when_another_is_ready_in_its_seat() {
    let mut waiting = begun(RECYCLE, &pool(2), &pool(2));
    let mut now = pool(2);
    assert_eq!(waiting.outcome(&now), None);
    now.workers.push(sample_worker(1, 20, State::Starting));
    assert_eq!(waiting.outcome(&now), None);
    // The successor has the seat; the old worker drains.
    now.workers = vec![
        sample_worker(0, 10, State::Ready),
        sample_worker(1, 20, State::Ready),
        sample_worker(1, 11, State::Draining),
    ];
    let replaced = Outcome::Replaced { slot: 1, old: Some(Pid(11)), pid: Pid(20) };
    assert_eq!(waiting.outcome(&now), Some(replaced));
}

#[test]
fn a_replacement_that_fails_is_told_and_the_death_of_the_old_one_is_not_that() {
    let mut now = pool(2);
    now.slots[1].failures = 1;
    assert_eq!(
        begun(RECYCLE, &pool(2), &pool(2)).outcome(&now),
        Some(Outcome::ReplacementFailed { slot: 1 })
    );
    // The failure is older than the order.
    assert_eq!(begun(RECYCLE, &now, &now).outcome(&now), None);

    // The old worker crashes: its place is vacant, then taken.
    let mut waiting = begun(RECYCLE, &pool(2), &pool(2));
    now.workers.pop();
    now.slots[1].respawn_in = Some(Duration::ZERO);
    assert_eq!(waiting.outcome(&now), None);
    now.slots[1].respawn_in = None;
    now.workers.push(sample_worker(1, 20, State::Starting));
    assert_eq!(waiting.outcome(&now), None);
    let mut failed = now.clone();
    failed.slots[1] = Slot { failures: 2, respawn_in: Some(Duration::ZERO), kept_lane: None };
    failed.workers.pop();
    assert_eq!(waiting.clone().outcome(&failed), Some(Outcome::ReplacementFailed { slot: 1 }));
    now.workers[1].state = State::Ready;
    let replaced = Outcome::Replaced { slot: 1, old: Some(Pid(11)), pid: Pid(20) };
    assert_eq!(waiting.outcome(&now), Some(replaced));
}

#[test]
fn of_a_slot_where_nobody_serves_the_next_that_is_ready_is_waited_for() {
    let ready = Outcome::Replaced { slot: 1, old: None, pid: Pid(11) };
    let mut starting = pool(2);
    starting.workers[1].state = State::Starting;
    let mut waiting = begun(RECYCLE, &starting, &starting);
    assert_eq!(waiting.outcome(&starting), None);
    assert_eq!(waiting.outcome(&pool(2)), Some(ready.clone()));

    let mut vacant = pool(2);
    vacant.slots[1] = Slot { failures: 3, respawn_in: Some(Duration::from_secs(9)), kept_lane: None };
    // A worker that was retired still runs.
    vacant.workers[1].state = State::Stopping;
    let mut waiting = begun(RECYCLE, &vacant, &vacant);
    assert_eq!(waiting.outcome(&vacant), None);
    assert_eq!(waiting.clone().outcome(&pool(2)), Some(ready));
    vacant.slots[1].failures = 4;
    assert_eq!(waiting.outcome(&vacant), Some(Outcome::ReplacementFailed { slot: 1 }));
    assert_eq!(waiting.outcome(&pool(1)), Some(Outcome::SlotGone { slot: 1 }));
}

#[test]
fn a_count_is_reached_when_all_are_ready_and_nobody_else_is_left() {
    let scale = Request::Scale { workers: 3 };
    let mut waiting = begun(scale, &pool(2), &pool(3));
    let mut now = pool(3);
    now.summary.ready = 2;
    now.workers[2].state = State::Starting;
    assert_eq!(waiting.outcome(&now), None);
    assert_eq!(waiting.outcome(&pool(3)), Some(Outcome::Scaled { workers: 3 }));
    now.slots[2].failures = 1;
    assert_eq!(waiting.outcome(&now), Some(Outcome::ScaleFailed { slot: 2 }));
    assert_eq!(waiting.outcome(&pool(4)), Some(Outcome::Overtaken { order: Order::Demand(scale) }));

    // Fewer slots: retiring workers are waited for, and an old failure does not count for this order.
    let mut waiting = begun(scale, &pool(5), &pool(3));
    let mut now = pool(3);
    now.slots[0].failures = 1;
    now.workers.push(sample_worker(4, 14, State::Draining));
    assert_eq!(waiting.outcome(&now), None);
    now.workers.pop();
    assert_eq!(waiting.outcome(&now), Some(Outcome::Scaled { workers: 3 }));
}

#[test]
fn what_cannot_be_begun_is_refused() {
    let signal = crate::core::Signal::USR1;
    for slot in [2, u32::MAX] {
        for order in [Order::Demand(Request::Recycle { slot }), Order::Signal { slot, signal }] {
            assert_eq!(check(order, &pool(2)), Err(OrderRefusal::NoSuchSlot { slots: 2 }), "{order}");
        }
    }
    for order in [Request::Reload, RECYCLE, Request::Scale { workers: 1 }].map(Order::Demand) {
        assert_eq!(check(order, &init()), Err(OrderRefusal::NotAPool), "{order}");
        let mut stopping = pool(2);
        stopping.summary.phase = Phase::Stopping;
        assert_eq!(check(order, &stopping), Err(OrderRefusal::NotRunning(Phase::Stopping)), "{order}");
    }
    assert_eq!(check(Order::Signal { slot: 0, signal }, &init()), Ok(()));
    let mut vacant = pool(2);
    vacant.slots[1].respawn_in = Some(Duration::ZERO);
    let order = Order::Signal { slot: 1, signal };
    assert_eq!(check(order, &vacant), Err(OrderRefusal::NobodyThere));
    vacant = init();
    vacant.workers.clear();
    assert_eq!(check(Order::Signal { slot: 0, signal }, &vacant), Err(OrderRefusal::NobodyThere));
    assert_eq!(check(Order::Demand(Request::Stop), &vacant), Ok(()));
}
