//! The outcome of an order, found by comparing one status with the next. It must not know how an order is carried
//! out.

use super::order::Order;
use crate::core::event::Request;
use crate::core::exit::Reason;
use crate::core::snapshot::{Phase, Reload, ReloadState, State, Worker};
use crate::core::{Pid, Status};
use std::fmt;
use tokio::sync::oneshot;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Every worker is of the new generation.
    Reloaded {
        generation: u32,
    },
    /// The first worker of the new generation did not become ready, and the old workers go on.
    ReloadFailed {
        generation: u32,
        /// Why that worker ended.
        reason: Reason,
    },
    /// The reload was not begun: the configuration that was read for it is wrong.
    ReloadRefused,
    /// A later order of the same kind replaced this one.
    Overtaken {
        order: Order,
    },
    /// Another worker has the seat of the slot.
    Replaced {
        slot: u32,
        /// The worker before; `None` if none served.
        old: Option<Pid>,
        pid: Pid,
    },
    /// The replacement did not become ready. It is tried again; the old worker, if there is one, goes on.
    ReplacementFailed {
        slot: u32,
    },
    /// The slot does not exist any more.
    SlotGone {
        slot: u32,
    },
    /// The wanted number of workers is ready, and no other worker is left.
    Scaled {
        workers: u32,
    },
    /// One of the new workers did not become ready. It is tried again.
    ScaleFailed {
        slot: u32,
    },
    Stopping,
    /// The pool is being stopped, which ends every other order.
    Interrupted {
        order: Order,
    },
    Sent {
        /// The slot of the worker that received it.
        slot: u32,
        pid: Pid,
    },
    /// The kernel did not allow the signal.
    NotSent {
        error: String,
    },
    /// A setting that applies at once.
    Set,
    Refused(OrderRefusal),
}

/// Why an order was not begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OrderRefusal {
    /// Init mode: there is one command, and no pool.
    NotAPool,
    NoSuchSlot {
        /// The number of slots that exist.
        slots: usize,
    },
    /// No worker runs in that slot now.
    NobodyThere,
    /// The pool is being stopped.
    NotRunning(Phase),
    /// Too many orders wait for their outcome.
    TooMany,
    /// A command of `--before` still runs.
    NotStarted,
    /// A rewrite rule drops the signal that asks to stop.
    Dropped,
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Reloaded { generation } => write!(f, "reload finished: generation {generation}"),
            Self::ReloadFailed { generation, reason } => {
                write!(
                    f,
                    "reload failed: the first worker of generation {generation} did not get ready ({reason}); the old ones go on"
                )
            }
            Self::ReloadRefused => {
                f.write_str("reload refused: the configuration is wrong, see the log; nothing was changed")
            }
            Self::Overtaken { order } => write!(f, "{order}: overtaken by a later one"),
            Self::Replaced { slot, old: Some(old), pid } => {
                write!(f, "worker {old} of slot {slot} replaced by {pid}")
            }
            Self::Replaced { slot, old: None, pid } => write!(f, "worker {pid} of slot {slot} is ready"),
            Self::ReplacementFailed { slot } => {
                write!(f, "the new worker of slot {slot} did not get ready: see the log; it is tried again")
            }
            Self::SlotGone { slot } => write!(f, "slot {slot} is not wanted any more"),
            Self::Scaled { workers } => write!(f, "scaled: {workers} ready"),
            Self::ScaleFailed { slot } => {
                write!(f, "the new worker of slot {slot} did not get ready: see the log; it is tried again")
            }
            Self::Stopping => f.write_str("stopping"),
            Self::Interrupted { order } => {
                write!(f, "{order}: not finished, for everything is being stopped")
            }
            Self::Sent { slot, pid } => write!(f, "sent to {pid} in slot {slot}"),
            Self::NotSent { error } => write!(f, "not sent: {error}"),
            Self::Set => f.write_str("done"),
            Self::Refused(refusal) => refusal.fmt(f),
        }
    }
}

impl fmt::Display for OrderRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAPool => f.write_str("there is one command and no pool: use stop, or signal 0 SIGNAL"),
            Self::NoSuchSlot { slots: 1 } => f.write_str("no such slot: there is only slot 0"),
            Self::NoSuchSlot { slots } => {
                write!(f, "no such slot: there are slots 0 to {}", slots.saturating_sub(1))
            }
            Self::NobodyThere => f.write_str("nobody runs there now"),
            Self::NotRunning(phase) => write!(f, "it is not running any more: {}", phase.name()),
            Self::NotStarted => f.write_str("nothing was started yet: the command of --before runs"),
            Self::Dropped => f.write_str("TERM is dropped: see --rewrite-signal"),
            Self::TooMany => f.write_str("too many wait for their orders: try again"),
        }
    }
}

/// Whether an order can be begun.
///
/// # Errors
/// Why not.
pub fn check(order: Order, before: &Status) -> Result<(), OrderRefusal> {
    // Init mode has no slots, and one command.
    let (is_pool, slots) = (!before.slots.is_empty(), before.slots.len().max(1));
    let phase = before.summary.phase;
    let has_slot = |slot: u32| usize::try_from(slot).is_ok_and(|slot| slot < slots);
    match order {
        Order::Demand(Request::Stop) | Order::LogLevel(_) => Ok(()),
        Order::Signal { slot, .. } if !has_slot(slot) => Err(OrderRefusal::NoSuchSlot { slots }),
        Order::Signal { slot, .. } => match seated(before, slot) {
            Some(Worker { pid: Some(_), .. }) => Ok(()),
            Some(_) | None => Err(OrderRefusal::NobodyThere),
        },
        Order::Demand(_) if !is_pool => Err(OrderRefusal::NotAPool),
        Order::Demand(_) if phase != Phase::Running => Err(OrderRefusal::NotRunning(phase)),
        Order::Demand(Request::Recycle { slot }) if !has_slot(slot) => {
            Err(OrderRefusal::NoSuchSlot { slots })
        }
        Order::Demand(_) => Ok(()),
    }
}

/// The worker that serves for a slot, or will; not its successor, nor a retiring worker.
#[must_use]
pub fn seated(status: &Status, slot: u32) -> Option<&Worker> {
    let index = usize::try_from(slot).ok()?;
    // Retiring workers stay in the list.
    let is_vacant = status.slots.get(index).is_some_and(|slot| slot.respawn_in.is_some());
    status.workers.iter().find(|worker| worker.slot == slot).filter(|_| !is_vacant)
}

/// An order that was begun and has no outcome yet.
#[derive(Clone, Debug)]
pub struct Pending {
    order: Order,
    goal: Goal,
}

#[derive(Clone, Debug)]
enum Goal {
    /// `None` if no reload was begun.
    Generation(Option<u32>),
    /// A worker other than `old` has to be ready. `failures` is the number that this order does not count.
    Other { slot: u32, old: Option<Pid>, is_gone: bool, failures: u32 },
    /// This number has to be ready; the slots from `from` on are new.
    Workers { workers: u32, from: usize },
}

impl Pending {
    /// For a request that was carried out between `before` and `after`; `None` if there is nothing to wait for.
    #[must_use]
    pub fn new(demand: Request, before: &Status, after: &Status) -> Option<Self> {
        let goal = match demand {
            Request::Reload => {
                // If the configuration was refused, an earlier reload that is under way goes on.
                let generation = |status: &Status| status.reload.map(|reload| reload.generation);
                Goal::Generation(generation(after).filter(|_| generation(after) != generation(before)))
            }
            Request::Recycle { slot } => {
                // A starting worker has no predecessor to wait for, only itself.
                let old = seated(before, slot).filter(|worker| worker.state != State::Starting);
                let old = old.and_then(|worker| worker.pid);
                Goal::Other { slot, old, is_gone: false, failures: failures(before, slot)? }
            }
            Request::Scale { workers } => Goal::Workers { workers, from: before.slots.len() },
            Request::Stop => return None,
        };
        Some(Self { order: Order::Demand(demand), goal })
    }

    /// To be called after every turn of the loop until it returns an outcome.
    pub fn outcome(&mut self, status: &Status) -> Option<Outcome> {
        let order = self.order;
        let ended = match &mut self.goal {
            Goal::Generation(Some(generation)) => of_reload(order, *generation, status.reload),
            Goal::Generation(None) => Some(Outcome::ReloadRefused),
            Goal::Other { slot, old, is_gone, failures } => {
                of_recycling(status, *slot, *old, is_gone, failures)
            }
            Goal::Workers { workers, from } => of_scaling(order, status, *workers, *from),
        };
        let is_interrupted = status.summary.phase != Phase::Running;
        ended.or_else(|| is_interrupted.then_some(Outcome::Interrupted { order }))
    }
}

/// Orders that may wait for their outcome. Each costs a look at every slot after each turn of the loop.
const MOST_WAITERS: usize = 32;

/// The orders that wait for their outcome, and their senders.
#[derive(Debug, Default)]
pub struct Waiters(Vec<(Pending, oneshot::Sender<Outcome>)>);

impl Waiters {
    pub fn has_room(&mut self) -> bool {
        self.0.retain(|(_, answer)| !answer.is_closed());
        self.0.len() < MOST_WAITERS
    }

    pub fn push(&mut self, waiting: Pending, answer: oneshot::Sender<Outcome>) {
        self.0.push((waiting, answer));
    }

    /// Answers the orders that have an outcome, and drops those whose sender no longer waits.
    pub fn tell(&mut self, status: impl FnOnce() -> Status) {
        if self.0.is_empty() {
            return;
        }
        let status = status();
        for (mut waiting, answer) in std::mem::take(&mut self.0) {
            match waiting.outcome(&status) {
                Some(outcome) => {
                    let _gone = answer.send(outcome);
                }
                None if answer.is_closed() => {}
                None => self.0.push((waiting, answer)),
            }
        }
    }
}

fn of_reload(order: Order, ours: u32, reload: Option<Reload>) -> Option<Outcome> {
    let Reload { generation, state } = reload?;
    match state {
        _ if generation > ours => Some(Outcome::Overtaken { order }),
        _ if generation < ours => None,
        ReloadState::Running => None,
        ReloadState::Refused => Some(Outcome::ReloadRefused),
        ReloadState::Finished => Some(Outcome::Reloaded { generation }),
        ReloadState::Failed(reason) => Some(Outcome::ReloadFailed { generation, reason }),
    }
}

fn of_recycling(
    status: &Status,
    slot: u32,
    old: Option<Pid>,
    is_gone: &mut bool,
    known: &mut u32,
) -> Option<Outcome> {
    let Some(failures) = failures(status, slot) else { return Some(Outcome::SlotGone { slot }) };
    let seated = seated(status, slot);
    if let Some(Worker { pid: Some(pid), state: State::Ready, .. }) = seated
        && Some(*pid) != old
    {
        return Some(Outcome::Replaced { slot, old, pid: *pid });
    }
    // The end of the old worker may have been a failure too, but not one of its replacement.
    if old.is_some() && seated.and_then(|worker| worker.pid) != old && !std::mem::replace(is_gone, true) {
        *known = failures;
    }
    // A worker that has served for a while resets the count.
    *known = (*known).min(failures);
    (failures > *known).then_some(Outcome::ReplacementFailed { slot })
}

fn of_scaling(order: Order, status: &Status, workers: u32, from: usize) -> Option<Outcome> {
    if status.summary.workers != workers {
        return Some(Outcome::Overtaken { order });
    }
    let failed = status.slots.iter().enumerate().skip(from).find(|(_, slot)| slot.failures > 0);
    if let Some((slot, _)) = failed {
        return Some(Outcome::ScaleFailed { slot: u32::try_from(slot).unwrap_or(u32::MAX) });
    }
    let all_ready = status.summary.ready >= workers;
    let nobody_else = status.workers.iter().all(|worker| worker.slot < workers);
    (all_ready && nobody_else).then_some(Outcome::Scaled { workers })
}

/// Consecutive failures of a slot; `None` if there is no such slot.
fn failures(status: &Status, slot: u32) -> Option<u32> {
    status.slots.get(usize::try_from(slot).ok()?).map(|slot| slot.failures)
}

#[cfg(test)]
mod tests;
