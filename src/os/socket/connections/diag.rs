//! Sockets as the kernel tells of them: sock_diag(7), and /proc/net/unix.

use crate::values::address::Address;
use nix::sys::socket::{self, AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType};
use std::collections::HashSet;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, OwnedFd};

/// The flag of a listening unix socket (`__SO_ACCEPTCON`).
pub(super) const ACCEPTS: &str = "00010000";

/// The states of a connection that the server has not closed: established, and closed by the client
/// (`TCP_ESTABLISHED`, `TCP_CLOSE_WAIT`).
pub(super) const STATES: u32 = 1 << ESTABLISHED | 1 << 8;
pub(super) const ESTABLISHED: u8 = 1;

/// No attributes are asked for.
pub(super) const NOTHING_MORE: u8 = 0;

/// Asks for the sockets of the listener's family and port in these states (`struct inet_diag_req_v2`).
pub(super) fn each(address: SocketAddr, states: u32, more: u8, tell: impl FnMut(&[u8])) -> io::Result<()> {
    let family = if address.is_ipv6() { libc::AF_INET6 } else { libc::AF_INET };
    let body = [u8::try_from(family).unwrap_or(0), libc::IPPROTO_TCP.to_le_bytes()[0], more, 0];
    // The rest of the address, the interface and the cookie: whatever they are.
    let ports = [address.port().to_be_bytes(), [0; 2]].concat();
    let body = [&body[..], &states.to_ne_bytes(), &ports, &[0; 44]].concat();
    let kernel = ask(libc::NLM_F_REQUEST | libc::NLM_F_DUMP, &body)?;
    read(&kernel, tell)
}

/// Reads all that a question is answered with.
pub(super) fn read(kernel: &OwnedFd, mut tell: impl FnMut(&[u8])) -> io::Result<()> {
    let mut buffer = vec![0; 32 * 1024];
    loop {
        // Each part is made when it is asked for: there is nothing to wait for.
        let length = socket::recv(kernel.as_raw_fd(), &mut buffer, MsgFlags::MSG_DONTWAIT)?;
        let mut part = buffer.get(..length).unwrap_or_default();
        if part.is_empty() {
            return Ok(());
        }
        while let Some((kind, message, rest)) = message(part) {
            if kind != BY_FAMILY {
                // The end, or an error: both begin with its number.
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

/// Both numbers of the attribute (`struct nlattr`) that tells the queue, after a `struct unix_diag_msg`.
pub(super) fn queue_in(message: &[u8]) -> Option<[u32; 2]> {
    let queue = attribute(message.get(16..)?, QUEUE)?;
    Some([u32_at(queue, 0)?, u32_at(queue, 4)?])
}

/// The body of the attribute of this kind among these.
pub(super) fn attribute(mut attributes: &[u8], wanted: u16) -> Option<&[u8]> {
    loop {
        let length = u16::from_ne_bytes(attributes.first_chunk().copied()?);
        let kind = u16::from_ne_bytes(attributes.get(2..)?.first_chunk().copied()?);
        if kind == wanted {
            return attributes.get(4..usize::from(length));
        }
        // Its header is a part of it: there is an end.
        attributes = attributes.get(usize::from(length.max(4)).next_multiple_of(4)..)?;
    }
}

/// Asks the kernel of sockets; the answer is to be read from what is returned.
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

/// Where `id.idiag_sport`, `id.idiag_src` and `idiag_inode` are in `struct inet_diag_msg`.
pub(super) const SOURCE_PORT: usize = 4;
pub(super) const SOURCE: usize = 8;
pub(super) const INODE: usize = 68;

/// The first message's type and body, and the messages after it.
pub(super) fn message(part: &[u8]) -> Option<(u16, &[u8], &[u8])> {
    let length = usize::try_from(u32_at(part, 0)?).ok()?;
    let kind = u16::from_ne_bytes(part.get(4..6)?.try_into().ok()?);
    let rest = part.get(length.next_multiple_of(4)..).unwrap_or_default();
    Some((kind, part.get(HEADER..length)?, rest))
}

pub(super) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..)?.first_chunk().copied()?))
}

/// Those to unix sockets among these addresses.
pub(super) fn accepted_unix(addresses: &[Address]) -> HashSet<u64> {
    let is_unix = |address: &&Address| matches!(address, Address::Unix(_));
    let table =
        addresses.iter().find(is_unix).and_then(|_| fs::read("/proc/net/unix").ok()).unwrap_or_default();
    let table = String::from_utf8_lossy(&table);
    let of = |address| table.lines().skip(1).filter_map(move |line| unix(line, address));
    let mut found: HashSet<u64> = addresses.iter().filter(is_unix).flat_map(of).collect();
    // A connection that waits in the queue has no inode yet.
    found.remove(&0);
    found
}

/// An accepted socket has its listener's path.
pub(super) fn unix(line: &str, address: &Address) -> Option<u64> {
    let Address::Unix(path) = address else { return None };
    let (flags, inode, name) = unix_fields(line)?;
    (flags != ACCEPTS && name == path.to_string_lossy()).then_some(inode)
}

/// `0000000000000000: 00000003 00000000 00000000 0001 03 12345 /run/app.sock`: number, count, protocol, flags, type,
/// state, inode, path; of these flags, inode and path.
pub(super) fn unix_fields(line: &str) -> Option<(&str, u64, &str)> {
    let mut rest = line;
    let mut next = || {
        let (field, after) = rest.trim_start().split_once(' ')?;
        rest = after;
        Some(field)
    };
    let (_number, _count, _protocol, flags) = (next()?, next()?, next()?, next()?);
    let (_kind, _state, inode) = (next()?, next()?, next()?);
    // The path may have spaces too.
    Some((flags, inode.parse().ok()?, rest))
}
