//! What a history of a pool is about.

use super::super::dice::Dice;
use super::{Crowd, Moment, Plan, patience, trigger};
use prefork_init::core::policy::{
    Jittered, PoolPolicy, ReadyPolicy, RecyclePolicy, RespawnPolicy, StopPolicy,
};
use prefork_init::core::signal::Rewrite;
use prefork_init::core::time::Patience;
use prefork_init::core::{Mode, Rewrites, Signal};

const STOPS: [Signal; 5] = [Signal::TERM, Signal::TERM, Signal::TERM, Signal::INT, Signal::QUIT];

impl Plan {
    pub fn pool(dice: &mut Dice) -> Self {
        let policy = pool_policy(dice);
        let crowds = [
            Crowd::Calm,
            Crowd::Crashing,
            Crowd::Unbootable,
            Crowd::Stubborn,
            Crowd::Slow,
            Crowd::Mixed,
            Crowd::Mixed,
        ];
        let moments = [
            Moment::Spawn,
            Moment::Ready,
            Moment::Due,
            Moment::Stopping,
            Moment::Killed,
            Moment::Exited,
            Moment::Backoff,
            Moment::Backoff,
        ];
        let mut triggers = Vec::new();
        if !dice.one_in(5) {
            // Each stop signal waits for a moment of its own; the later ones mostly for what the first led to.
            let later =
                [Moment::Shutdown, Moment::Hurried, Moment::Stopping, Moment::Exited, Moment::Orphans];
            triggers.push(trigger(dice, &moments, &STOPS));
            for _ in 0..dice.pick(&[0, 0, 1, 2, 3]) {
                triggers.push(trigger(dice, &later, &STOPS));
            }
        }
        if dice.one_in(4) {
            triggers.push(trigger(dice, &moments, &[Signal::HUP, Signal::CONT]));
        }
        Self { triggers, ..Self::common(dice, Mode::Pool(policy), &crowds) }.with_rewrites()
    }

    /// From a die of their own: what was drawn without them stays as it was.
    fn with_rewrites(mut self) -> Self {
        let dice = &mut Dice::new(!self.core_seed);
        let Mode::Pool(policy) = &mut self.mode else { return self };
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
    PoolPolicy {
        workers,
        min_ready: 1 + u32::try_from(dice.up_to(u64::from(workers - 1))).unwrap(),
        max_surge: dice.pick(&[1, 1, 1, 2, workers]),
        rewrites: Rewrites::default(),
        warn_on_reap: false,
        stop: StopPolicy { signal, graceful: patience(dice) },
        drain_delay: dice.pick_ms(&[0, 0, 1, 1_500, 20_000]),
        ready: ReadyPolicy {
            observe: !dice.one_in(4),
            after: dice.one_in(4).then(|| dice.pick_ms(&[0, 1, 100, 2_000])),
            start_timeout: if dice.one_in(5) {
                Patience::Forever
            } else {
                Patience::For(dice.pick_ms(&[100, 3_000, 5_000, 60_000]))
            },
        },
        recycle: RecyclePolicy {
            max_requests,
            max_age,
            counted_by_worker: max_requests.is_some() && dice.one_in(2),
        },
        respawn: RespawnPolicy {
            backoff: dice.pick_ms(&[0, 1, 250, 250, 3_000]),
            backoff_max: dice.pick_ms(&[3_000, 30_000]),
            max_restarts: dice.pick(&[None, Some(0), Some(1), Some(5), Some(20)]),
            window: dice.pick_ms(&[1_000, 60_000]),
        },
    }
}
