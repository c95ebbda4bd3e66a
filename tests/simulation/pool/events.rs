//! What an event enters into the book.

use super::super::dice::MS;
use super::backoff::Window;
use super::book::{Book, Canary, Expected, HURRIED, LOOK_RARELY, Refusing, Roll, Slot, Stage, Worker};
use super::exits::Failure;
use super::watch::Watch;
use prefork_core::action::SpawnOrder;
use prefork_core::event::{Answer, ChildChange, PoolFact, Request, WorkerFact};
use prefork_core::exit::Reason;
use prefork_core::note::{InitNote, PoolNote, ReloadNote, SignalNote};
use prefork_core::{Event, Monotonic, Note, Pid, Signal};
use std::time::Duration;

/// A look is followed by a pause so many times as long, if that is less than the longest.
const LOOK_SHARE: u32 = 20;

const MOST_WORKERS: usize = 1024;

impl Book {
    /// Enters an event.
    pub fn take_in(&mut self, now: Monotonic, event: Event) {
        let woken = matches!(event, Event::Started | Event::DeadlinePassed);
        self.expected = Expected { woken, ..Expected::default() };
        match event {
            Event::Started => {
                if self.stage == Stage::Unstarted {
                    self.stage = Stage::Running;
                    self.measure_at = self.policy.measure_every.map(|every| now + every);
                }
            }
            Event::Signalled(received) => self.received(now, received.signal),
            Event::Requested(demand) => self.asked(now, demand),
            Event::Spawned { id, result: Ok(pid) } => {
                if let Some(order) = self.pending.take_if(|order| order.id == id) {
                    self.spawned(now, order, pid);
                }
            }
            Event::Spawned { id, result: Err(failure) } => {
                if let Some(order) = self.pending.take_if(|order| order.id == id) {
                    self.expected.spawn_failed = Some(order.slot);
                    if self.ever_spawned || self.stage != Stage::Running {
                        let ordered = self.slots.get(order.slot as usize).and_then(|slot| slot.last_spawn);
                        let left = self.leaves(order, ordered.unwrap_or(now));
                        self.ended(now, order, Reason::BootError, Some(Failure::Other), left);
                    } else {
                        self.first_failure = Some(failure);
                    }
                }
            }
            // The time of the whole run may have come meanwhile.
            Event::Answered(Answer::ConfigurationRead { .. }) if self.stage != Stage::Running => {}
            Event::Answered(Answer::ConfigurationRead { accepted: true }) => self.reload(now),
            Event::Answered(Answer::ConfigurationRead { accepted: false }) => {
                self.newest += 1;
                self.expected.told.push(Note::Reload(self.newest, ReloadNote::Refused));
            }
            Event::Child { pid, change: ChildChange::Exited { exit, out_of_memory } } => {
                self.exited(now, pid, exit, out_of_memory)
            }
            Event::Pool(PoolFact::LaneSeen { lane, waiting }) => {
                if waiting == 0 {
                    self.left.retain(|(left, _)| *left != lane);
                } else if let Some((_, waits)) = self.left.iter_mut().find(|(left, _)| *left == lane) {
                    *waits = true;
                }
            }
            Event::Child { change: ChildChange::Stopped { .. }, .. }
            | Event::Answered(Answer::StopRefused)
            | Event::Answered(Answer::UpgradeFailed)
            | Event::Pool(PoolFact::ContainerMeasured { .. })
            | Event::DeadlinePassed => {}
            Event::Pool(PoolFact::ReachedOut) => self.reached_out = true,
            Event::Child { pid: group, change: ChildChange::GroupEnded } => {
                self.remains.retain(|(asked, _)| *asked != group);
                self.groups_asked.retain(|asked| *asked != group);
            }
            Event::Reaped { children_left } => self.expected.childless = !children_left,
            Event::Worker { fact: WorkerFact::SaidReady, .. }
            | Event::Worker { fact: WorkerFact::SeenAccepting, .. }
            | Event::Worker { fact: WorkerFact::NotSeenAccepting { .. }, .. }
            | Event::Worker { fact: WorkerFact::ObservationRefused, .. }
            | Event::Worker { fact: WorkerFact::StartExtended { .. }, .. } => self.starts_up(now, event),
            Event::Worker { pid, fact: WorkerFact::RequestsReported { total } } => {
                if let Ok(worker) = self.worker(pid) {
                    worker.requests = worker.requests.max(total);
                }
            }
            Event::Worker { pid, fact: WorkerFact::Pinged } => self.pinged(now, pid),
            Event::Worker { pid, fact: WorkerFact::WatchdogSet { every } } => {
                self.watchdog_set(now, pid, every)
            }
            Event::Worker { pid, fact: WorkerFact::SaidStopping } => {
                if self.worker(pid).is_ok_and(|worker| !worker.leaves) {
                    self.says_it_leaves(now, pid);
                }
                if let Some(worker) = self.live.iter_mut().find(|w| w.pid == pid && w.is_up()) {
                    worker.leaves = true;
                    (worker.watch.pings, worker.watch.ping_by) = (None, None);
                    let is_news = worker.due.is_none() && worker.watch.hung.is_none();
                    self.expected.leaving = is_news.then_some(pid);
                }
            }
            Event::Worker { pid, fact: WorkerFact::Triggered } => {
                self.hangs(now, pid, prefork_core::note::Sign::Watchdog)
            }
            Event::Worker { pid, fact: WorkerFact::Probed { passed } } => self.probed(now, pid, passed),
            Event::Worker { pid, fact: WorkerFact::QueueWoke } => self.queue_woke(now, pid),
            Event::Worker { pid, fact: WorkerFact::AcceptingSeen { found, took } } => {
                self.accepting_seen(now, pid, found, took)
            }
            Event::Worker { pid, fact: WorkerFact::QueueSeen { waiting } } => {
                self.waits(now, pid, waiting);
                if let Some(drain) = self.worker(pid).ok().and_then(|worker| worker.drain.as_mut()) {
                    drain.quiet = drain.quiet.or(Some(now)).filter(|_| waiting == 0);
                    if waiting > 0 {
                        drain.looked = Some(now);
                    }
                }
            }
            Event::Worker { pid, fact: WorkerFact::ConnectionsSeen { found, took } } => {
                let is_emptied = |w: &&Worker| w.drain.is_some() && w.stopped.is_none();
                let together = self.live.iter().filter(is_emptied).count();
                let took = took.saturating_mul(u32::try_from(together).unwrap());
                if let Some(drain) = self.worker(pid).ok().and_then(|worker| worker.drain.as_mut()) {
                    drain.in_hand.seen(now, found, took);
                }
            }
            Event::Pool(PoolFact::ConnectionsSeen { found, took }) => {
                if let Stage::Closing { in_hand, .. } = &mut self.stage {
                    in_hand.seen(now, found, took);
                }
            }
            Event::Pool(PoolFact::QueuesSeen { waiting }) => {
                if let Stage::Closing { looked, quiet, .. } = &mut self.stage {
                    *looked = Some(now);
                    *quiet = quiet.or(Some(now)).filter(|_| waiting == 0);
                }
            }
            Event::Pool(PoolFact::ListenersSeen { awaited }) => {
                if let Some(refusing) = &mut self.refusing {
                    refusing.let_go |= !awaited;
                }
            }
            Event::Worker { pid, fact: WorkerFact::Measured(found) } => self.measured(now, pid, found),
        }
        let is_over = self.policy.deadline.is_some_and(|by| by <= now);
        if is_over && self.stage == Stage::Running && self.first_failure.is_none() {
            self.overdue = true;
            self.expected.told.push(Note::Init(InitNote::DeadlinePassed { after: now.0 }));
            self.asked_to_stop(now, Signal::TERM);
        }
        self.judge_undecided(now);
        let is_over = |until| until <= now || self.nobody_comes(until);
        if !self.policy.drain.listens && matches!(self.stage, Stage::Draining { until } if is_over(until)) {
            self.begin_ending(now, None);
        }
    }

    fn starts_up(&mut self, now: Monotonic, event: Event) {
        let ready = self.policy.ready;
        match event {
            Event::Worker { pid, fact: WorkerFact::SaidReady } => {
                if let Some(worker) = self.starting(pid).filter(|_| ready.believe) {
                    worker.said_ready.get_or_insert(now);
                    let believed = !ready.observe || worker.refused;
                    self.expected.ready = believed.then_some(pid);
                }
            }
            Event::Worker { pid, fact: WorkerFact::SeenAccepting } => {
                self.expected.ready = self.starting(pid).map(|worker| worker.pid);
            }
            Event::Worker { pid, fact: WorkerFact::NotSeenAccepting { took, more } } => {
                if let Some(worker) = self.starting(pid) {
                    worker.more = more;
                    if more {
                        let pause = took.saturating_mul(4).clamp(MS, LOOK_RARELY);
                        worker.pause_until = now + pause;
                    } else {
                        worker.unseen = Some(now);
                        worker.pause_until = now + took.saturating_mul(LOOK_SHARE).min(LOOK_RARELY);
                    }
                }
            }
            Event::Worker { pid, fact: WorkerFact::ObservationRefused } => {
                if let Some(worker) = self.starting(pid) {
                    worker.refused = true;
                    self.expected.ready = worker.said_ready.map(|_| pid);
                }
            }
            Event::Worker { pid, fact: WorkerFact::StartExtended { by } } => {
                if let Some(worker) = self.starting(pid) {
                    worker.fail_by = worker.fail_by.map(|at| at.max(now + by));
                }
            }
            _ => {}
        }
    }

    fn received(&mut self, now: Monotonic, came: Signal) {
        let running = self.stage == Stage::Running;
        match self.name_of(came) {
            None => self.expected.told.push(Note::Signal(SignalNote::Dropped { signal: came })),
            Some(signal) if [Signal::TERM, Signal::INT, Signal::QUIT, Signal::ABRT].contains(&signal) => {
                self.asked_to_stop(now, signal);
            }
            Some(Signal::HUP) if running && self.policy.rereads => self.expected.reread = true,
            Some(Signal::HUP) if running => self.reload(now),
            Some(Signal::USR2) if running => self.upgrade = true,
            Some(Signal::TTIN) if running => self.scale_to(now, self.wanted() + 1),
            Some(Signal::TTOU) if running => self.scale_to(now, self.wanted() - 1),
            Some(signal) if self.policy.forwards.contains(&signal) => {
                // Who has a handler by now, and is to go on for a while.
                let hears = |w: &&Worker| w.is_up() || (w.drain.is_some() && w.stopped.is_none());
                let pids = self.live.iter().filter(hears).map(|w| (w.pid, signal));
                self.expected.forwarded.extend(pids);
                self.expected.told.push(Note::Signal(SignalNote::Forwarded { signal, came }));
            }
            Some(signal) => self.expected.told.push(Note::Signal(SignalNote::Ignored { signal })),
        }
    }

    /// What was asked for, unless it is too late for it.
    fn asked(&mut self, now: Monotonic, demand: Request) {
        match demand {
            Request::Stop => self.asked_to_stop(now, Signal::TERM),
            _ if self.stage != Stage::Running => {}
            Request::Reload if self.policy.rereads => self.expected.reread = true,
            Request::Reload => self.reload(now),
            Request::Scale { workers } => self.scale_to(now, workers as usize),
            Request::Recycle { slot } if slot as usize >= self.wanted() => {}
            Request::Recycle { slot } => {
                let goes_on = |w: &&Worker| w.is_up() && w.due.is_none() && w.watch.hung.is_none();
                self.expected.asked = self.seated(slot as usize).filter(goes_on).map(|w| w.pid);
                let slot = self.slot(slot);
                slot.retry = Window::at(now);
                slot.vacancy.earliest = slot.vacancy.earliest.min(now);
                slot.vacancy.latest = slot.vacancy.latest.min(now);
            }
        }
    }

    fn reload(&mut self, now: Monotonic) {
        self.newest += 1;
        self.roll = Some(Roll {
            to: self.newest,
            since: now,
            canary: Canary::Wanted,
            hurt: false,
            whole_since: None,
        });
        self.planned_from = now;
        self.expected.told.push(Note::Reload(self.newest, ReloadNote::Started));
        for slot in 0..self.wanted() {
            let overtaken = self.in_slot(slot).nth(1).map(|worker| worker.pid);
            if let Some(worker) = overtaken.and_then(|pid| self.worker(pid).ok()) {
                worker.retired = Some(Reason::Reload);
            }
        }
        for slot in &mut self.slots {
            slot.retry = Window::at(now);
            slot.vacancy.earliest = slot.vacancy.earliest.min(now);
            slot.vacancy.latest = slot.vacancy.latest.min(now);
        }
    }

    fn scale_to(&mut self, now: Monotonic, workers: usize) {
        let number = |workers: usize| u32::try_from(workers).unwrap();
        let (from, to) = (self.wanted(), workers.clamp(1, MOST_WORKERS));
        if to == from {
            return self.expected.told.push(Note::Pool(PoolNote::NotScaled { workers: number(to) }));
        }
        self.expected.told.push(Note::Pool(PoolNote::Scaled { workers: number(to), from: number(from) }));
        for _ in from..to {
            self.slots.push(Slot { vacancy: Window::at(now), ..Slot::default() });
        }
        for last in (to..from).rev() {
            self.drop_slot(last);
        }
    }

    fn drop_slot(&mut self, last: usize) {
        self.expected.lost += usize::from(self.seated(last).is_some_and(Worker::serves));
        for worker in self.live.iter_mut().filter(|w| w.order.slot as usize == last && w.retired.is_none()) {
            worker.retired = Some(Reason::Scale);
            if let Some(Roll { canary, .. }) = &mut self.roll
                && *canary == Canary::Tried(worker.order.id)
            {
                *canary = Canary::Wanted;
            }
        }
        let kept = self.slots.pop().and_then(|slot| slot.kept).filter(|lane| !self.is_owned(*lane));
        self.first_start_has_dropped();
        self.left.extend(kept.map(|lane| (lane, false)));
    }

    fn asked_to_stop(&mut self, now: Monotonic, signal: Signal) {
        self.stop_signals += 1;
        match &mut self.stage {
            Stage::Unstarted | Stage::Running => {
                let delay = if signal == Signal::TERM { self.policy.drain_delay } else { Duration::ZERO };
                self.stage = Stage::Draining { until: now + delay };
                self.roll = None;
                self.undecided_were_stopped(now);
            }
            Stage::Draining { .. } => self.begin_ending(now, Some(now + HURRIED)),
            Stage::Closing { since, .. } => {
                let by = self.policy.stop.graceful.deadline(*since);
                self.begin_ending(now, by.into_iter().chain([now + HURRIED]).min());
            }
            Stage::Ending { kill_by, orphans_by } if self.stop_signals >= 2 => {
                let hurried = if self.stop_signals == 2 { now + HURRIED } else { now };
                let by = kill_by.map_or(hurried, |by| by.min(hurried));
                *kill_by = Some(by);
                *orphans_by = Some(now + by.since(now) / 2);
            }
            Stage::Ending { .. } | Stage::Killing { .. } => {}
        }
        self.stops.push(now);
    }

    /// Everybody gets the stop signal, and is killed when `cap` has come at the latest.
    pub fn begin_ending(&mut self, now: Monotonic, cap: Option<Monotonic>) {
        let grace = self.policy.stop.graceful.deadline(now);
        let kill_by = grace.into_iter().chain(cap).min();
        self.undecided_were_stopped(now);
        let pause = 20 * MS;
        let by = kill_by.into_iter().chain([now + 1_000 * MS]).min();
        let is_refused = !self.policy.drain.listens || self.alive() == 0;
        self.refusing =
            by.filter(|_| !is_refused).map(|by| Refusing { by, look_at: now + pause, pause, let_go: false });
        self.expected.refuse = self.policy.drain.listens;
        self.stage = Stage::Ending { kill_by, orphans_by: kill_by.map(|by| now + by.since(now) / 2) };
    }

    fn spawned(&mut self, now: Monotonic, order: SpawnOrder, pid: Pid) {
        self.ever_spawned = true;
        // The kernel gives no number away that is still a group's.
        self.remains.retain(|(group, _)| *group != pid);
        self.expected.spawned = Some(pid);
        let ordered = self.slots.get(order.slot as usize).and_then(|slot| slot.last_spawn).unwrap_or(now);
        let ready = &self.policy.ready;
        let mut watch = Watch::default();
        watch.probe_at = ready.probe.then(|| now + 5 * MS);
        self.live.push(Worker {
            pid,
            order,
            spawned: now,
            announced: false,
            said_ready: None,
            refused: false,
            looked: None,
            unseen: None,
            more: false,
            pause_until: Monotonic::default(),
            fail_by: ready.start_timeout.deadline(now),
            alive_by: self.life_to_ready(order).map(|life| now + life),
            counting: None,
            ready: None,
            requests: 0,
            heavy: (0, ordered),
            due: None,
            leaves: false,
            watch,
            accepting: Default::default(),
            retired: None,
            drain: None,
            stopped: None,
            kill_by: None,
            killed: false,
        });
    }
}
