//! Whether the network was used since the first worker was spawned.
//!
//! A worker that cannot start may wait for a service that is not up yet. If it has used no network, it waits for
//! nothing but files and unix sockets. The kernel counts for the whole network namespace, which in a container is the
//! supervisor's own. If other processes send too, that counts as if a worker had.

use crate::os::socket::netstat;

#[derive(Debug, Default)]
pub struct Outgoing {
    before: Option<Option<u64>>,
    told: bool,
}

impl Outgoing {
    pub fn begins(&mut self) {
        self.before.get_or_insert_with(netstat::outgoing);
    }

    /// Whether the network was used, or the kernel does not tell: `true` once.
    pub fn is_news(&mut self) -> bool {
        let unchanged = || match self.before {
            Some(Some(before)) => netstat::outgoing() == Some(before),
            Some(None) | None => false,
        };
        let is_news = !self.told && !unchanged();
        self.told |= is_news;
        is_news
    }
}
