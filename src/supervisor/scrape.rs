//! Metrics: what is looked at when somebody asks for them.

use super::Loop;
use crate::control::Ask;
use crate::core::event::{Measured, WorkerFact};
use crate::core::{Event, Lane, Pid, Status};
use crate::os::process::{own_usage, usage};
use crate::os::socket::netstat;
use crate::os::stdio::stderr;
use crate::report::metrics::Page;
use crate::report::metrics::pages::{self, Own, PoolSeen, Seated, SlotFigures};
use std::time::{Duration, Instant};

/// How long workers are measured before other things get their turn. At least one is.
const AT_ONCE: Duration = Duration::from_millis(4);

impl Loop {
    /// Answers, or sees to it that [`go_on_measuring`](Self::go_on_measuring) will.
    pub(super) fn scrape(&mut self, ask: Ask) {
        match ask {
            Ask::Metrics(answer) => {
                if !self.observers.metrics.asked(answer) {
                    return;
                }
                let seats = pages::seats(&self.core.status(self.now()));
                let workers = seats.into_iter().filter_map(|(_, worker)| worker?.pid).collect();
                self.observers.metrics.measure(workers);
            }
            Ask::Liveness(answer) => {
                let page = pages::liveness(&self.core.status(self.now()), &self.own());
                let _gone = answer.send(Page::new(page));
            }
            // Asks for something else.
            Ask::Status(_) | Ask::Order(..) => {}
        }
    }

    /// Whether [`go_on_measuring`](Self::go_on_measuring) has something to do.
    pub(super) fn is_measuring(&self) -> bool {
        self.observers.metrics.is_wanted()
            || self.execute.fleet.as_ref().is_some_and(|fleet| !fleet.to_measure.is_empty())
    }

    /// Measures a few workers: for the core, and for requests that wait for a page. When none is left, these are answered.
    pub(super) fn go_on_measuring(&mut self) {
        if !self.is_measuring() {
            return;
        }
        let begin = Instant::now();
        while let Some((pid, lane)) =
            self.execute.fleet.as_mut().and_then(|fleet| fleet.to_measure.pop_front())
        {
            self.measure(pid, lane);
            if begin.elapsed() >= AT_ONCE {
                return;
            }
        }
        if !self.observers.metrics.is_wanted() {
            return;
        }
        while let Some(pid) = self.observers.metrics.next_unmeasured() {
            let seen = self.look_at(pid);
            self.observers.metrics.measured(pid, seen);
            if begin.elapsed() >= AT_ONCE {
                return;
            }
        }
        let page = self.page(&self.core.status(self.now()));
        self.observers.metrics.publish(&Page::new(page));
    }

    /// Measures a worker for the core.
    fn measure(&mut self, pid: Pid, lane: Lane) {
        let Some(fleet) = &mut self.execute.fleet else { return };
        let measured = fleet.measure(pid, lane);
        if let Event::Worker { fact: WorkerFact::Measured(Measured { memory: Some(bytes), .. }), .. } =
            measured
            && fleet.measures_shares()
        {
            self.observers.metrics.share_measured(pid, bytes);
        }
        self.handle(measured);
    }

    fn look_at(&self, pid: Pid) -> Option<usage::Usage> {
        match &self.execute.fleet {
            Some(fleet) => fleet.as_worker(|| usage::usage(pid)),
            None => usage::usage(pid),
        }
    }

    fn own(&self) -> Own<'_> {
        Own {
            started: self.observers.metrics.started,
            usage: own_usage::own_usage(),
            dropped: stderr::dropped(),
            turns: &self.observers.metrics.turns,
            lag: &self.observers.metrics.lag,
        }
    }

    fn page(&self, status: &Status) -> String {
        let seats = pages::seats(status).into_iter().map(|(seat, worker)| {
            let kept = usize::try_from(seat.slot).ok().and_then(|slot| status.slots.get(slot)?.kept_lane);
            let lane = worker.map(|worker| worker.lane).or(kept);
            let queue = lane
                .zip(self.execute.fleet.as_ref())
                .and_then(|(Lane(lane), fleet)| fleet.lanes.own_queue(lane));
            let seated = worker.map(|worker| {
                let (usage, share) =
                    worker.pid.map(|pid| self.observers.metrics.known(pid)).unwrap_or_default();
                Seated { usage, share, uptime: worker.uptime, requests: worker.requests }
            });
            SlotFigures { queue, worker: seated, ..seat }
        });
        let seats: Vec<SlotFigures> = seats.collect();
        let pool = self.execute.fleet.as_ref().map(|fleet| PoolSeen {
            shared: fleet.lanes.shared_queue(),
            listening: netstat::listening(),
            shares: fleet.measures_shares(),
        });
        pages::whole(status, &self.own(), &self.observers.metrics.counts, &seats, pool.as_ref())
    }
}
