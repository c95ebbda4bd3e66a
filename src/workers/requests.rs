//! Whether a request in a worker's hands is overdue. Workers set these deadlines on `CLOCK_MONOTONIC`, which goes on
//! while nothing runs. So the time that the supervisor's clock has left out since then is added to them.

use std::collections::HashMap;
use std::time::Duration;

/// The deadlines of all lanes.
#[derive(Debug, Default)]
pub struct Requests {
    /// The time that the clock has left out so far.
    lost: Duration,
    lanes: HashMap<u32, Known>,
}

#[derive(Clone, Copy, Debug)]
struct Known {
    deadline: Option<Duration>,
    /// The time that had been left out when this deadline was set, or less.
    since: Duration,
    /// The time that had been left out at the last look.
    looked: Duration,
}

impl Requests {
    /// `lost` is the time that the clock has left out so far.
    pub fn new(lost: Duration) -> Self {
        Self { lost, lanes: HashMap::new() }
    }

    pub fn was_paused(&mut self, lost: Duration) {
        self.lost = lost;
    }

    pub fn begins(&mut self, lane: u32) {
        self.lanes.insert(lane, Known { deadline: None, since: self.lost, looked: self.lost });
    }

    /// Whether this deadline has passed, without the time in which nothing ran.
    pub fn is_overdue(&mut self, lane: u32, deadline: Option<Duration>, now: Duration) -> bool {
        let lost = self.lost;
        let new = Known { deadline: None, since: lost, looked: lost };
        let known = self.lanes.entry(lane).or_insert(new);
        if known.deadline != deadline {
            (known.deadline, known.since) = (deadline, known.looked);
        }
        known.looked = lost;
        let away = lost.saturating_sub(known.since);
        deadline.is_some_and(|deadline| deadline.saturating_add(away) < now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn s(s: u64) -> Duration {
        Duration::from_secs(s)
    }

    #[test]
    fn a_pause_is_added_to_the_deadlines_that_were_set_before_it() {
        let mut requests = Requests::new(s(5));
        requests.begins(1);
        assert!(!requests.is_overdue(1, Some(s(110)), s(101)));
        assert!(requests.is_overdue(1, Some(s(110)), s(111)));
        requests.was_paused(s(65));
        assert!(!requests.is_overdue(1, Some(s(110)), s(170)));
        assert!(requests.is_overdue(1, Some(s(110)), s(171)));
        assert!(!requests.is_overdue(1, Some(s(172)), s(171)), "set since");
        assert!(requests.is_overdue(1, Some(s(172)), s(173)));
        assert!(!requests.is_overdue(1, None, s(173)));
    }

    #[test]
    fn one_that_was_set_between_the_last_look_and_the_pause_is_not_overdue_at_the_thaw() {
        let mut requests = Requests::new(s(0));
        requests.begins(1);
        assert!(!requests.is_overdue(1, None, s(100)));
        requests.was_paused(s(60));
        assert!(!requests.is_overdue(1, Some(s(110)), s(161)));
        assert!(requests.is_overdue(1, Some(s(110)), s(171)));
        // The deadlines of the next worker of the lane are its own.
        requests.was_paused(s(1_000));
        requests.begins(1);
        assert!(requests.is_overdue(1, Some(s(1_200)), s(1_201)));
    }
}
