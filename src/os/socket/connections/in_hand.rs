//! The traffic of accepted connections (`struct tcp_info`, tcp(7)), and which of them a worker holds.

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

/// An accepted connection; the client may have closed its side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Connection {
    /// Bytes that the server has not read.
    pub unread: u32,
    /// Bytes that the server has written and the client has not acknowledged; for a unix socket: has not read.
    pub unsent: u32,
    /// `None` for a unix socket.
    pub tcp: Option<Tcp>,
}

/// The kernel's record of a TCP connection. Times have the resolution of its ticks, some milliseconds. For a new
/// connection the first two are the time since it was established.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tcp {
    /// Time since bytes came in.
    pub received_ago: Duration,
    /// Time since bytes went out, also if retransmitted.
    pub sent_ago: Duration,
    /// Time since any segment came in, also a bare acknowledgement.
    pub heard_ago: Duration,
    pub received: u64,
    /// Bytes that were sent and acknowledged.
    pub confirmed: u64,
    /// Segments with data that were sent.
    pub packets_out: u32,
}

/// All accepted connections to these addresses, by inode.
///
/// # Errors
/// As socket(2) and sendto(2), or the kernel's answer: `ENOENT` if it was built without the query.
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

/// Parses a `struct inet_diag_msg` and its attributes.
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
    // The client's FIN takes a sequence number, as a byte does.
    let goodbye = u32::from(message.get(1) != Some(&ESTABLISHED));
    let unread = u32_at(message, 56)?.saturating_sub(goodbye);
    let connection = Connection { unread, unsent: u32_at(message, 60)?, tcp: Some(tcp) };
    Some((u64::from(u32_at(message, diag::INODE)?), connection))
}

/// `INET_DIAG_INFO` as a bit of `idiag_ext`.
const INFO: u8 = 1 << 1;

/// The length of `struct inet_diag_msg`.
const INET_MESSAGE: usize = 72;

/// Adds the unix sockets with these inodes.
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

/// The most processes and descriptors that are looked at.
const MOST_PROCESSES: usize = 256;
const MOST_FDS: usize = 1 << 17;

/// Those of these sockets that a worker or a descendant holds. Takes about two microseconds a descriptor.
///
/// # Errors
/// `EACCES` or `EPERM` if the kernel denies the look at the worker: it runs as another user.
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
            // A worker that is a zombie, or a descendant that is gone or changed its user.
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
