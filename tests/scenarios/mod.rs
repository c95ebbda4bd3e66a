//! A few lives of the core, step by step: what tests/simulation checks everywhere, to be read.

mod asking;
mod hanging;
mod in_hand;
mod leaving;
mod reloading;
mod renewing;
mod replacing;
mod starting;
mod stopping;
mod upgrading;

use prefork_core::action::{
    Action, Ask, Forward, ListenerAction, PoolCheck, Recipients, SpawnOrder, Target, WorkerAction,
};
use prefork_core::event::{ChildChange, Connections, PoolFact, SpawnFailure, WorkerFact};
use prefork_core::exit::{Exit, Reason};
use prefork_core::note::{InitNote, SignalNote, WorkerNote, WorkerRef};
use prefork_core::policy::{
    Budget, DrainPolicy, HangPolicy, InitPolicy, Jittered, Job, PoolPolicy, ReadyPolicy, RecyclePolicy,
    RespawnPolicy, Share, StopPolicy,
};
use prefork_core::signal::Rewrite;
use prefork_core::time::Patience;
use prefork_core::{Core, Event, Mode, Monotonic, Note, Pid, Received, Rewrites, Signal};
use std::time::Duration;

/// Each worker has a listener of its own, and nobody is told to say goodbye.
const STEERED: DrainPolicy =
    DrainPolicy { listens: true, steered: true, shares: true, told: false, hint: None, time: ms(100) };

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

const fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

const STOP: StopPolicy = StopPolicy { signal: Signal::TERM, graceful: Patience::For(s(30)) };

fn policy(workers: u32) -> PoolPolicy {
    PoolPolicy {
        rewrites: Rewrites::default(),
        forwards: Vec::new(),
        warn_on_reap: false,
        workers,
        min_ready: 1,
        budget: Budget {
            max_surge: Share::Number(1),
            max_unavailable: Share::Number(0),
            gap: Duration::ZERO,
        },
        stop: STOP,
        drain_delay: Duration::ZERO,
        drain: DrainPolicy {
            listens: false,
            steered: false,
            shares: true,
            told: false,
            hint: None,
            time: Duration::ZERO,
        },
        ready: ReadyPolicy {
            observe: true,
            believe: true,
            probe: false,
            after: None,
            start_timeout: Patience::For(s(60)),
        },
        hang: HangPolicy {
            watchdog: None,
            accept_stall: None,
            probe: None,
            abort_signal: Signal::ABRT,
            abort_time: s(2),
        },
        recycle: RecyclePolicy::default(),
        measure_every: None,
        respawn: RespawnPolicy {
            backoff: Duration::from_millis(250),
            backoff_max: s(30),
            max_restarts: Some(3),
            window: s(60),
        },
        rereads: false,
        deadline: None,
    }
}

/// A core, a clock, and what the last step wanted.
struct Scene {
    core: Core,
    now: Monotonic,
    actions: Vec<Action>,
}

impl Scene {
    fn new(mode: Mode) -> Self {
        let mut scene = Self { core: Core::new(mode, 1), now: Monotonic::default(), actions: Vec::new() };
        scene.happens(Event::Started);
        scene
    }

    /// A pool whose workers, pids 10, 11, ..., are all ready.
    fn ready(policy: PoolPolicy) -> Self {
        let workers = policy.workers;
        let mut scene = Self::new(Mode::Pool(policy));
        for pid in (10..).take(workers as usize) {
            scene.spawns(pid);
            scene.hears(pid, WorkerFact::SeenAccepting);
            scene.happens(Event::DeadlinePassed);
        }
        scene
    }

    fn happens(&mut self, event: Event) -> &[Action] {
        self.actions.clear();
        self.core.step(self.now, event, &mut self.actions);
        &self.actions
    }

    /// Answers the spawn that the last step ordered.
    fn spawns(&mut self, pid: i32) -> &[Action] {
        let id = self.order().expect("nothing is to be spawned").id;
        self.happens(Event::Spawned { id, result: Ok(Pid(pid)) })
    }

    fn order(&self) -> Option<SpawnOrder> {
        self.actions.iter().find_map(|action| match action {
            Action::Spawn(order) => Some(*order),
            _ => None,
        })
    }

    fn signal(&mut self, signal: Signal) -> &[Action] {
        self.happens(Event::Signalled(Received::plain(signal)))
    }

    fn exits(&mut self, pid: i32, exit: Exit) -> &[Action] {
        self.happens(Event::Child {
            pid: Pid(pid),
            change: ChildChange::Exited { exit, out_of_memory: false },
        })
    }

    /// Lets time pass up to the next deadline.
    fn deadline(&mut self) -> &[Action] {
        self.now = self.now.max(self.core.next_deadline().expect("nothing is waited for"));
        self.happens(Event::DeadlinePassed)
    }

    fn after(&mut self, span: Duration) -> &[Action] {
        self.now = self.now + span;
        self.happens(Event::DeadlinePassed)
    }

    fn sent(&self, pid: i32, signal: Signal) -> bool {
        let pid = Pid(pid);
        self.actions.iter().any(|action| {
            let ways = [
                Action::Signal { to: Recipients::Process(pid), signal },
                Action::Signal { to: Recipients::Group(pid), signal },
                Action::Signal { to: Recipients::Takers(pid), signal },
            ];
            ways.contains(action)
        })
    }

    fn did(&self, wanted: impl Fn(&Action) -> bool) -> bool {
        self.actions.iter().any(wanted)
    }

    fn noted(&self, wanted: impl Fn(&Note) -> bool) -> bool {
        self.did(|action| matches!(action, Action::Note(note) if wanted(note)))
    }

    /// Where new connections go, if the last step said so.
    fn steered(&self) -> Option<Vec<u32>> {
        self.actions.iter().rev().find_map(|action| match action {
            Action::Listeners(ListenerAction::Steer { lanes }) => {
                Some(lanes.iter().map(|lane| lane.0).collect())
            }
            _ => None,
        })
    }

    fn hears(&mut self, pid: i32, fact: WorkerFact) -> &[Action] {
        self.happens(Event::Worker { pid: Pid(pid), fact })
    }

    fn sees_ready(&mut self, pid: i32) -> &[Action] {
        self.hears(pid, WorkerFact::SeenAccepting)
    }

    /// Lets deadlines pass until the connections of a worker are looked at, and finds this.
    fn answers_look(&mut self, found: Connections) -> Pid {
        self.until("a look", |action| {
            matches!(action, Action::Worker { act: WorkerAction::CheckConnections { .. }, .. })
        });
        let looked = self.actions.iter().find_map(|action| match action {
            Action::Worker {
                worker: WorkerRef { pid, .. },
                act: WorkerAction::CheckConnections { .. },
                ..
            } => Some(*pid),
            _ => None,
        });
        let pid = looked.expect("that was waited for");
        self.hears(pid.0, WorkerFact::ConnectionsSeen { found: Some(found), took: Duration::ZERO });
        pid
    }

    /// Lets deadlines pass until the connections of all workers are looked at; there are none.
    fn nobody_is_busy(&mut self) {
        self.until("a look at all", |action| matches!(action, Action::Check(PoolCheck::Connections { .. })));
        let found = Some(Connections::default());
        self.happens(Event::Pool(PoolFact::ConnectionsSeen { found, took: Duration::ZERO }));
    }

    /// Lets deadlines pass until this is done; gives up after a simulated hour.
    fn until(&mut self, what: &str, wanted: impl Fn(&Action) -> bool) {
        let limit = self.now + s(3_600);
        while !self.did(&wanted) {
            assert!(self.now < limit, "{what} does not come");
            self.deadline();
        }
    }

    fn code(&self) -> Option<u8> {
        self.actions.iter().find_map(|action| match action {
            Action::Exit(code) => Some(*code),
            _ => None,
        })
    }
}

#[test]
fn a_recycled_worker_is_stopped_only_after_its_replacement_is_ready() {
    let max_age = Some(Jittered { base: s(100), jitter: Duration::ZERO });
    let recycle = RecyclePolicy { max_age, ..RecyclePolicy::default() };
    let mut scene = Scene::ready(PoolPolicy { recycle, ..policy(1) });
    scene.after(s(100));
    assert!(scene.order().is_some());
    scene.spawns(20);
    assert!(!scene.sent(10, Signal::TERM));
    scene.hears(20, WorkerFact::SeenAccepting);
    assert!(scene.sent(10, Signal::TERM), "{:?}", scene.actions);
    assert_eq!(scene.core.snapshot().ready, 1);
    scene.exits(10, Exit::Code(0));
    let planned = |note: &Action| {
        matches!(note, Action::Note(Note::Worker(_, WorkerNote::Exited { reason: Reason::MaxAge, .. })))
    };
    assert!(scene.actions.iter().any(planned));
}

#[test]
fn a_worker_that_ends_at_its_own_limit_is_replaced_at_once() {
    let max_requests = Some(Jittered { base: 100, jitter: 10 });
    let recycle = RecyclePolicy { max_requests, counted_by_worker: true, ..RecyclePolicy::default() };
    let mut scene = Scene::ready(PoolPolicy { recycle, ..policy(1) });
    for pid in 10..30 {
        scene.now = scene.now + s(1);
        scene.exits(pid, Exit::Code(0));
        let exited = scene.now;
        scene.deadline();
        assert_eq!((scene.now, scene.order().is_some()), (exited, true), "no backoff after {pid}");
        scene.spawns(pid + 1);
        scene.hears(pid + 1, WorkerFact::SeenAccepting);
    }
}

#[test]
fn a_term_between_two_spawns_is_heard() {
    let mut scene = Scene::new(Mode::Pool(policy(64)));
    scene.spawns(10);
    assert_eq!(scene.order(), None, "an answer does not lead straight to the next spawn");
    assert!(scene.core.next_deadline().is_some_and(|at| at <= scene.now), "but the loop comes at once");
    scene.signal(Signal::TERM);
    assert!(scene.sent(10, Signal::TERM));
    scene.after(s(1));
    assert_eq!(scene.order(), None);
}

#[test]
fn a_signal_that_is_passed_on_reaches_who_is_ready_and_nobody_who_starts_or_stops() {
    let mut scene = Scene::new(Mode::Pool(PoolPolicy { forwards: vec![Signal::USR1], ..policy(3) }));
    for pid in [10, 11, 12] {
        scene.until("a spawn", |action| matches!(action, Action::Spawn(_)));
        scene.spawns(pid);
    }
    scene.sees_ready(10);
    scene.signal(Signal::USR1);
    assert_eq!([10, 11, 12].map(|pid| scene.sent(pid, Signal::USR1)), [true, false, false]);
    scene.signal(Signal::TERM);
    scene.signal(Signal::USR1);
    assert!(!scene.sent(10, Signal::USR1), "it has other things to do");
    assert!(scene.noted(|note| matches!(note, Note::Signal(SignalNote::Forwarded { .. }))));
    scene.signal(Signal::WINCH);
    assert!(scene.noted(|note| matches!(note, Note::Signal(SignalNote::Ignored { .. }))));
}

#[test]
fn a_worker_lost_during_the_drain_delay_is_replaced_and_one_lost_after_it_is_not() {
    let mut scene = Scene::ready(PoolPolicy { drain_delay: s(100), ..policy(2) });
    scene.signal(Signal::TERM);
    scene.exits(11, Exit::Code(1));
    scene.deadline();
    scene.spawns(12);
    assert!(!scene.sent(10, Signal::TERM), "the drain delay is not over");
    scene.after(s(100));
    assert!(scene.sent(10, Signal::TERM) && scene.sent(12, Signal::TERM));
    scene.exits(10, Exit::Code(0));
    scene.after(s(1));
    assert_eq!(scene.order(), None);
}

#[test]
fn orphans_are_asked_to_stop_although_a_worker_takes_all_its_time() {
    let mut scene = Scene::ready(policy(2));
    scene.signal(Signal::INT);
    scene.exits(11, Exit::Code(0));
    assert!(
        scene.actions.contains(&Action::Signal { to: Recipients::Group(Pid(11)), signal: Signal::TERM }),
        "what is left of its group is asked at once"
    );
    scene.deadline();
    assert_eq!(scene.now, Monotonic::default() + s(15) + s(0), "half of the graceful timeout");
    assert!(
        scene.actions.contains(&Action::Signal {
            to: Recipients::Orphans { except: vec![Pid(10)], asked_groups: vec![Pid(11)] },
            signal: Signal::TERM
        }),
        "others, in sessions of their own, by then"
    );
    assert!(!scene.sent(10, Signal::KILL));
}

#[test]
fn a_second_stop_signal_hurries_and_a_third_kills() {
    let mut scene = Scene::ready(PoolPolicy { drain_delay: s(10), ..policy(1) });
    scene.signal(Signal::TERM);
    assert!(!scene.sent(10, Signal::TERM));
    assert!(!scene.core.snapshot().is_ready());
    scene.signal(Signal::TERM);
    assert!(scene.sent(10, Signal::TERM), "the drain delay is cut short");
    assert_eq!(
        scene.core.next_deadline(),
        Some(scene.now + s(5) / 2),
        "and the graceful timeout: orphans first"
    );
    scene.signal(Signal::INT);
    assert!(scene.sent(10, Signal::KILL));
    scene.exits(10, Exit::Signal { signal: Signal::KILL, core_dumped: false });
    scene.happens(Event::Reaped { children_left: false });
    assert_eq!(scene.code(), Some(0), "an ordered stop, even if somebody had to be killed");
}

#[test]
fn what_outlives_the_workers_is_asked_to_stop_and_awaited() {
    let mut scene = Scene::ready(policy(1));
    scene.signal(Signal::INT);
    scene.exits(10, Exit::Code(0));
    scene.happens(Event::Reaped { children_left: true });
    assert!(scene.actions.contains(&Action::Signal {
        to: Recipients::Orphans { except: vec![], asked_groups: vec![Pid(10)] },
        signal: Signal::TERM
    }));
    scene.exits(999, Exit::Code(0));
    scene.happens(Event::Reaped { children_left: false });
    assert_eq!(scene.code(), Some(0));
}

#[test]
fn a_crash_loop_ends_with_code_3() {
    let mut scene = Scene::new(Mode::Pool(policy(1)));
    for pid in 10.. {
        scene.spawns(pid);
        scene.exits(pid, Exit::Code(1));
        if scene.actions.contains(&Action::Ask(Ask::Reap)) {
            assert_eq!(pid, 13, "three restarts are accepted");
            break;
        }
        while scene.order().is_none() {
            scene.deadline();
        }
    }
    scene.happens(Event::Reaped { children_left: false });
    assert_eq!(scene.code(), Some(3));
    assert!(scene.exits(10, Exit::Code(0)).is_empty(), "nothing follows the exit");
}

#[test]
fn a_command_that_cannot_be_started_ends_with_its_own_code() {
    for mode in [Mode::Pool(policy(4)), Mode::Init(InitPolicy::new(STOP))] {
        let mut scene = Scene::new(mode);
        let id = scene.order().expect("a spawn").id;
        let failure = SpawnFailure { step: "execute", errno: 2, code: 127 };
        scene.happens(Event::Spawned { id, result: Err(failure) });
        assert_eq!(scene.code(), Some(127));
    }
}

#[test]
fn a_worker_that_said_it_is_ready_is_not_given_up() {
    let mut scene = Scene::new(Mode::Pool(policy(1)));
    scene.spawns(10);
    scene.now = Monotonic(s(58));
    scene.hears(10, WorkerFact::SaidReady);
    assert_eq!(scene.core.snapshot().ready, 0, "it may yet be seen accepting");
    scene.after(s(2));
    assert_eq!(scene.core.snapshot().ready, 1, "{:?}", scene.actions);
}

#[test]
fn term_starts_the_clock_of_an_init_and_int_does_not() {
    let mut scene = Scene::new(Mode::Init(InitPolicy::new(STOP)));
    scene.spawns(10);
    for signal in [Signal::INT, Signal::QUIT, Signal::HUP] {
        let (to, received) = (Target::Group(Pid(10)), Received::plain(signal));
        let passed_on = Action::Forward(Forward { to, received, spare_unaware: false, asks: false });
        assert!(scene.signal(signal).contains(&passed_on));
        assert_eq!(scene.core.next_deadline(), None);
    }
    scene.signal(Signal::TERM);
    scene.after(s(29));
    assert_eq!(scene.actions, []);
    scene.after(s(1));
    assert!(scene.sent(10, Signal::KILL));
    scene.exits(10, Exit::Signal { signal: Signal::KILL, core_dumped: false });
    scene.happens(Event::Reaped { children_left: false });
    assert_eq!(scene.code(), Some(137));
}

#[test]
fn what_term_is_rewritten_to_starts_the_clock_of_an_init_too() {
    let mut scene = Scene::new(Mode::Init(InitPolicy::new(StopPolicy { signal: Signal::QUIT, ..STOP })));
    scene.spawns(10);
    scene.signal(Signal::QUIT);
    assert_eq!(scene.core.next_deadline(), Some(scene.now + s(30)));
}

#[test]
fn an_init_gives_what_outlives_its_command_the_rest_of_the_graceful_timeout() {
    let mut scene = Scene::new(Mode::Init(InitPolicy::new(STOP)));
    scene.spawns(10);
    scene.signal(Signal::TERM);
    scene.now = scene.now + s(10);
    scene.exits(10, Exit::Code(5));
    scene.happens(Event::Reaped { children_left: true });
    assert!(scene.actions.contains(&Action::Signal {
        to: Recipients::Orphans { except: vec![], asked_groups: vec![] },
        signal: Signal::TERM
    }));
    // Who was being forked meanwhile is asked a little later.
    assert_eq!(scene.core.next_deadline(), Some(scene.now + Duration::from_millis(50)));
    for _ in 0..8 {
        scene.now = scene.core.next_deadline().unwrap();
        scene.happens(Event::DeadlinePassed);
        assert!(
            matches!(scene.actions[..], [Action::Signal { to: Recipients::Orphans { .. }, .. }]),
            "{:?}",
            scene.actions
        );
    }
    assert_eq!(scene.core.next_deadline(), Some(Monotonic(s(30))));
    scene.happens(Event::Reaped { children_left: false });
    assert_eq!(scene.code(), Some(5));
}

#[test]
fn a_pausing_init_in_the_terminals_group_ends_at_ctrl_c() {
    let pausing = InitPolicy { pause: true, job: Job::Shared, ..InitPolicy::new(STOP) };
    let mut scene = Scene::new(Mode::Init(pausing));
    let by_key = Received { code: 0x80, ..Received::plain(Signal::INT) };
    scene.happens(Event::Signalled(by_key));
    assert!(scene.actions.contains(&Action::Ask(Ask::Reap)), "there is no command that would have got it");
    scene.happens(Event::Reaped { children_left: false });
    assert_eq!(scene.code(), Some(0));
}

#[test]
fn a_pool_that_runs_too_long_is_stopped_as_at_term_and_ends_with_124() {
    let (deadline, drain_delay) = (Some(Monotonic(s(100))), s(10));
    let mut scene = Scene::ready(PoolPolicy { deadline, drain_delay, ..policy(1) });
    scene.after(s(99));
    assert_eq!(scene.actions, []);
    assert_eq!(scene.core.next_deadline(), deadline);
    scene.after(s(1));
    assert!(scene.noted(|note| *note == Note::Init(InitNote::DeadlinePassed { after: s(100) })));
    assert!(!scene.core.snapshot().is_ready() && !scene.sent(10, Signal::TERM), "drain delay first");
    scene.after(s(10));
    assert!(scene.sent(10, Signal::TERM));
    scene.exits(10, Exit::Code(0));
    scene.happens(Event::Reaped { children_left: false });
    assert_eq!(scene.code(), Some(124));
}

#[test]
fn a_deadline_counts_what_the_clock_has_left_out() {
    let deadline = Some(Monotonic(s(100)));
    let mut scene = Scene::ready(PoolPolicy { deadline, ..policy(1) });
    scene.core.is_behind(s(60));
    assert_eq!(scene.core.next_deadline(), Some(Monotonic(s(40))));
    scene.after(s(40));
    assert!(scene.noted(|note| *note == Note::Init(InitNote::DeadlinePassed { after: s(100) })));
}

#[test]
fn a_deadline_says_nothing_to_who_is_being_stopped_already() {
    let deadline = Some(Monotonic(s(5)));
    let mut scene = Scene::ready(PoolPolicy { deadline, ..policy(1) });
    scene.signal(Signal::TERM);
    scene.after(s(6));
    assert_eq!(scene.actions, []);
    scene.exits(10, Exit::Code(0));
    scene.happens(Event::Reaped { children_left: false });
    assert_eq!(scene.code(), Some(0));

    let mut scene = Scene::new(Mode::Init(InitPolicy { deadline, ..InitPolicy::new(STOP) }));
    scene.spawns(10);
    scene.signal(Signal::TERM);
    scene.after(s(6));
    assert_eq!(scene.actions, []);
    scene.exits(10, Exit::Code(7));
    scene.happens(Event::Reaped { children_left: false });
    assert_eq!(scene.code(), Some(7));
}

#[test]
fn an_init_asks_a_command_that_runs_too_long_to_stop_by_what_term_means_to_it() {
    let quit = Rewrites::new(vec![Rewrite { from: Signal::TERM, to: Some(Signal::QUIT) }]);
    for (rewrites, asked) in [(Rewrites::default(), Signal::TERM), (quit, Signal::QUIT)] {
        let policy = InitPolicy {
            deadline: Some(Monotonic(s(60))),
            rewrites,
            remaps: vec![(124, 9)],
            ..InitPolicy::new(STOP)
        };
        let mut scene = Scene::new(Mode::Init(policy));
        scene.spawns(10);
        assert_eq!(scene.core.next_deadline(), Some(Monotonic(s(60))));
        scene.deadline();
        let (to, received) = (Target::Group(Pid(10)), Received::plain(asked));
        let passed_on = Action::Forward(Forward { to, received, spare_unaware: false, asks: true });
        assert!(scene.actions.contains(&passed_on), "{:?}", scene.actions);
        scene.after(s(30));
        assert!(scene.sent(10, Signal::KILL), "the graceful timeout is over");
        scene.exits(10, Exit::Signal { signal: Signal::KILL, core_dumped: false });
        scene.happens(Event::Reaped { children_left: false });
        assert_eq!(scene.code(), Some(9), "124 is remapped as any other");
    }
}
