//! Whether a worker that is ready goes on taking connections.
//!
//! ```text
//!  Watched ──something comes──▶ Rests ──100 ms──▶ does something wait? ──no──▶ Watched
//!                                 ▲                        │ yes
//!                                 │                        ▼
//!                                 ├── it accepts ────── Looked at ──it does not──▶ Absent ──nor does it now──▶ away
//!                                 └────────────────────── it accepts again ◀────────┴──────────────────────────┘
//! ```
//! There is no look while nothing waits. A worker that is away gets no new connections; it may only pause (its threads
//! are all busy, it has no descriptor left), so nothing else is done about it before it has been away for a while,
//! unless it has closed its listener or said that it leaves.

use crate::event::Found;
use crate::time::{Monotonic, earlier, reached};
use core::time::Duration;

/// How long a queue in which something was is left alone, and how often a worker that does not accept is looked at.
const REST: Duration = Duration::from_millis(100);

/// Rests end together, so that a loaded pool does not wake for each worker alone.
const GRID: Duration = Duration::from_millis(20);

/// asyncio and others pause for a second when they have no descriptor left: longer than that is no pause.
const LEAVES_AFTER: Duration = Duration::from_millis(1_200);

/// A worker that was never seen to accept is looked at after the first of these, then after twice as long, up to the
/// second.
const UNKNOWN_AT_FIRST: Duration = Duration::from_secs(1);
const UNKNOWN_AT_LAST: Duration = Duration::from_secs(60);

/// The longest pause between two looks at a worker that stays away.
const AWAY_AT_LAST: Duration = Duration::from_secs(1);

/// The pause after a look, in multiples of what it took; a shorter one where the look was cut short.
const LOOK_SHARE: u32 = 20;
const LOOK_ON_SHARE: u32 = 4;
const LOOK_ON: Duration = Duration::from_millis(1);

/// A pause this soon after the last one is not logged.
const TOLD_AGAIN: Duration = Duration::from_secs(10);

/// One that says that it leaves is replaced when it has been seen to accept or not, or this long after.
const DECIDED_WITHIN: Duration = Duration::from_millis(300);

#[derive(Clone, Copy, Debug)]
pub struct Accepting {
    state: AcceptingState,
    /// The pause after a look that shows nothing.
    unknown: Duration,
    /// A pause before this is not logged.
    quiet_until: Monotonic,
    /// Until when it is not known whether one that leaves has left.
    undecided: Option<Monotonic>,
}

#[derive(Clone, Copy, Debug)]
enum AcceptingState {
    /// It has no queue of its own.
    Unwatched,
    /// The kernel tells when something waits.
    Watched,
    /// The queue is looked at then, and watched.
    Rests { until: Monotonic },
    /// It is looked at then.
    Suspected { look_at: Monotonic },
    /// It did not accept when it was looked at, since then.
    Absent { since: Monotonic, look_at: Monotonic, away: bool, told: bool, closed: bool },
}

/// What a look came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    AsBefore,
    /// It accepts no more. `tell`: whether the log is to say so.
    Away {
        tell: bool,
    },
    /// It accepts again. `tell`: whether the log has said that it did not.
    Back {
        tell: bool,
    },
    /// It has been away too long to come back. `tell`: whether the log is to say that it is away.
    Left {
        tell: bool,
    },
}

impl Accepting {
    /// Of a worker that is ready now. `steered` is whether it has a queue of its own, `seen` whether it was seen to accept.
    pub fn new(now: Monotonic, steered: bool, seen: bool) -> Self {
        let state = match (steered, seen) {
            (false, _) => AcceptingState::Unwatched,
            (true, true) => AcceptingState::Rests { until: now },
            (true, false) => AcceptingState::Suspected { look_at: now + REST },
        };
        Self { state, unknown: UNKNOWN_AT_FIRST, quiet_until: Monotonic::default(), undecided: None }
    }

    /// Whether new connections are not taken.
    pub fn is_away(&self) -> bool {
        matches!(self.state, AcceptingState::Absent { away: true, .. })
    }

    /// Whether it has closed its listener as well: it does not come back.
    pub fn has_closed(&self) -> bool {
        matches!(self.state, AcceptingState::Absent { away: true, closed: true, .. })
    }

    /// Something came into its queue.
    pub fn queue_woke(&mut self, now: Monotonic) {
        if matches!(self.state, AcceptingState::Watched) {
            self.rest(now, REST);
        }
    }

    /// This many connections wait for it.
    pub fn queue_seen(&mut self, now: Monotonic, waiting: u32) {
        if matches!(self.state, AcceptingState::Watched) && waiting > 0 {
            self.state = AcceptingState::Suspected { look_at: now };
        }
    }

    /// It says that it leaves: perhaps it accepts no more.
    pub fn says_it_leaves(&mut self, now: Monotonic) {
        if let AcceptingState::Watched | AcceptingState::Rests { .. } | AcceptingState::Suspected { .. } =
            self.state
        {
            self.state = AcceptingState::Suspected { look_at: now + REST };
            self.undecided = Some(now + DECIDED_WITHIN);
        }
    }

    /// Until when it is not known whether it has left.
    pub fn undecided_until(&self) -> Monotonic {
        self.undecided.unwrap_or_default()
    }

    /// Whether to have its queue watched from now on.
    pub fn watches_queue(&mut self, now: Monotonic) -> bool {
        let rested = matches!(self.state, AcceptingState::Rests { until } if until <= now);
        if rested {
            self.state = AcceptingState::Watched;
        }
        rested
    }

    /// When to look at it.
    pub fn look_at(&self) -> Option<Monotonic> {
        match self.state {
            AcceptingState::Suspected { look_at } | AcceptingState::Absent { look_at, .. } => Some(look_at),
            AcceptingState::Unwatched | AcceptingState::Watched | AcceptingState::Rests { .. } => None,
        }
    }

    /// Whether to look at it now.
    pub fn look(&mut self, now: Monotonic) -> bool {
        let looks = reached(self.look_at(), now);
        if looks {
            self.look_again_at(now + REST);
        }
        looks
    }

    fn look_again_at(&mut self, at: Monotonic) {
        match &mut self.state {
            AcceptingState::Suspected { look_at } | AcceptingState::Absent { look_at, .. } => *look_at = at,
            AcceptingState::Unwatched | AcceptingState::Watched | AcceptingState::Rests { .. } => {}
        }
    }

    /// A look found this. `took` is its processor time; `leaves`: whether the worker said that it leaves.
    pub fn seen(&mut self, now: Monotonic, found: Found, took: Duration, leaves: bool) -> Turn {
        if self.look_at().is_none() {
            return Turn::AsBefore;
        }
        let pause = took.saturating_mul(LOOK_SHARE).clamp(REST, UNKNOWN_AT_LAST);
        if found == Found::NotAll {
            self.look_again_at(now + took.saturating_mul(LOOK_ON_SHARE).clamp(LOOK_ON, REST));
            return Turn::AsBefore;
        }
        match (self.state, found) {
            (AcceptingState::Absent { away, told, .. }, Found::Accepts) => {
                self.undecided = None;
                self.rest(now, pause);
                if told {
                    self.quiet_until = now + TOLD_AGAIN;
                }
                if away { Turn::Back { tell: told } } else { Turn::AsBefore }
            }
            (AcceptingState::Absent { since, away, told, .. }, Found::Absent | Found::Left) => {
                let closed = found == Found::Left;
                let for_long = now.since(since);
                let look_at = now + pause.max((for_long / 20).min(AWAY_AT_LAST));
                let has_left = leaves || closed || for_long >= LEAVES_AFTER;
                let tell = !told && (has_left || now >= self.quiet_until);
                self.state =
                    AcceptingState::Absent { since, look_at, away: true, told: told || tell, closed };
                self.undecided = None;
                match (has_left, away) {
                    (true, _) => Turn::Left { tell },
                    (false, false) => Turn::Away { tell },
                    (false, true) => Turn::AsBefore,
                }
            }
            (AcceptingState::Suspected { .. }, Found::Absent | Found::Left) => {
                self.state = AcceptingState::Absent {
                    since: now,
                    look_at: now + pause,
                    away: false,
                    told: false,
                    closed: false,
                };
                Turn::AsBefore
            }
            (AcceptingState::Suspected { .. }, Found::Accepts) => {
                self.undecided = None;
                self.unknown = UNKNOWN_AT_FIRST;
                self.rest(now, pause);
                Turn::AsBefore
            }
            (AcceptingState::Suspected { .. }, Found::Unknown) => {
                self.undecided = None;
                self.rest(now, pause.max(self.unknown));
                self.unknown = self.unknown.saturating_mul(2).min(UNKNOWN_AT_LAST);
                Turn::AsBefore
            }
            // It cannot be seen any more: what was known is what there is.
            (AcceptingState::Absent { .. }, Found::Unknown) => {
                self.look_again_at(now + pause.max(AWAY_AT_LAST));
                Turn::AsBefore
            }
            (
                AcceptingState::Unwatched
                | AcceptingState::Watched
                | AcceptingState::Rests { .. }
                | AcceptingState::Suspected { .. }
                | AcceptingState::Absent { .. },
                Found::Accepts | Found::Absent | Found::Left | Found::Unknown | Found::NotAll,
            ) => Turn::AsBefore,
        }
    }

    /// Nothing new comes: whether it would be taken does not matter any more.
    pub fn need_not_accept(&mut self) {
        self.state = AcceptingState::Unwatched;
    }

    fn rest(&mut self, now: Monotonic, pause: Duration) {
        self.state = AcceptingState::Rests { until: on_the_grid(now + pause) };
    }

    pub fn next_deadline(&self) -> Option<Monotonic> {
        let rests = match self.state {
            AcceptingState::Rests { until } => Some(until),
            AcceptingState::Unwatched
            | AcceptingState::Watched
            | AcceptingState::Suspected { .. }
            | AcceptingState::Absent { .. } => None,
        };
        earlier(rests, self.look_at())
    }
}

/// The next moment that is a multiple of the grid.
fn on_the_grid(at: Monotonic) -> Monotonic {
    let grid = GRID.as_nanos().max(1);
    let beyond = at.0.as_nanos().checked_rem(grid).unwrap_or(0);
    let rest = if beyond == 0 { 0 } else { grid.saturating_sub(beyond) };
    at + Duration::from_nanos(u64::try_from(rest).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    fn ms(ms: u64) -> Monotonic {
        Monotonic(Duration::from_millis(ms))
    }

    #[test]
    fn rests_end_on_a_grid_and_never_early() {
        for (at, end) in [(0, 0), (1, 20), (20, 20), (21, 40), (119, 120)] {
            assert_eq!(on_the_grid(ms(at)), ms(end));
        }
    }

    #[test]
    fn one_that_is_never_seen_is_looked_at_more_and_more_rarely() {
        let mut accepting = Accepting::new(ms(0), true, false);
        let (mut now, mut pauses) = (ms(0), Vec::new());
        for _ in 0..9 {
            now = accepting.look_at().unwrap();
            assert!(accepting.look(now));
            assert_eq!(accepting.seen(now, Found::Unknown, Duration::ZERO, false), Turn::AsBefore);
            let rests_until = accepting.next_deadline().unwrap();
            pauses.push(rests_until.since(now).as_secs());
            assert!(accepting.watches_queue(rests_until));
            accepting.queue_seen(rests_until, 1);
        }
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60, 60, 60]);
        assert!(now > ms(120_000));
    }
}
