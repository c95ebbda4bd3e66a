//! What an order that takes long waits for, told while `ctl` waits for its end.

use super::ask::{ANSWER_WITHIN, ask};
use crate::report::log;
use crate::values::address::Address;
use crate::values::printable::page;
use hyper::{Method, StatusCode};
use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;
use tokio::time::sleep;

/// What is over sooner is not worth a word, and what goes on not worth one more often.
const EVERY: Duration = Duration::from_secs(4);

/// What came of an order; on stderr meanwhile, where it is to be told, what it waits for.
pub(super) async fn beside<T>(address: &Address, tells: bool, order: impl Future<Output = T>) -> T {
    let (mut order, mut tell) = (pin!(order), pin!(tell(address)));
    poll_fn(|cx| {
        if let Poll::Ready(answer) = order.as_mut().poll(cx) {
            return Poll::Ready(answer);
        }
        if tells && let Poll::Ready(never) = tell.as_mut().poll(cx) {
            match never {}
        }
        Poll::Pending
    })
    .await
}

/// An older supervisor does not know what it waits for.
async fn tell(address: &Address) -> Infallible {
    let mut told = String::new();
    loop {
        sleep(EVERY).await;
        if let Ok((StatusCode::OK, text)) = ask(address, Method::GET, "/waits", ANSWER_WITHIN).await
            && told != text
        {
            log::print(&page(&text), true);
            told = text;
        }
    }
}
