//! Whether a ready worker goes on accepting connections. It does not know how a look is made, nor what follows for
//! the pool.
//!
//! ```text
//!  Watched ──something comes──▶ Rests ──100 ms──▶ does something wait? ──no──▶ Watched
//!                                 ▲                        │ yes
//!                                 │                        ▼
//!                                 ├── it accepts ────── Looked at ──it does not──▶ Absent ──nor does it now──▶ away
//!                                 └────────────────────── it accepts again ◀────────┴──────────────────────────┘
//! ```
//! No look is made while the queue is empty. A worker that is away gets no new connections. It may only pause (its
//! threads are all busy, or it has no free descriptor), so nothing else is done until it has been away for a while,
//! unless it has closed its listener or said `STOPPING=1`.

use crate::event::Found;
use crate::time::{Monotonic, earlier, reached};
use core::time::Duration;

/// The pause after a connection came into the queue, and between two looks at a worker that does not accept.
const REST: Duration = Duration::from_millis(100);

/// Rests end together, so that a loaded pool does not wake for each worker separately.
const GRID: Duration = Duration::from_millis(20);

/// asyncio and other servers pause for a second when they have no free descriptor: a longer absence is no pause.
const LEAVES_AFTER: Duration = Duration::from_millis(1_200);

/// The pause between the looks at a worker that was never seen accepting: it begins with the first of these and
/// doubles up to the second.
const UNKNOWN_AT_FIRST: Duration = Duration::from_secs(1);
const UNKNOWN_AT_LAST: Duration = Duration::from_secs(60);

/// The longest pause between two looks at a worker that stays away.
const AWAY_AT_LAST: Duration = Duration::from_secs(1);

/// The pause after a look, in multiples of its processor time; the second if the look was cut short.
const LOOK_SHARE: u32 = 20;
const LOOK_ON_SHARE: u32 = 4;
const LOOK_ON: Duration = Duration::from_millis(1);

/// A pause within this time after the end of a logged one is not logged.
const TOLD_AGAIN: Duration = Duration::from_secs(10);

/// A worker that said `STOPPING=1` is replaced once it is known whether it still accepts, and at the latest after
/// this time.
const DECIDED_WITHIN: Duration = Duration::from_millis(300);

#[derive(Clone, Copy, Debug)]
pub struct Accepting {
    state: AcceptingState,
    /// The pause after the next look that shows nothing.
    unknown: Duration,
    /// A pause before this time is not logged.
    quiet_until: Monotonic,
    /// The latest time at which it is known whether a worker that said `STOPPING=1` still accepts.
    undecided: Option<Monotonic>,
}

#[derive(Clone, Copy, Debug)]
enum AcceptingState {
    /// The worker has no queue of its own.
    Unwatched,
    /// The kernel reports the next connection in the queue.
    Watched,
    /// At `until` the queue is watched again.
    Rests { until: Monotonic },
    /// The worker is looked at next.
    Suspected { look_at: Monotonic },
    /// The looks since `since` have shown that it does not accept.
    Absent { since: Monotonic, look_at: Monotonic, away: bool, told: bool, closed: bool },
}

/// The consequence of a look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Turn {
    AsBefore,
    /// The worker does not accept any more. `tell`: whether to log that.
    Away {
        tell: bool,
    },
    /// The worker accepts again. `tell`: whether its absence was logged.
    Back {
        tell: bool,
    },
    /// The worker has been away too long to come back. `tell`: whether to log its absence.
    Left {
        tell: bool,
    },
}

impl Accepting {
    /// For a worker that is ready now. `steered` is whether it has a queue of its own, `seen` whether it was seen
    /// accepting.
    pub fn new(now: Monotonic, steered: bool, seen: bool) -> Self {
        let state = match (steered, seen) {
            (false, _) => AcceptingState::Unwatched,
            (true, true) => AcceptingState::Rests { until: now },
            (true, false) => AcceptingState::Suspected { look_at: now + REST },
        };
        Self { state, unknown: UNKNOWN_AT_FIRST, quiet_until: Monotonic::default(), undecided: None }
    }

    /// Whether the worker does not accept new connections.
    pub fn is_away(&self) -> bool {
        matches!(self.state, AcceptingState::Absent { away: true, .. })
    }

    /// Whether it has closed its listener as well, so it does not come back.
    pub fn has_closed(&self) -> bool {
        matches!(self.state, AcceptingState::Absent { away: true, closed: true, .. })
    }

    /// A connection came into its queue.
    pub fn queue_woke(&mut self, now: Monotonic) {
        if matches!(self.state, AcceptingState::Watched) {
            self.rest(now, REST);
        }
    }

    /// The number of connections in its queue.
    pub fn queue_seen(&mut self, now: Monotonic, waiting: u32) {
        if matches!(self.state, AcceptingState::Watched) && waiting > 0 {
            self.state = AcceptingState::Suspected { look_at: now };
        }
    }

    /// The worker said `STOPPING=1`: perhaps it does not accept any more.
    pub fn says_it_leaves(&mut self, now: Monotonic) {
        if let AcceptingState::Watched | AcceptingState::Rests { .. } | AcceptingState::Suspected { .. } =
            self.state
        {
            self.state = AcceptingState::Suspected { look_at: now + REST };
            self.undecided = Some(now + DECIDED_WITHIN);
        }
    }

    /// The latest time at which it is known whether the worker still accepts; zero if that is known.
    pub fn undecided_until(&self) -> Monotonic {
        self.undecided.unwrap_or_default()
    }

    /// Whether its queue is to be watched from now on.
    pub fn watches_queue(&mut self, now: Monotonic) -> bool {
        let rested = matches!(self.state, AcceptingState::Rests { until } if until <= now);
        if rested {
            self.state = AcceptingState::Watched;
        }
        rested
    }

    pub fn look_at(&self) -> Option<Monotonic> {
        match self.state {
            AcceptingState::Suspected { look_at } | AcceptingState::Absent { look_at, .. } => Some(look_at),
            AcceptingState::Unwatched | AcceptingState::Watched | AcceptingState::Rests { .. } => None,
        }
    }

    /// Whether a look is due; if so, the next one is scheduled.
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

    /// The result of a look. `took` is its processor time; `leaves` is whether the worker said `STOPPING=1`.
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
            // The kernel shows nothing any more: the last result stands.
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

    /// No new connection comes, so it does not matter whether the worker accepts.
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

/// The next moment that is a multiple of [`GRID`].
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
