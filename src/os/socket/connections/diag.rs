//! Queries of the kernel's tables of sockets: sock_diag(7), and /proc/net/unix.

use crate::values::address::Address;
use nix::sys::socket::{self, AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType};
use std::collections::HashSet;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, OwnedFd};

/// The flag of a listening unix socket (`__SO_ACCEPTCON`).
pub(super) const ACCEPTS: &str = "00010000";

/// The states of a connection that the server has not closed: established, and closed by the client (`TCP_ESTABLISHED`,
/// `TCP_CLOSE_WAIT`).
pub(super) const STATES: u32 = 1 << ESTABLISHED | 1 << 8;
pub(super) const ESTABLISHED: u8 = 1;

/// Asks for no attributes.
pub(super) const NOTHING_MORE: u8 = 0;

/// Calls `tell` with each socket of the address's family and port in these states (`struct inet_diag_req_v2`).
pub(super) fn each(address: SocketAddr, states: u32, more: u8, tell: impl FnMut(&[u8])) -> io::Result<()> {
    let family = if address.is_ipv6() { libc::AF_INET6 } else { libc::AF_INET };
    let body = [u8::try_from(family).unwrap_or(0), libc::IPPROTO_TCP.to_le_bytes()[0], more, 0];
    // Zeros for the remaining address, the interface and the cookie: any.
    let ports = [address.port().to_be_bytes(), [0; 2]].concat();
    let body = [&body[..], &states.to_ne_bytes(), &ports, &[0; 44]].concat();
    let kernel = ask(libc::NLM_F_REQUEST | libc::NLM_F_DUMP, &body)?;
    read(&kernel, tell)
}

/// Reads the whole answer.
pub(super) fn read(kernel: &OwnedFd, mut tell: impl FnMut(&[u8])) -> io::Result<()> {
    let mut buffer = vec![0; 32 * 1024];
    loop {
        // The kernel makes each part when it is read: there is nothing to wait for.
        let length = socket::recv(kernel.as_raw_fd(), &mut buffer, MsgFlags::MSG_DONTWAIT)?;
        let mut part = buffer.get(..length).unwrap_or_default();
        if part.is_empty() {
            return Ok(());
        }
        while let Some((kind, message, rest)) = message(part) {
            if kind != BY_FAMILY {
                // The end or an error: both begin with an errno.
                return match u32_at(message, 0).unwrap_or(0).cast_signed().saturating_neg() {
                    errno if errno > 0 => Err(io::Error::from_raw_os_error(errno)),
                    _ => Ok(()),
                };
            }
            tell(message);
            part = rest;
        }
    }
}

/// `UDIAG_SHOW_RQLEN`
pub(super) const SHOW_QUEUE: u32 = 0x10;

/// `UNIX_DIAG_RQLEN`
pub(super) const QUEUE: u16 = 4;

/// The two numbers of the queue's attribute (`struct nlattr`), after a `struct unix_diag_msg`.
pub(super) fn queue_in(message: &[u8]) -> Option<[u32; 2]> {
    let queue = attribute(message.get(16..)?, QUEUE)?;
    Some([u32_at(queue, 0)?, u32_at(queue, 4)?])
}

/// The body of the first attribute of this kind.
pub(super) fn attribute(mut attributes: &[u8], wanted: u16) -> Option<&[u8]> {
    loop {
        let length = u16::from_ne_bytes(attributes.first_chunk().copied()?);
        let kind = u16::from_ne_bytes(attributes.get(2..)?.first_chunk().copied()?);
        if kind == wanted {
            return attributes.get(4..usize::from(length));
        }
        // The header counts in the length, so the loop ends.
        attributes = attributes.get(usize::from(length.max(4)).next_multiple_of(4)..)?;
    }
}

/// Sends a query; the answer is read from the returned socket.
pub(super) fn ask(flags: libc::c_int, body: &[u8]) -> io::Result<OwnedFd> {
    let length = u32::try_from(HEADER.saturating_add(body.len())).unwrap_or(0);
    let flags = u16::try_from(flags).unwrap_or(0);
    let head = [&length.to_ne_bytes()[..], &BY_FAMILY.to_ne_bytes(), &flags.to_ne_bytes(), &[0; 8]].concat();
    let kind = (SockType::Datagram, SockFlag::SOCK_CLOEXEC);
    let kernel = socket::socket(AddressFamily::Netlink, kind.0, kind.1, SockProtocol::NetlinkSockDiag)?;
    socket::send(kernel.as_raw_fd(), &[&head, body].concat(), MsgFlags::MSG_DONTWAIT)?;
    Ok(kernel)
}

/// `SOCK_DIAG_BY_FAMILY`
pub(super) const BY_FAMILY: u16 = 20;

/// The length of `struct nlmsghdr`.
pub(super) const HEADER: usize = 16;

/// The offsets of `id.idiag_sport`, `id.idiag_src` and `idiag_inode` in `struct inet_diag_msg`.
pub(super) const SOURCE_PORT: usize = 4;
pub(super) const SOURCE: usize = 8;
pub(super) const INODE: usize = 68;

/// The first message's type and body, and the rest.
pub(super) fn message(part: &[u8]) -> Option<(u16, &[u8], &[u8])> {
    let length = usize::try_from(u32_at(part, 0)?).ok()?;
    let kind = u16::from_ne_bytes(part.get(4..6)?.try_into().ok()?);
    let rest = part.get(length.next_multiple_of(4)..).unwrap_or_default();
    Some((kind, part.get(HEADER..length)?, rest))
}

pub(super) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..)?.first_chunk().copied()?))
}

/// The inodes of accepted connections to the unix sockets among these addresses.
pub(super) fn accepted_unix(addresses: &[Address]) -> HashSet<u64> {
    let is_unix = |address: &&Address| matches!(address, Address::Unix(_));
    let table =
        addresses.iter().find(is_unix).and_then(|_| fs::read("/proc/net/unix").ok()).unwrap_or_default();
    let table = String::from_utf8_lossy(&table);
    let of = |address| table.lines().skip(1).filter_map(move |line| unix(line, address));
    let mut found: HashSet<u64> = addresses.iter().filter(is_unix).flat_map(of).collect();
    // A connection in the queue has no inode yet.
    found.remove(&0);
    found
}

/// The inode in a line of an accepted connection, which has its listener's path.
pub(super) fn unix(line: &str, address: &Address) -> Option<u64> {
    let Address::Unix(path) = address else { return None };
    let (flags, inode, name) = unix_fields(line)?;
    (flags != ACCEPTS && name == path.to_string_lossy()).then_some(inode)
}

/// Flags, inode and path of `0000000000000000: 00000003 00000000 00000000 0001 03 12345 /run/app.sock`: number, count,
/// protocol, flags, type, state, inode, path.
pub(super) fn unix_fields(line: &str) -> Option<(&str, u64, &str)> {
    let mut rest = line;
    let mut next = || {
        let (field, after) = rest.trim_start().split_once(' ')?;
        rest = after;
        Some(field)
    };
    let (_number, _count, _protocol, flags) = (next()?, next()?, next()?, next()?);
    let (_kind, _state, inode) = (next()?, next()?, next()?);
    // The path may contain spaces.
    Some((flags, inode.parse().ok()?, rest))
}
