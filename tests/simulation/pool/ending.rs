//! The end: connections are held off, the last ones served, the workers stopped, and what is left is killed.

use super::super::rule::{Held, check};
use super::facts::{Facts, Stage, Worker};
use super::in_hand::InHand;
use prefork_core::{Monotonic, Pid, Signal};
use std::time::Duration;

pub const HURRIED: Duration = Duration::from_secs(5);
pub const MARGIN: Duration = Duration::from_secs(5);

/// From the stop signal to the refusal, at most.
const REFUSED_WITHIN: Duration = Duration::from_secs(1);

impl Facts {
    /// Connections are held off: before the last ones are served, or where none is to be, at once.
    pub fn holds_off(&mut self, now: Monotonic) -> Held {
        check(self.policy.drain.listens && self.alive() > 0, "for nothing")?;
        check(!std::mem::replace(&mut self.end.held, true), "held off again")?;
        if matches!(self.stage, Stage::Draining { until } if until <= now) {
            self.live.iter_mut().for_each(|w| (w.absent, w.away) = (false, false));
            self.stage = Stage::Closing { since: now, in_hand: InHand::default() };
        }
        Ok(())
    }

    /// At all queues, or at what all have in hand.
    pub fn looks_at_all(
        &mut self,
        now: Monotonic,
        is_looked_at: super::judge::IsLookedAt<'_>,
        hands: bool,
    ) -> Held {
        let forgotten = self.live.iter().any(|w| w.has_served() && !is_looked_at(w));
        let Stage::Closing { in_hand, .. } = &mut self.stage else { return Err("out of season".into()) };
        *(if hands { &mut in_hand.looked } else { &mut in_hand.queue_looked }) = Some(now);
        check(!forgotten, "a worker is forgotten")
    }

    pub fn half_of_the_grace(&self, since: Monotonic) -> Option<Monotonic> {
        self.policy.stop.graceful.deadline(since).map(|by| since + by.since(since) / 2)
    }

    /// Whether the workers may be told to stop now, since it is the end.
    pub fn may_end(&self, now: Monotonic) -> Held {
        if self.end.stops.len() > 1 {
            return Ok(());
        }
        let has_clients = self.live.iter().any(|w| w.is_up() || w.starts());
        match self.stage {
            Stage::Running => {
                let gives_up = self.policy.respawn.max_restarts.is_some() && self.ever_failed;
                check(gives_up && self.serving() == 0, "nothing ends the pool")
            }
            Stage::Draining { until } => {
                check(until <= now || self.alive() == 0, "before the drain delay is over")?;
                let in_haste = self.policy.stop.graceful.deadline(now).is_some_and(|by| by <= now);
                let closes = self.policy.drain.listens && has_clients && !in_haste;
                check(!closes, "connections are not held off first")
            }
            Stage::Closing { since, ref in_hand } => {
                let half = self.half_of_the_grace(since);
                if half.is_some_and(|half| half <= now) || (since == now && !has_clients) {
                    return Ok(());
                }
                if self.live.iter().any(Worker::has_served) {
                    return in_hand.is_empty(now, &self.policy.drain, half);
                }
                // One that starts has a moment to show that it serves.
                let in_moment = now < since + Duration::from_millis(100);
                let unseen = |w: &Worker| w.starts() && w.looked.is_none_or(|at| at < since);
                check(!in_moment || !self.live.iter().any(unseen), "one that starts is cut off")
            }
            Stage::Unstarted | Stage::Ending { .. } | Stage::Killing { .. } => {
                Err("nothing ends the pool".into())
            }
        }
    }

    /// The end begins, if it has not.
    pub fn ends(&mut self, now: Monotonic) -> Held {
        let since = match self.stage {
            Stage::Ending { .. } | Stage::Killing { .. } => return Ok(()),
            Stage::Closing { since, .. } => since,
            Stage::Unstarted | Stage::Running | Stage::Draining { .. } => now,
        };
        self.may_end(now)?;
        self.end.gave_up = self.is_running();
        self.stage = Stage::Ending { since, orphans_asked: false };
        let latest = now + REFUSED_WITHIN;
        let refuse_by = self.end_kill_by().map_or(latest, |by| by.min(latest));
        self.end.refuse_by = Some(refuse_by).filter(|_| self.policy.drain.listens);
        Ok(())
    }

    pub fn refuses(&mut self, now: Monotonic, held_off: bool) -> Held {
        self.ends(now)?;
        check(self.end.held || self.alive() == 0, "connections are not held off")?;
        if !held_off {
            return check(self.alive() > 0, "what is held off is not refused");
        }
        let by = self.end.refuse_by.take().ok_or("refused already")?;
        let leaves = matches!(self.stage, Stage::Killing { .. }) || self.alive() == 0;
        check(self.end.let_go || by <= now || leaves, "a worker waits for connections yet")
    }

    /// When everything is killed: a graceful timeout after the end began, five seconds after a second stop signal, at once
    /// at the third.
    pub fn end_kill_by(&self) -> Option<Monotonic> {
        match self.stage {
            Stage::Ending { since, .. } => {
                let grace = self.policy.stop.graceful.deadline(since);
                let hurried = self.end.stops.get(1).map(|at| *at + HURRIED);
                grace.into_iter().chain(hurried).chain(self.end.stops.get(2).copied()).min()
            }
            Stage::Killing { last, .. } => Some(last),
            Stage::Unstarted | Stage::Running | Stage::Draining { .. } | Stage::Closing { .. } => None,
        }
    }

    pub fn signals_all(&mut self, now: Monotonic, signal: Signal) -> Held {
        let by = self.end_kill_by();
        let leave_by = match self.stage {
            Stage::Ending { orphans_asked, .. } => {
                check(orphans_asked, "orphans were not asked to stop")?;
                now + MARGIN
            }
            Stage::Killing { leave_by, .. } => leave_by,
            _ => return Err("everything is signalled out of season".into()),
        };
        self.stage = Stage::Killing { last: now, leave_by };
        check(signal == Signal::KILL && by.is_some_and(|by| by <= now), "everything is killed too early")
    }

    /// All but the workers, and none twice.
    pub fn asks_orphans(&mut self, now: Monotonic, workers: &[Pid], groups: &[Pid], signal: Signal) -> Held {
        self.ends(now)?;
        let Stage::Ending { orphans_asked, .. } = &mut self.stage else {
            return Err("orphans are asked out of season".into());
        };
        *orphans_asked = true;
        check(signal == self.policy.stop.signal, "the wrong signal")?;
        let spared = self.live.iter().all(|worker| workers.contains(&worker.pid));
        check(spared && workers.len() == self.live.len(), "the wrong processes are spared")?;
        let knows = self.leftovers.iter().all(|(group, _)| groups.contains(group));
        check(knows && groups.len() == self.leftovers.len(), "a group is asked again, or passed over")
    }

    /// The documented table of exit codes.
    pub fn exits(&mut self, now: Monotonic, code: u8) -> Held {
        self.end.exit = Some(code);
        if let Some(failure) = self.first_failure {
            return check(code == failure && self.is_running(), "the wrong code for a bad command");
        }
        let none_left = self.end.childless && self.live.is_empty();
        let right_time = match self.stage {
            Stage::Ending { .. } => none_left,
            Stage::Killing { leave_by, .. } => none_left || leave_by <= now,
            Stage::Unstarted | Stage::Running | Stage::Draining { .. } | Stage::Closing { .. } => false,
        };
        check(right_time, "it leaves while a process is left")?;
        check(
            self.end.said_goodbye && self.end.refuse_by.is_none(),
            "it leaves without a word, or listens yet",
        )?;
        let own = match (self.end.gave_up, self.end.overdue) {
            (true, _) => 3,
            (false, true) => 124,
            (false, false) => 0,
        };
        check(code == own, "the wrong exit code")
    }
}
