//! Whether workers take connections, as far as looks have shown.

use super::super::dice::MS;
use super::super::rule::{Held, check};
use super::backoff::Window;
use super::book::{Book, Canary, Roll, Worker};
use prefork_core::event::Found;
use prefork_core::exit::{Exit, Reason};
use prefork_core::note::{ReadyBy, WorkerNote};
use prefork_core::{Lane, Monotonic, Note, Pid, Signal};
use std::time::Duration;

const REST: Duration = Duration::from_millis(100);
const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const NO_PAUSE: Duration = Duration::from_millis(1_200);

/// Rests of several workers end together.
const TOGETHER: Duration = Duration::from_millis(20);

/// What is known of a worker that is ready.
#[derive(Default)]
pub struct Accepting {
    /// The kernel tells when something waits.
    armed: bool,
    /// When its queue is watched.
    watch: Option<Window>,
    /// When it is looked at.
    look: Option<Window>,
    /// Since when it was not seen to accept.
    absent: Option<Monotonic>,
    /// It was not, twice.
    pub away: bool,
    /// And has closed its listener.
    pub closed: bool,
    told: bool,
    quiet_until: Monotonic,
    /// It says that it leaves: until then it is not known whether it has.
    pub undecided: Monotonic,
}

impl Accepting {
    fn rests(&mut self, now: Monotonic, least: Duration, most: Duration) {
        let watch = Window { earliest: now + least, latest: now + most.max(least) + TOGETHER };
        (self.watch, self.look, self.armed) = (Some(watch), None, false);
    }
}

impl Worker {
    /// Whether it was away and ended as one that was asked to, or wanted to.
    pub fn left_in_order(&self, exit: Exit) -> bool {
        let orderly = match exit {
            Exit::Code(code) => code == 0,
            Exit::Signal { signal, .. } => [Signal::TERM, Signal::INT, Signal::QUIT].contains(&signal),
        };
        self.accepting.away && orderly
    }

    pub fn owes_looks(&self, tell: &mut dyn FnMut(&'static str, Monotonic)) {
        self.accepting.watch.iter().for_each(|window| tell("a watch of a queue", window.latest));
        self.accepting.look.iter().for_each(|window| tell("a look whether it accepts", window.latest));
    }
}

impl Book {
    /// It is ready from now on.
    pub fn accepts_from(&mut self, now: Monotonic, pid: Pid, by: ReadyBy) {
        let steered = self.policy.drain.steered;
        if let Ok(worker) = self.worker(pid) {
            worker.accepting = Accepting::default();
            match by {
                _ if !steered => {}
                ReadyBy::Accepting => worker.accepting.watch = Some(Window::at(now)),
                _ => worker.accepting.look = Some(Window::at(now + REST)),
            }
        }
    }

    fn up(&mut self, pid: Pid) -> Option<&mut Worker> {
        self.live.iter_mut().find(|w| w.pid == pid && w.is_up())
    }

    pub fn queue_woke(&mut self, now: Monotonic, pid: Pid) {
        if let Some(worker) = self.up(pid).filter(|worker| worker.accepting.armed) {
            worker.accepting.rests(now, REST, REST);
        }
    }

    pub fn waits(&mut self, now: Monotonic, pid: Pid, waiting: u32) {
        if let Some(worker) = self.up(pid).filter(|worker| worker.accepting.armed && waiting > 0) {
            worker.accepting.armed = false;
            worker.accepting.look = Some(Window::at(now));
        }
    }

    pub fn says_it_leaves(&mut self, now: Monotonic, pid: Pid) {
        let comes = self.policy.drain.steered && self.is_open();
        if let Some(worker) = self.up(pid).filter(|w| comes && w.accepting.absent.is_none()) {
            let accepting = &mut worker.accepting;
            (accepting.armed, accepting.watch) = (false, None);
            accepting.look = Some(Window::at(now + REST));
            accepting.undecided = now + 3 * REST;
        }
    }

    pub fn watch_queue(&mut self, now: Monotonic, pid: Pid, lane: Lane) -> Held {
        let steered = self.policy.drain.steered;
        let worker = self.worker_on(pid, lane)?;
        check(steered && worker.is_up(), "it has no queue, or nothing comes")?;
        let watch = worker.accepting.watch.take();
        worker.accepting.armed = true;
        check(watch.is_some_and(|window| window.earliest <= now), "watches too often")
    }

    pub fn look_whether_accepting(&mut self, now: Monotonic, pid: Pid, lane: Lane) -> Held {
        check(self.expected.woken, "a look while something else waits")?;
        check(!std::mem::replace(&mut self.expected.looked, true), "two looks at once")?;
        let worker = self.worker_on(pid, lane)?;
        check(worker.is_up(), "nothing comes to it")?;
        let look = worker.accepting.look.replace(Window::at(now + REST));
        check(look.is_some_and(|window| window.earliest <= now), "looks without a reason, or too often")
    }

    pub fn accepting_seen(&mut self, now: Monotonic, pid: Pid, found: Found, took: Duration) {
        let Some(worker) = self.up(pid).filter(|w| w.accepting.look.is_some()) else { return };
        let pause = took.saturating_mul(20).clamp(REST, MINUTE);
        let named = worker.named();
        let known = &mut worker.accepting;
        let mut told = None;
        let mut is_back = false;
        let mut leaving = None;
        match (found, known.absent) {
            (Found::NotAll, _) => {
                known.look = Some(Window::at(now + took.saturating_mul(4).clamp(MS, REST)));
            }
            (Found::Accepts, absent) => {
                known.rests(now, pause, pause);
                (known.absent, known.undecided, known.closed) = (None, Monotonic::default(), false);
                if std::mem::take(&mut known.told) {
                    known.quiet_until = now + Duration::from_secs(10);
                    told = Some(Note::Worker(named, WorkerNote::AcceptsAgain));
                }
                is_back = std::mem::take(&mut known.away) && absent.is_some();
            }
            (Found::Absent | Found::Left, None) => {
                known.absent = Some(now);
                known.look = Some(Window::at(now + pause));
            }
            (Found::Absent | Found::Left, Some(since)) => {
                known.away = true;
                known.closed = found == Found::Left;
                known.undecided = Monotonic::default();
                known.look = Some(Window { earliest: now + pause, latest: now + pause.max(SECOND) });
                let has_left = worker.leaves || found == Found::Left || now.since(since) >= NO_PAUSE;
                if !known.told && (has_left || now >= known.quiet_until) {
                    known.told = true;
                    told = Some(Note::Worker(named, WorkerNote::StoppedAccepting));
                }
                let is_news = has_left && worker.due.is_none() && worker.watch.hung.is_none();
                leaving = is_news.then_some(pid);
            }
            (Found::Unknown, None) => {
                known.undecided = Monotonic::default();
                known.rests(now, pause.max(SECOND), MINUTE);
            }
            (Found::Unknown, Some(_)) => known.look = Some(Window::at(now + pause.max(SECOND))),
        }
        self.expected.told.extend(told);
        self.expected.leaving = leaving;
        if is_back {
            self.is_back(now, pid);
        }
    }

    /// It need not be replaced for that, and the one that was to have its listeners goes.
    fn is_back(&mut self, now: Monotonic, pid: Pid) {
        let Some(worker) = self.up(pid) else { return };
        if !worker.leaves && matches!(worker.due, Some((_, Reason::Stop))) {
            worker.due = None;
        }
        let (lane, slot) = (worker.order.lane, worker.order.slot);
        let generation = worker.order.generation;
        let is_outdated = self.roll.is_some_and(|roll| generation < roll.to);
        let is_needed = self.up(pid).is_some_and(|worker| worker.due.is_some()) || is_outdated;
        let successor = self.in_slot(slot as usize).nth(1);
        let Some(successor) = successor.filter(|w| w.order.lane == lane || !is_needed) else { return };
        let (successor, id) = (successor.pid, successor.order.id);
        let slot = self.slot(slot);
        let from = now + 2 * SECOND;
        slot.retry = Window { earliest: slot.retry.earliest.max(from), latest: slot.retry.latest.max(from) };
        if let Ok(worker) = self.worker(successor) {
            worker.retired = Some(Reason::Scale);
        }
        if let Some(Roll { canary, .. }) = &mut self.roll
            && *canary == Canary::Tried(id)
        {
            *canary = Canary::Wanted;
        }
    }

    /// The listeners of one that is away are for the next in its place, so that those that wait there are served.
    pub fn inherited(&self, slot: usize) -> Option<Lane> {
        let lane = self.seated(slot).filter(|w| w.is_up() && w.accepting.away)?.order.lane;
        let alone = self.live.iter().filter(|w| w.order.lane == lane).count() == 1;
        (self.policy.drain.shares && alone).then_some(lane)
    }

    /// Whether a worker has this lane, or is to have it.
    pub fn is_owned(&self, lane: Lane) -> bool {
        self.live.iter().any(|w| w.order.lane == lane)
            || self.slots.iter().any(|slot| slot.kept == Some(lane))
    }
}
