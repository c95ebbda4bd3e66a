//! What has happened, as far as events and actions tell.

use super::accepting::Accepting;
use super::backoff::{Backoff, Window};
use super::exits::Failure;
use super::first::FirstStart;
use super::in_hand::InHand;
use super::watch::Watch;
use prefork_core::action::SpawnOrder;
use prefork_core::event::{SpawnFailure, SpawnId};
use prefork_core::exit::Reason;
use prefork_core::note::ReadyBy;
use prefork_core::policy::PoolPolicy;
use prefork_core::{Lane, Monotonic, Note, Pid, Signal};
use std::time::Duration;

pub const SPAWN_GAP: Duration = Duration::from_millis(100);
pub const HURRIED: Duration = Duration::from_secs(5);
pub const MARGIN: Duration = Duration::from_secs(5);

/// The longest pause between two looks at a starting worker.
pub const LOOK_RARELY: Duration = Duration::from_millis(100);

/// A worker from `Spawned` to `Exited`.
pub struct Worker {
    pub pid: Pid,
    pub order: SpawnOrder,
    pub spawned: Monotonic,
    pub announced: bool,
    pub said_ready: Option<Monotonic>,
    pub refused: bool,
    pub looked: Option<Monotonic>,
    /// The last look that showed all of it.
    pub unseen: Option<Monotonic>,
    /// The last look was cut short.
    pub more: bool,
    /// The pause that the last look has earned.
    pub pause_until: Monotonic,
    /// When it is given up unless it is ready.
    pub fail_by: Option<Monotonic>,
    /// When its mere life makes it ready.
    pub alive_by: Option<Monotonic>,
    /// When it is looked at, should it have reported no request, and how long that was put off.
    pub counting: Option<(Monotonic, Duration)>,
    pub ready: Option<(Monotonic, ReadyBy)>,
    pub requests: u64,
    /// Measurements in a row that found it too big, and when the last one counted.
    pub heavy: (u32, Monotonic),
    pub due: Option<(Monotonic, Reason)>,
    /// It said `STOPPING=1`.
    pub leaves: bool,
    pub watch: Watch,
    pub accepting: Accepting,
    /// It has made way, for this.
    pub retired: Option<Reason>,
    pub drain: Option<Drain>,
    pub stopped: Option<(Monotonic, Reason)>,
    /// When it is killed, if it does not end before.
    pub kill_by: Option<Monotonic>,
    pub killed: bool,
}

/// A worker is being emptied.
#[derive(Clone, Copy)]
pub struct Drain {
    pub since: Monotonic,
    pub looked: Option<Monotonic>,
    pub quiet: Option<Monotonic>,
    pub hinted: bool,
    pub in_hand: InHand,
    /// It took no connections any more, and ends by itself.
    pub left: bool,
    /// Another serves those that wait in its queue.
    pub shared: bool,
}

impl Worker {
    pub fn starts(&self) -> bool {
        self.ready.is_none() && self.stopped.is_none()
    }

    /// It was ready and nothing has been done about that.
    pub fn is_up(&self) -> bool {
        self.ready.is_some() && self.stopped.is_none() && self.drain.is_none()
    }

    pub fn serves(&self) -> bool {
        self.is_up() && self.watch.hung.is_none()
    }

    pub fn is_trusted(&self) -> bool {
        self.serves() && !self.leaves && !self.watch.suspected && !self.accepting.away
    }

    /// For how long it was ready before it was told to stop.
    pub fn up(&self, now: Monotonic) -> Duration {
        let until = self.stopped.map_or(now, |(at, _)| at);
        self.ready.map_or(Duration::ZERO, |(since, _)| until.since(since))
    }
}

#[derive(Default)]
pub struct Slot {
    pub last_spawn: Option<Monotonic>,
    pub backoff: Backoff,
    /// When the next worker may come if the slot has none.
    pub vacancy: Window,
    /// When the next successor may come.
    pub retry: Window,
    /// The listeners of the one that died.
    pub kept: Option<Lane>,
    /// Its worker was aborted, and nobody has been ready since.
    pub recovers: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stage {
    Unstarted,
    Running,
    Draining {
        until: Monotonic,
    },
    Closing {
        since: Monotonic,
        looked: Option<Monotonic>,
        quiet: Option<Monotonic>,
        in_hand: InHand,
    },
    /// `orphans_by`: when those that no worker answers for are asked to stop.
    Ending {
        kill_by: Option<Monotonic>,
        orphans_by: Option<Monotonic>,
    },
    Killing {
        last: Monotonic,
        leave_by: Monotonic,
    },
}

/// Connections are held off, and are to be refused.
#[derive(Clone, Copy)]
pub struct Refusing {
    pub by: Monotonic,
    pub look_at: Monotonic,
    pub pause: Duration,
    /// They are not waited for any more.
    pub let_go: bool,
}

/// A worker that has ended as one that was asked to stop, and what that means if the others are not.
pub struct Undecided {
    pub by: Monotonic,
    pub pid: Pid,
    pub order: SpawnOrder,
    pub reason: Reason,
    pub failure: Option<Failure>,
    pub left: Left,
}

/// What was left when a worker ended.
#[derive(Clone, Copy)]
pub struct Left {
    pub was_successor: bool,
    pub is_vacant: bool,
    pub none_serves: bool,
    pub spawned: Monotonic,
}

/// A reload under way.
#[derive(Clone, Copy)]
pub struct Roll {
    pub to: u32,
    pub since: Monotonic,
    pub canary: Canary,
    /// One of its workers has failed after the first was ready.
    pub hurt: bool,
    /// Since when every slot has served, if it is hurt.
    pub whole_since: Option<Monotonic>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Canary {
    Wanted,
    Tried(SpawnId),
    Passed,
}

/// What the event of a step obliges the core to do in this very step.
#[derive(Default)]
pub struct Expected {
    pub exited: Vec<(Pid, Reason)>,
    /// The stop signal and `SIGCONT` for the group of a worker that has just ended: how many have come.
    pub group_asked: Option<(Pid, u8)>,
    pub spawned: Option<Pid>,
    pub ready: Option<Pid>,
    pub spawn_failed: Option<u32>,
    /// What is said of a signal, or of a canary.
    pub told: Vec<Note>,
    /// Who is owed a signal that is passed on.
    pub forwarded: Vec<(Pid, Signal)>,
    /// It has got a signal, and why is not told yet.
    pub stopping: Option<(Pid, Signal, bool)>,
    /// This slot is filled again after such a time.
    pub delays: Vec<(u32, Window)>,
    /// It takes more memory than it ever may.
    pub too_big: Option<Pid>,
    /// It has just said `STOPPING=1`.
    pub leaving: Option<Pid>,
    /// Somebody has asked for its replacement.
    pub asked: Option<Pid>,
    /// It was told what they listen on: they are about to be stopped.
    pub explained: Vec<Pid>,
    /// A picture of it is owed.
    pub portray: Option<Pid>,
    /// Connections are to be refused.
    pub refuse: bool,
    /// Workers who are owed a hint.
    pub hints: Vec<Pid>,
    /// Who was measured.
    pub measured: Vec<Pid>,
    /// Slots that lost their worker otherwise than by plan.
    pub lost: usize,
    /// The clock alone led to this step: only then may it take its time.
    pub woken: bool,
    /// A worker was looked at.
    pub looked: bool,
    /// No child is left at all.
    pub childless: bool,
    /// The configuration is to be read.
    pub reread: bool,
}

pub struct Book {
    pub policy: PoolPolicy,
    pub stage: Stage,
    /// The slot of the crash loop.
    pub gave_up: Option<u32>,
    pub stops: Vec<Monotonic>,
    pub stop_signals: usize,
    pub orphans_asked: bool,
    /// As many as workers are wanted.
    pub slots: Vec<Slot>,
    pub live: Vec<Worker>,
    pub pending: Option<SpawnOrder>,
    pub last_id: Option<SpawnId>,
    pub roll: Option<Roll>,
    /// Our own program is to be exchanged.
    pub upgrade: bool,
    /// Lanes that are nobody's, and whether somebody was seen waiting there.
    pub left: Vec<(Lane, bool)>,
    pub generation: u32,
    pub newest: u32,
    /// The next planned replacement may begin then.
    pub planned_from: Monotonic,
    pub steered: Vec<Lane>,
    pub measure_at: Option<Monotonic>,
    pub undecided: Vec<Undecided>,
    pub refusing: Option<Refusing>,
    /// Connections are held off before the workers are stopped at once.
    pub held: bool,
    /// Groups whose leader is gone, and when they are killed.
    pub remains: Vec<(Pid, Option<Monotonic>)>,
    /// Groups whose leader ended while everything ended.
    pub groups_asked: Vec<Pid>,
    pub first_failure: Option<SpawnFailure>,
    pub ever_spawned: bool,
    pub first_start: FirstStart,
    /// A process in our network namespace has tried to reach something.
    pub reached_out: bool,
    pub pool_ready: bool,
    pub end_was_told: bool,
    pub expected: Expected,
    pub exit: Option<u8>,
    /// The time of the whole run was over.
    pub overdue: bool,
}

impl Book {
    pub fn new(policy: PoolPolicy) -> Self {
        Self {
            slots: (0..policy.workers).map(|_| Slot::default()).collect(),
            policy,
            stage: Stage::Unstarted,
            gave_up: None,
            stops: Vec::new(),
            stop_signals: 0,
            orphans_asked: false,
            live: Vec::new(),
            pending: None,
            last_id: None,
            roll: None,
            upgrade: false,
            left: Vec::new(),
            generation: 1,
            newest: 1,
            planned_from: Monotonic::default(),
            steered: Vec::new(),
            measure_at: None,
            undecided: Vec::new(),
            refusing: None,
            held: false,
            remains: Vec::new(),
            groups_asked: Vec::new(),
            first_failure: None,
            ever_spawned: false,
            first_start: FirstStart::default(),
            reached_out: false,
            pool_ready: false,
            end_was_told: false,
            expected: Expected::default(),
            exit: None,
            overdue: false,
        }
    }

    pub fn wanted(&self) -> usize {
        self.slots.len()
    }

    /// Slots whose worker serves.
    pub fn serving(&self) -> usize {
        (0..self.wanted()).filter(|slot| self.seated(*slot).is_some_and(Worker::serves)).count()
    }

    pub fn min_ready(&self) -> usize {
        (self.policy.min_ready as usize).min(self.wanted())
    }

    pub fn alive(&self) -> usize {
        self.live.len() + usize::from(self.pending.is_some())
    }

    pub fn most_alive(&self) -> usize {
        self.wanted() + self.policy.budget.surge(self.slots.len() as u32) as usize
    }

    /// Whether workers come and connections with them.
    pub fn is_open(&self) -> bool {
        matches!(self.stage, Stage::Running | Stage::Draining { .. })
    }

    pub fn slot(&mut self, slot: u32) -> &mut Slot {
        &mut self.slots[slot as usize]
    }

    /// The slot's workers that have not made way, the older one first.
    pub fn in_slot(&self, slot: usize) -> impl Iterator<Item = &Worker> {
        self.live.iter().filter(move |w| w.order.slot as usize == slot && w.retired.is_none())
    }

    /// The slot's worker, or its successor where that is all there is.
    pub fn seated(&self, slot: usize) -> Option<&Worker> {
        self.in_slot(slot).next()
    }

    pub fn is_spawning(&self, slot: usize) -> bool {
        self.pending.is_some_and(|order| order.slot as usize == slot)
    }

    /// Whether the slot has a successor, or is about to.
    pub fn has_successor(&self, slot: usize) -> bool {
        self.in_slot(slot).count() + usize::from(self.is_spawning(slot)) > 1
    }

    pub fn is_vacant(&self, slot: usize) -> bool {
        self.seated(slot).is_none() && !self.is_spawning(slot)
    }

    pub fn vacancies(&self) -> usize {
        (0..self.wanted()).filter(|slot| self.is_vacant(*slot)).count()
    }

    pub fn worker(&mut self, pid: Pid) -> Result<&mut Worker, String> {
        self.live.iter_mut().find(|w| w.pid == pid).ok_or_else(|| "nobody of ours has this pid".into())
    }

    /// The worker with this pid and these listeners.
    pub fn worker_on(&mut self, pid: Pid, lane: Lane) -> Result<&mut Worker, String> {
        let worker = self.worker(pid)?;
        if worker.order.lane == lane { Ok(worker) } else { Err("these are not its listeners".into()) }
    }

    pub fn starting(&mut self, pid: Pid) -> Option<&mut Worker> {
        self.live.iter_mut().find(|w| w.pid == pid && w.starts())
    }

    /// What a signal that came counts as.
    pub fn name_of(&self, came: Signal) -> Option<Signal> {
        let rules = self.policy.rewrites.rules();
        rules.iter().find(|rule| rule.from == came).map_or(Some(came), |rule| rule.to)
    }
}
