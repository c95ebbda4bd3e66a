//! Orders from the control socket: carrying them out, and telling what came of them.

use super::Loop;
use crate::control::Ask;
use crate::control::order::Order;
use crate::control::waiting::{self, Outcome, Refusal, Waiting};
use crate::core::event::Request;
use crate::core::snapshot::Phase;
use crate::core::{Event, Signal, Status};
use crate::os::process::send;
use crate::report::log;
use crate::workers::share::Share;
use tokio::sync::oneshot;
use tracing::info;

/// More orders than this are not waited for at a time. Each costs a look at every slot after each turn of the loop.
const MOST_WAITERS: usize = 32;

/// Requests whose outcome is waited for, and where it goes.
#[derive(Default)]
pub struct Waiters(Vec<(Waiting, oneshot::Sender<Outcome>)>);

impl Waiters {
    /// Whether there is room for one more.
    fn has_room(&mut self) -> bool {
        self.0.retain(|(_, answer)| !answer.is_closed());
        self.0.len() < MOST_WAITERS
    }

    /// Answers those that have come to an end, and forgets those that nobody waits for any more.
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

impl Loop {
    /// Answers what tasks have asked.
    pub(super) fn take_asks(&mut self) {
        let share = Share::begin();
        while let Some(ask) = self.inbox.take() {
            match ask {
                Ask::Status(answer) => {
                    let _gone = answer.send(self.shown().status(self.now()));
                }
                Ask::Metrics(_) | Ask::Liveness(_) => self.scrape(ask),
                Ask::Order(order, answer) => self.obey(order, answer),
            }
            if share.is_over() {
                break;
            }
        }
    }

    /// Carries an order out, or says why not.
    fn obey(&mut self, order: Order, answer: oneshot::Sender<Outcome>) {
        let before = self.shown().status(self.now());
        let outcome = match waiting::check(order, &before) {
            Err(refusal) => Outcome::Refused(refusal),
            Ok(()) if self.before.is_running() && order.is_for_the_pool() => {
                Outcome::Refused(Refusal::NotStarted)
            }
            Ok(()) => match order {
                Order::Demand(Request::Stop) => {
                    // Another one would not be another order, but ask for haste, as a second TERM does.
                    if self.core.snapshot().phase == Phase::Running {
                        self.handle(Event::Requested(Request::Stop));
                    }
                    match self.core.snapshot().phase {
                        Phase::Running => Outcome::Refused(Refusal::Dropped),
                        Phase::Draining | Phase::Stopping | Phase::GivenUp => Outcome::Stopping,
                    }
                }
                Order::Demand(demand) => return self.demand(demand, &before, answer),
                Order::Signal { slot, signal } => self.signal_one(&before, slot, signal),
                Order::LogLevel(level) => {
                    log::set_level(level);
                    info!(log_level = level.name(), "log level set");
                    Outcome::Set
                }
            },
        };
        let _gone = answer.send(outcome);
    }

    fn demand(&mut self, demand: Request, before: &Status, answer: oneshot::Sender<Outcome>) {
        if !self.waiters.has_room() {
            let _gone = answer.send(Outcome::Refused(Refusal::TooMany));
            return;
        }
        self.handle(Event::Requested(demand));
        let after = self.core.status(self.now());
        self.waiters.0.extend(Waiting::new(demand, before, &after).map(|waiting| (waiting, answer)));
    }

    /// A worker that is seated has not been reaped: the signal reaches no stranger.
    fn signal_one(&self, status: &Status, slot: u32, signal: Signal) -> Outcome {
        let Some(pid) = waiting::seated(status, slot).and_then(|worker| worker.pid) else {
            return Outcome::Refused(Refusal::NobodyThere);
        };
        match send::to_process(pid, signal) {
            Ok(()) => Outcome::Sent { slot, pid },
            Err(error) => Outcome::NotSent { error: error.to_string() },
        }
    }
}
