//! USR2: the pool goes on in the next program, which knows what this one knew.

use super::*;
use prefork_core::event::SpawnId;
use prefork_core::note::ReloadNote;
use prefork_core::snapshot::Status;

impl Scene {
    /// The same pool in the next program.
    fn upgrades(&mut self, policy: PoolPolicy) {
        self.signal(Signal::USR2);
        self.until("a handover", |action| matches!(action, Action::Ask(Ask::Upgrade(_))));
        let given = self.actions.iter().find_map(|action| match action {
            Action::Ask(Ask::Upgrade(given)) => Some(given.clone()),
            _ => None,
        });
        self.core = Core::take_over(policy, 2, &given.expect("that was waited for"));
    }

    fn next_spawn(&mut self) -> SpawnOrder {
        self.until("a spawn", |action| matches!(action, Action::Spawn(_)));
        self.order().expect("that was waited for")
    }
}

/// Two workers where one is configured, in generation 2 after a third that failed; the second slot waits out its backoff.
fn eventful(rules: &PoolPolicy) -> (Scene, SpawnId) {
    let mut scene = Scene::ready(rules.clone());
    scene.signal(Signal::HUP);
    scene.next_spawn();
    scene.spawns(20);
    scene.after(s(1));
    scene.sees_ready(20);
    scene.exits(10, Exit::Code(0));
    scene.hears(20, WorkerFact::RequestsReported { total: 7 });
    scene.signal(Signal::HUP);
    scene.next_spawn();
    scene.spawns(21);
    scene.exits(21, Exit::Code(1));
    scene.signal(Signal::TTIN);
    let mut last = scene.next_spawn().id;
    for pid in [22, 23] {
        scene.spawns(pid);
        scene.sees_ready(pid);
        scene.exits(pid, Exit::Code(1));
        if pid == 22 {
            last = scene.next_spawn().id;
        }
    }
    (scene, last)
}

#[test]
fn what_one_program_knew_of_its_pool_the_next_one_knows() {
    let recycle = RecyclePolicy {
        max_requests: Some(Jittered { base: 1_000, jitter: 1_000 }),
        max_age: Some(Jittered { base: s(10_000), jitter: s(10_000) }),
        ..RecyclePolicy::default()
    };
    let rules = PoolPolicy { recycle, ..policy(1) };
    let (mut scene, last) = eventful(&rules);
    let known = |scene: &Scene| {
        let Status { summary, generation, slots, workers, .. } = scene.core.status(scene.now);
        (summary, generation, slots[1], workers)
    };
    let (before, crashed_at) = (known(&scene), scene.now);
    scene.upgrades(rules);
    assert_eq!(known(&scene), before);
    scene.happens(Event::Started);
    assert!(!scene.noted(|_| true), "nothing is new: {:?}", scene.actions);
    // What waited goes on waiting.
    let order = scene.next_spawn();
    assert!(scene.now >= crashed_at + ms(125), "half of the backoff is certain");
    assert_eq!((order.slot, order.generation), (1, 2));
    assert!(order.id > last, "no answer to an earlier one is an answer to this");
    scene.spawns(24);
    scene.sees_ready(24);
    scene.signal(Signal::HUP);
    assert!(scene.noted(|note| *note == Note::Reload(4, ReloadNote::Started)));
    let killed = Action::Signal { to: Recipients::Leftovers(Pid(23)), signal: Signal::KILL };
    scene.until("the end of what a worker left", |action| *action == killed);
    assert!(scene.now <= crashed_at + s(30), "{:?}", scene.now);
}

#[test]
fn what_a_worker_said_of_its_pings_and_the_time_left_out_hold_in_the_next_program() {
    let hang = HangPolicy { watchdog: Some(s(10)), ..policy(1).hang };
    let rules = PoolPolicy { hang, deadline: Some(Monotonic(s(1_000))), ..policy(1) };
    let mut scene = Scene::ready(rules.clone());
    scene.hears(10, WorkerFact::WatchdogSet { every: s(5_000) });
    scene.core.is_behind(s(100));
    scene.upgrades(rules);
    scene.happens(Event::Started);
    scene.after(s(800));
    assert_eq!(scene.actions, []);
    scene.after(s(100));
    assert!(scene.noted(|note| *note == Note::Init(InitNote::DeadlinePassed { after: s(1_000) })));
}
