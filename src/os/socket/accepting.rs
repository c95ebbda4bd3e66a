//! Readiness without cooperation: is this worker waiting for connections?
//!
//! Four marks, any of which will do, in the worker or a descendant: an epoll set that holds the
//! listener (`tfd:` lines of `/proc/PID/fdinfo/*`, proc(5)); a thread that sleeps in accept(2) on it; a
//! thread that sleeps in poll(2) or select(2) on it; a connection that came in through it, for under
//! load a worker never sleeps. They appear within milliseconds of the first possible answer, and only
//! after the application's own start-up.

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

/// Asking for the connections takes a millisecond or more where the kernel's table is large. It is
/// followed by a pause that is longer by this factor.
const PAUSE: u32 = 20;

/// What a look at a worker found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// It waits for connections, or has one.
    Accepting,
    /// It does not, or not yet.
    NotYet,
    /// There is more to look at.
    NotAll,
    /// The kernel does not let us look: it runs as another user.
    Refused,
}

/// Looks at workers.
#[derive(Debug)]
pub struct Observer {
    addresses: Vec<Address>,
    /// When the kernel may be asked for connections again.
    ask_at: Instant,
    /// Looks that are not finished; forgotten with their worker.
    walks: HashMap<Pid, Walk>,
    /// Where workers were seen to wait, until they end.
    marks: HashMap<Pid, Vec<Mark>>,
    /// Looks at workers that do not wait there any more, and for which listeners.
    again: HashMap<Pid, (Vec<SocketId>, Walk)>,
    /// The user and group to look as: the workers' own user and group, if they are not ours.
    ids: Option<(u32, u32)>,
}

impl Observer {
    /// Sees which workers wait for connections to these addresses, with the eyes of the workers' user and group.
    #[must_use]
    pub fn new(addresses: Vec<Address>, ids: Option<(u32, u32)>) -> Self {
        let (walks, marks, again) = (HashMap::new(), HashMap::new(), HashMap::new());
        Self { addresses, ask_at: Instant::now(), walks, marks, again, ids }
    }

    /// Looks at a worker and its descendants, whether they wait for connections to one of the listeners that the
    /// worker was given; these are to be the same at each look at the same worker. Returns what it cost too, in processor time: where others have the
    /// processor, a look takes long and costs no more.
    #[must_use]
    pub fn look(&mut self, worker: Pid, listeners: &[SocketId]) -> (Seen, Duration) {
        costing(|| {
            // By nothing else its listeners could be known.
            if !proc::is_ours() || listeners.is_empty() {
                return Seen::Refused;
            }
            privileges::acting_for(self.ids, || self.seen(worker, listeners))
        })
    }

    /// Takes some 10 to 60 microseconds a process.
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

    /// A child has ended: its number may come again.
    pub fn forget(&mut self, worker: Pid) {
        self.walks.remove(&worker);
        self.marks.remove(&worker);
        self.again.remove(&worker);
    }

    /// Where a worker was seen to wait. What is known of its other listeners stays.
    fn remember(&mut self, worker: Pid, marks: Vec<Mark>) {
        if marks.is_empty() {
            return;
        }
        let known = self.marks.entry(worker).or_default();
        known.retain(|old| marks.iter().all(|new| new.listener != old.listener));
        known.extend(marks);
    }

    /// Whether one of these sockets is a connection to a listener of ours.
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
