//! Metrics that are read when a scraper asks for them.

use super::observers::Observers;
use crate::core::event::{Measured, WorkerFact};
use crate::core::{Core, Event, Lane, Monotonic, Status};
use crate::os::process::{own_usage, usage};
use crate::os::socket::netstat;
use crate::os::stdio::stderr;
use crate::report::metrics::Page;
use crate::report::metrics::pages::{self, Own, PoolSeen, Seated, SlotFigures};
use crate::workers::Workers;
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// How long workers are measured before other work. At least one is.
pub const AT_ONCE: Duration = Duration::from_millis(4);

impl Observers {
    /// Answers with the page of all metrics, or makes [`go_on_measuring`](Self::go_on_measuring) do so.
    pub fn scrape(&mut self, answer: oneshot::Sender<Page>, core: &Core, now: Monotonic) {
        if self.metrics.asked(answer) {
            let seats = pages::seats(&core.status(now));
            self.metrics.measure(seats.into_iter().filter_map(|(_, worker)| worker?.pid).collect());
        }
    }

    pub fn liveness(&self, status: &Status) -> Page {
        Page::new(pages::liveness(status, &self.own()))
    }

    /// Measures one worker for the core.
    pub fn measure(&mut self, workers: &mut Workers) -> Option<Event> {
        let (pid, lane) = workers.to_measure.pop_front()?;
        let measured = workers.measure(pid, lane);
        if let Event::Worker { fact: WorkerFact::Measured(Measured { memory: Some(bytes), .. }), .. } =
            measured
            && workers.measures_shares()
        {
            self.metrics.share_measured(pid, bytes);
        }
        Some(measured)
    }

    /// Measures a few workers for scrapes that wait for a page. After the last one the scrapes are answered.
    pub fn go_on_measuring(
        &mut self,
        begin: Instant,
        workers: Option<&Workers>,
        status: impl FnOnce() -> Status,
    ) {
        while let Some(pid) = self.metrics.next_unmeasured() {
            let seen = match workers {
                Some(workers) => workers.as_worker(|| usage::usage(pid)),
                None => usage::usage(pid),
            };
            self.metrics.measured(pid, seen);
            if begin.elapsed() >= AT_ONCE {
                return;
            }
        }
        let page = self.page(&status(), workers);
        self.metrics.publish(&Page::new(page));
    }

    fn own(&self) -> Own<'_> {
        Own {
            started: self.metrics.started,
            usage: own_usage::own_usage(),
            dropped: stderr::dropped(),
            turns: &self.metrics.turns,
            lag: &self.metrics.lag,
        }
    }

    fn page(&self, status: &Status, workers: Option<&Workers>) -> String {
        let seats = pages::seats(status).into_iter().map(|(seat, worker)| {
            let kept = usize::try_from(seat.slot).ok().and_then(|slot| status.slots.get(slot)?.kept_lane);
            let lane = worker.map(|worker| worker.lane).or(kept);
            let queue = lane.zip(workers).and_then(|(Lane(lane), workers)| workers.lanes.own_queue(lane));
            let seated = worker.map(|worker| {
                let (usage, share) = worker.pid.map(|pid| self.metrics.known(pid)).unwrap_or_default();
                Seated { usage, share, uptime: worker.uptime, requests: worker.requests }
            });
            SlotFigures { queue, worker: seated, ..seat }
        });
        let seats: Vec<SlotFigures> = seats.collect();
        let pool = workers.map(|workers| PoolSeen {
            shared: workers.lanes.shared_queue(),
            listening: netstat::listening(),
            shares: workers.measures_shares(),
        });
        pages::whole(status, &self.own(), &self.metrics.counts, &seats, pool.as_ref())
    }
}
