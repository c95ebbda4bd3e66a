//! What a history of a pool is about.

use super::super::dice::Dice;
use super::super::kernel::Habits;
use super::{Crowd, Moment, Plan, demands, patience, trigger};
use prefork_core::policy::{
    Budget, DrainPolicy, HangPolicy, Jittered, PoolPolicy, ProbePolicy, ReadyPolicy, RecyclePolicy,
    RespawnPolicy, Share, StopPolicy,
};
use prefork_core::signal::Rewrite;
use prefork_core::time::Patience;
use prefork_core::{Mode, Monotonic, Rewrites, Signal};
use std::time::Duration;

const STOPS: [Signal; 6] =
    [Signal::TERM, Signal::TERM, Signal::TERM, Signal::INT, Signal::QUIT, Signal::ABRT];

impl Plan {
    pub fn pool(dice: &mut Dice) -> Self {
        use Crowd::*;
        use Moment::*;
        let policy = pool_policy(dice);
        let crowds = [Calm, Crashing, Unbootable, Stubborn, Slow, Hanging, Leaving, Leaving, Mixed, Mixed];
        let moments = [Spawn, Ready, Due, Stopping, Killed, Exited, Backoff, Backoff];
        let mut triggers = Vec::new();
        if !dice.one_in(5) {
            // Each stop signal waits for a moment of its own; the later ones mostly for what the first led to.
            let later = [Shutdown, Hurried, Stopping, Exited, Orphans];
            triggers.push(trigger(dice, &moments, &STOPS));
            for _ in 0..dice.pick(&[0, 0, 1, 2, 3]) {
                triggers.push(trigger(dice, &later, &STOPS));
            }
        }
        if dice.one_in(4) {
            triggers.push(trigger(dice, &moments, &[Signal::HUP, Signal::CONT, Signal::USR2]));
        }
        // What changes the pool, while it is calm and while something else is under way.
        let changes = [Signal::HUP, Signal::HUP, Signal::TTIN, Signal::TTOU, Signal::TTOU];
        let calm = [Ready, Ready, Spawn, Due, Draining, Hung];
        let later = [Reload, Confirmed, ReloadFailed, Scaled, Stopping, Exited, Shutdown];
        let amid = [&calm[..], &later].concat();
        for _ in 0..dice.pick(&[0, 0, 1, 2, 4, 8]) {
            triggers.push(trigger(dice, &amid, &changes));
        }
        let plan = Self { triggers, ..Self::common(dice, Mode::Pool(policy), &crowds) };
        plan.with_forwards().with_rewrites().with_demands().with_time_to_leave()
    }

    /// Whether a worker has left takes many looks: they are not to be cut off, as a rule.
    fn with_time_to_leave(mut self) -> Self {
        if matches!(self.crowd, Crowd::Leaving) {
            self.most_turns = 400;
            if !self.core_seed.is_multiple_of(3) {
                self.triggers.clear();
            }
        }
        self
    }

    /// From a die of their own, too.
    fn with_forwards(mut self) -> Self {
        let dice = &mut Dice::new(self.core_seed.rotate_left(7));
        let Mode::Pool(policy) = &mut self.mode else { return self };
        if dice.one_in(4) {
            let signals: &[Signal] = dice.pick(&[&[Signal::USR1], &[Signal::WINCH, Signal::USR1]]);
            policy.forwards = signals.to_vec();
            let amid = [Moment::Ready, Moment::Spawn, Moment::Draining, Moment::Stopping, Moment::Shutdown];
            for _ in 0..2 {
                self.triggers.push(trigger(dice, &amid, signals));
            }
        }
        self
    }

    fn with_demands(mut self) -> Self {
        use Moment::*;
        let early = [Start, Spawn, Ready, Ready, Due, Draining, Hung];
        let late = [Reload, Confirmed, ReloadFailed, Scaled, Stopping, Exited, Backoff, Backoff, Shutdown];
        let Mode::Pool(policy) = &self.mode else { return self };
        let moments = [&early[..], &late].concat();
        self.triggers.extend(demands(self.core_seed, &moments, u64::from(policy.workers)));
        self
    }

    /// From a die of their own: what was drawn without them stays as it was.
    fn with_rewrites(mut self) -> Self {
        let dice = &mut Dice::new(!self.core_seed);
        let Mode::Pool(policy) = &mut self.mode else { return self };
        policy.rereads = self.core_seed.is_multiple_of(3);
        policy.warn_on_reap = dice.one_in(3);
        if !dice.one_in(3) {
            return self;
        }
        // `QUIT` stays what it is: every history can be ended.
        let from = [Signal::TERM, Signal::TERM, Signal::INT, Signal::HUP, Signal::CONT, Signal::USR1];
        let to = [None, Some(Signal::TERM), Some(Signal::INT), Some(Signal::QUIT), Some(Signal::HUP)];
        let rules = (0..=dice.up_to(2)).map(|_| Rewrite { from: dice.pick(&from), to: dice.pick(&to) });
        policy.rewrites = Rewrites::new(rules.collect());
        let rules = policy.rewrites.rules();
        let stops = |signal: &Signal| {
            rules.iter().all(|rule| rule.from != *signal || rule.to.is_some_and(|to| STOPS.contains(&to)))
        };
        let quits = std::iter::repeat(Signal::QUIT);
        self.prods = self.prods.iter().copied().filter(stops).chain(quits).take(3).collect();
        if dice.one_in(2) {
            let moments = [Moment::Spawn, Moment::Ready, Moment::Exited, Moment::Shutdown];
            self.triggers.push(trigger(dice, &moments, &from));
        }
        self
    }
}

fn pool_policy(dice: &mut Dice) -> PoolPolicy {
    let workers = dice.pick(&[1, 1, 2, 2, 3, 4, 8]);
    let signal = dice.pick(&[Signal::TERM, Signal::TERM, Signal::INT, Signal::from_number(37).unwrap()]);
    let max_age = dice.one_in(3).then(|| Jittered {
        base: dice.pick_ms(&[0, 1, 700, 20_000]),
        jitter: dice.pick_ms(&[0, 0, 1, 2_000]),
    });
    let max_requests =
        dice.one_in(3).then(|| Jittered { base: dice.pick(&[0, 1, 2, 100]), jitter: dice.pick(&[0, 1, 50]) });
    let (mut max_surge, max_unavailable) =
        (dice.pick(&[0, 1, 1, 2, workers]), dice.pick(&[0, 0, 0, 1, 2, workers]));
    if max_unavailable == 0 {
        max_surge = max_surge.max(1);
    }
    // The same as a part: of fewer workers it may come to none.
    let share = |number: u32| match dice.one_in(4) {
        true => Share::Percent((number * 100).div_ceil(workers).min(100)),
        false => Share::Number(number),
    };
    let [max_surge, max_unavailable] = [max_surge, max_unavailable].map(share);
    let listens = !dice.one_in(6);
    let steered = listens && !dice.one_in(3);
    let hang = hang_policy(dice, steered);
    let max_memory =
        dice.one_in(4).then(|| Jittered { base: dice.pick(&[0, 200, 1_000]), jitter: dice.pick(&[0, 100]) });
    PoolPolicy {
        rereads: false,
        workers,
        min_ready: 1 + u32::try_from(dice.up_to(u64::from(workers - 1))).unwrap(),
        budget: Budget { max_surge, max_unavailable, gap: dice.pick_ms(&[0, 0, 50, 1_000, 5_000]) },
        rewrites: Rewrites::default(),
        forwards: Vec::new(),
        warn_on_reap: false,
        stop: StopPolicy { signal, graceful: patience(dice) },
        drain_delay: dice.pick_ms(&[0, 0, 1, 1_500, 20_000]),
        drain: {
            let hint = dice.one_in(2).then(|| Signal::from_number(12).unwrap());
            // The scoreboard tells it too.
            let told = hint.is_some() || workers.is_multiple_of(2);
            let time = dice.pick_ms(&[0, 0, 10, 100, 2_000]);
            DrainPolicy { listens, steered, shares: workers % 4 != 2, told, hint, time }
        },
        ready: ReadyPolicy {
            observe: listens && !dice.one_in(4),
            believe: !dice.one_in(5),
            probe: dice.one_in(5),
            after: dice.one_in(4).then(|| dice.pick_ms(&[0, 1, 100, 2_000])),
            start_timeout: if dice.one_in(5) {
                Patience::Forever
            } else {
                Patience::For(dice.pick_ms(&[100, 3_000, 5_000, 60_000]))
            },
        },
        hang,
        recycle: RecyclePolicy {
            memory_pressure: None,
            max_requests,
            max_age,
            max_memory,
            max_memory_hard: dice.one_in(6).then(|| dice.pick(&[300, 5_000])),
            memory_samples: dice.pick(&[1, 2, 3]),
            counted_by_worker: max_requests.is_some() && dice.one_in(2),
        },
        measure_every: (hang.accept_stall.is_some() || max_memory.is_some() || dice.one_in(6))
            .then(|| dice.pick_ms(&[100, 500, 1_000])),
        respawn: RespawnPolicy {
            backoff: dice.pick_ms(&[0, 1, 250, 250, 3_000]),
            backoff_max: dice.pick_ms(&[3_000, 30_000]),
            max_restarts: dice.pick(&[None, None, Some(0), Some(1), Some(5), Some(20)]),
            window: dice.pick_ms(&[1_000, 60_000]),
        },
        deadline: dice.one_in(8).then(|| Monotonic(dice.pick_ms(&[0, 50, 1_500, 12_000, 60_000]))),
    }
}

fn hang_policy(dice: &mut Dice, steered: bool) -> HangPolicy {
    HangPolicy {
        watchdog: dice.one_in(4).then(|| dice.pick_ms(&[200, 1_000, 10_000])),
        accept_stall: (steered && dice.one_in(3)).then(|| dice.pick_ms(&[300, 2_000])),
        probe: dice.one_in(4).then(|| ProbePolicy {
            interval: dice.pick_ms(&[100, 1_000, 5_000]),
            failures: dice.pick(&[1, 2, 3]),
        }),
        abort_signal: Signal::ABRT,
        abort_time: dice.pick_ms(&[0, 100, 2_000]),
    }
}

/// What a worker does once it runs. Its `boot` is when it is about to serve.
pub fn habits(policy: &PoolPolicy, boot: Duration, hanging: bool, dice: &mut Dice) -> Habits {
    let lives = policy.hang.watchdog.map(|every| every / dice.pick(&[1, 2, 2, 4]));
    let rarely = |dice: &mut Dice, moments: &[u64]| {
        dice.one_in(if hanging { 4 } else { 16 }).then(|| boot + dice.pick_ms(moments))
    };
    let later = [0, 1, 300, 2_000, 12_000];
    Habits {
        pings: lives.filter(|_| !dice.one_in(12)),
        sets_watchdog: dice.one_in(8).then(|| (dice.pick_ms(&[0, 1, 500]), dice.pick_ms(&[100, 3_000]))),
        hangs: hanging.then(|| {
            let lasts = [None, None, Some(0), Some(400), Some(5_000)];
            (boot + dice.pick_ms(&later), dice.pick(&lasts).map(Duration::from_millis))
        }),
        pauses: dice.one_in(16).then(|| pause(boot, dice)),
        says_stopping: rarely(dice, &later),
        triggers: rarely(dice, &later),
        extends: rarely(dice, &[0, 0, 50]).map(|at| (at / 2, dice.pick_ms(&[0, 100, 4_000]))),
        answers_after: dice.pick_ms(&[0, 0, 3, 80, 499, 500]),
        fails_one_in: dice.one_in(4).then(|| dice.pick(&[1, 2, 10])),
        in_hand: dice.pick(&[0, 0, 0, 1, 3, 1_000]),
        memory: (dice.pick(&[0, 100, 900]), dice.pick(&[0, 0, 50, 1_000])),
    }
}

/// When a worker takes no connections any more, and for how long, if not for ever.
pub fn pause(boot: Duration, dice: &mut Dice) -> (Duration, Option<Duration>) {
    let lasts = [None, None, Some(150), Some(500), Some(1_400), Some(2_500), Some(2_500)];
    (boot + dice.pick_ms(&[0, 1, 300, 2_000]), dice.pick(&lasts).map(Duration::from_millis))
}
