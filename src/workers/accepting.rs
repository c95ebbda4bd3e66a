//! Whether workers take connections: those that start, and those that once did.

use super::Fleet;
use crate::core::event::WorkerFact;
use crate::core::{Event, Lane, Pid};
use crate::os::socket::accepting::Seen;
use crate::os::socket::lanes::Lanes;
use crate::os::socket::queue_watch::QueueWatch;
use std::io;
use std::task::{Context, Poll};
use tracing::debug;

/// The queues that are watched, and whose they are.
#[derive(Debug)]
pub struct Queues {
    watch: Option<QueueWatch>,
    watched: Vec<(u32, Pid)>,
}

impl Queues {
    /// Watches none yet. Must be called inside the runtime.
    ///
    /// # Errors
    /// As epoll_create1(2) and epoll_ctl(2).
    pub fn new(lanes: &Lanes) -> io::Result<Self> {
        let watch = lanes.is_steered().then(QueueWatch::new).transpose()?;
        Ok(Self { watch, watched: Vec::new() })
    }

    /// Ready when there may be something to take.
    pub fn poll_ready(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.watch.as_ref().map_or(Poll::Pending, |watch| watch.poll_ready(cx))
    }

    /// Into whose queues something came.
    pub fn take(&mut self) -> Vec<Event> {
        let lanes = self.watch.as_ref().map(QueueWatch::take).unwrap_or_default();
        let woken = |lane| {
            let at = self.watched.iter().position(|(watched, _)| *watched == lane)?;
            Some(Event::Worker { pid: self.watched.swap_remove(at).1, fact: WorkerFact::QueueWoke })
        };
        lanes.into_iter().filter_map(woken).collect()
    }
}

impl Fleet {
    /// Looks at a worker that starts.
    pub fn observe(&mut self, pid: Pid, lane: Lane) -> Event {
        let ids = self.lanes.ids(lane.0);
        match self.observer.look(pid, &ids) {
            (Seen::Accepting, _) => Event::Worker { pid, fact: WorkerFact::SeenAccepting },
            (Seen::NotYet, took) => {
                Event::Worker { pid, fact: WorkerFact::NotSeenAccepting { took, more: false } }
            }
            (Seen::NotAll, took) => {
                Event::Worker { pid, fact: WorkerFact::NotSeenAccepting { took, more: true } }
            }
            (Seen::Refused, _) => Event::Worker { pid, fact: WorkerFact::ObservationRefused },
        }
    }

    /// Watches the queue of a worker, if nothing waits there.
    pub fn watch_queue(&mut self, pid: Pid, lane: Lane) -> Option<Event> {
        let watch = self.queues.watch.as_ref()?;
        let own = self.lanes.own(lane.0);
        let waiting = own.iter().fold(0u32, |sum, own| sum.saturating_add(own.waiting));
        if waiting > 0 {
            return Some(Event::Worker { pid, fact: WorkerFact::QueueSeen { waiting } });
        }
        for own in own {
            if let Err(error) = watch.watch(own.fd, lane.0) {
                debug!(%error, "a queue cannot be watched");
            }
        }
        self.queues.watched.retain(|(watched, _)| *watched != lane.0);
        self.queues.watched.push((lane.0, pid));
        None
    }

    /// Looks at a worker that is ready.
    pub fn look_whether_accepting(&mut self, pid: Pid, lane: Lane) -> Event {
        let own = self.lanes.own(lane.0);
        let (found, took) = self.observer.look_again(pid, &own);
        Event::Worker { pid, fact: WorkerFact::AcceptingSeen { found, took } }
    }
}
