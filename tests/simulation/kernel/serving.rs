//! What a worker does once it runs: it takes connections, answers, says that it lives, and grows; or it stops doing so.

use super::super::dice::Dice;
use super::{Due, Kernel, Process, Turn};
use prefork_core::event::{Connections, Found, Measured, WorkerFact};
use prefork_core::{Event, Lane, Pid};
use std::time::Duration;

/// How long a probe waits for an answer.
const PROBE_TIMEOUT: Duration = Duration::from_millis(500);

/// How a worker goes about its work.
#[derive(Clone, Copy, Debug, Default)]
pub struct Habits {
    /// How often it says `WATCHDOG=1`, from its start on.
    pub pings: Option<Duration>,
    /// When it says how often it will, and what.
    pub sets_watchdog: Option<(Duration, Duration)>,
    /// When it begins to hang: it neither pings nor answers nor takes connections. And for how long, if not for ever.
    pub hangs: Option<(Duration, Option<Duration>)>,
    /// When it takes no connections any more, and for how long, if not for ever.
    pub pauses: Option<(Duration, Option<Duration>)>,
    /// When it says `STOPPING=1`.
    pub says_stopping: Option<Duration>,
    /// When it says `WATCHDOG=trigger`.
    pub triggers: Option<Duration>,
    /// When it asks for more time to start, and how much.
    pub extends: Option<(Duration, Duration)>,
    /// How long it takes for an answer to a probe.
    pub answers_after: Duration,
    /// One answer in this many is bad.
    pub fails_one_in: Option<u64>,
    /// Requests it has in hand when it makes way, each for a while; a stream for long.
    pub in_hand: u32,
    /// The memory it takes at first, and by how much that grows from one measurement to the next.
    pub memory: (u64, u64),
}

impl Habits {
    /// The turns in the life of a process with this pid that has them.
    pub fn turns(&self, pid: Pid) -> [(Option<Duration>, Turn); 7] {
        let (set_at, every) = self.sets_watchdog.unzip();
        let (extended_at, by) = self.extends.unzip();
        let every = every.unwrap_or_default();
        [
            (self.pings, Turn::Pings),
            (set_at, Turn::Shows(Event::Worker { pid, fact: WorkerFact::WatchdogSet { every } })),
            (self.hangs.map(|(after, _)| after), Turn::Hangs),
            (self.pauses.map(|(after, _)| after), Turn::Pauses),
            (self.says_stopping, Turn::Shows(Event::Worker { pid, fact: WorkerFact::SaidStopping })),
            (self.triggers, Turn::Shows(Event::Worker { pid, fact: WorkerFact::Triggered })),
            (
                extended_at,
                Turn::Shows(Event::Worker {
                    pid,
                    fact: WorkerFact::StartExtended { by: by.unwrap_or_default() },
                }),
            ),
        ]
    }
}

/// Connections that wait, lane by lane.
#[derive(Default)]
pub struct Queues {
    waiting: Vec<u32>,
    /// Where new ones go.
    pub steered: Vec<Lane>,
    /// No new ones come.
    pub held_off: bool,
}

impl Kernel {
    /// A turn in the life of a worker that runs.
    pub(super) fn work(&mut self, serial: u64, turn: Turn, dice: &mut Dice) -> Option<Event> {
        let process = self.processes.iter_mut().find(|p| p.serial == serial && p.ended.is_none())?;
        let (pid, habits) = (process.pid, process.temper.habits);
        let moves = process.frozen.is_none() && !process.hung;
        match turn {
            Turn::Hangs => {
                process.hung = true;
                if let Some(later) = habits.hangs?.1 {
                    self.schedule(later, Due::Life(serial, Turn::Recovers), dice);
                }
                None
            }
            Turn::Recovers => {
                process.hung = false;
                None
            }
            Turn::Pauses => {
                process.paused = true;
                if let Some(later) = habits.pauses?.1 {
                    self.schedule(later, Due::Life(serial, Turn::GoesOn), dice);
                }
                None
            }
            Turn::GoesOn => {
                process.paused = false;
                None
            }
            Turn::Wakes => process.watched.then(|| {
                process.watched = false;
                Event::Worker { pid, fact: WorkerFact::QueueWoke }
            }),
            Turn::Pings => {
                self.schedule(habits.pings?, Due::Life(serial, Turn::Pings), dice);
                moves.then_some(Event::Worker { pid, fact: WorkerFact::Pinged })
            }
            Turn::Shows(event) => Some(event),
            _ => None,
        }
    }

    /// A probe is answered late, badly, at its timeout or not at all, and some cannot even be sent.
    pub(super) fn probe(&mut self, pid: Pid, dice: &mut Dice) -> Option<Event> {
        if dice.one_in(12) {
            return Some(Event::Worker { pid, fact: WorkerFact::Probed { passed: None } });
        }
        let process = self.processes.iter().find(|p| p.pid == pid)?;
        let Habits { answers_after, fails_one_in, .. } = process.temper.habits;
        let deaf = process.hung || process.paused || process.frozen.is_some() || !process.accepting;
        let serial = process.serial;
        let late = deaf || answers_after >= PROBE_TIMEOUT;
        let passed = !late && !fails_one_in.is_some_and(|n| dice.one_in(n));
        let after = if late { PROBE_TIMEOUT } else { answers_after };
        self.schedule(
            after,
            Due::Life(
                serial,
                Turn::Shows(Event::Worker { pid, fact: WorkerFact::Probed { passed: Some(passed) } }),
            ),
            dice,
        );
        None
    }

    /// How many connections wait in a lane by now.
    pub(super) fn queue(&mut self, lane: Lane, dice: &mut Dice) -> u32 {
        let is_taken = |p: &Process| p.lane == Some(lane) && !p.hung && !p.paused && p.frozen.is_none();
        let taken = self.processes.iter().any(is_taken);
        let at = lane.0 as usize;
        if self.queues.waiting.len() <= at {
            self.queues.waiting.resize(at + 1, 0);
        }
        let comes = !self.queues.held_off && self.queues.steered.contains(&lane);
        let waiting = &mut self.queues.waiting[at];
        *waiting += if comes { dice.pick(&[0, 0, 1, 3]) } else { 0 };
        if taken {
            let rest = if dice.one_in(4) { dice.up_to(u64::from(*waiting)) } else { 0 };
            *waiting = u32::try_from(rest).unwrap();
        }
        *waiting
    }

    /// What workers have in hand by now: less and less, mostly.
    pub(super) fn connections(&mut self, pids: &[Pid], dice: &mut Dice) -> (Option<Connections>, Duration) {
        let took = dice.pick_ms(&[0, 0, 1, 30, 400]);
        if self.traits.hides_connections && dice.one_in(3) {
            return (None, took);
        }
        let mut found = Connections::default();
        for process in self.processes.iter_mut().filter(|p| pids.contains(&p.pid)) {
            if process.frozen.is_none() && !process.hung {
                process.in_hand = process.in_hand.saturating_sub(dice.pick(&[0, 0, 1]));
            }
            found.busy += process.in_hand;
            found.again += dice.pick(&[0, 0, 0, 0, 1, 2]);
            found.open += dice.pick(&[0, 0, 1]);
        }
        found.open += found.busy + found.again;
        (Some(found), took)
    }

    /// Watches the queue of a worker: something comes, or nothing does.
    pub(super) fn watch_queue(&mut self, pid: Pid, lane: Lane, dice: &mut Dice) -> Option<Event> {
        let waiting = self.queue(lane, dice);
        if waiting > 0 {
            return Some(Event::Worker { pid, fact: WorkerFact::QueueSeen { waiting } });
        }
        let comes = !self.queues.held_off && self.queues.steered.contains(&lane);
        let process = self.processes.iter_mut().find(|p| p.pid == pid)?;
        process.watched = true;
        let serial = process.serial;
        // Of one that pauses, it is to be found.
        if comes && (process.temper.habits.pauses.is_some() || dice.one_in(3)) {
            let after = dice.pick_ms(&[0, 1, 30, 1_000]);
            self.schedule(after, Due::Life(serial, Turn::Wakes), dice);
        }
        None
    }

    /// A look at a worker that is ready.
    pub(super) fn look_whether_accepting(&mut self, pid: Pid, dice: &mut Dice) -> Option<Event> {
        let process = self.processes.iter().find(|p| p.pid == pid)?;
        let found = match process.paused {
            _ if dice.one_in(6) => Found::NotAll,
            _ if !process.temper.observable || !process.accepting => Found::Unknown,
            true => dice.pick(&[Found::Absent, Found::Absent, Found::Absent, Found::Left]),
            false => Found::Accepts,
        };
        Some(Event::Worker {
            pid,
            fact: WorkerFact::AcceptingSeen { found, took: dice.pick_ms(&[0, 0, 0, 1, 40]) },
        })
    }

    pub(super) fn measure(&mut self, pid: Pid, lane: Lane, dice: &mut Dice) -> Event {
        let waiting = self.traits.steered.then(|| self.queue(lane, dice));
        let scoreboard = self.traits.has_scoreboard;
        let mut found = Measured { waiting, ..Measured::default() };
        if let Some(process) = self.processes.iter_mut().find(|p| p.pid == pid) {
            process.memory += dice.up_to(process.temper.habits.memory.1);
            found.memory = (!dice.one_in(9)).then_some(process.memory);
            found.requests = scoreboard.then_some(process.requests);
            found.request_overdue = scoreboard && process.hung && dice.one_in(3);
        }
        Event::Worker { pid, fact: WorkerFact::Measured(found) }
    }
}
