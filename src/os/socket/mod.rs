//! Sockets: listeners and lanes, what waits in them, which processes hold them, and descriptors that peers pass to us.

pub mod accepting;
pub mod activation;
pub mod connection;
pub mod connections;
pub mod full_queue;
pub mod held;
pub mod lanes;
pub mod let_go;
pub mod listen;
pub mod netstat;
pub mod occupant;
pub mod passed;
pub mod queue_watch;
pub mod rights;
pub mod shut_watch;
pub mod steer;
pub mod taker;

use std::path::Path;

/// The inode in `socket:[1234]`, as `/proc/PID/fd` shows a socket.
pub(super) fn inode_of(target: &Path) -> Option<u64> {
    target.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
}
