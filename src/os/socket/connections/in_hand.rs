//! What connections have sent and received (`struct tcp_info`, tcp(7)), and which of them a worker has.

use super::diag::{self, ESTABLISHED, STATES, ask, attribute, each, read, u32_at};
use crate::core::Pid;
use crate::os::process::descriptors::{Family, descriptors};
use crate::os::process::proc;
use crate::os::socket::inode_of;
use crate::values::address::Address;
use std::collections::{HashMap, HashSet};
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

/// A connection that was accepted, or closed by the client since.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Connection {
    /// Bytes that the server has not read.
    pub unread: u32,
    /// Bytes that it has written and the client has not confirmed; of a unix socket: has not read.
    pub unsent: u32,
    /// What only TCP tells.
    pub tcp: Option<Tcp>,
}

/// What the kernel remembers of a TCP connection, in its ticks of some milliseconds. Of one that is new the first two are
/// the time since it was established.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tcp {
    /// Since bytes came in.
    pub received_ago: Duration,
    /// Since bytes went out, for the first time or again.
    pub sent_ago: Duration,
    /// Since anything came in, if only to confirm.
    pub heard_ago: Duration,
    /// Bytes that came in.
    pub received: u64,
    /// Bytes that went out and were confirmed.
    pub confirmed: u64,
    /// Packets with bytes that went out.
    pub packets_out: u32,
}

/// All accepted connections to these addresses, by inode.
///
/// # Errors
/// As socket(2) and sendto(2), or what the kernel answers (`ENOENT`: it was built without): then of these it tells nothing.
pub fn connections(addresses: &[Address]) -> io::Result<HashMap<u64, Connection>> {
    let mut found = HashMap::new();
    for address in addresses {
        match address {
            Address::Tcp(address) => tcp(*address, &mut found)?,
            Address::Unix(_) => {}
        }
    }
    let of_unix = diag::accepted_unix(addresses);
    if !of_unix.is_empty() {
        unix(&of_unix, &mut found)?;
    }
    found.remove(&0);
    Ok(found)
}

fn tcp(address: SocketAddr, found: &mut HashMap<u64, Connection>) -> io::Result<()> {
    each(address, STATES, INFO, |message| {
        if let Some((inode, connection)) = of_tcp(message) {
            found.insert(inode, connection);
        }
    })
}

/// A `struct inet_diag_msg` and its attributes.
fn of_tcp(message: &[u8]) -> Option<(u64, Connection)> {
    let info = attribute(message.get(INET_MESSAGE..)?, 2)?;
    let ago = |at| u32_at(info, at).map(|ms| Duration::from_millis(u64::from(ms)));
    let number = |at: usize| Some(u64::from_ne_bytes(info.get(at..)?.first_chunk().copied()?));
    let tcp = Tcp {
        received_ago: ago(52)?,
        sent_ago: ago(44)?,
        heard_ago: ago(56)?,
        received: number(128)?,
        confirmed: number(120)?,
        packets_out: u32_at(info, 156)?,
    };
    // The client's goodbye takes a number as a byte does.
    let goodbye = u32::from(message.get(1) != Some(&ESTABLISHED));
    let unread = u32_at(message, 56)?.saturating_sub(goodbye);
    let connection = Connection { unread, unsent: u32_at(message, 60)?, tcp: Some(tcp) };
    Some((u64::from(u32_at(message, diag::INODE)?), connection))
}

/// `INET_DIAG_INFO` as a bit of `idiag_ext`.
const INFO: u8 = 1 << 1;

/// The length of `struct inet_diag_msg`.
const INET_MESSAGE: usize = 72;

/// Those of all unix sockets that are among these.
fn unix(wanted: &HashSet<u64>, found: &mut HashMap<u64, Connection>) -> io::Result<()> {
    let family = u32::try_from(libc::AF_UNIX).unwrap_or(0);
    let fields = [family.to_le(), 1 << ESTABLISHED, 0, diag::SHOW_QUEUE, u32::MAX, u32::MAX];
    let kernel = ask(libc::NLM_F_REQUEST | libc::NLM_F_DUMP, &fields.map(u32::to_ne_bytes).concat())?;
    read(&kernel, |message| {
        let inode = u32_at(message, 4).map(u64::from).filter(|inode| wanted.contains(inode));
        if let Some((inode, [unread, unsent])) = inode.zip(diag::queue_in(message)) {
            found.insert(inode, Connection { unread, unsent, tcp: None });
        }
    })
}

/// More processes and descriptors than this are not looked at.
const MOST_PROCESSES: usize = 256;
const MOST_FDS: usize = 1 << 17;

/// Which of these sockets a worker and its descendants have. Takes some two microseconds a descriptor.
///
/// # Errors
/// `EACCES`, `EPERM` if the kernel does not let us look at the worker: it runs as another user.
pub fn owned(worker: Pid, wanted: &HashSet<u64>) -> io::Result<HashSet<u64>> {
    if !proc::is_ours() {
        return Err(io::ErrorKind::NotFound.into());
    }
    let (mut found, mut left) = (HashSet::new(), MOST_FDS);
    for pid in Family::of(worker, MOST_PROCESSES) {
        match sockets(pid, wanted, &mut left, &mut found) {
            Err(error)
                if pid == worker && error.kind() == io::ErrorKind::PermissionDenied && proc::runs(pid) =>
            {
                return Err(error);
            }
            // A worker that has ended and is not reaped yet, a descendant that is gone, or that changed its user.
            Ok(()) | Err(_) => {}
        }
        if found.len() >= wanted.len() {
            break;
        }
    }
    Ok(found)
}

fn sockets(pid: Pid, wanted: &HashSet<u64>, left: &mut usize, found: &mut HashSet<u64>) -> io::Result<()> {
    for open in descriptors(pid)?.take(*left) {
        *left = left.saturating_sub(1);
        let (_, target) = open?;
        found.extend(inode_of(&target).filter(|inode| wanted.contains(inode)));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
