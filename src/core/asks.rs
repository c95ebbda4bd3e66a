//! How often what outlives the command of an init is asked to stop: what was being forked at one time is seen the next.

use super::time::Monotonic;
use core::time::Duration;

/// How often the processes that are left have been asked to stop.
#[derive(Clone, Copy, Debug)]
pub enum Asks {
    None,
    Made { times: u32, again_at: Monotonic },
}

/// The first pause between two rounds of asking; doubles each time.
const FIRST_PAUSE: Duration = Duration::from_millis(50);

/// Rounds of asking: over some 12 seconds.
const MOST_ASKS: u32 = 9;

impl Asks {
    pub fn next_deadline(self) -> Option<Monotonic> {
        match self {
            Self::Made { times, again_at } if times < MOST_ASKS => Some(again_at),
            Self::None | Self::Made { .. } => None,
        }
    }

    /// Makes it time for a round, if there has been one.
    pub fn hasten(&mut self, now: Monotonic) {
        if let Self::Made { times, again_at } = self {
            *times = (*times).min(MOST_ASKS.saturating_sub(1));
            *again_at = now;
        }
    }

    /// If it is time for a round, there is one now. Returns whether it was.
    pub fn made(&mut self, now: Monotonic) -> bool {
        match self {
            Self::Made { times, again_at } if *times < MOST_ASKS && *again_at <= now => {
                let pause = FIRST_PAUSE.saturating_mul(1u32.checked_shl(*times).unwrap_or(u32::MAX));
                (*times, *again_at) = (times.saturating_add(1), now + pause);
                true
            }
            Self::None | Self::Made { .. } => false,
        }
    }
}
