//! Readiness without cooperation: whether a worker waits for connections.
//!
//! One of four marks is enough, in the worker or a descendant: an epoll set that contains the listener (`tfd:` lines of
//! `/proc/PID/fdinfo/*`, proc(5)); a thread that sleeps in accept(2) on it; a thread that sleeps in poll(2) or
//! select(2) on it; an accepted connection, since under load a worker never sleeps. They appear within milliseconds of
//! the first possible answer, and only after the application's own start-up.

mod again;
mod marks;
mod walk;

pub use marks::{OwnListener, epoll_targets};

use super::connections;
use super::listen::SocketId;
use crate::core::Pid;
use crate::os::process::own_usage::costing;
use crate::os::process::{privileges, proc};
use crate::values::address::Address;
use marks::Mark;
use std::collections::HashMap;
use std::time::{Duration, Instant};
use walk::{BUDGET, Gone, Walk};

/// A query for connections takes a millisecond or more if the kernel's table is large. The pause after it is longer by
/// this factor.
const PAUSE: u32 = 20;

/// The result of a look at a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// It waits for connections, or has one.
    Accepting,
    /// It shows no mark yet.
    NotYet,
    /// The time ran out: the next look continues.
    NotAll,
    /// The kernel refuses the look, as for a worker of another user.
    Refused,
}

/// Looks at workers, and remembers where each waits.
#[derive(Debug)]
pub struct Observer {
    addresses: Vec<Address>,
    /// The time of the next permitted query for connections.
    ask_at: Instant,
    /// Unfinished looks, dropped with their worker.
    walks: HashMap<Pid, Walk>,
    /// The epoll sets in which each worker was seen to wait.
    marks: HashMap<Pid, Vec<Mark>>,
    /// Unfinished looks at workers that have left a set, and the listeners concerned.
    again: HashMap<Pid, (Vec<SocketId>, Walk)>,
    /// The workers' user and group, whose rights the look needs; `None` for our own.
    ids: Option<(u32, u32)>,
}

impl Observer {
    /// Observes workers that listen at these addresses, with the rights of their user and group.
    #[must_use]
    pub fn new(addresses: Vec<Address>, ids: Option<(u32, u32)>) -> Self {
        let (walks, marks, again) = (HashMap::new(), HashMap::new(), HashMap::new());
        Self { addresses, ask_at: Instant::now(), walks, marks, again, ids }
    }

    /// Looks whether a worker or a descendant waits for connections to one of its listeners, which must be the same at
    /// each look. Also returns the processor time of the look: on a busy machine the elapsed time says nothing of its
    /// cost.
    #[must_use]
    pub fn look(&mut self, worker: Pid, listeners: &[SocketId]) -> (Seen, Duration) {
        costing(|| {
            // Its listeners are recognized by a /proc of our own, and by their ids: both are needed.
            if !proc::is_ours() || listeners.is_empty() {
                return Seen::Refused;
            }
            privileges::acting_for(self.ids, || self.seen(worker, listeners))
        })
    }

    /// Takes about 10 to 60 microseconds a process.
    fn seen(&mut self, worker: Pid, listeners: &[SocketId]) -> Seen {
        let begin = Instant::now();
        let mut walk = self.walks.remove(&worker).unwrap_or_else(|| Walk::new(worker));
        loop {
            match walk.go_on(listeners, begin) {
                Gone::Found => {
                    self.remember(worker, walk.marks);
                    return Seen::Accepting;
                }
                Gone::Refused => return Seen::Refused,
                Gone::Through => break,
                Gone::On if begin.elapsed() < BUDGET => {}
                Gone::On | Gone::OutOfTime => {
                    self.walks.insert(worker, walk);
                    return Seen::NotAll;
                }
            }
        }
        if self.came_in(&walk.others) { Seen::Accepting } else { Seen::NotYet }
    }

    /// Drops all knowledge of a worker that has ended: its pid may be reused.
    pub fn forget(&mut self, worker: Pid) {
        self.walks.remove(&worker);
        self.marks.remove(&worker);
        self.again.remove(&worker);
    }

    /// Remembers where a worker waits. The marks of its other listeners stay.
    fn remember(&mut self, worker: Pid, marks: Vec<Mark>) {
        if marks.is_empty() {
            return;
        }
        let known = self.marks.entry(worker).or_default();
        known.retain(|old| marks.iter().all(|new| new.listener != old.listener));
        known.extend(marks);
    }

    /// Whether one of these sockets is a connection that came in through our addresses.
    fn came_in(&mut self, sockets: &[u64]) -> bool {
        let begin = Instant::now();
        if sockets.is_empty() || begin < self.ask_at {
            return false;
        }
        let (accepted, took) = costing(|| connections::accepted(&self.addresses));
        let pause = took.saturating_mul(PAUSE);
        self.ask_at = begin.checked_add(pause).unwrap_or(begin);
        sockets.iter().any(|socket| accepted.contains(socket))
    }
}
