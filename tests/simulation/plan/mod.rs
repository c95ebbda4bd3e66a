//! What a history is about: settings, the workers' tempers, and when signals come. Biased toward corners.

mod init;
mod pool;

use super::dice::{Dice, MS};
use super::kernel::{Habits, SpawnLuck, Temper};
use prefork_core::event::Request;
use prefork_core::exit::Exit;
use prefork_core::note::{InitNote, PoolNote, ReloadNote, SignalNote, WorkerNote};
use prefork_core::time::Patience;
use prefork_core::{Action, Mode, Note, Signal};
use std::time::Duration;

pub struct Plan {
    pub mode: Mode,
    pub core_seed: u64,
    crowd: Crowd,
    /// All workers that end by themselves end at this age: a storm.
    storm: Option<Duration>,
    pub luck: SpawnLuck,
    pub most_pid: i32,
    pub triggers: Vec<Trigger>,
    /// The signals with which every history can be ended, one after the other.
    pub prods: Vec<Signal>,
    /// Children that we had before we started anything.
    pub strays: u64,
    /// How late the loop may come to a deadline, and how often that happens.
    pub late: Option<(Duration, u64)>,
    /// How long a step takes, at most: the clock does not stand still while the loop is busy.
    pub step_takes: Duration,
    /// Zombies that the loop reaps before it looks at anything else.
    pub reaped_at_once: u32,
    /// Stale and false events come this often.
    pub noise_every: Option<Duration>,
    /// After this many turns the history is brought to its end.
    pub most_turns: u32,
    /// Whether a history in which nothing happens any more is left at that.
    pub left_quiet: bool,
}

/// What kind of workers there are.
#[derive(Clone, Copy)]
enum Crowd {
    Calm,
    Crashing,
    Unbootable,
    Stubborn,
    Slow,
    Hanging,
    Leaving,
    Mixed,
}

/// A signal, or a demand, that comes when something happens for the nth time.
#[derive(Clone, Copy)]
pub struct Trigger {
    pub moment: Moment,
    pub nth: u64,
    pub after: Duration,
    pub signal: Signal,
    /// `si_code`: what sent it.
    pub code: i32,
    /// What is asked for instead.
    pub demand: Option<Request>,
}

/// What a history can wait for before it sends a signal.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// Before anything else.
    Start,
    Signalled,
    Suspending,
    OrphanReaped,
    Spawn,
    Ready,
    Due,
    Draining,
    Hung,
    Reload,
    Confirmed,
    ReloadFailed,
    Scaled,
    Stopping,
    Killed,
    Exited,
    Backoff,
    Shutdown,
    Hurried,
    KillingAll,
    Orphans,
}

impl Moment {
    pub fn of(action: &Action) -> Option<Self> {
        Some(match action {
            Action::Spawn(_) => Self::Spawn,
            Action::Note(note) => {
                match note {
                    Note::Worker(_, WorkerNote::Ready { .. })
                    | Note::Init(InitNote::CommandStarted { .. }) => Self::Ready,
                    Note::Worker(_, WorkerNote::Due { .. }) => Self::Due,
                    Note::Worker(_, WorkerNote::Draining { .. }) => Self::Draining,
                    Note::Worker(_, WorkerNote::Hung { .. }) => Self::Hung,
                    Note::Reload(_, ReloadNote::Started) => Self::Reload,
                    Note::Reload(_, ReloadNote::Confirmed) => Self::Confirmed,
                    Note::Reload(_, ReloadNote::Failed { .. }) => Self::ReloadFailed,
                    Note::Pool(PoolNote::Scaled { .. }) => Self::Scaled,
                    Note::Worker(_, WorkerNote::Stopping { .. }) => Self::Stopping,
                    Note::Worker(_, WorkerNote::Killed { .. }) => Self::Killed,
                    Note::Worker(_, WorkerNote::Exited { .. })
                    | Note::Init(InitNote::CommandExited { .. }) => Self::Exited,
                    Note::Signal(SignalNote::Received(_)) => Self::Signalled,
                    Note::Init(InitNote::Suspending) => Self::Suspending,
                    Note::Init(InitNote::OrphanReaped { .. }) => Self::OrphanReaped,
                    Note::Pool(PoolNote::RespawnDelayed { .. }) => Self::Backoff,
                    Note::Pool(PoolNote::ShutdownStarted { .. }) => Self::Shutdown,
                    Note::Pool(PoolNote::ShutdownHurried { .. }) => Self::Hurried,
                    Note::Init(InitNote::KillingAll) => Self::KillingAll,
                    Note::Init(InitNote::StoppingOrphans) => Self::Orphans,
                    _ => return None,
                }
            }
            _ => return None,
        })
    }
}

impl Plan {
    fn common(dice: &mut Dice, mode: Mode, crowds: &[Crowd]) -> Self {
        Self {
            mode,
            core_seed: dice.up_to(u64::MAX),
            crowd: dice.pick(crowds),
            storm: dice.one_in(4).then(|| dice.pick_ms(&[0, 50, 1_000, 11_000])),
            luck: SpawnLuck {
                first_fails: dice.one_in(40).then(|| dice.pick(&[125, 126, 127])),
                fails_one_in: dice.one_in(6).then(|| dice.pick(&[1, 2, 10])),
                takes: dice.pick_ms(&[0, 0, 0, 1, 30]),
            },
            most_pid: dice.pick(&[9, 30, 400, 4_000_000]),
            triggers: Vec::new(),
            prods: vec![Signal::TERM, Signal::INT, Signal::QUIT],
            strays: 0,
            late: dice.one_in(4).then(|| (dice.pick_ms(&[1, 300, 7_000, 3_600_000]), dice.pick(&[1, 3, 20]))),
            step_takes: if dice.one_in(3) { dice.pick_ms(&[1, 60]) } else { Duration::ZERO },
            reaped_at_once: dice.pick(&[1, 2, 64]),
            noise_every: dice.one_in(6).then(|| dice.pick_ms(&[7, 100, 900])),
            most_turns: dice.pick(&[30, 60, 120, 400]),
            left_quiet: dice.one_in(8),
        }
    }

    /// Whether the loop is never late.
    pub fn is_punctual(&self) -> bool {
        self.late.is_none() && self.step_takes.is_zero()
    }

    /// Whether the next program takes the pool over, or is no better than this one.
    pub fn upgrades(&self) -> bool {
        !self.core_seed.is_multiple_of(4)
    }

    /// The temper of the next process.
    pub fn temper(&self, dice: &mut Dice) -> Temper {
        let crowd = match self.crowd {
            Crowd::Mixed => dice.pick(&[
                Crowd::Calm,
                Crowd::Calm,
                Crowd::Crashing,
                Crowd::Unbootable,
                Crowd::Stubborn,
                Crowd::Slow,
                Crowd::Hanging,
                Crowd::Leaving,
            ]),
            one => one,
        };
        let mut temper = self.calm(dice);
        let boot = temper.accepts.or(temper.says_ready).unwrap_or_default();
        match crowd {
            Crowd::Calm | Crowd::Hanging | Crowd::Mixed => {}
            Crowd::Leaving => {
                let later = dice.pick_ms(&[0, 1_000, 2_000]);
                temper.accepts = temper.accepts.map(|after| after + later);
            }
            Crowd::Crashing => {
                let lives =
                    self.storm.unwrap_or_else(|| dice.pick_ms(&[0, 1, 30, 1_000, 9_999, 10_000, 12_000]));
                temper.ends = Some((boot + lives, an_exit(dice)));
            }
            Crowd::Unbootable => {
                let exits =
                    [Exit::Code(3), Exit::Code(4), Exit::Code(1), Exit::Code(0), killed_by(Signal::KILL)];
                temper.ends = Some((dice.pick_ms(&[0, 0, 1, 400, 3_000]), dice.pick(&exits)));
                temper.accepts = temper.accepts.map(|after| after + dice.pick_ms(&[0, 1, 5_000]));
                temper.says_ready = temper.says_ready.filter(|_| dice.one_in(4));
            }
            Crowd::Stubborn => {
                temper.on_stop = temper.on_stop.filter(|_| dice.one_in(4));
                temper.survives_kill = dice.pick(&[
                    Some(Duration::ZERO),
                    Some(MS),
                    Some(3_000 * MS),
                    Some(4_999 * MS),
                    Some(9_000 * MS),
                    None,
                ]);
                temper.freezes =
                    dice.one_in(3).then(|| (boot + dice.pick_ms(&[0, 100, 5_000]), Signal::STOP));
            }
            Crowd::Slow => {
                let later = dice.pick_ms(&[90, 4_990, 20_000, 100_000]);
                temper.accepts = temper.accepts.filter(|_| !dice.one_in(4)).map(|after| after + later);
                temper.says_ready = temper.says_ready.filter(|_| !dice.one_in(4)).map(|after| after + later);
            }
        }
        if let Mode::Pool(policy) = &self.mode {
            temper.habits = pool::habits(policy, boot, matches!(crowd, Crowd::Hanging), dice);
            if matches!(crowd, Crowd::Leaving) {
                let boot = temper.accepts.unwrap_or_default();
                temper.habits.pauses = Some(pool::pause(boot, dice));
            }
        }
        if let Mode::Init(policy) = &self.mode {
            init::stops(policy, &mut temper, dice);
        }
        temper
    }

    /// A process that boots, serves, and ends when it is asked to.
    fn calm(&self, dice: &mut Dice) -> Temper {
        let (mut reports, mut ends) = (None, None);
        let mut observe = true;
        if let Mode::Pool(policy) = &self.mode {
            observe = policy.ready.observe;
            if let Some(limit) = policy.recycle.max_requests {
                let serves = self.storm.unwrap_or_else(|| dice.pick_ms(&[0, 100, 1_000, 20_000]));
                if policy.recycle.counted_by_worker {
                    ends = Some((serves + dice.pick_ms(&[1, 5, 30]), Exit::Code(0)));
                } else {
                    reports = Some((dice.pick_ms(&[10, 200, 1_000]), limit.base.max(1)))
                        // Some applications do not count.
                        .filter(|_| !self.core_seed.is_multiple_of(4));
                }
            }
        } else if !dice.one_in(3) {
            ends = Some((dice.pick_ms(&[0, 3, 1_000]), an_exit(dice)));
        }
        let sees = observe && !dice.one_in(6);
        let says = (!sees && !dice.one_in(8)) || dice.one_in(8);
        Temper {
            accepts: (sees || dice.one_in(2)).then(|| dice.pick_ms(&[0, 0, 2, 5, 40, 700])),
            observable: sees || dice.one_in(3),
            says_ready: says.then(|| dice.pick_ms(&[0, 1, 30, 600])),
            ends,
            reports,
            on_stop: Some((
                dice.pick_ms(&[0, 0, 1, 300, 6_000]),
                dice.pick(&[Exit::Code(0), killed_by(Signal::TERM)]),
            )),
            fragile: dice.one_in(3),
            survives_kill: Some(Duration::ZERO),
            freezes: None,
            handles_tstp: false,
            helpers: dice.pick(&[(0, 0), (0, 0), (0, 0), (1, 0), (2, 1), (0, 1)]),
            habits: Habits::default(),
        }
    }
}

fn killed_by(signal: Signal) -> Exit {
    Exit::Signal { signal, core_dumped: false }
}

fn an_exit(dice: &mut Dice) -> Exit {
    let exits = [0, 0, 1, 3, 4, 255].map(Exit::Code);
    if dice.one_in(3) {
        killed_by(dice.pick(&[Signal::KILL, Signal::TERM, Signal::PIPE]))
    } else {
        dice.pick(&exits)
    }
}

fn trigger(dice: &mut Dice, moments: &[Moment], signals: &[Signal]) -> Trigger {
    Trigger {
        moment: dice.pick(moments),
        nth: dice.pick(&[1, 1, 1, 2, 3, 5, 9]),
        after: dice.pick_ms(&[0, 0, 0, 1, 4, 99, 1_000, 5_000]),
        signal: dice.pick(signals),
        code: 0,
        demand: None,
    }
}

/// From a die of their own: what was drawn without them stays as it was.
fn demands(seed: u64, moments: &[Moment], workers: u64) -> Vec<Trigger> {
    let dice = &mut Dice::new(seed.rotate_left(17) ^ 0xDE3A_4D5E);
    let times = dice.pick(&[0, 0, 1, 2, 4, 8]);
    let one = |_| {
        let slot = u32::try_from(dice.up_to(workers)).unwrap();
        let demand = match dice.up_to(9) {
            0..=3 => Request::Recycle { slot },
            4..=6 => Request::Scale { workers: dice.pick(&[1, 1, 2, 3, 5, 9, slot.max(1)]) },
            7 | 8 => Request::Reload,
            _ => Request::Stop,
        };
        Trigger { demand: Some(demand), ..trigger(dice, moments, &[Signal::TERM]) }
    };
    (0..times).map(one).collect()
}

fn patience(dice: &mut Dice) -> Patience {
    match dice.up_to(6) {
        0 => Patience::Forever,
        1 | 2 => Patience::For(Duration::ZERO),
        _ => Patience::For(dice.pick_ms(&[1, 400, 4_999, 10_000, 30_000])),
    }
}
