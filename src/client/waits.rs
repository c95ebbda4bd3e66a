//! Reports what a long order waits for, while `ctl` waits for its end.

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

/// The interval, and the time before the first report: a shorter wait needs none.
const EVERY: Duration = Duration::from_secs(4);

/// Waits for an order's result; meanwhile, if `tells`, prints on stderr what it waits for.
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

/// Never ends. An older supervisor does not know `/waits`, and nothing is printed.
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
