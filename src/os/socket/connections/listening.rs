//! The listening sockets of our network namespace.

use super::diag::{ACCEPTS, INODE, NOTHING_MORE, SOURCE, SOURCE_PORT, each, u32_at, unix_fields};
use std::collections::{HashMap, HashSet};
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::PathBuf;

/// The states of a listener (`TCP_LISTEN`), and of a socket that is only bound (`TCP_BOUND_INACTIVE`).
const LISTENS: u32 = 1 << 10;
const BOUND: u32 = 1 << 13;

/// The inodes of sockets that listen at exactly this address.
///
/// # Errors
/// As the query of the kernel.
pub fn listening(address: SocketAddr) -> io::Result<HashSet<u64>> {
    let mut found = HashSet::new();
    let here: Vec<u8> = match address.ip() {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    };
    let is_here = |message: &[u8]| message.get(SOURCE..).is_some_and(|source| source.starts_with(&here));
    each(address, LISTENS, NOTHING_MORE, |message| {
        found.extend(u32_at(message, INODE).filter(|_| is_here(message)).map(u64::from));
    })?;
    Ok(found)
}

/// The addresses of all visible listeners in our network namespace, by inode: `127.0.0.1:8000` or `unix:/run/app.sock`.
#[must_use]
pub fn listeners() -> HashMap<u64, String> {
    let mut found = HashMap::new();
    for any in [IpAddr::V4(Ipv4Addr::UNSPECIFIED), IpAddr::V6(Ipv6Addr::UNSPECIFIED)] {
        // Port 0 means all ports.
        let _untold = each(SocketAddr::new(any, 0), LISTENS, NOTHING_MORE, |message| {
            let inode = u32_at(message, INODE).map(u64::from);
            found.extend(inode.zip(address_in(message, any.is_ipv6()).map(|address| address.to_string())));
        });
    }
    let table = fs::read("/proc/net/unix").unwrap_or_default();
    found.extend(String::from_utf8_lossy(&table).lines().skip(1).filter_map(unix_listener));
    found
}

/// The address in `id.idiag_sport` and `id.idiag_src`.
fn address_in(message: &[u8], is_6: bool) -> Option<SocketAddr> {
    let port = u16::from_be_bytes(message.get(SOURCE_PORT..)?.first_chunk().copied()?);
    let source = message.get(SOURCE..)?;
    let ip = if is_6 {
        IpAddr::from(*source.first_chunk::<16>()?)
    } else {
        IpAddr::from(*source.first_chunk::<4>()?)
    };
    Some(SocketAddr::new(ip, port))
}

/// The inodes of the sockets that prevent listening at this address: they listen at it or are bound to it (the latter
/// are shown since Linux 6.8); or they do so at all addresses, or, if all are wanted, at any one. Invisible ones are
/// left out.
#[must_use]
pub fn in_the_way(wanted: SocketAddr) -> HashSet<u64> {
    let mut found = HashSet::new();
    for family in [IpAddr::V4(Ipv4Addr::UNSPECIFIED), IpAddr::V6(Ipv6Addr::UNSPECIFIED)] {
        let _untold =
            each(SocketAddr::new(family, wanted.port()), LISTENS | BOUND, NOTHING_MORE, |message| {
                let theirs = address_in(message, family.is_ipv6());
                if theirs.is_some_and(|theirs| collide(wanted.ip(), theirs.ip().to_canonical())) {
                    found.extend(u32_at(message, INODE).map(u64::from));
                }
            });
    }
    found.remove(&0);
    found
}

/// Whether two sockets cannot both listen at a port of these addresses. `::` takes IPv4 too, unless `IPV6_V6ONLY` is
/// set.
fn collide(a: IpAddr, b: IpAddr) -> bool {
    let takes = |one: IpAddr, other: IpAddr| one.is_unspecified() && (one.is_ipv6() || other.is_ipv4());
    a == b || takes(a, b) || takes(b, a)
}

/// The unix sockets that listen at a path with this file name: their inodes, and the path as it was bound, perhaps
/// relative to a directory that is not ours.
#[must_use]
pub fn listening_as(name: &OsStr) -> HashMap<u64, PathBuf> {
    let table = fs::read("/proc/net/unix").unwrap_or_default();
    let table = String::from_utf8_lossy(&table);
    let listening = table.lines().skip(1).filter_map(unix_fields).filter(|(flags, ..)| *flags == ACCEPTS);
    let bound = listening.map(|(_, inode, path)| (inode, PathBuf::from(path)));
    bound.filter(|(_, path)| path.file_name() == Some(name)).collect()
}

fn unix_listener(line: &str) -> Option<(u64, String)> {
    let (flags, inode, path) = unix_fields(line)?;
    (flags == ACCEPTS).then(|| (inode, format!("unix:{path}")))
}
