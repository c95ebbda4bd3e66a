//! Which sockets are connections that came in through our listeners, as the kernel tells: sock_diag(7) for
//! TCP, which finds those of one port, and /proc/net/unix.

mod in_hand;
mod listening;

pub use in_hand::{Connection, Tcp, connections, owned};
pub use listening::{in_the_way, listeners, listening, listening_as};

use crate::values::address::Address;
use nix::sys::socket::{self, AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType};
use std::collections::HashSet;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsRawFd, OwnedFd};

/// The flag of a listening unix socket (`__SO_ACCEPTCON`).
const ACCEPTS: &str = "00010000";

/// The inodes of those connections to these addresses that somebody has accepted; what the kernel does not
/// tell is left out.
#[must_use]
pub fn accepted(addresses: &[Address]) -> HashSet<u64> {
    let mut found = HashSet::new();
    for address in addresses {
        if let Address::Tcp(address) = address {
            let _untold = tcp(*address, &mut found);
        }
    }
    found.extend(accepted_unix(addresses));
    // A connection that waits in the queue has no inode yet.
    found.remove(&0);
    found
}

/// Those to unix sockets among these addresses.
fn accepted_unix(addresses: &[Address]) -> HashSet<u64> {
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

/// The states of a connection that the server has not closed: established, and closed by the client
/// (`TCP_ESTABLISHED`, `TCP_CLOSE_WAIT`).
const STATES: u32 = 1 << ESTABLISHED | 1 << 8;
const ESTABLISHED: u8 = 1;

fn tcp(address: SocketAddr, found: &mut HashSet<u64>) -> io::Result<()> {
    each(address, STATES, NOTHING_MORE, |message| found.extend(u32_at(message, INODE).map(u64::from)))
}

/// No attributes are asked for.
const NOTHING_MORE: u8 = 0;

/// Asks for the sockets of the listener's family and port in these states (`struct inet_diag_req_v2`).
fn each(address: SocketAddr, states: u32, more: u8, tell: impl FnMut(&[u8])) -> io::Result<()> {
    let family = if address.is_ipv6() { libc::AF_INET6 } else { libc::AF_INET };
    let body = [u8::try_from(family).unwrap_or(0), libc::IPPROTO_TCP.to_le_bytes()[0], more, 0];
    // The rest of the address, the interface and the cookie: whatever they are.
    let ports = [address.port().to_be_bytes(), [0; 2]].concat();
    let body = [&body[..], &states.to_ne_bytes(), &ports, &[0; 44]].concat();
    let kernel = ask(libc::NLM_F_REQUEST | libc::NLM_F_DUMP, &body)?;
    read(&kernel, tell)
}

/// Reads all that a question is answered with.
fn read(kernel: &OwnedFd, mut tell: impl FnMut(&[u8])) -> io::Result<()> {
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

/// How many connections wait for accept(2) in the queue of the unix listener with this inode (`struct unix_diag_req`,
/// `UDIAG_SHOW_RQLEN`).
///
/// # Errors
/// What the kernel says: `ENOENT` if there is none, or if this kernel tells nothing of unix sockets.
pub fn waiting(inode: u64) -> io::Result<u32> {
    queue(inode).map(|[waiting, _]| waiting)
}

/// How many wait, and how many may, before connect(2) waits or fails.
///
/// # Errors
/// As [`waiting`].
pub fn queue(inode: u64) -> io::Result<[u32; 2]> {
    let inode = u32::try_from(inode).map_err(|_| io::ErrorKind::NotFound)?;
    let family = u32::try_from(libc::AF_UNIX).unwrap_or(0);
    // Whatever its state and its cookie are.
    let fields = [family.to_le(), u32::MAX, inode, SHOW_QUEUE, u32::MAX, u32::MAX];
    let kernel = ask(libc::NLM_F_REQUEST, &fields.map(u32::to_ne_bytes).concat())?;
    let mut buffer = [0; 512];
    let length = socket::recv(kernel.as_raw_fd(), &mut buffer, MsgFlags::MSG_DONTWAIT)?;
    match message(buffer.get(..length).unwrap_or_default()) {
        Some((BY_FAMILY, message, _)) => queue_in(message).ok_or_else(|| io::ErrorKind::InvalidData.into()),
        Some((_error, message, _)) => {
            let errno = u32_at(message, 0).unwrap_or(0).cast_signed().saturating_neg();
            Err(io::Error::from_raw_os_error(errno))
        }
        None => Err(io::ErrorKind::InvalidData.into()),
    }
}

/// `UDIAG_SHOW_RQLEN`
const SHOW_QUEUE: u32 = 0x10;

/// `UNIX_DIAG_RQLEN`
const QUEUE: u16 = 4;

/// Both numbers of the attribute (`struct nlattr`) that tells the queue, after a `struct unix_diag_msg`.
fn queue_in(message: &[u8]) -> Option<[u32; 2]> {
    let queue = attribute(message.get(16..)?, QUEUE)?;
    Some([u32_at(queue, 0)?, u32_at(queue, 4)?])
}

/// The body of the attribute of this kind among these.
fn attribute(mut attributes: &[u8], wanted: u16) -> Option<&[u8]> {
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
fn ask(flags: libc::c_int, body: &[u8]) -> io::Result<OwnedFd> {
    let length = u32::try_from(HEADER.saturating_add(body.len())).unwrap_or(0);
    let flags = u16::try_from(flags).unwrap_or(0);
    let head = [&length.to_ne_bytes()[..], &BY_FAMILY.to_ne_bytes(), &flags.to_ne_bytes(), &[0; 8]].concat();
    let kind = (SockType::Datagram, SockFlag::SOCK_CLOEXEC);
    let kernel = socket::socket(AddressFamily::Netlink, kind.0, kind.1, SockProtocol::NetlinkSockDiag)?;
    socket::send(kernel.as_raw_fd(), &[&head, body].concat(), MsgFlags::MSG_DONTWAIT)?;
    Ok(kernel)
}

/// `SOCK_DIAG_BY_FAMILY`
const BY_FAMILY: u16 = 20;

/// The length of `struct nlmsghdr`.
const HEADER: usize = 16;

/// Where `id.idiag_sport`, `id.idiag_src` and `idiag_inode` are in `struct inet_diag_msg`.
const SOURCE_PORT: usize = 4;
const SOURCE: usize = 8;
const INODE: usize = 68;

/// The first message's type and body, and the messages after it.
fn message(part: &[u8]) -> Option<(u16, &[u8], &[u8])> {
    let length = usize::try_from(u32_at(part, 0)?).ok()?;
    let kind = u16::from_ne_bytes(part.get(4..6)?.try_into().ok()?);
    let rest = part.get(length.next_multiple_of(4)..).unwrap_or_default();
    Some((kind, part.get(HEADER..length)?, rest))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..)?.first_chunk().copied()?))
}

/// An accepted socket has its listener's path.
fn unix(line: &str, address: &Address) -> Option<u64> {
    let Address::Unix(path) = address else { return None };
    let (flags, inode, name) = unix_fields(line)?;
    (flags != ACCEPTS && name == path.to_string_lossy()).then_some(inode)
}

/// `0000000000000000: 00000003 00000000 00000000 0001 03 12345 /run/app.sock`: number, count, protocol, flags, type,
/// state, inode, path; of these flags, inode and path.
fn unix_fields(line: &str) -> Option<(&str, u64, &str)> {
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::AsRawFd;
    use std::os::unix::net::{UnixListener, UnixStream};

    fn inode(socket: &impl AsRawFd) -> u64 {
        let link = fs::read_link(format!("/proc/self/fd/{}", socket.as_raw_fd())).unwrap();
        let text = link.to_str().unwrap();
        text.strip_prefix("socket:[").unwrap().strip_suffix(']').unwrap().parse().unwrap()
    }

    #[test]
    fn only_an_accepted_connection_counts() {
        for host in ["127.0.0.1:0", "[::1]:0"] {
            let listener = TcpListener::bind(host).unwrap();
            let local = listener.local_addr().unwrap();
            let address = [Address::Tcp(local)];
            // The port that we were given may just have been the near end of somebody's connection.
            let strangers = accepted(&address);
            let ours = || &accepted(&address) - &strangers;
            let client = TcpStream::connect(local).unwrap();
            assert_eq!(ours(), HashSet::new(), "neither the client's end nor one in the queue");
            let (server, _) = listener.accept().unwrap();
            assert_eq!(ours(), HashSet::from([inode(&server)]));
            drop(client);
            assert_eq!(ours(), HashSet::from([inode(&server)]), "the client hung up");
            drop(server);
            // Another test's child may hold a copy until it executes.
            let begin = std::time::Instant::now();
            while !ours().is_empty() {
                assert!(begin.elapsed().as_secs() < 10, "it is closed, and counts");
            }
        }
    }

    #[test]
    fn more_connections_than_fit_one_message_are_all_found() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let local = listener.local_addr().unwrap();
        let pairs: Vec<_> =
            (0..400).map(|_| (TcpStream::connect(local).unwrap(), listener.accept().unwrap().0)).collect();
        let expected: HashSet<u64> = pairs.iter().map(|(_, server)| inode(server)).collect();
        assert!(accepted(&[Address::Tcp(local)]).is_superset(&expected));
    }

    #[test]
    fn an_accepted_unix_connection_counts_whatever_its_path() {
        let dir = std::env::temp_dir().join(format!("prefork-init {}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        let path = dir.join("app  x.sock");
        let listener = UnixListener::bind(&path).unwrap();
        let address = [Address::Unix(path.clone())];
        let mut client = UnixStream::connect(&path).unwrap();
        client.write_all(b"?").unwrap();
        assert!(accepted(&address).is_empty());
        let waiting = || waiting(inode(&listener)).unwrap();
        assert_eq!(waiting(), 1);
        let others = [UnixStream::connect(&path).unwrap(), UnixStream::connect(&path).unwrap()];
        assert_eq!(waiting(), 3, "more wait");
        let (server, _) = listener.accept().unwrap();
        assert_eq!(accepted(&address), HashSet::from([inode(&server)]));
        assert_eq!(waiting(), 2, "one is accepted");
        drop(others);
        let gone = super::waiting(u64::from(u32::MAX)).unwrap_err();
        assert_eq!(gone.kind(), io::ErrorKind::NotFound);
        fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn small_inodes_are_padded() {
        let address = Address::Unix("/run/a  b.sock".into());
        let line = "0000000000000000: 00000003 00000000 00000000 0001 03    42 /run/a  b.sock";
        assert_eq!(unix(line, &address), Some(42));
        assert_eq!(unix(line.trim_end_matches(".sock"), &address), None);
        assert_eq!(unix("0000000000000000: 00000003 00000000 00000000 0001 03    42", &address), None);
    }
}
