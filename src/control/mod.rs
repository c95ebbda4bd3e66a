//! How tasks at the edge ask the loop, and how the loop answers. Tasks see no state but these answers.

pub mod order;
pub mod waiting;

use crate::core::Status;
use crate::report::metrics::Page;
use order::Order;
use tokio::sync::{mpsc, oneshot};
use waiting::Outcome;

/// Queries that may wait; more are refused. Each waits for at most one round of the loop.
const MOST_WAITING: usize = 64;

/// A query or an order. The loop is not told if its sender no longer waits.
#[derive(Debug)]
pub enum Query {
    Status(oneshot::Sender<Status>),
    /// Answered when the order is carried out, or cannot be.
    Order(Order, oneshot::Sender<Outcome>),
    Metrics(oneshot::Sender<Page>),
    /// The page of the supervisor's own metrics.
    Liveness(oneshot::Sender<Page>),
}

/// The loop's end.
#[derive(Debug)]
pub struct Inbox {
    asks: mpsc::Receiver<Query>,
    /// A query that [`poll_ready`](Self::poll_ready) took, because a channel cannot be polled without that.
    next: Option<Query>,
}

/// A task's end.
#[derive(Clone, Debug)]
pub struct Desk(mpsc::Sender<Query>);

#[must_use]
pub fn open() -> (Desk, Inbox) {
    let (sender, asks) = mpsc::channel(MOST_WAITING);
    (Desk(sender), Inbox { asks, next: None })
}

impl Inbox {
    /// Ready when there is a query to take.
    pub fn poll_ready(&mut self, cx: &mut std::task::Context<'_>) -> std::task::Poll<()> {
        if self.next.is_none() {
            match self.asks.poll_recv(cx) {
                std::task::Poll::Ready(Some(ask)) => self.next = Some(ask),
                // The last desk is gone: no more queries can come.
                std::task::Poll::Ready(None) | std::task::Poll::Pending => return std::task::Poll::Pending,
            }
        }
        std::task::Poll::Ready(())
    }

    pub fn take(&mut self) -> Option<Query> {
        self.next.take().or_else(|| self.asks.try_recv().ok())
    }
}

impl Desk {
    /// `None` if the loop is too busy, or has ended.
    pub async fn status(&self) -> Option<Status> {
        self.ask(Query::Status).await
    }

    /// The outcome of an order, after any time; `None` if the loop is too busy, or has ended. If the future is
    /// dropped, the order still stands.
    pub async fn order(&self, order: Order) -> Option<Outcome> {
        self.ask(|answer| Query::Order(order, answer)).await
    }

    /// All metrics; `None` as for [`status`](Self::status). Simultaneous queries get the same page.
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
