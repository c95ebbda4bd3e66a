//! Looks whether workers accept connections: starting workers, and ready workers whose queue does not empty.

use super::Workers;
use crate::core::event::WorkerFact;
use crate::core::{Event, Lane, Pid};
use crate::os::socket::accepting::Seen;
use crate::os::socket::queue_watch::QueueWatch;
use tracing::debug;

impl Workers {
    /// Looks at a starting worker.
    pub(super) fn observe(&mut self, pid: Pid, lane: Lane) -> Event {
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

    /// Watches the queue of a worker, if it is empty; otherwise returns what waits there.
    pub(super) fn watch_queue(&mut self, pid: Pid, lane: Lane) -> Option<Event> {
        let watch = self.queue_watch.as_ref()?;
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
        for row in self.rows.iter_mut().filter(|row| row.lane == lane.0) {
            row.queue_watched = row.pid == pid;
        }
        None
    }

    /// The workers into whose watched queues a connection came.
    pub(super) fn woken_queues(&mut self) -> Vec<Event> {
        let lanes = self.queue_watch.as_ref().map(QueueWatch::take).unwrap_or_default();
        let woken = |lane| {
            let row = self.rows.iter_mut().find(|row| row.lane == lane && row.queue_watched)?;
            row.queue_watched = false;
            Some(Event::Worker { pid: row.pid, fact: WorkerFact::QueueWoke })
        };
        lanes.into_iter().filter_map(woken).collect()
    }

    /// Looks at a ready worker.
    pub(super) fn look_whether_accepting(&mut self, pid: Pid, lane: Lane) -> Event {
        let own = self.lanes.own(lane.0);
        let (found, took) = self.observer.look_again(pid, &own);
        Event::Worker { pid, fact: WorkerFact::AcceptingSeen { found, took } }
    }
}
