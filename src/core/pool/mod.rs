//! Pool mode: N slots on listeners, and the order in which workers come and go. The table says what follows from each
//! event; in every other cell nothing follows but a note.
//!
//! ```text
//!  Unstarted ──▶ Running ──TERM──▶ Draining ──drain delay over──▶ Closing ──nothing waits──▶ Ending ───none left───▶ Gone
//!                   ├──INT, QUIT, no drain delay──────────────────▶│                          ▲
//!                   └──crash loop, none to close for──────────────────────────────────────────┘
//! ```
//!
//! | phase                      | event                       | what follows                                       |
//! |----------------------------|-----------------------------|----------------------------------------------------|
//! | Unstarted                  | started                     | Running                                            |
//! | Unstarted, Running         | TERM, INT, QUIT, ABRT       | Draining; INT and the others without a delay       |
//! | Unstarted, Running         | stop request                | Draining                                           |
//! | Running                    | HUP, reload request         | a reload, or the configuration is read first       |
//! | Running                    | configuration read          | a reload, or none if it was refused                |
//! | Running                    | USR2                        | an upgrade at the next moment of rest              |
//! | Running                    | TTIN, TTOU, scale request   | more slots, or fewer                               |
//! | Running                    | recycle request             | a worker is due, or a vacancy is filled now        |
//! | Running                    | the very first spawn failed | Gone                                               |
//! | Running                    | too many restarts           | Ending, while no other worker is ready             |
//! | Running                    | deadline of the whole run   | Draining                                           |
//! | Running                    | a lane or container is seen | a worker is due                                    |
//! | Running, Draining          | a worker ended              | its slot is filled again when the verdict says so  |
//! | Running, Draining          | deadline                    | at most one worker is spawned                      |
//! | Draining                   | stop signal                 | Ending, hurried                                    |
//! | Draining                   | drain delay over            | Closing; Ending where no worker may serve          |
//! | Draining                   | all workers were stopped    | as if the drain delay were over                    |
//! | Closing                    | stop signal                 | Ending, hurried                                    |
//! | Closing                    | queues, connections seen    | what is in hand                                    |
//! | Closing                    | nothing in hand, or late    | Ending                                             |
//! | Ending                     | second stop signal          | `SIGKILL` after a short time                       |
//! | Ending                     | third stop signal           | `SIGKILL` at once                                  |
//! | Ending                     | listeners seen              | connections are refused once no worker waits       |
//! | Ending                     | half of the time over       | orphans are asked to stop                          |
//! | Ending                     | time over                   | `SIGKILL` for all, again and again; Gone at last   |
//! | Ending                     | reaped, no worker left      | orphans are asked to stop                          |
//! | Ending                     | reaped, no child left       | Gone                                               |
//! | all but Gone               | spawned, a worker's fact    | see the table of the worker                        |
//! | all but Gone               | a signal to be passed on    | workers that have been ready get it                |
//! | all but Gone               | a group ended               | it is not killed later                             |
//! | Gone                       | any                         | nothing at all                                     |
//!
//! The parts `workers`, `reload`, `lanes`, `memory`, `phase`, `first` and `clock` know only themselves. The other
//! files connect them: what comes and goes (`lifecycle`, `verdict`), what is spawned and replaced next (`replace`,
//! `reloading`), what gets connections and what hangs (`steering`, `accepting`), and the end of the pool (`stop`,
//! `refusing`, `waits`).

mod accepting;
mod clock;
mod first;
mod lanes;
mod lifecycle;
mod measuring;
mod memory;
mod phase;
mod refusing;
mod reload;
mod reloading;
mod replace;
mod requests;
mod slot;
mod status;
mod steering;
mod stop;
mod undecided;
mod upgrade;
mod verdict;
mod waits;
mod workers;

use super::action::Action;
use super::event::{Answer, ChildChange, Event, Pid, PoolFact};
use super::leftovers::Leftovers;
use super::note::Note;
use super::policy::PoolPolicy;
use super::rng::Rng;
use super::signal::{Received, Signal};
use super::snapshot::Snapshot;
use super::time::{Monotonic, earlier};
use super::worker::Worker;
use crate::note::{PoolNote, SignalNote};
use alloc::vec::Vec;
use clock::PoolClock;
use first::FirstStart;
use lanes::LanePlan;
use memory::MemoryWatch;
use phase::Phase;
use reload::Reload;
use slot::{Role, Slot};
use workers::PoolWorkers;

#[derive(Clone, Debug)]
pub struct Pool {
    policy: PoolPolicy,
    rng: Rng,
    workers: PoolWorkers,
    leftovers: Leftovers,
    phase: Phase,
    first: FirstStart,
    reload: Reload,
    memory: MemoryWatch,
    lanes: LanePlan,
    clock: PoolClock,
}

impl Pool {
    /// A pool with every slot vacant.
    pub fn new(policy: PoolPolicy, seed: u64) -> Self {
        Self {
            workers: PoolWorkers::new(policy.workers),
            policy,
            rng: Rng::new(seed),
            leftovers: Leftovers::default(),
            phase: Phase::Unstarted,
            first: FirstStart::new(),
            reload: Reload::new(),
            memory: MemoryWatch::default(),
            lanes: LanePlan::default(),
            clock: PoolClock::default(),
        }
    }

    /// See [`Core::step`](super::Core::step).
    pub fn step(&mut self, now: Monotonic, event: Event, out: &mut Vec<Action>) {
        // The loop may be in the middle of a round of reaping when `Exit` is returned.
        if matches!(self.phase, Phase::Gone(_)) {
            return;
        }
        self.clock.step(now);
        let woken = matches!(event, Event::Started | Event::DeadlinePassed);
        self.handle(now, event, out);
        self.advance(now, out);
        // A spawn blocks the loop until the program is executed, and a look takes time. So only the clock leads to
        // one: if it is already time, the loop comes back at once, but it first reads what waits outside, a TERM for
        // example.
        if woken {
            let looks = self.look(now, out);
            // No other action may be pending: what has been read from the kernel would be lost with this program.
            if out.is_empty() && self.upgrades_now() {
                return self.upgrade(now, out);
            }
            // The result of a look may make a spawn needless.
            if self.phase.serves() && !looks {
                self.spawn_one(now, out);
            }
        }
        self.steer(out);
    }

    /// Makes the looks that are due: at one starting worker, at one that may have stopped accepting, at queues.
    /// Returns whether the result may make a spawn needless.
    fn look(&mut self, now: Monotonic, out: &mut Vec<Action>) -> bool {
        let starting =
            self.workers.iter_mut().filter_map(|worker| Some((worker.starting()?.look_at()?, worker)));
        if let Some((_, worker)) = starting.min_by_key(|(at, _)| *at) {
            worker.look(now, out);
        }
        let looks = self.look_whether_accepting(now, out);
        self.measure(now, out);
        self.workers.iter_mut().for_each(|worker| worker.look_at_queue(now, out));
        self.look_at_all_connections(now, out);
        if self.phase.serves() {
            self.lanes.look(now, out);
        }
        looks
    }

    fn handle(&mut self, now: Monotonic, event: Event, out: &mut Vec<Action>) {
        match event {
            Event::Started => {
                if matches!(self.phase, Phase::Unstarted) {
                    self.phase = Phase::Running { upgrade: false };
                    self.memory.schedule(now, self.policy.measure_every);
                }
            }
            // The loop reads the pings that wait before it sends this event.
            Event::DeadlinePassed => self.workers.iter_mut().for_each(|worker| worker.all_heard(now, out)),
            Event::Signalled(received) => self.signalled(now, received, out),
            Event::Spawned { id, result: Ok(pid) } => self.spawned(now, id, pid, out),
            Event::Spawned { id, result: Err(failure) } => self.spawn_failed(now, id, failure, out),
            Event::Child { pid, change: ChildChange::Exited { exit, out_of_memory } } => {
                self.exited(now, pid, exit, out_of_memory, out);
            }
            Event::Child { pid: group, change: ChildChange::GroupEnded } => self.leftovers.forget(group),
            // A stopped worker is found by what it does not do.
            Event::Child { change: ChildChange::Stopped { .. }, .. } => {}
            Event::Reaped { children_left } => self.reaped(children_left, out),
            Event::Worker { pid, fact } => self.worker_fact(now, pid, fact, out),
            Event::Pool(fact) => self.pool_fact(now, fact, out),
            Event::Requested(request) => self.requested(now, request, out),
            Event::Answered(Answer::ConfigurationRead { accepted }) if self.is_running() => {
                self.configuration_read(now, accepted, out);
            }
            Event::Answered(
                Answer::ConfigurationRead { .. } | Answer::StopRefused | Answer::UpgradeFailed,
            ) => {}
        }
    }

    fn pool_fact(&mut self, now: Monotonic, fact: PoolFact, out: &mut Vec<Action>) {
        match fact {
            PoolFact::ReachedOut => self.first.has_reached_out(),
            PoolFact::LaneSeen { lane, waiting } => self.lanes.seen(lane, waiting),
            PoolFact::QueuesSeen { waiting } => {
                if let Phase::Closing(closing, _) = &mut self.phase {
                    closing.queues_seen(now, waiting);
                }
            }
            PoolFact::ConnectionsSeen { found, took } => self.all_connections_seen(now, found, took),
            PoolFact::ListenersSeen { awaited } => self.listeners_seen(awaited, out),
            PoolFact::ContainerMeasured { used, limit } => self.container_measured(now, used, limit, out),
        }
    }

    /// See [`Core::next_deadline`](super::Core::next_deadline).
    pub fn next_deadline(&self) -> Option<Monotonic> {
        let of_phase = match self.phase {
            Phase::Unstarted | Phase::Gone(_) => return None,
            Phase::Running { .. } if self.upgrades_now() => return Some(self.clock.stepped()),
            Phase::Running { .. } => earlier(self.stop_at(), self.next_spawn_deadline()),
            Phase::Draining { until, .. } => earlier(Some(until), self.next_spawn_deadline()),
            Phase::Closing(closing, _) => closing.next_deadline(),
            Phase::Ending(ending, _) => ending.next_deadline(),
        };
        [
            self.memory.next_deadline(),
            self.lanes.next_look().filter(|_| self.phase.serves()),
            self.leftovers.next_deadline(),
            self.workers.next_deadline(),
        ]
        .into_iter()
        .fold(of_phase, earlier)
    }

    /// See [`Core::awaits_group`](super::Core::awaits_group).
    pub fn awaits_group(&self, group: Pid) -> bool {
        self.leftovers.awaits(group)
    }

    /// See [`Core::hurts`](super::Core::hurts).
    pub fn hurts(&self) -> bool {
        if matches!(self.phase, Phase::Unstarted | Phase::Gone(_)) {
            return false;
        }
        let of_leftovers = self.leftovers.next_deadline().is_some();
        self.phase.hurts() || of_leftovers || self.workers.iter().any(Worker::may_be_hurt)
    }

    /// See [`Core::snapshot`](super::Core::snapshot).
    pub fn snapshot(&self) -> Snapshot {
        Snapshot {
            phase: self.phase.seen(),
            workers: self.workers.wanted(),
            ready: self.workers.ready(),
            min_ready: self.min_ready(),
            started: self.first.ever_had_enough(),
        }
    }

    /// The configured `min_ready`, or all workers if fewer are wanted.
    fn min_ready(&self) -> u32 {
        self.policy.min_ready.min(self.workers.wanted())
    }

    fn is_running(&self) -> bool {
        matches!(self.phase, Phase::Running { .. })
    }

    fn signalled(&mut self, now: Monotonic, received: Received, out: &mut Vec<Action>) {
        out.push(Action::Note(Note::Signal(SignalNote::Received(received))));
        let Some(signal) = self.policy.rewrites.of(received.signal) else {
            out.push(Action::Note(Note::Signal(SignalNote::Dropped { signal: received.signal })));
            return;
        };
        match signal {
            Signal::TERM | Signal::INT | Signal::QUIT | Signal::ABRT => self.asked_to_stop(now, signal, out),
            Signal::HUP if self.is_running() => self.reload_asked(now, out),
            Signal::USR2 if self.is_running() => self.upgrade_asked(out),
            Signal::TTIN if self.is_running() => self.scale_up(now, out),
            Signal::TTOU if self.is_running() => self.scale_down(now, out),
            signal if self.policy.forwards.contains(&signal) => self.forward(signal, received.signal, out),
            signal => out.push(Action::Note(Note::Signal(SignalNote::Ignored { signal }))),
        }
    }

    /// Brings the state in line with the clock and with itself.
    fn advance(&mut self, now: Monotonic, out: &mut Vec<Action>) {
        if matches!(self.phase, Phase::Gone(_)) {
            return;
        }
        self.stop_in_time(now, out);
        self.judge_undecided(now, out);
        self.go_on_draining(now, out);
        for index in 0..self.workers.slots().len() {
            for role in [Role::Seated, Role::Successor] {
                self.tick(now, index, role, out);
            }
        }
        for worker in self.workers.retiring_mut() {
            worker.tick(now, &self.policy, out);
        }
        self.note_long_waits(now, out);
        self.leftovers.tick(now, out);
        if !self.first.ever_had_enough() && self.workers.ready() >= self.min_ready() {
            self.first.has_enough();
            out.push(Action::Note(Note::Pool(PoolNote::Ready { ready: self.workers.ready() })));
        }
        if self.is_running() {
            self.go_on_reloading(now, out);
            self.end_hung(now, out);
            self.settle_stranded(now, out);
        }
        self.go_on_closing(now, out);
        self.go_on_refusing(now, out);
        self.go_on_ending(now, out);
    }

    fn tick(&mut self, now: Monotonic, index: usize, role: Role, out: &mut Vec<Action>) {
        let Some(worker) = self.workers.slot_mut(index).and_then(|slot| slot.at_mut(role)) else { return };
        if let Some(by) = worker.tick(now, &self.policy, out) {
            self.become_ready(now, index, role, by, out);
            // A worker can be due the moment it is ready.
            if let Some(worker) = self.workers.slot_mut(index).and_then(Slot::seated_mut) {
                worker.tick(now, &self.policy, out);
            }
        }
    }
}
