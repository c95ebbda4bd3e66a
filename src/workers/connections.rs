//! The state of the connections that draining workers have accepted.

use super::Workers;
use super::in_hand::Hand;
use crate::core::Pid;
use crate::core::event::Connections;
use crate::core::exit::Reason;
use crate::os::call;
use crate::os::process::own_usage::costing;
use crate::os::socket::connections;
use std::collections::HashSet;
use std::io;
use std::time::Duration;
use tokio::time::Instant;
use tracing::{info, warn};

impl Workers {
    /// The state of the connections of these workers, which have got no new ones for `for_so_long`, and the processor
    /// time of the look. `None` if the kernel does not show it.
    pub(super) fn look_at_connections(
        &mut self,
        workers: &[Pid],
        for_so_long: Duration,
    ) -> (Option<Connections>, Duration) {
        costing(|| {
            let found = self.in_hand(workers, for_so_long);
            found.map_err(|error| self.warn_not_seen(&error)).ok()
        })
    }

    fn in_hand(&mut self, workers: &[Pid], for_so_long: Duration) -> io::Result<Connections> {
        let addresses: Vec<_> = self.lanes.addresses().cloned().collect();
        let all = connections::connections(&addresses)?;
        let hands = self.hands.judge(&all, Instant::now(), for_so_long);
        let wanted: HashSet<u64> = hands.keys().copied().collect();
        let mut found = Connections::default();
        if wanted.is_empty() {
            return Ok(found);
        }
        for worker in workers {
            let owned = self.as_worker(|| connections::owned(*worker, &wanted))?;
            for hand in owned.iter().filter_map(|inode| hands.get(inode)) {
                found.open = found.open.saturating_add(1);
                match hand {
                    Hand::Nothing => {}
                    Hand::Something => found.busy = found.busy.saturating_add(1),
                    Hand::Another => found.again = found.again.saturating_add(1),
                }
            }
        }
        Ok(found)
    }

    /// Workers that share a listener get new connections until the stop signal, so no connection is waited for. That
    /// is logged once.
    pub(super) fn warn_of_sharing(&mut self, reason: &Reason) {
        let is_planned = !reason.is_failure() && *reason != Reason::Stop;
        let shares = !self.steers() && self.lanes.addresses().next().is_some();
        if is_planned && shares && !std::mem::replace(&mut self.hands.blindness_logged, true) {
            info!(
                "workers share a listener: one that is replaced is told to stop with what it has in hand, which a \
                 server that does not handle the stop signal loses"
            );
        }
    }

    fn warn_not_seen(&mut self, error: &io::Error) {
        if !std::mem::replace(&mut self.hands.blindness_logged, true) {
            let remedy = match error.kind() {
                _ if call::is_refused(call::errno(error)) => call::REMEDY,
                // The error of sock_diag(7) if no kernel module answers.
                io::ErrorKind::NotFound => {
                    "the kernel has no tcp_diag: load it on the host, with modprobe tcp_diag"
                }
                _ => "see /proc and sock_diag(7)",
            };
            warn!(
                %error,
                "what workers have in hand cannot be seen: a server that drops it at the stop signal loses it: {remedy}"
            );
        }
    }
}
