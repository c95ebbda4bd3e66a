//! The rounds in which init mode asks the processes that outlive the command to stop. A round repeats, because a
//! process that is being forked during one round is seen only in the next.

use super::time::Monotonic;
use core::time::Duration;

#[derive(Clone, Copy, Debug)]
pub enum Asks {
    None,
    Made { times: u32, again_at: Monotonic },
}

/// The pause between the first two rounds; it doubles each time.
const FIRST_PAUSE: Duration = Duration::from_millis(50);

/// The number of rounds: about 12 seconds together.
const MOST_ASKS: u32 = 9;

impl Asks {
    pub fn next_deadline(self) -> Option<Monotonic> {
        match self {
            Self::Made { times, again_at } if times < MOST_ASKS => Some(again_at),
            Self::None | Self::Made { .. } => None,
        }
    }

    /// Makes the next round due now, if there has been one.
    pub fn hasten(&mut self, now: Monotonic) {
        if let Self::Made { times, again_at } = self {
            *times = (*times).min(MOST_ASKS.saturating_sub(1));
            *again_at = now;
        }
    }

    /// Counts a round if one is due. Returns whether it was.
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
