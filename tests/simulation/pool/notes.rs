//! Whether what is told is true.

use super::super::rule::{Held, check};
use super::book::{Book, HURRIED, Slot, Stage, Worker};
use prefork_init::core::action::{Note, ReadyBy, WorkerRef};
use prefork_init::core::exit::Reason;
use prefork_init::core::{Monotonic, Pid};

impl Book {
    pub fn note(&mut self, now: Monotonic, note: &Note) -> Held {
        match *note {
            Note::WorkerSpawned { worker, max_requests, max_age } => {
                check(self.expected.spawned.take() == Some(worker.pid), "nobody was spawned")?;
                let in_bounds = match (max_age, self.policy.recycle.max_age) {
                    (None, None) => true,
                    (Some(age), Some(limit)) => (limit.base..=limit.base + limit.jitter).contains(&age),
                    (None, Some(_)) | (Some(_), None) => false,
                };
                let known = self.known(worker)?;
                known.max_age = max_age;
                check(!std::mem::replace(&mut known.announced, true), "spawned twice")?;
                check(known.order.max_requests == max_requests, "another limit than the worker was given")?;
                check(in_bounds, "an age out of its bounds")
            }
            Note::WorkerReady { worker, by, .. } => {
                let seen = self.expected.ready.take() == Some(worker.pid);
                let after = self.policy.ready.after;
                let confirm_at = self.confirm_at(worker.pid);
                let known = self.known(worker)?;
                check(known.starts(), "ready again, or too late")?;
                known.ready = Some((now, by));
                let sign = match by {
                    ReadyBy::Accepting => seen,
                    ReadyBy::Notified => confirm_at.is_some_and(|at| at <= now),
                    ReadyBy::Uptime => after.is_some_and(|after| known.spawned + after <= now),
                };
                check(sign, "no sign that it is ready")
            }
            Note::WorkerDue { worker, reason, requests } => {
                let known = self.known(worker)?;
                check(known.serves() && known.due.replace((now, reason)).is_none(), "due again")?;
                check(known.requests == requests, "miscounted")?;
                let (by_requests, by_age) = known.limits_reached(now);
                check(if reason == Reason::MaxRequests { by_requests } else { by_age }, "due too early")
            }
            Note::WorkerStopping { worker, reason, .. } => {
                let just_ready = |w: &Worker| w.pid != worker.pid && w.ready.is_some_and(|(at, _)| at == now);
                let made_way = self.in_slot(worker.slot).any(just_ready);
                let known = self.known(worker)?;
                // The end of the drain delay may come in the step that makes the successor ready.
                if made_way && known.stopped == Some((now, Reason::Stop)) && known.due.is_some() {
                    known.stopped = Some((now, reason));
                }
                let stopped = known.stopped;
                check(stopped == Some((now, reason)), "stopped for another reason, or not at all")
            }
            Note::WorkerKilled { worker, .. } => check(self.known(worker)?.killed, "it was not killed"),
            Note::WorkerExited { worker, reason, .. } => {
                let expected = self.expected.exited.take();
                check(expected == Some((worker.pid, reason)), "it ended otherwise")
            }
            Note::SpawnFailed { slot, .. } => {
                check(self.expected.spawn_failed.take() == Some(slot), "no spawn failed")
            }
            Note::PoolReady { ready } => {
                check(!std::mem::replace(&mut self.pool_ready, true), "ready for the first time, again")?;
                check(self.serving() == ready as usize && ready >= self.policy.min_ready, "miscounted")
            }
            Note::ShutdownStarted { .. } => check(self.stops.first() == Some(&now), "no stop signal came"),
            Note::StoppingOrphans => check(!self.orphans_asked, "orphans are asked again"),
            Note::KillingAll => check(matches!(self.stage, Stage::Killing { .. }), "nothing was killed"),
            Note::GaveUp { slot, .. } => {
                self.end_was_told = true;
                check(self.gave_up == Some(slot), "given up without need")
            }
            Note::PoolStopped => {
                self.end_was_told = true;
                check(self.gave_up.is_none(), "it was given up, not stopped")
            }
            Note::RespawnDelayed { slot, delay, .. } => {
                let Slot { vacancy, retry, .. } = self.slot(slot);
                let told = [vacancy, retry].iter().any(|w| (w.earliest..=w.latest).contains(&(now + delay)));
                check(told, "another delay than the backoff allows")
            }
            Note::SignalIgnored { .. } | Note::SignalDropped { .. } => {
                check(self.expected.passed_over.take().as_ref() == Some(note), "something else came of it")
            }
            Note::OrphanReaped { warn, .. } => check(warn == self.policy.warn_on_reap, "the wrong loudness"),
            Note::WorkerUnobservable { .. } | Note::ShutdownHurried { .. } | Note::SignalReceived { .. } => {
                Ok(())
            }
            Note::CommandStarted { .. }
            | Note::CommandExited { .. }
            | Note::SignalForwarded { .. }
            | Note::HandOffIgnored { .. }
            | Note::TerminalGivenUp
            | Note::OrphansLeft { .. }
            | Note::Suspending => Err("a pool has no command".into()),
        }
    }

    fn known(&mut self, named: WorkerRef) -> Result<&mut Worker, String> {
        let known = self.live.iter_mut().find(|w| w.pid == named.pid && w.order.slot == named.slot);
        known.ok_or_else(|| "nobody of ours".into())
    }

    /// When `READY=1` is believed: at once where nothing better is to be had, else after a while, and
    /// in any case before the worker would be given up.
    pub fn confirm_at(&self, pid: Pid) -> Option<Monotonic> {
        let worker = self.live.iter().find(|w| w.pid == pid)?;
        let said = worker.said_ready?;
        if !self.policy.ready.observe || worker.refused {
            return Some(said);
        }
        let given_up = self.policy.ready.start_timeout.deadline(worker.spawned);
        given_up.into_iter().chain([said + HURRIED]).min()
    }

    /// Whether everything that had to follow in this very step did.
    pub fn all_was_said(&self, now: Monotonic) -> Held {
        let expected = &self.expected;
        check(expected.exited.is_none(), "a worker ended and nothing was said")?;
        check(expected.spawned.is_none(), "a worker was spawned and nothing was said")?;
        // The end of the drain delay may come in the same step.
        let starts = |pid| self.live.iter().any(|w| w.pid == pid && w.starts());
        check(!expected.ready.is_some_and(starts), "a worker is ready and nothing was said")?;
        check(expected.spawn_failed.is_none(), "a spawn failed and nothing was said")?;
        check(expected.passed_over.is_none(), "a signal was passed over and nothing was said")?;
        check(
            expected.group_asked.is_none_or(|(_, times)| times == 2),
            "what a worker left was not asked to stop",
        )?;
        for worker in &self.live {
            check(worker.stopped.is_none() || worker.continued, "a stop signal without SIGCONT")?;
            if worker.serves() && worker.due.is_none() {
                check(worker.limits_reached(now) == (false, false), "a limit was passed over")?;
            }
        }
        Ok(())
    }
}

impl Worker {
    /// Whether it has reached its limit of requests, and of age.
    fn limits_reached(&self, now: Monotonic) -> (bool, bool) {
        let by_requests = self.order.max_requests.is_some_and(|limit| self.requests >= limit);
        (by_requests, self.max_age.is_some_and(|age| self.spawned + age <= now))
    }
}
