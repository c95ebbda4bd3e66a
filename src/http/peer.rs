//! The process at the other end of a unix socket.

use crate::os::process::privileges;

/// The credentials of a client at the time when it connected (`SO_PEERCRED`, unix(7)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Peer {
    pub(super) uid: u32,
    /// 0 if the process is not in our PID namespace.
    pub(super) pid: i32,
}

impl Peer {
    pub(super) fn may_order(self) -> bool {
        self.uid == 0 || self.uid == privileges::own_ids().0
    }
}
