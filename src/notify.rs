//! What workers tell us of themselves: datagrams of `KEY=VALUE` lines (sd_notify(3)).
//!
//! Anybody who knows the socket's name can write to it, so a datagram counts only if the kernel vouches that
//! its sender is a worker or descends from one.

use crate::core::Event;
use crate::os::notify_socket::Datagram;
use crate::os::proc;

/// The events in a datagram, in order. Unknown keys are passed over, as the protocol asks; so is a sender
/// that is not below a child of ours, or that has ended and been reaped already.
#[must_use]
pub fn events(datagram: &Datagram) -> Vec<Event> {
    let Some(pid) = proc::child_above(datagram.sender) else { return Vec::new() };
    let text = String::from_utf8_lossy(&datagram.text);
    let event = |line: &str| match line.split_once('=')? {
        ("READY", "1") => Some(Event::SaidReady { pid }),
        ("X_PREFORK_REQUESTS", total) => {
            Some(Event::RequestsReported { pid, total: total.trim().parse().ok()? })
        }
        _ => None,
    };
    text.lines().filter_map(event).collect()
}
