//! What is told of a worker has a cause: that it is ready, is due, hangs, is stopped, and why it ended.

use super::super::rule::{Held, check};
use super::facts::{Facts, Roll, Stage, Worker};
use prefork_core::action::SpawnOrder;
use prefork_core::event::WorkerFact;
use prefork_core::exit::{Exit, Reason};
use prefork_core::note::{ReadyBy, Sign, WorkerRef};
use prefork_core::{Event, Monotonic, Pid, Signal};
use std::time::Duration;

const CONFIRMED_AFTER: Duration = Duration::from_secs(5);

/// What a worker beyond its hard limit of memory gets at most.
const HARD_LIMIT_GRACE: Duration = Duration::from_secs(5);

impl Facts {
    /// When `READY=1` is believed: at once where nothing better is to be had, else after a while, and in any case before
    /// the worker would be given up.
    pub fn confirmed_at(&self, worker: &Worker) -> Option<Monotonic> {
        let said = worker.said_ready.filter(|_| self.policy.ready.believe)?;
        if !self.policy.ready.observe || worker.refused {
            return Some(said);
        }
        worker.fail_by.into_iter().chain([said + CONFIRMED_AFTER]).min()
    }

    pub fn is_ready(&mut self, now: Monotonic, named: WorkerRef, by: ReadyBy) -> Held {
        let (ready, event) = (self.policy.ready, self.event);
        let confirmed_at = self.of(named.pid).and_then(|worker| self.confirmed_at(worker));
        let worker = self.known(named)?;
        let (pid, slot) = (worker.pid, worker.slot());
        check(worker.starts() && worker.retired.is_none(), "ready again, or too late")?;
        let sign = match by {
            ReadyBy::Accepting => event == Event::Worker { pid, fact: WorkerFact::SeenAccepting },
            ReadyBy::Probed => {
                ready.probe && event == Event::Worker { pid, fact: WorkerFact::Probed { passed: Some(true) } }
            }
            ReadyBy::Notified => confirmed_at.is_some_and(|at| at <= now),
            ReadyBy::Uptime => ready.after.is_some_and(|after| worker.spawned + after <= now),
        };
        check(sign, "no sign that it is ready")?;
        (worker.ready, worker.bad_probes, worker.probe) = (Some(now), 0, (now, false));
        worker.silent_since = worker.pings.map(|_| now);
        (self.slots[slot].recovers, self.ever_ready) = (false, true);
        let old = self.seated(slot).filter(|seated| seated.pid != pid);
        let old = old.map(|old| (old.pid, old.due.unwrap_or(Reason::Reload)));
        old.map_or(Ok(()), |(old, reason)| self.retires(now, old, reason))
    }

    pub fn is_due(&mut self, now: Monotonic, named: WorkerRef, reason: Reason, requests: u64) -> Held {
        let worker = self.known(named)?;
        check(worker.serves() && worker.due.replace(reason).is_none(), "due again")?;
        check(worker.requests == requests, "miscounted")?;
        let by_limit = [Reason::MaxRequests, Reason::MaxAge].contains(&reason);
        check(!by_limit || worker.has_reached_a_limit(now) == Some(reason), "due too early")
    }

    pub fn hangs(&mut self, now: Monotonic, named: WorkerRef, sign: Sign) -> Held {
        let (event, probe) = (self.event, self.policy.hang.probe);
        let worker = self.known(named)?;
        check(worker.serves() && worker.leaves.is_none(), "it does not serve, or leaves")?;
        let shows = match sign {
            Sign::Watchdog => {
                event == Event::Worker { pid: named.pid, fact: WorkerFact::Triggered }
                    || worker.ping_by().is_some_and(|by| by <= now)
            }
            Sign::Probe => probe.is_some_and(|probe| worker.bad_probes >= probe.failures),
            Sign::AcceptStall => worker.suspected,
            Sign::RequestDeadline => {
                matches!(event, Event::Worker { pid, fact: WorkerFact::Measured(found) } if pid == named.pid && found.request_overdue)
            }
        };
        check(shows, "no sign that it hangs")?;
        let is_known = worker.away && matches!(sign, Sign::Probe | Sign::AcceptStall);
        check(!is_known, "that it takes nothing is known, and no reason to hurt it")?;
        (worker.hung, worker.due, worker.silent_since) = (true, None, None);
        self.lost += usize::from(self.is_seated(named.pid));
        Ok(())
    }

    pub fn is_alive(&mut self, named: WorkerRef) -> Held {
        let by_queue = matches!(self.event, Event::Worker { fact: WorkerFact::Measured(_), .. });
        let worker = self.known(named)?;
        check(worker.is_up() && (worker.hung || worker.suspected), "it was not suspected")?;
        if std::mem::take(&mut worker.hung) {
            worker.due = worker.leaves.map(|_| Reason::Stop);
        }
        worker.suspected &= !by_queue;
        Ok(())
    }

    // The stop.

    pub fn signals(&mut self, pid: Pid, signal: Signal) -> Held {
        if let Some((asked, _, continued)) = self.asked.as_mut() {
            check(*asked == pid && signal == Signal::CONT, "another signal before the first is explained")?;
            return check(!std::mem::replace(continued, true), "continued twice");
        }
        check(self.worker(pid)?.stopped.is_none(), "asked to stop again")?;
        self.asked = Some((pid, signal, false));
        Ok(())
    }

    /// Why a worker has just been asked to stop.
    pub fn stops(&mut self, now: Monotonic, named: WorkerRef, reason: Reason, signal: Signal) -> Held {
        let pid = self.known(named)?.pid;
        check(
            self.asked.take() == Some((pid, signal, true)),
            "it was not asked, or otherwise, or not continued",
        )?;
        let hang = self.policy.hang;
        let grace = self.policy.stop.graceful.deadline(now);
        let usual = if reason == Reason::Hung { hang.abort_signal } else { self.policy.stop.signal };
        check(signal == usual, "the wrong signal")?;
        let is_ending = matches!(self.stage, Stage::Ending { .. } | Stage::Killing { .. });
        let worker = self.worker(pid)?;
        let is_new = worker.spawned == now;
        let by_plan = worker.retired.or(worker.due) == Some(Reason::Stop);
        let kill_by = match reason {
            Reason::Hung => self.is_aborted(pid).map(|()| Some(now + hang.abort_time))?,
            // The pool ends. One may be ordered just before that.
            Reason::Stop if is_new && matches!(self.stage, Stage::Closing { .. }) => grace,
            Reason::Stop if !by_plan || is_ending => self.ends(now).map(|()| None)?,
            Reason::Stop => match self.is_stopped_by_plan(now, pid, reason) {
                Err(_) if self.may_end(now).is_ok() => self.ends(now).map(|()| None)?,
                held => held.map(|()| grace)?,
            },
            Reason::BootTimeout => self.is_given_up(now, pid).map(|()| grace)?,
            Reason::MaxMemory if self.is_too_big(pid) => {
                self.lost += usize::from(self.is_seated(pid));
                grace.into_iter().chain([now + HARD_LIMIT_GRACE]).min()
            }
            planned => self.is_stopped_by_plan(now, pid, planned).map(|()| grace)?,
        };
        let worker = self.worker(pid)?;
        (worker.stopped, worker.kill_by) = (Some((now, reason)), kill_by);
        Ok(())
    }

    fn is_given_up(&mut self, now: Monotonic, pid: Pid) -> Held {
        let believes = self.policy.ready.believe;
        let explained = self.explained.contains(&pid) || !self.policy.drain.listens;
        let worker = self.worker(pid)?;
        check(worker.starts() && worker.fail_by.is_some_and(|at| at <= now), "stopped while it starts")?;
        check(!believes || worker.said_ready.is_none(), "given up although it said that it is ready")?;
        check(explained, "what it listens on was not told")
    }

    fn is_too_big(&self, pid: Pid) -> bool {
        let hard = self.policy.recycle.max_memory_hard;
        let Event::Worker { pid: measured, fact: WorkerFact::Measured(found) } = self.event else {
            return false;
        };
        pid == measured && found.memory.zip(hard).is_some_and(|(memory, limit)| memory > limit)
    }

    /// Those that hang are ended one after the other, unless another has taken their place.
    fn is_aborted(&mut self, pid: Pid) -> Held {
        let is_running = self.is_running();
        let recovering = self.slots.iter().filter(|slot| slot.recovers).count();
        let most = self.most_missing().max(1);
        let worker = self.worker(pid)?;
        check(worker.is_up() && worker.hung, "it does not hang")?;
        if worker.retired.is_none() {
            let slot = worker.slot();
            check(is_running && recovering < most, "too many are ended at once, or at the end")?;
            check(!std::mem::replace(&mut self.slots[slot].recovers, true), "aborted again")?;
        }
        Ok(())
    }

    /// One that makes way: when nothing comes to it and it has nothing in hand.
    fn is_stopped_by_plan(&mut self, now: Monotonic, pid: Pid, reason: Reason) -> Held {
        let empties = self.policy.drain.steered || self.policy.drain.told;
        check(self.worker(pid)?.retired.is_some() || !empties, "stopped before it was emptied")?;
        self.makes_way(now, pid, reason)?;
        let worker = self.worker(pid)?;
        match (worker.ready, worker.drain) {
            (Some(_), Some(drain)) => self.is_emptied(now, &drain),
            (Some(_), None) => check(!empties, "stopped before it was emptied"),
            (None, _) => Ok(()),
        }
    }

    // The end of a worker.

    pub fn has_exited(&mut self, now: Monotonic, named: WorkerRef, exit: Exit, reason: Reason) -> Held {
        let at = self.dead.iter().position(|dead| dead.worker.named() == named);
        let dead = self.dead.remove(at.ok_or("it did not end, or that was told")?);
        let worker = dead.worker;
        let by_kill = matches!(exit, Exit::Signal { signal: Signal::KILL, .. });
        let is_oom = by_kill && dead.out_of_memory && !worker.killed;
        let own = [Reason::Crash, Reason::BootError, Reason::Stop, Reason::MaxRequests];
        let fits = match worker.stopped {
            _ if reason == Reason::Oom || is_oom => is_oom && reason == Reason::Oom,
            Some((_, why)) => reason == why,
            None if worker.hung || reason == Reason::Hung => worker.hung && reason == Reason::Hung,
            None if worker.retired == Some(reason) => true,
            None => own.contains(&reason) && (reason != Reason::BootError || worker.ready.is_none()),
        };
        check(fits && exit == dead.exit, "it ended otherwise")?;
        if worker.retired.is_none() {
            self.ended(now, worker.order, worker.spawned, reason);
        }
        Ok(())
    }

    pub fn spawn_failed(&mut self, now: Monotonic, slot: u32, code: u8) -> Held {
        let Event::Spawned { id, result: Err(_) } = self.event else { return Err("no spawn failed".into()) };
        let order = self.pending.take_if(|order| order.id == id && order.slot == slot);
        let Some(order) = order else { return Err("that spawn did not fail".into()) };
        if !self.ever_spawned && self.is_running() {
            self.first_failure = Some(code);
            return Ok(());
        }
        let slot = slot as usize;
        let began = self.slots[slot].last_spawn.unwrap_or(now);
        self.leaves(slot, order.lane);
        self.ended(now, order, began, Reason::BootError);
        Ok(())
    }

    /// When the next one comes. After the second failure in a row half of the backoff is certain.
    fn ended(&mut self, now: Monotonic, order: SpawnOrder, began: Monotonic, reason: Reason) {
        let failed = reason.is_failure() || reason == Reason::MaxMemory;
        let (longest, half) = (self.longest_wait(), self.policy.respawn.backoff / 2);
        let at = order.slot as usize;
        let is_overtaken = match self.seated(at) {
            Some(_) => self.in_slot(at).any(|w| w.order.id > order.id),
            None => self.slots.get(at).is_some_and(|slot| slot.kept != Some(order.lane)),
        };
        self.ever_failed |= failed;
        let is_new = |roll: &&mut Roll| failed && roll.to == order.generation;
        self.roll.as_mut().filter(is_new).into_iter().for_each(|roll| roll.whole_since = None);
        let Some(slot) = self.slots.get_mut(at) else { return };
        slot.failures += u32::from(failed);
        let (earliest, latest) = match self.stage {
            // Those that were stopped with all others have no successors before the drain delay is over.
            Stage::Draining { until } if reason == Reason::Stop => (until, until),
            _ if failed && slot.failures > 1 => (began + half, now + longest),
            _ if failed => (now, now + longest),
            _ => (now, now),
        };
        slot.retry_by = slot.retry_by.max(latest);
        if !is_overtaken {
            (slot.not_before, slot.owed_by) = (earliest, latest);
        }
    }
}
