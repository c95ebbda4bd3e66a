//! The sources of events for which the loop waits.

use super::children::Reaping;
use crate::control::Inbox;
use crate::helpers::Helpers;
use crate::os::signals::Signals;
use crate::workers::Workers;
use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use tokio::time::{Instant, sleep_until};

/// All sources but workers and helpers.
pub struct Inputs {
    pub signals: Signals,
    pub children: Reaping,
    /// Queries of tasks.
    pub inbox: Inbox,
}

impl Inputs {
    /// Waits for any source or the deadline; without a deadline no timer is set. With `at_once` it does not wait.
    pub async fn wait(
        &mut self,
        deadline: Option<Instant>,
        at_once: bool,
        mut workers: Option<&mut Workers>,
        helpers: &mut Helpers,
    ) {
        let mut sleep = pin!(deadline.map(sleep_until));
        poll_fn(|cx| {
            let signalled = self.signals.poll_ready(cx).is_ready();
            let news = workers.as_mut().is_some_and(|workers| workers.poll_ready(cx).is_ready());
            let asked = self.inbox.poll_ready(cx).is_ready() | helpers.poll_ready(cx).is_ready();
            let late = sleep.as_mut().as_pin_mut().is_some_and(|sleep| sleep.poll(cx).is_ready());
            if signalled || news || asked || late || at_once { Poll::Ready(()) } else { Poll::Pending }
        })
        .await;
    }
}
