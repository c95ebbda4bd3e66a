//! What tasks at the edge ask of the loop, and how it answers.

pub mod order;
pub mod waiting;

use crate::core::Status;
use crate::report::metrics::Page;
use order::Order;
use tokio::sync::{mpsc, oneshot};
use waiting::Outcome;

/// More that wait at once are refused: each waits for at most one round of the loop.
const MOST_WAITING: usize = 64;

/// One question or order. Who does not wait for the answer any more is not told.
#[derive(Debug)]
pub enum Query {
    /// Everything there is to see.
    Status(oneshot::Sender<Status>),
    /// Something is to be done; answered when it is, or cannot be.
    Order(Order, oneshot::Sender<Outcome>),
    /// The page of all metrics.
    Metrics(oneshot::Sender<Page>),
    /// The page of the supervisor's own metrics.
    Liveness(oneshot::Sender<Page>),
}

/// The loop's end.
#[derive(Debug)]
pub struct Inbox {
    asks: mpsc::Receiver<Query>,
    /// Taken by [`poll_ready`](Self::poll_ready), which cannot look without taking.
    next: Option<Query>,
}

/// A task's end.
#[derive(Clone, Debug)]
pub struct Desk(mpsc::Sender<Query>);

/// The two ends.
#[must_use]
pub fn open() -> (Desk, Inbox) {
    let (sender, asks) = mpsc::channel(MOST_WAITING);
    (Desk(sender), Inbox { asks, next: None })
}

impl Inbox {
    /// Ready when there is something to take.
    pub fn poll_ready(&mut self, cx: &mut std::task::Context<'_>) -> std::task::Poll<()> {
        if self.next.is_none() {
            match self.asks.poll_recv(cx) {
                std::task::Poll::Ready(Some(ask)) => self.next = Some(ask),
                // The last desk is gone: nobody will ask any more.
                std::task::Poll::Ready(None) | std::task::Poll::Pending => return std::task::Poll::Pending,
            }
        }
        std::task::Poll::Ready(())
    }

    /// Takes what has come.
    pub fn take(&mut self) -> Option<Query> {
        self.next.take().or_else(|| self.asks.try_recv().ok())
    }
}

impl Desk {
    /// Everything there is to see; `None` if the loop is too busy, or has ended.
    pub async fn status(&self) -> Option<Status> {
        self.ask(Query::Status).await
    }

    /// What came of an order, however long that takes; `None` if the loop is too busy, or has ended. To drop the future
    /// is to wait no longer: the order stands.
    pub async fn order(&self, order: Order) -> Option<Outcome> {
        self.ask(|answer| Query::Order(order, answer)).await
    }

    /// All metrics; `None` as for [`status`](Self::status). Those who ask at the same time get the same page.
    pub async fn metrics(&self) -> Option<Page> {
        self.ask(Query::Metrics).await
    }

    /// The supervisor's own metrics, at once; `None` as for [`status`](Self::status).
    pub async fn liveness(&self) -> Option<Page> {
        self.ask(Query::Liveness).await
    }

    async fn ask<T>(&self, ask: impl FnOnce(oneshot::Sender<T>) -> Query) -> Option<T> {
        let (sender, answer) = oneshot::channel();
        self.0.try_send(ask(sender)).ok()?;
        answer.await.ok()
    }
}
