//! The supervisor's clock, which leaves out the time in which we were not running.
//!
//! `CLOCK_MONOTONIC` goes on while a container is paused (cgroups(7), the freezer), while a machine is suspended in some
//! ways, and while we are stopped. Our children had no time then either, and what they did not do is not held against
//! them. That we were not running shows in a wait that ends long after it was to end, and in two readings of the clock
//! that are far apart although nothing was done in between that takes its time. What any deadline is for, the clock does
//! not know.

use crate::core::Monotonic;
use std::cell::Cell;
use std::time::Duration;
use tokio::time::Instant;

/// A wait is this long at most while a deadline runs by which a process is hurt, so that a pause that is over before
/// the deadline shows as well.
pub const BEAT: Duration = Duration::from_secs(1);

/// What is late by less was late, as on a busy machine.
const LEAST: Duration = Duration::from_millis(250);

/// See the module.
#[derive(Debug)]
pub struct Clock {
    /// When the supervisor started, perhaps as another program.
    origin: Instant,
    /// What was left out since.
    lost: Cell<Duration>,
    /// What of that has been told.
    told: Cell<Duration>,
    /// When it was read last.
    read: Cell<Instant>,
}

impl Clock {
    /// A clock that shows `shows` at this moment, and has left out `lost` before.
    pub fn new(now: Instant, shows: Monotonic, lost: Duration) -> Self {
        let origin = now.checked_sub(shows.0.saturating_add(lost)).unwrap_or(now);
        Self { origin, lost: Cell::new(lost), told: Cell::new(lost), read: Cell::new(now) }
    }

    /// When the supervisor started, in real time.
    pub fn origin(&self) -> Instant {
        self.origin
    }

    /// How far it is behind real time.
    pub fn lost(&self) -> Duration {
        self.lost.get()
    }

    /// The same, if it has not been told yet.
    pub fn news(&self) -> Option<Duration> {
        let lost = self.lost.get();
        (self.told.replace(lost) != lost).then_some(lost)
    }

    /// What it shows now.
    pub fn now(&self) -> Monotonic {
        self.read(Instant::now())
    }

    /// Something was done that may have taken its time, such as to start a program.
    pub fn worked(&self) {
        self.read.set(Instant::now());
    }

    fn read(&self, instant: Instant) -> Monotonic {
        let gap = instant.saturating_duration_since(self.read.replace(instant));
        if gap >= LEAST {
            self.leave_out(gap);
        }
        self.at(instant)
    }

    fn leave_out(&self, span: Duration) {
        self.lost.set(self.lost.get().saturating_add(span));
    }

    /// When it will show this, if it goes on without a pause; `None` if that is too far away.
    pub fn instant(&self, at: Monotonic) -> Option<Instant> {
        self.origin.checked_add(at.0.checked_add(self.lost.get())?)
    }

    fn at(&self, instant: Instant) -> Monotonic {
        Monotonic(instant.saturating_duration_since(self.origin).saturating_sub(self.lost.get()))
    }

    /// A wait is over. It began then, was to end at `planned` at the latest, if at all, and ended then.
    ///
    /// Of a wait with a long pause in it nobody knows how much came before the pause. So half of its planned part is left
    /// out too, if the pause was as long: a deadline is not reached at the very moment at which we run again. The clock
    /// goes on all the same, however often that happens.
    pub fn waited(&self, began: Instant, planned: Option<Instant>, ended: Instant) {
        self.read.set(ended);
        let Some(planned) = planned.map(|planned| planned.max(began)) else { return };
        let overrun = ended.saturating_duration_since(planned);
        if overrun >= LEAST {
            let spared = planned.saturating_duration_since(began).min(overrun) / 2;
            self.leave_out(overrun.saturating_add(spared));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn shows(clock: &Clock, at: Instant) -> Duration {
        clock.at(at).0
    }

    fn clock(start: Instant) -> Clock {
        Clock::new(start, Monotonic::default(), Duration::ZERO)
    }

    #[test]
    fn what_a_wait_overruns_is_left_out_and_a_little_of_what_was_before() {
        let start = Instant::now();
        let clock = clock(start);
        assert_eq!((shows(&clock, start + ms(500)), clock.news()), (ms(500), None));
        // A beat, paused for three seconds half a second after it began.
        clock.waited(start, Some(start + ms(1_000)), start + ms(3_500));
        assert_eq!((clock.lost(), shows(&clock, start + ms(3_500))), (ms(3_000), ms(500)));
        assert_eq!(clock.instant(Monotonic(ms(4_000))), Some(start + ms(7_000)));
        assert_eq!((clock.news(), clock.news()), (Some(ms(3_000)), None));
        assert_eq!(clock.origin(), start);
    }

    #[test]
    fn what_is_only_late_or_comes_early_counts() {
        let start = Instant::now();
        let clock = clock(start);
        clock.waited(start, Some(start + ms(1_000)), start + ms(1_249));
        // Something happened before.
        clock.waited(start, Some(start + ms(10_000)), start + ms(9_000));
        // Nothing was planned.
        clock.waited(start, None, start + ms(9_000));
        // The deadline had passed while we were at work: that is not the wait's.
        clock.waited(start + ms(9_000), Some(start + ms(1_000)), start + ms(9_001));
        assert_eq!(clock.lost(), Duration::ZERO);
        clock.waited(start + ms(9_000), Some(start + ms(1_000)), start + ms(9_250));
        assert_eq!(clock.lost(), ms(250), "nothing was planned before the pause");
    }

    #[test]
    fn a_pause_in_a_turn_is_left_out_and_work_is_not() {
        let start = Instant::now();
        let clock = clock(start);
        assert_eq!(clock.read(start + ms(249)).0, ms(249));
        assert_eq!(clock.read(start + ms(5_000)).0, ms(249));
        assert_eq!(clock.read(start + ms(5_001)).0, ms(250));
        clock.waited(start + ms(5_001), Some(start + ms(90_000)), start + ms(9_001));
        assert_eq!(clock.read(start + ms(9_002)).0, ms(4_251), "a wait is not a pause");
        clock.read.set(start + ms(11_002));
        assert_eq!(clock.read(start + ms(11_003)).0, ms(6_252), "nor is a spawn");
        let before = clock.now();
        clock.worked();
        assert!(clock.now() >= before);
    }

    #[test]
    fn a_deadline_is_not_reached_at_the_moment_of_the_thaw_and_the_clock_goes_on_all_the_same() {
        let start = Instant::now();
        let clock = clock(start);
        let deadline = Monotonic(ms(600));
        clock.waited(start, Some(start + ms(600)), start + ms(9_000));
        assert_eq!(shows(&clock, start + ms(9_000)), ms(300));
        let mut now = start + ms(9_000);
        for _ in 0..10 {
            let left = deadline.since(clock.at(now));
            let planned = now + left;
            clock.waited(now, Some(planned), planned + ms(5_000));
            now = planned + ms(5_000);
            assert_eq!(deadline.since(clock.at(now)), left / 2, "each wait is overrun, and it comes nearer");
        }
    }

    #[test]
    fn another_program_goes_on_with_it() {
        let now = Instant::now();
        let clock = Clock::new(now, Monotonic(ms(70)), ms(30));
        assert_eq!((shows(&clock, now), clock.lost(), clock.news()), (ms(70), ms(30), None));
        assert_eq!(now - clock.origin(), ms(100), "the real time since the start");
    }
}
