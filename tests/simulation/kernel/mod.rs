//! A kernel that never was: processes, groups, signals, zombies and a clock.
//!
//! It carries actions out as `os/` would and answers them; what will happen next lies on an agenda.

mod serving;
mod signals;

pub use serving::Habits;

use super::dice::Dice;
use prefork_core::action::SpawnOrder;
use prefork_core::event::{Request, SpawnFailure, SpawnId, WorkerFact};
use prefork_core::exit::Exit;
use prefork_core::{Event, Lane, Monotonic, Pid, Received, Signal};
use serving::Queues;
use std::collections::BTreeMap;
use std::time::Duration;

/// How a process lives and dies.
#[derive(Clone, Copy, Debug)]
pub struct Temper {
    /// When it waits for connections, counted from its start.
    pub accepts: Option<Duration>,
    /// Whether the kernel shows what it waits for.
    pub observable: bool,
    /// When it says `READY=1`.
    pub says_ready: Option<Duration>,
    /// When it ends by itself, and how.
    pub ends: Option<(Duration, Exit)>,
    /// How often it reports requests, and how many at most have come since.
    pub reports: Option<(Duration, u64)>,
    /// How long after the stop signal it ends, and how; `None` ignores the signal.
    pub on_stop: Option<(Duration, Exit)>,
    /// Whether any other signal ends it.
    pub fragile: bool,
    /// How long it survives `SIGKILL`; `None` is for ever.
    pub survives_kill: Option<Duration>,
    /// When it is stopped, and by which signal.
    pub freezes: Option<(Duration, Signal)>,
    /// Whether it has handlers for the signals with which terminals stop jobs.
    pub handles_tstp: bool,
    /// How many processes it starts in its group that may outlive it, and how many outside.
    pub helpers: (u64, u64),
    /// What it does as a worker.
    pub habits: Habits,
}

/// How spawns go.
#[derive(Clone, Copy, Debug)]
pub struct SpawnLuck {
    /// The first never succeeds, with this code.
    pub first_fails: Option<u8>,
    /// One in this many fails later.
    pub fails_one_in: Option<u64>,
    /// How long the loop is held up.
    pub takes: Duration,
}

struct Process {
    serial: u64,
    pid: Pid,
    group: Pid,
    /// Serial of the parent while that lives; without one it is a child of ours.
    parent: Option<u64>,
    temper: Temper,
    accepting: bool,
    requests: u64,
    memory: u64,
    /// Requests it has in hand when it makes way.
    in_hand: u32,
    /// Its listeners, if it is a worker.
    lane: Option<Lane>,
    /// It does nothing but end.
    hung: bool,
    /// It takes no connections.
    paused: bool,
    /// The kernel tells when something comes into its queue.
    watched: bool,
    /// What stopped it.
    frozen: Option<Signal>,
    /// That has not been told yet.
    freeze_is_news: bool,
    /// A stop signal came while it was frozen.
    pending_stop: bool,
    ended: Option<Exit>,
}

/// Our own process group.
const OUR_GROUP: Pid = Pid(1);

/// What will happen.
#[derive(Clone, Copy, Debug)]
pub enum Due {
    /// A process reaches a turn of its life.
    Life(u64, Turn),
    /// `SIGCHLD` is noticed.
    Reap,
    /// A signal for the supervisor: its number and `si_code`.
    Signal(Signal, i32),
    /// Something is asked for.
    Asked(Request),
    /// Something stale or false arrives.
    Noise,
}

/// A turn in the life of a process.
#[derive(Clone, Copy, Debug)]
pub enum Turn {
    Accepts,
    SaysReady,
    Reports,
    Freezes(Signal),
    Ends,
    EndsStopped,
    EndsOtherwise(Signal),
    Pings,
    Hangs,
    Recovers,
    Pauses,
    GoesOn,
    Wakes,
    /// What it says of itself, and how a probe of it ends.
    Shows(Event),
}

/// What a history's kernel is like.
#[derive(Clone, Copy)]
pub struct Traits {
    pub stop_signal: Signal,
    pub luck: SpawnLuck,
    /// Pids run from 2 to this and then again.
    pub most_pid: i32,
    /// Whether the supervisor hears that children were stopped.
    pub tells_stops: bool,
    /// Whether what is spawned stays in the supervisor's own process group.
    pub one_group: bool,
    /// Whether each worker has a queue of its own.
    pub steered: bool,
    /// Whether it does not always tell of connections.
    pub hides_connections: bool,
    /// Whether the sender that stops us stops all others too.
    pub stops_all: bool,
    /// Whether workers count their requests where we can see them.
    pub has_scoreboard: bool,
}

pub struct Kernel {
    pub now: Monotonic,
    /// Among things of the same moment, chance decides.
    agenda: BTreeMap<(Monotonic, u64), Due>,
    processes: Vec<Process>,
    traits: Traits,
    spawns: u64,
    serials: u64,
    last_pid: i32,
    reap_on_agenda: bool,
    /// Orphans that were asked to stop.
    asked: Vec<u64>,
    queues: Queues,
    /// Whether the supervisor will look for zombies before it sleeps.
    pub looks_again: bool,
    /// All processes have got the signal that was for all.
    all_stopped: bool,
    pub exit: Option<u8>,
}

impl Kernel {
    pub fn new(traits: Traits) -> Self {
        Self {
            now: Monotonic::default(),
            agenda: BTreeMap::new(),
            processes: Vec::new(),
            traits,
            spawns: 0,
            serials: 0,
            last_pid: 1,
            reap_on_agenda: false,
            asked: Vec::new(),
            queues: Queues::default(),
            looks_again: false,
            all_stopped: false,
            exit: None,
        }
    }

    /// Whether no child of ours is left, dead or alive.
    pub fn is_childless(&self) -> bool {
        self.processes.iter().all(|p| p.parent.is_some())
    }

    /// These processes and their descendants.
    fn below(&self, top: &[Pid]) -> Vec<u64> {
        let mut found: Vec<u64> =
            self.processes.iter().filter(|p| top.contains(&p.pid)).map(|p| p.serial).collect();
        loop {
            let is_new = |p: &&Process| {
                !found.contains(&p.serial) && p.parent.is_some_and(|parent| found.contains(&parent))
            };
            let more: Vec<u64> = self.processes.iter().filter(is_new).map(|p| p.serial).collect();
            if more.is_empty() {
                return found;
            }
            found.extend(more);
        }
    }

    /// A pid that no process has.
    pub fn unknown_pid(&self) -> Pid {
        (2..).map(Pid).find(|pid| self.processes.iter().all(|p| p.pid != *pid)).unwrap()
    }

    pub fn schedule(&mut self, after: Duration, due: Due, dice: &mut Dice) {
        self.agenda.insert((self.now + after, dice.up_to(u64::MAX)), due);
    }

    /// The supervisor wants to look for zombies as soon as what else has come is done.
    pub fn look_again(&mut self, dice: &mut Dice) {
        if !std::mem::replace(&mut self.looks_again, true) {
            self.schedule(Duration::ZERO, Due::Reap, dice);
        }
    }

    pub fn next_at(&self) -> Option<Monotonic> {
        self.agenda.first_key_value().map(|((at, _), _)| *at)
    }

    /// Takes the next thing off the agenda and lets it happen inside the kernel. The answer is what
    /// the supervisor hears of it.
    pub fn advance(&mut self, dice: &mut Dice) -> Option<Heard> {
        let ((at, _), due) = self.agenda.pop_first()?;
        self.now = self.now.max(at);
        match due {
            Due::Reap => {
                (self.reap_on_agenda, self.looks_again) = (false, false);
                Some(Heard::ChildEnded)
            }
            Due::Signal(signal, code) => self.signal_us(received(signal, code), dice).map(Heard::Signal),
            Due::Asked(demand) => Some(Heard::Event(Event::Requested(demand))),
            Due::Noise => Some(Heard::Noise),
            Due::Life(serial, turn) => self.live(serial, turn, dice).map(Heard::Event),
        }
    }

    fn live(&mut self, serial: u64, turn: Turn, dice: &mut Dice) -> Option<Event> {
        let process = self.processes.iter_mut().find(|p| p.serial == serial && p.ended.is_none())?;
        let (pid, temper) = (process.pid, process.temper);
        match turn {
            Turn::Accepts => process.accepting = true,
            Turn::Freezes(signal) => self.freeze(serial, signal, dice),
            // A frozen process does nothing but die of SIGKILL.
            Turn::SaysReady | Turn::Reports | Turn::Ends | Turn::EndsStopped if process.frozen.is_some() => {}
            Turn::SaysReady => return Some(Event::Worker { pid, fact: WorkerFact::SaidReady }),
            Turn::Reports => {
                let (every, most) = temper.reports?;
                process.requests += dice.up_to(most);
                // Its descendants report too, and not always the latest.
                let total = if dice.one_in(5) { process.requests / 2 } else { process.requests };
                self.schedule(every, Due::Life(serial, Turn::Reports), dice);
                return Some(Event::Worker { pid, fact: WorkerFact::RequestsReported { total } });
            }
            Turn::Ends => self.end(serial, temper.ends?.1, dice),
            Turn::EndsStopped => self.end(serial, temper.on_stop?.1, dice),
            Turn::EndsOtherwise(signal) => {
                self.end(serial, Exit::Signal { signal, core_dumped: false }, dice);
            }
            _ => return self.work(serial, turn, dice),
        }
        None
    }

    fn end(&mut self, serial: u64, exit: Exit, dice: &mut Dice) {
        for orphan in self.processes.iter_mut().filter(|p| p.parent == Some(serial)) {
            orphan.parent = None;
        }
        let Some(at) = self.processes.iter().position(|p| p.serial == serial) else { return };
        if self.processes[at].parent.is_some() {
            // Its parent reaps it.
            self.processes.swap_remove(at);
            return;
        }
        self.processes[at].ended = Some(exit);
        self.raise_sigchld(dice);
    }

    fn raise_sigchld(&mut self, dice: &mut Dice) {
        if !self.reap_on_agenda {
            self.reap_on_agenda = true;
            let notice = dice.pick_ms(&[0, 0, 0, 1, 20]);
            self.schedule(notice, Due::Reap, dice);
        }
    }

    /// Ends everybody.
    pub fn end_all(&mut self, dice: &mut Dice) {
        let alive: Vec<u64> = self.processes.iter().filter(|p| p.ended.is_none()).map(|p| p.serial).collect();
        for serial in alive {
            self.end(serial, Exit::Code(0), dice);
        }
    }

    /// A zombie of ours, as waitid(2) with `WNOWAIT` shows it.
    pub fn zombie(&self) -> Option<(Pid, Exit)> {
        self.processes.iter().find_map(|p| p.ended.map(|exit| (p.pid, exit)))
    }

    /// A child of ours that is stopped and of which this has not been told; waitid(2) with `WSTOPPED` tells it once.
    pub fn stopped(&mut self) -> Option<(Pid, Signal)> {
        let process = self.processes.iter_mut().find(|p| p.freeze_is_news && p.ended.is_none())?;
        process.freeze_is_news = false;
        process.frozen.map(|signal| (process.pid, signal))
    }

    /// Reaps a zombie: from now on the pid may belong to anybody.
    pub fn release(&mut self, pid: Pid) {
        self.processes.retain(|p| p.pid != pid || p.ended.is_none());
    }

    /// Whether no process is in this group, not even a zombie.
    pub fn is_empty_group(&self, group: Pid) -> bool {
        self.processes.iter().all(|p| p.group != group)
    }

    pub fn spawn(
        &mut self,
        SpawnOrder { id, lane, .. }: SpawnOrder,
        temper: Temper,
        dice: &mut Dice,
    ) -> Event {
        self.now = self.now + self.traits.luck.takes;
        self.spawns += 1;
        let code = match self.traits.luck {
            SpawnLuck { first_fails: Some(code), .. } if self.spawns == 1 => Some(code),
            SpawnLuck { fails_one_in: Some(n), .. } if self.spawns > 1 && dice.one_in(n) => Some(125),
            _ => None,
        };
        if let Some(code) = code {
            let failure = SpawnFailure { step: "execute", errno: 2, code };
            return Event::Spawned { id, result: Err(failure) };
        }
        let ours = self.traits.one_group.then_some(OUR_GROUP);
        let (pid, serial) = self.add_process(None, ours, temper, dice);
        if let Some(process) = self.processes.last_mut() {
            process.lane = Some(lane);
        }
        for _ in 0..temper.helpers.0 {
            self.add_process(Some(serial), Some(ours.unwrap_or(pid)), helper(temper, dice), dice);
        }
        for _ in 0..temper.helpers.1 {
            self.add_process(Some(serial), None, helper(temper, dice), dice);
        }
        Event::Spawned { id, result: Ok(pid) }
    }

    /// A child that we never started: its parent is gone.
    pub fn adopt(&mut self, temper: Temper, dice: &mut Dice) {
        self.add_process(None, None, helper(temper, dice), dice);
    }

    fn add_process(
        &mut self,
        parent: Option<u64>,
        group: Option<Pid>,
        temper: Temper,
        dice: &mut Dice,
    ) -> (Pid, u64) {
        let pid = self.free_pid();
        let serial = self.serials;
        self.serials += 1;
        let turns = [
            (temper.accepts, Turn::Accepts),
            (temper.says_ready, Turn::SaysReady),
            (temper.reports.map(|(every, _)| every), Turn::Reports),
            (
                temper.freezes.map(|(after, _)| after),
                Turn::Freezes(temper.freezes.map_or(Signal::STOP, |(_, signal)| signal)),
            ),
            (temper.ends.map(|(after, _)| after), Turn::Ends),
        ];
        for (after, turn) in turns.into_iter().chain(temper.habits.turns(pid)) {
            if let Some(after) = after {
                self.schedule(after, Due::Life(serial, turn), dice);
            }
        }
        self.processes.push(Process {
            serial,
            pid,
            group: group.unwrap_or(pid),
            parent,
            temper,
            accepting: false,
            requests: 0,
            memory: temper.habits.memory.0,
            in_hand: temper.habits.in_hand,
            lane: None,
            hung: false,
            paused: false,
            watched: false,
            frozen: None,
            freeze_is_news: false,
            pending_stop: false,
            ended: None,
        });
        (pid, serial)
    }

    /// The next number that is neither a process nor a group (the kernel keeps both apart, alloc_pid).
    fn free_pid(&mut self) -> Pid {
        self.traits.most_pid = self.traits.most_pid.max(i32::try_from(self.processes.len() * 3).unwrap());
        loop {
            self.last_pid = if self.last_pid >= self.traits.most_pid { 2 } else { self.last_pid + 1 };
            let pid = Pid(self.last_pid);
            if self.processes.iter().all(|p| p.pid != pid && p.group != pid) {
                return pid;
            }
        }
    }
}

/// What the supervisor hears of a thing on the agenda.
pub enum Heard {
    Event(Event),
    Signal(Received),
    ChildEnded,
    Noise,
}

/// A signal with all that the kernel says of it: none of it may be lost on the way.
fn received(signal: Signal, code: i32) -> Received {
    match code {
        ..0 => Received { code, sender: 77, uid: 1_000, value: 0xDEAD_BEEF, signal },
        _ => Received { code, ..Received::plain(signal) },
    }
}

/// A process that a worker or a command starts.
fn helper(parent: Temper, dice: &mut Dice) -> Temper {
    let code = Exit::Code(0);
    Temper {
        accepts: None,
        observable: true,
        says_ready: None,
        ends: dice.one_in(3).then(|| (dice.pick_ms(&[0, 50, 3_000, 90_000]), code)),
        reports: None,
        on_stop: (!dice.one_in(4)).then(|| (dice.pick_ms(&[0, 10, 2_000]), code)),
        fragile: dice.one_in(2),
        survives_kill: parent.survives_kill,
        freezes: dice.one_in(8).then_some((Duration::ZERO, Signal::STOP)),
        handles_tstp: parent.handles_tstp,
        helpers: (0, 0),
        habits: Habits::default(),
    }
}

/// An answer to a spawn that was never ordered, or that was answered before.
pub fn stale_answer(dice: &mut Dice, pid: Pid) -> Event {
    let id = SpawnId(dice.pick(&[u64::MAX, 1 << 40]));
    if dice.one_in(2) {
        Event::Spawned { id, result: Ok(pid) }
    } else {
        Event::Spawned { id, result: Err(SpawnFailure { step: "clone", errno: 11, code: 125 }) }
    }
}
