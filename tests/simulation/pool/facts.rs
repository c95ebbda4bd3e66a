//! What has happened, as events, actions and notes tell it. Nothing here says what is to come of it.

use super::in_hand::InHand;
use super::spawning::SPAWN_GAP;
use prefork_core::action::SpawnOrder;
use prefork_core::event::SpawnId;
use prefork_core::exit::{Exit, Reason};
use prefork_core::note::WorkerRef;
use prefork_core::policy::PoolPolicy;
use prefork_core::{Event, Lane, Monotonic, Pid, Signal};
use std::time::Duration;

/// A worker from `Spawned` to `Exited`.
pub struct Worker {
    pub pid: Pid,
    pub order: SpawnOrder,
    pub spawned: Monotonic,
    pub said_ready: Option<Monotonic>,
    /// It cannot be seen to accept.
    pub refused: bool,
    /// The last look whether it accepts, and that it was cut short.
    pub looked: Option<Monotonic>,
    pub more: bool,
    /// When it is given up unless it is ready.
    pub fail_by: Option<Monotonic>,
    pub ready: Option<Monotonic>,
    pub requests: u64,
    pub due: Option<Reason>,
    pub hung: bool,
    pub suspected: bool,
    /// When it said `STOPPING=1`.
    pub leaves: Option<Monotonic>,
    /// How often it has to ping, and since when it is silent.
    pub pings: Option<Duration>,
    pub silent_since: Option<Monotonic>,
    pub bad_probes: u32,
    /// When a probe began or ended, and that one is under way.
    pub probe: (Monotonic, bool),
    /// It was not seen to accept, twice, and had closed its listener.
    pub absent: bool,
    pub away: bool,
    pub closed: bool,
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
    pub hinted: bool,
    pub in_hand: InHand,
    /// It took no connections any more, and ends by itself; or another serves what waits in its queue.
    pub left: bool,
    pub shared: bool,
}

impl Worker {
    pub fn new(now: Monotonic, order: SpawnOrder, pid: Pid, policy: &PoolPolicy) -> Self {
        Self {
            pid,
            order,
            spawned: now,
            said_ready: None,
            refused: false,
            looked: None,
            more: false,
            fail_by: policy.ready.start_timeout.deadline(now),
            ready: None,
            requests: 0,
            due: None,
            hung: false,
            suspected: false,
            leaves: None,
            pings: policy.hang.watchdog,
            silent_since: None,
            bad_probes: 0,
            probe: (now, false),
            absent: false,
            away: false,
            closed: false,
            retired: None,
            drain: None,
            stopped: None,
            kill_by: None,
            killed: false,
        }
    }

    pub fn named(&self) -> WorkerRef {
        WorkerRef { slot: self.order.slot, generation: self.order.generation, pid: self.pid }
    }

    pub fn slot(&self) -> usize {
        self.order.slot as usize
    }

    pub fn starts(&self) -> bool {
        self.ready.is_none() && self.stopped.is_none()
    }

    pub fn has_served(&self) -> bool {
        self.ready.is_some() && self.stopped.is_none()
    }

    /// It was ready and nothing has been done about that.
    pub fn is_up(&self) -> bool {
        self.has_served() && self.drain.is_none()
    }

    pub fn serves(&self) -> bool {
        self.is_up() && !self.hung
    }

    pub fn is_trusted(&self) -> bool {
        self.serves() && self.leaves.is_none() && !self.suspected && !self.away
    }

    /// By when it has to ping.
    pub fn ping_by(&self) -> Option<Monotonic> {
        let by = self.silent_since.zip(self.pings).map(|(since, every)| since + every);
        by.filter(|_| self.serves() && self.leaves.is_none())
    }

    pub fn has_reached_a_limit(&self, now: Monotonic) -> Option<Reason> {
        let enough = self.order.limits.requests.is_some_and(|limit| self.requests >= limit);
        let of_age = self.order.limits.age.is_some_and(|age| self.spawned + age <= now);
        enough.then_some(Reason::MaxRequests).or(of_age.then_some(Reason::MaxAge))
    }

    /// For how long it was ready before it was told to stop.
    pub fn up(&self, now: Monotonic) -> Duration {
        let until = self.stopped.map_or(now, |(at, _)| at);
        self.ready.map_or(Duration::ZERO, |since| until.since(since))
    }
}

#[derive(Default)]
pub struct Slot {
    pub last_spawn: Option<Monotonic>,
    /// Failures in a row, before which no other worker comes, and by when one does.
    pub failures: u32,
    pub not_before: Monotonic,
    pub owed_by: Monotonic,
    /// By when another successor comes.
    pub retry_by: Monotonic,
    /// The listeners of the one that died.
    pub kept: Option<Lane>,
    /// Its worker was aborted, and none has been ready since.
    pub recovers: bool,
}

#[derive(Clone, Copy)]
pub enum Stage {
    Unstarted,
    Running,
    Draining {
        until: Monotonic,
    },
    /// Connections are held off, and the last ones served.
    Closing {
        since: Monotonic,
        in_hand: InHand,
    },
    /// The workers are told to stop. `since`: from when the graceful timeout counts.
    Ending {
        since: Monotonic,
        orphans_asked: bool,
    },
    Killing {
        last: Monotonic,
        leave_by: Monotonic,
    },
}

/// A worker that has ended, until that is told: by then at the latest.
pub struct Dead {
    pub by: Monotonic,
    pub worker: Worker,
    pub exit: Exit,
    pub out_of_memory: bool,
}

/// A reload under way.
#[derive(Clone, Copy)]
pub struct Roll {
    pub to: u32,
    pub since: Monotonic,
    /// The first worker of the generation, and that one has been ready.
    pub canary: Option<SpawnId>,
    pub confirmed: bool,
    /// One of its workers has failed since; from when on every slot has served again.
    pub hurt: bool,
    pub whole_since: Option<Monotonic>,
}

/// What is known of the end.
#[derive(Default)]
pub struct End {
    pub stops: Vec<Monotonic>,
    pub gave_up: bool,
    pub overdue: bool,
    /// Connections are held off, by when they are refused, and that no worker waits for them any more.
    pub held: bool,
    pub refuse_by: Option<Monotonic>,
    pub let_go: bool,
    /// No child is left.
    pub childless: bool,
    pub said_goodbye: bool,
    pub exit: Option<u8>,
}

pub struct Facts {
    pub policy: PoolPolicy,
    /// The event of this step.
    pub event: Event,
    pub stage: Stage,
    pub end: End,
    /// As many as workers are wanted.
    pub slots: Vec<Slot>,
    pub live: Vec<Worker>,
    pub dead: Vec<Dead>,
    pub pending: Option<SpawnOrder>,
    pub last_id: Option<SpawnId>,
    pub roll: Option<Roll>,
    pub generation: u32,
    pub newest: u32,
    pub upgrade: bool,
    /// The next planned replacement may begin then.
    pub planned_from: Monotonic,
    pub steered: Vec<Lane>,
    pub measure_at: Option<Monotonic>,
    /// Workers that were measured in this step, or whose lateness was explained.
    pub measured: Vec<Pid>,
    pub explained: Vec<Pid>,
    /// Groups whose leader is gone, and when they are killed.
    pub leftovers: Vec<(Pid, Option<Monotonic>)>,
    /// The first spawn has failed, with this code.
    pub first_failure: Option<u8>,
    pub ever_spawned: bool,
    pub ever_failed: bool,
    pub ever_ready: bool,
    pub pool_ready: bool,
    /// A worker was sent a signal, and why is not told yet; and that it was continued.
    pub asked: Option<(Pid, Signal, bool)>,
    /// Slots that lost their worker in this step otherwise than by plan.
    pub lost: usize,
}

impl Facts {
    pub fn new(policy: PoolPolicy) -> Self {
        Self {
            slots: (0..policy.workers).map(|_| Slot::default()).collect(),
            policy,
            event: Event::DeadlinePassed,
            stage: Stage::Unstarted,
            end: End::default(),
            live: Vec::new(),
            dead: Vec::new(),
            pending: None,
            last_id: None,
            roll: None,
            generation: 1,
            newest: 1,
            upgrade: false,
            planned_from: Monotonic::default(),
            steered: Vec::new(),
            measure_at: None,
            measured: Vec::new(),
            explained: Vec::new(),
            leftovers: Vec::new(),
            first_failure: None,
            ever_spawned: false,
            ever_failed: false,
            ever_ready: false,
            pool_ready: false,
            asked: None,
            lost: 0,
        }
    }

    /// The pool goes on in the next program, which does not know all: a worker is as if it had just become ready.
    pub fn go_on(&mut self, now: Monotonic) {
        (self.stage, self.steered, self.planned_from) = (Stage::Unstarted, Vec::new(), Monotonic::default());
        self.ever_ready = self.pool_ready || !self.live.is_empty();
        for worker in &mut self.live {
            (worker.probe, worker.bad_probes, worker.absent) = ((now, false), 0, false);
            worker.silent_since = worker.pings.map(|_| now);
        }
        for slot in 0..self.wanted() {
            let is_vacant = self.is_vacant(slot);
            let slot = &mut self.slots[slot];
            let spawned = slot.last_spawn.take().unwrap_or_default();
            slot.owed_by = slot.owed_by.max(spawned + SPAWN_GAP);
            slot.recovers = false;
            if !is_vacant {
                (slot.failures, slot.not_before) = (0, Monotonic::default());
            }
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
        self.wanted() + self.policy.budget.surge(u32::try_from(self.wanted()).unwrap()) as usize
    }

    /// As many slots may be empty by plan.
    pub fn most_missing(&self) -> usize {
        self.policy.budget.unavailable(u32::try_from(self.wanted()).unwrap()) as usize
    }

    pub fn is_running(&self) -> bool {
        matches!(self.stage, Stage::Running)
    }

    /// Whether workers come and connections with them.
    pub fn is_open(&self) -> bool {
        matches!(self.stage, Stage::Running | Stage::Draining { .. })
    }

    /// The slot's workers that have not made way, the older one first.
    pub fn in_slot(&self, slot: usize) -> impl Iterator<Item = &Worker> {
        self.live.iter().filter(move |w| w.slot() == slot && w.retired.is_none())
    }

    /// The slot's worker, or its successor where that is all there is.
    pub fn seated(&self, slot: usize) -> Option<&Worker> {
        self.in_slot(slot).next()
    }

    pub fn is_seated(&self, pid: Pid) -> bool {
        self.of(pid).and_then(|w| self.seated(w.slot())).is_some_and(|seated| seated.pid == pid)
    }

    fn is_spawning(&self, slot: usize) -> bool {
        self.pending.is_some_and(|order| order.slot as usize == slot)
    }

    /// Whether the slot has a successor, or is about to.
    pub fn has_successor(&self, slot: usize) -> bool {
        self.in_slot(slot).count() + usize::from(self.is_spawning(slot)) > 1
    }

    pub fn is_vacant(&self, slot: usize) -> bool {
        self.seated(slot).is_none() && !self.is_spawning(slot)
    }

    pub fn of(&self, pid: Pid) -> Option<&Worker> {
        self.live.iter().find(|w| w.pid == pid)
    }

    pub fn worker(&mut self, pid: Pid) -> Result<&mut Worker, String> {
        self.live.iter_mut().find(|w| w.pid == pid).ok_or_else(|| "no worker has this pid".into())
    }

    /// The worker with this pid and these listeners.
    pub fn worker_on(&mut self, pid: Pid, lane: Lane) -> Result<&mut Worker, String> {
        let worker = self.worker(pid)?;
        if worker.order.lane == lane { Ok(worker) } else { Err("these are not its listeners".into()) }
    }

    pub fn known(&mut self, named: WorkerRef) -> Result<&mut Worker, String> {
        self.live.iter_mut().find(|w| w.named() == named).ok_or_else(|| "no such worker".into())
    }

    /// Whether a worker has this lane, or is to have it.
    pub fn is_owned(&self, lane: Lane) -> bool {
        self.live.iter().any(|w| w.order.lane == lane)
            || self.slots.iter().any(|slot| slot.kept == Some(lane))
    }

    /// What a signal that came counts as.
    pub fn name_of(&self, came: Signal) -> Option<Signal> {
        let rules = self.policy.rewrites.rules();
        rules.iter().find(|rule| rule.from == came).map_or(Some(came), |rule| rule.to)
    }

    /// Whether this event asks to stop.
    pub fn asks_to_stop(&self, event: Event) -> bool {
        let stops = [Signal::TERM, Signal::INT, Signal::QUIT, Signal::ABRT];
        match event {
            Event::Signalled(received) => self.name_of(received.signal).is_some_and(|s| stops.contains(&s)),
            event => event == Event::Requested(prefork_core::event::Request::Stop),
        }
    }
}
