//! Whether a ready worker still waits for connections. The remembered mark is checked first, which costs a microsecond
//! (kcmp(2)); only if it is gone is everything looked at.
//!
//! A worker that was never seen in an epoll(7) set is not judged: a busy one shows no mark either.

use super::Observer;
use super::marks::{Mark, OwnListener, Stands};
use super::walk::{BUDGET, Gone, Walk};
use crate::core::Pid;
use crate::core::event::Found;
use crate::os::process::own_usage::costing;
use crate::os::process::{privileges, proc};
use crate::os::socket::listen::SocketId;
use std::time::{Duration, Instant};

impl Observer {
    /// Looks whether a ready worker waits at those of these listeners that have waiting connections; if none has, at all
    /// of them. Also returns the processor time of the look.
    #[must_use]
    pub fn look_again(&mut self, worker: Pid, listeners: &[OwnListener<'_>]) -> (Found, Duration) {
        costing(|| {
            if !proc::is_ours() || listeners.is_empty() {
                return Found::Unknown;
            }
            privileges::acting_for(self.ids, || self.found(worker, listeners))
        })
    }

    fn found(&mut self, worker: Pid, listeners: &[OwnListener<'_>]) -> Found {
        let Some(marks) = self.marks.get(&worker) else {
            let all = listeners.iter().map(|own| own.id).collect();
            return match self.search(worker, all) {
                // A sleeping thread is not a lasting mark.
                Found::Accepts if self.marks.contains_key(&worker) => Found::Accepts,
                Found::NotAll => Found::NotAll,
                Found::Accepts | Found::Absent | Found::Left | Found::Unknown => Found::Unknown,
            };
        };
        let marked = |own: &&OwnListener<'_>| marks.iter().any(|mark| mark.listener == own.id);
        let asked: Vec<&OwnListener<'_>> = listeners.iter().filter(marked).collect();
        let any_waits = asked.iter().any(|own| own.waiting > 0);
        let mut lost = Vec::new();
        for own in asked.into_iter().filter(|own| own.waiting > 0 || !any_waits) {
            let mut stand =
                marks.iter().filter(|mark| mark.listener == own.id).map(|mark| mark.stands(own.fd));
            match stand.find(|stands| *stands != Stands::No) {
                Some(Stands::Yes) => {}
                Some(Stands::NotShown) => return Found::Unknown,
                Some(Stands::No) | None => lost.push(own.id),
            }
        }
        if lost.is_empty() {
            self.again.remove(&worker);
            return Found::Accepts;
        }
        let lost_marks: Vec<Mark> =
            marks.iter().filter(|mark| lost.contains(&mark.listener)).copied().collect();
        match self.search(worker, lost) {
            Found::Absent if lost_marks.iter().all(Mark::is_closed) => Found::Left,
            found => found,
        }
    }

    /// Looks at all descriptors, within the budget.
    fn search(&mut self, worker: Pid, listeners: Vec<SocketId>) -> Found {
        let begin = Instant::now();
        let begun = self.again.remove(&worker).filter(|(of, _)| *of == listeners);
        let mut walk = begun.map_or_else(|| Walk::new(worker), |(_, walk)| walk);
        loop {
            match walk.go_on(&listeners, begin) {
                Gone::Found => {
                    self.remember(worker, walk.marks);
                    return Found::Accepts;
                }
                Gone::Refused => return Found::Unknown,
                Gone::Through => return Found::Absent,
                Gone::On if begin.elapsed() < BUDGET => {}
                Gone::On | Gone::OutOfTime => {
                    self.again.insert(worker, (listeners, walk));
                    return Found::NotAll;
                }
            }
        }
    }
}
