//! What a history of an init is about.

use super::super::dice::Dice;
use super::super::kernel::Temper;
use super::{Crowd, Moment, Plan, Trigger, demands, patience, trigger};
use prefork_core::event::SpawnFailure;
use prefork_core::policy::{InitPolicy, Job, Orphans, Scope, StopPolicy};
use prefork_core::signal::Rewrite;
use prefork_core::{Mode, Monotonic, Rewrites, Signal};
use std::time::Duration;

/// The code that others become, with which no process ends by itself.
const REMAPPED: u8 = 77;

/// What a start failure that has a code of its own ends with.
const NOT_STARTED: u8 = 66;

/// `SI_KERNEL`: a terminal's driver.
const FROM_KERNEL: i32 = 0x80;

/// `SI_QUEUE`: sigqueue(3), with a value.
const QUEUED: i32 = -1;

const COME: [Signal; 14] = [
    Signal::TERM,
    Signal::TERM,
    Signal::TERM,
    Signal::TERM,
    Signal::INT,
    Signal::INT,
    Signal::QUIT,
    Signal::HUP,
    Signal::CONT,
    Signal::TSTP,
    Signal::TSTP,
    Signal::TTIN,
    Signal::USR1,
    Signal::WINCH,
];

impl Plan {
    pub fn init(dice: &mut Dice) -> Self {
        let policy = policy(dice);
        let real_time = Signal::from_number(37).unwrap();
        let mut triggers = Vec::new();
        for _ in 0..dice.pick(&[0, 1, 1, 2, 3, 6]) {
            // Nothing but signals happens to an init without a command.
            let moments = if policy.pause {
                [Moment::Start, Moment::Start, Moment::Signalled, Moment::OrphanReaped, Moment::Orphans]
            } else {
                let later = dice.pick(&[Moment::Exited, Moment::Orphans, Moment::KillingAll]);
                [Moment::Ready, Moment::Ready, Moment::Signalled, Moment::Suspending, later]
            };
            let mut one = trigger(dice, &moments, &COME);
            if !matches!(one.moment, Moment::Signalled | Moment::OrphanReaped) {
                one.nth = 1;
            }
            if dice.one_in(12) {
                one.signal = dice.pick(&[real_time, policy.stop.signal]);
            }
            let ruled = policy.rewrites.rules();
            if !ruled.is_empty() && dice.one_in(3) {
                one.signal = dice.pick(&ruled).from;
            }
            one.code = dice.pick(&[0, 0, FROM_KERNEL, QUEUED]);
            triggers.push(one);
        }
        if policy.gave_terminal_up && !dice.one_in(4) {
            for signal in [Signal::HUP, Signal::CONT, Signal::HUP, Signal::CONT] {
                triggers.push(trigger(dice, &[Moment::Ready, Moment::Signalled], &[signal]));
            }
        }
        let mut plan =
            Self::common(dice, Mode::Init(policy.clone()), &[Crowd::Calm, Crowd::Crashing, Crowd::Stubborn]);
        if dice.one_in(8) {
            // A signal between the command's end and the news of what is left.
            plan.reaped_at_once = 1;
            let after = Duration::ZERO;
            let moment = Moment::Exited;
            triggers.push(Trigger { moment, nth: 1, after, signal: Signal::TERM, code: 0, demand: None });
        }
        let strays = if policy.pause { dice.pick(&[0, 1, 3]) } else { dice.pick(&[0, 0, 0, 0, 0, 1]) };
        let moments = [Moment::Start, Moment::Ready, Moment::Signalled, Moment::Exited, Moment::Orphans];
        triggers.extend(demands(plan.core_seed, &moments, 1));
        Self { triggers, strays, ..plan }
    }
}

fn policy(dice: &mut Dice) -> InitPolicy {
    let stop_signals = [Signal::TERM, Signal::TERM, Signal::TERM, Signal::QUIT, Signal::INT, Signal::USR1];
    let stop = StopPolicy { signal: dice.pick(&stop_signals), graceful: patience(dice) };
    let deadline = dice.one_in(6).then(|| Monotonic(dice.pick_ms(&[0, 1, 400, 2_000, 30_000])));
    let usual = InitPolicy { deadline, ..InitPolicy::new(stop) };
    if dice.one_in(3) {
        return usual;
    }
    let codes: [fn(&SpawnFailure) -> u8; 3] =
        [|failure| failure.code, |_| NOT_STARTED, |failure| failure.code.wrapping_add(1)];
    let told = dice.pick(&[Some(Signal::TERM), Some(Signal::USR1), None]);
    InitPolicy {
        rewrites: if dice.one_in(2) { rewrites(dice) } else { usual.rewrites },
        scope: dice.pick(&[Scope::Group, Scope::Group, Scope::Process]),
        spare_unaware: dice.one_in(3),
        job: dice.pick(&[Job::Apart, Job::Apart, Job::OfShell, Job::Ours, Job::Shared]),
        gave_terminal_up: dice.one_in(4),
        stops_itself: dice.one_in(4),
        orphans: dice.pick(&[Orphans::Wait, Orphans::Wait, Orphans::Signal(told), Orphans::Leave]),
        remaps: remaps(dice),
        warn_on_reap: dice.one_in(3),
        pause: dice.one_in(7),
        start_failure_code: dice.pick(&codes),
        ..usual
    }
}

fn rewrites(dice: &mut Dice) -> Rewrites {
    let to = [
        Signal::TERM,
        Signal::TERM,
        Signal::QUIT,
        Signal::INT,
        Signal::HUP,
        Signal::USR1,
        Signal::CONT,
        Signal::STOP,
        Signal::TSTP,
        Signal::KILL,
    ];
    let rules = (0..=dice.up_to(3)).map(|_| {
        let to = dice.pick(&to);
        Rewrite { from: dice.pick(&COME), to: (!dice.one_in(4)).then_some(to) }
    });
    Rewrites::new(rules.collect())
}

/// Rules that meet: on one code, and one upon what another leads to.
fn remaps(dice: &mut Dice) -> Vec<(u8, u8)> {
    let codes = [0, 0, 1, 3, 137, 143, 127, NOT_STARTED, REMAPPED];
    (0..dice.pick(&[0, 0, 1, 2, 3])).map(|_| (dice.pick(&codes), dice.pick(&[REMAPPED, 0, 1, 255]))).collect()
}

/// Whether the signals of terminals stop it, and whether one comes: Ctrl-Z, or a read in the background.
pub fn stops(policy: &InitPolicy, temper: &mut Temper, dice: &mut Dice) {
    temper.handles_tstp = dice.one_in(4);
    if policy.job != Job::Apart && dice.one_in(3) {
        let signal = dice.pick(&[Signal::TSTP, Signal::TSTP, Signal::TTIN, Signal::STOP]);
        temper.freezes = Some((dice.pick_ms(&[0, 0, 2, 900]), signal));
    }
}
