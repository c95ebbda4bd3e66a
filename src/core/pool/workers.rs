//! The slots, the workers in them, those that make way, and those whose end is not understood yet.
//!
//! It must not know why a worker comes or goes.

use super::slot::{Role, Seat, Slot};
use super::undecided::{Death, OUR_STOP_WITHIN, Undecided};
use crate::event::{Lane, Pid, SpawnId};
use crate::time::{Monotonic, earlier};
use crate::worker::{Starting, Worker, WorkerState};
use alloc::collections::BTreeSet;
use alloc::vec::Vec;

#[derive(Clone, Debug)]
pub(super) struct PoolWorkers {
    /// As many as workers are wanted.
    slots: Vec<Slot>,
    /// Workers that have made way and have not been reaped yet.
    retiring: Vec<Worker>,
    undecided: Vec<Undecided>,
    next_spawn: u64,
    /// No planned replacement begins before this.
    planned_from: Monotonic,
}

/// Where a worker is: in a slot, or on its way out.
#[derive(Clone, Copy, Debug)]
pub(super) enum WorkerPlace {
    InSlot(usize, Role),
    Retiring(usize),
}

impl PoolWorkers {
    /// Every slot is vacant.
    pub(super) fn new(wanted: u32) -> Self {
        Self {
            slots: (0..wanted).map(|_| Slot::new(Monotonic::default())).collect(),
            retiring: Vec::new(),
            undecided: Vec::new(),
            next_spawn: 0,
            planned_from: Monotonic::default(),
        }
    }

    // Slots

    pub(super) fn slots(&self) -> &[Slot] {
        &self.slots
    }

    pub(super) fn slots_mut(&mut self) -> &mut [Slot] {
        &mut self.slots
    }

    pub(super) fn slot(&self, index: usize) -> Option<&Slot> {
        self.slots.get(index)
    }

    pub(super) fn slot_mut(&mut self, index: usize) -> Option<&mut Slot> {
        self.slots.get_mut(index)
    }

    pub(super) fn numbered_mut(&mut self, number: u32) -> Option<&mut Slot> {
        usize::try_from(number).ok().and_then(|index| self.slots.get_mut(index))
    }

    pub(super) fn add_slot(&mut self, now: Monotonic) {
        self.slots.push(Slot::new(now));
    }

    pub(super) fn drop_last_slot(&mut self) -> Option<Slot> {
        self.slots.pop()
    }

    // Workers

    /// All that are alive: by slot, in it the seated one first, then those that make way.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Worker> {
        self.in_slots().chain(&self.retiring)
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Worker> {
        self.slots.iter_mut().flat_map(Slot::workers_mut).chain(&mut self.retiring)
    }

    pub(super) fn in_slots(&self) -> impl Iterator<Item = &Worker> {
        self.slots.iter().flat_map(Slot::workers)
    }

    pub(super) fn seated(&self) -> impl Iterator<Item = &Worker> {
        self.slots.iter().filter_map(Slot::seated)
    }

    pub(super) fn seated_mut(&mut self) -> impl Iterator<Item = &mut Worker> {
        self.slots.iter_mut().filter_map(Slot::seated_mut)
    }

    pub(super) fn retiring(&self) -> &[Worker] {
        &self.retiring
    }

    pub(super) fn retiring_mut(&mut self) -> &mut [Worker] {
        &mut self.retiring
    }

    /// It makes way from now on.
    pub(super) fn retire(&mut self, worker: Worker) {
        self.retiring.push(worker);
    }

    /// One that made way has ended.
    pub(super) fn remove_retired(&mut self, index: usize) -> Option<Worker> {
        (index < self.retiring.len()).then(|| self.retiring.remove(index))
    }

    pub(super) fn find(&self, wanted: impl Fn(&Worker) -> bool) -> Option<WorkerPlace> {
        let in_slot = self.slots.iter().enumerate().find_map(|(index, slot)| {
            let role = [Role::Seated, Role::Successor]
                .into_iter()
                .find(|role| slot.at(*role).is_some_and(&wanted))?;
            Some(WorkerPlace::InSlot(index, role))
        });
        in_slot.or_else(|| self.retiring.iter().position(wanted).map(WorkerPlace::Retiring))
    }

    pub(super) fn place_of(&self, pid: Pid) -> Option<WorkerPlace> {
        self.find(|worker| worker.pid() == Some(pid))
    }

    pub(super) fn at(&self, place: WorkerPlace) -> Option<&Worker> {
        match place {
            WorkerPlace::InSlot(index, role) => self.slots.get(index)?.at(role),
            WorkerPlace::Retiring(index) => self.retiring.get(index),
        }
    }

    pub(super) fn with(&mut self, pid: Pid, act: impl FnOnce(&mut Worker)) {
        if let Some(worker) = self.iter_mut().find(|worker| worker.pid() == Some(pid)) {
            act(worker);
        }
    }

    pub(super) fn with_starting(&mut self, pid: Pid, act: impl FnOnce(&mut Starting)) {
        self.with(pid, |worker| {
            if let Some(starting) = worker.starting() {
                act(starting);
            }
        });
    }

    // Counts

    /// How many workers are wanted.
    pub(super) fn wanted(&self) -> u32 {
        number(self.slots.len())
    }

    pub(super) fn alive(&self) -> u32 {
        number(self.iter().count())
    }

    /// Slots that are served.
    pub(super) fn ready(&self) -> u32 {
        number(self.seated().filter(|worker| worker.serves()).count())
    }

    /// Slots without a worker that serves.
    pub(super) fn unavailable(&self) -> u32 {
        self.wanted().saturating_sub(self.ready())
    }

    pub(super) fn vacancies(&self) -> u32 {
        number(self.slots.iter().filter(|slot| slot.seated().is_none()).count())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.iter().next().is_none()
    }

    pub(super) fn is_spawning(&self) -> bool {
        self.iter().any(|worker| matches!(worker.state, WorkerState::Spawning))
    }

    // What a new worker gets

    pub(super) fn next_id(&mut self) -> SpawnId {
        let id = SpawnId(self.next_spawn);
        self.next_spawn = self.next_spawn.saturating_add(1);
        id
    }

    /// The number of the next spawn, for the next program.
    pub(super) fn next_spawn(&self) -> u64 {
        self.next_spawn
    }

    pub(super) fn spawn_from(&mut self, number: u64) {
        self.next_spawn = number;
    }

    /// The lowest number that no living worker has, one that was killed and does not end included. A spawn has room, so
    /// it is less than `wanted` and `max_surge` together.
    pub(super) fn free_number(&self) -> u32 {
        let taken: BTreeSet<u32> = self.iter().map(|worker| worker.number).collect();
        (0..=number(taken.len())).find(|free| !taken.contains(free)).unwrap_or(0)
    }

    /// The first lane that is free.
    pub(super) fn free_lane(&self) -> Lane {
        let taken: BTreeSet<Lane> = self.lanes().collect();
        (0..=number(taken.len())).map(Lane).find(|lane| !taken.contains(lane)).unwrap_or(Lane(0))
    }

    /// Whether a worker has this lane, or the next of a slot gets it.
    pub(super) fn has_lane(&self, lane: Lane) -> bool {
        self.lanes().any(|taken| taken == lane)
    }

    fn lanes(&self) -> impl Iterator<Item = Lane> {
        self.iter().map(|worker| worker.lane).chain(self.slots.iter().filter_map(Slot::kept_lane))
    }

    /// When a planned replacement may begin.
    pub(super) fn planned_from(&self) -> Monotonic {
        self.planned_from
    }

    pub(super) fn plan_from(&mut self, at: Monotonic) {
        self.planned_from = at;
    }

    // Ends

    /// Takes a worker that has ended out of its slot, which stays empty until the end is judged.
    pub(super) fn take_out(&mut self, now: Monotonic, index: usize, role: Role) -> Option<Death> {
        let slot = self.slots.get_mut(index)?;
        let worker = slot.at(role)?;
        let (id, generation, lane, spawned) = (worker.id, worker.generation, worker.lane, worker.spawned);
        let mut succeeded = false;
        let not_yet = now + OUR_STOP_WITHIN;
        match role {
            Role::Successor => {
                slot.successor = None;
                slot.retry_at = not_yet.max(slot.gap_until);
            }
            Role::Seated => match slot.successor.take() {
                Some(successor) => {
                    slot.seat = Seat::Taken(successor);
                    succeeded = true;
                }
                None => {
                    slot.seat = Seat::Vacant { spawn_at: not_yet.max(slot.gap_until), lane: Some(lane) };
                }
            },
        }
        Some(Death { id, generation, slot: index, role, lane, succeeded, spawned })
    }

    /// What this end means is decided later.
    pub(super) fn leave_undecided(&mut self, undecided: Undecided) {
        self.undecided.push(undecided);
    }

    /// The next end of those of which our own stop signal would have come by now.
    pub(super) fn decided(&mut self, now: Monotonic) -> Option<Undecided> {
        let at = self.undecided.iter().position(|undecided| undecided.by <= now)?;
        Some(self.undecided.remove(at))
    }

    pub(super) fn take_undecided(&mut self) -> Vec<Undecided> {
        core::mem::take(&mut self.undecided)
    }

    pub(super) fn all_decided(&self) -> bool {
        self.undecided.is_empty()
    }

    pub(super) fn next_deadline(&self) -> Option<Monotonic> {
        let verdicts = self.undecided.iter().map(|undecided| Some(undecided.by));
        self.iter().map(Worker::next_deadline).chain(verdicts).fold(None, earlier)
    }
}

pub(super) fn number(index: usize) -> u32 {
    u32::try_from(index).unwrap_or(u32::MAX)
}
