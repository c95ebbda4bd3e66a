//! The slots, the workers in them, the retiring workers, and the ends that are still undecided. It must not know why
//! a worker comes or goes.

use super::slot::{Role, Seat, Slot};
use super::undecided::{Death, OUR_STOP_WITHIN, Undecided};
use crate::event::{Lane, Pid, SpawnId};
use crate::time::{Monotonic, earlier};
use crate::worker::{Starting, Worker, WorkerState};
use alloc::collections::BTreeSet;
use alloc::vec::Vec;

#[derive(Clone, Debug)]
pub(super) struct PoolWorkers {
    /// One for each wanted worker.
    slots: Vec<Slot>,
    /// Workers that have left their slot and have not been reaped.
    retiring: Vec<Worker>,
    undecided: Vec<Undecided>,
    next_spawn: u64,
    /// The earliest time of the next planned replacement.
    planned_from: Monotonic,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum WorkerPlace {
    InSlot(usize, Role),
    Retiring(usize),
}

impl PoolWorkers {
    pub(super) fn new(wanted: u32) -> Self {
        Self {
            slots: (0..wanted).map(|_| Slot::new(Monotonic::default())).collect(),
            retiring: Vec::new(),
            undecided: Vec::new(),
            next_spawn: 0,
            planned_from: Monotonic::default(),
        }
    }

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

    /// All living workers: by slot, the seated one before its successor, then the retiring ones.
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

    pub(super) fn retire(&mut self, worker: Worker) {
        self.retiring.push(worker);
    }

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

    pub(super) fn wanted(&self) -> u32 {
        number(self.slots.len())
    }

    pub(super) fn alive(&self) -> u32 {
        number(self.iter().count())
    }

    /// The number of slots with a worker that serves.
    pub(super) fn ready(&self) -> u32 {
        number(self.seated().filter(|worker| worker.serves()).count())
    }

    /// The number of slots without a worker that serves.
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

    pub(super) fn next_id(&mut self) -> SpawnId {
        let id = SpawnId(self.next_spawn);
        self.next_spawn = self.next_spawn.saturating_add(1);
        id
    }

    /// For the handover.
    pub(super) fn next_spawn(&self) -> u64 {
        self.next_spawn
    }

    pub(super) fn spawn_from(&mut self, number: u64) {
        self.next_spawn = number;
    }

    /// The lowest number that no living worker has, including one that was killed and has not ended. A spawn needs
    /// room, so the result is below the wanted number plus `max_surge`.
    pub(super) fn free_number(&self) -> u32 {
        let taken: BTreeSet<u32> = self.iter().map(|worker| worker.number).collect();
        (0..=number(taken.len())).find(|free| !taken.contains(free)).unwrap_or(0)
    }

    pub(super) fn free_lane(&self) -> Lane {
        let taken: BTreeSet<Lane> = self.lanes().collect();
        (0..=number(taken.len())).map(Lane).find(|lane| !taken.contains(lane)).unwrap_or(Lane(0))
    }

    /// Whether a worker has this lane, or a slot keeps it.
    pub(super) fn has_lane(&self, lane: Lane) -> bool {
        self.lanes().any(|taken| taken == lane)
    }

    fn lanes(&self) -> impl Iterator<Item = Lane> {
        self.iter().map(|worker| worker.lane).chain(self.slots.iter().filter_map(Slot::kept_lane))
    }

    pub(super) fn planned_from(&self) -> Monotonic {
        self.planned_from
    }

    pub(super) fn plan_from(&mut self, at: Monotonic) {
        self.planned_from = at;
    }

    /// Takes a worker that has ended out of its slot. The slot stays empty until the end is judged.
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

    pub(super) fn leave_undecided(&mut self, undecided: Undecided) {
        self.undecided.push(undecided);
    }

    /// Removes and returns an end that is no longer undecided.
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
