//! Whether anything was asked of the network since the first worker was spawned.
//!
//! A worker that cannot start may wait for something that is not up yet. One that has tried to reach nothing does not,
//! but for what it finds in files and unix sockets. The kernel counts for the whole network namespace, which in a
//! container is ours: where others send too, it is as if a worker had.

use crate::os::socket::netstat;

/// See the module.
#[derive(Debug, Default)]
pub struct Outgoing {
    before: Option<Option<u64>>,
    told: bool,
}

impl Outgoing {
    /// A worker is about to be spawned.
    pub fn begins(&mut self) {
        self.before.get_or_insert_with(netstat::outgoing);
    }

    /// Whether something was asked for since, or the kernel does not tell, and that is news.
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
