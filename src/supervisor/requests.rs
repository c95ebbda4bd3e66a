//! Orders from the control socket: carries them out and reports their outcome.

use super::Supervisor;
use super::life::Life;
use crate::control::Query;
use crate::control::order::Order;
use crate::control::waiting::{self, OrderRefusal, Outcome, Pending};
use crate::core::event::Request;
use crate::core::snapshot::Phase;
use crate::core::{Event, Signal, Status};
use crate::os::process::send;
use crate::report::log;
use crate::workers::share::TimeShare;
use tokio::sync::oneshot;
use tracing::info;

impl Supervisor {
    /// Answers the queries of tasks.
    pub(super) fn take_asks(&mut self, life: &mut Life<'_>) {
        let share = TimeShare::begin();
        while let Some(ask) = self.inputs.inbox.take() {
            match ask {
                Query::Status(answer) => {
                    let _gone = answer.send(life.outside().status(self.clock.now()));
                }
                Query::Metrics(answer) => self.observers.scrape(answer, life.outside(), self.clock.now()),
                Query::Liveness(answer) => {
                    let _gone =
                        answer.send(self.observers.liveness(&life.outside().status(self.clock.now())));
                }
                Query::Order(order, answer) => self.obey(life, order, answer),
            }
            if share.is_over() {
                break;
            }
        }
    }

    /// Carries an order out, or answers why not.
    fn obey(&mut self, life: &mut Life<'_>, order: Order, answer: oneshot::Sender<Outcome>) {
        let before = life.outside().status(self.clock.now());
        let outcome = match waiting::check(order, &before) {
            Err(refusal) => Outcome::Refused(refusal),
            Ok(()) if life.first.is_some() && order.is_for_the_pool() => {
                Outcome::Refused(OrderRefusal::NotStarted)
            }
            Ok(()) => match order {
                Order::Demand(Request::Stop) => {
                    // A second stop request must not hurry the stop, as a second TERM does.
                    if life.core.snapshot().phase == Phase::Running {
                        self.feed(life, Event::Requested(Request::Stop));
                    }
                    match life.core.snapshot().phase {
                        Phase::Running => Outcome::Refused(OrderRefusal::Dropped),
                        Phase::Draining | Phase::Stopping | Phase::GivenUp => Outcome::Stopping,
                    }
                }
                Order::Demand(demand) => return self.demand(life, demand, &before, answer),
                Order::Signal { slot, signal } => signal_one(&before, slot, signal),
                Order::LogLevel(level) => {
                    log::set_level(level);
                    info!(log_level = level.name(), "log level set");
                    Outcome::Set
                }
            },
        };
        let _gone = answer.send(outcome);
    }

    fn demand(
        &mut self,
        life: &mut Life<'_>,
        demand: Request,
        before: &Status,
        answer: oneshot::Sender<Outcome>,
    ) {
        if !self.waiters.has_room() {
            let _gone = answer.send(Outcome::Refused(OrderRefusal::TooMany));
            return;
        }
        self.feed(life, Event::Requested(demand));
        let after = life.core.status(self.clock.now());
        if let Some(waiting) = Pending::new(demand, before, &after) {
            self.waiters.push(waiting, answer);
        }
    }
}

/// A seated worker has not been reaped, so the signal cannot reach another process.
fn signal_one(status: &Status, slot: u32, signal: Signal) -> Outcome {
    let Some(pid) = waiting::seated(status, slot).and_then(|worker| worker.pid) else {
        return Outcome::Refused(OrderRefusal::NobodyThere);
    };
    match send::to_process(pid, signal) {
        Ok(()) => Outcome::Sent { slot, pid },
        Err(error) => Outcome::NotSent { error: error.to_string() },
    }
}
