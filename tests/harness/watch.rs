//! How long something takes, without the time that the machine takes for itself.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// Milliseconds by which a thread of ours woke too late, all together: what this machine was busy with others.
static LOST: AtomicU64 = AtomicU64::new(0);

const BEAT: Duration = Duration::from_millis(20);

/// How long something of a supervisor took.
#[derive(Debug)]
pub struct Took {
    pub all: Duration,
    /// What is left of that without what a busy machine kept from the test, or from the supervisor.
    pub ran: Duration,
}

pub struct Watch {
    begun: Instant,
    lost: u64,
}

impl Watch {
    pub fn start() -> Self {
        static BEATS: OnceLock<()> = OnceLock::new();
        BEATS.get_or_init(|| {
            thread::spawn(beat);
        });
        Self { begun: Instant::now(), lost: LOST.load(Ordering::Relaxed) }
    }

    /// The time since the start in which this machine let us run: for what must come soon.
    pub fn ran(&self) -> Duration {
        let lost = LOST.load(Ordering::Relaxed) - self.lost;
        self.begun.elapsed().saturating_sub(Duration::from_millis(lost))
    }

    /// The time since the start: for what must not come earlier.
    pub fn elapsed(&self) -> Duration {
        self.begun.elapsed()
    }
}

fn beat() {
    loop {
        let begun = Instant::now();
        thread::sleep(BEAT);
        let late = begun.elapsed().saturating_sub(BEAT + Duration::from_millis(5));
        LOST.fetch_add(u64::try_from(late.as_millis()).unwrap(), Ordering::Relaxed);
    }
}
