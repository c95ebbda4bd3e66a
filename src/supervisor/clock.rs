//! The supervisor's clock, which leaves out the time in which the supervisor did not run. It does not know what any
//! deadline is for.
//!
//! `CLOCK_MONOTONIC` goes on while a container is paused (cgroups(7), the freezer), while a machine is suspended in
//! some ways, and while the supervisor is stopped. Its children did not run then either, so the missed time must not
//! count against them. A pause shows in a wait that ends long after its planned end, and in two readings of the clock
//! that are far apart although no slow work was done in between.

use crate::core::Monotonic;
use std::cell::Cell;
use std::time::Duration;
use tokio::time::Instant;

/// The longest wait while a deadline runs at which a process is hurt. So a pause that ends before the deadline shows
/// as well.
pub const BEAT: Duration = Duration::from_secs(1);

/// A smaller delay is normal on a busy machine, and is no pause.
const LEAST: Duration = Duration::from_millis(250);

#[derive(Debug)]
pub struct Clock {
    /// When the supervisor started, perhaps as an earlier program.
    origin: Instant,
    /// The time that was left out since then.
    lost: Cell<Duration>,
    /// The part of it that was reported.
    told: Cell<Duration>,
    /// The last reading.
    read: Cell<Instant>,
}

impl Clock {
    /// A clock that shows `shows` now, and has left out `lost` before.
    pub fn new(now: Instant, shows: Monotonic, lost: Duration) -> Self {
        let origin = now.checked_sub(shows.0.saturating_add(lost)).unwrap_or(now);
        Self { origin, lost: Cell::new(lost), told: Cell::new(lost), read: Cell::new(now) }
    }

    pub fn origin(&self) -> Instant {
        self.origin
    }

    /// How far the clock is behind real time.
    pub fn lost(&self) -> Duration {
        self.lost.get()
    }

    /// The same; `Some` only if it has changed since the last call.
    pub fn news(&self) -> Option<Duration> {
        let lost = self.lost.get();
        (self.told.replace(lost) != lost).then_some(lost)
    }

    pub fn now(&self) -> Monotonic {
        self.read(Instant::now())
    }

    /// Slow work was done, such as the start of a program: the time since the last reading is no pause.
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

    /// When the clock will show `at` if there is no pause; `None` if that is out of range.
    pub fn instant(&self, at: Monotonic) -> Option<Instant> {
        self.origin.checked_add(at.0.checked_add(self.lost.get())?)
    }

    fn at(&self, instant: Instant) -> Monotonic {
        Monotonic(instant.saturating_duration_since(self.origin).saturating_sub(self.lost.get()))
    }

    /// A wait from `began` to `ended` is over; `planned` is its latest planned end, if it had one. If a long pause
    /// was in the wait, it is unknown how much of the wait came before the pause. So half of the planned part is left
    /// out too, at most half of the overrun: a deadline is then not reached at the very moment at which the
    /// supervisor runs again. Even if that happens again and again, the clock goes on.
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
        // One beat, with a pause of three seconds that begins after half a second.
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
        // An event came before the planned end.
        clock.waited(start, Some(start + ms(10_000)), start + ms(9_000));
        // No end was planned.
        clock.waited(start, None, start + ms(9_000));
        // The deadline had passed before the wait began: the wait has not overrun it.
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
