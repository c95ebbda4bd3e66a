//! The connections that came in through our listeners, from sock_diag(7), which finds TCP connections by port, and from
//! /proc/net/unix.

mod diag;
mod in_hand;
mod listening;

pub use in_hand::{Connection, Tcp, connections, owned};
pub use listening::{in_the_way, listeners, listening, listening_as};

use crate::values::address::Address;
use diag::{
    BY_FAMILY, INODE, NOTHING_MORE, SHOW_QUEUE, STATES, accepted_unix, ask, each, message, queue_in, u32_at,
};
use nix::sys::socket::{self, MsgFlags};
use std::collections::HashSet;
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsRawFd;

/// The inodes of accepted connections to these addresses. Those that the kernel does not show are left out.
#[must_use]
pub fn accepted(addresses: &[Address]) -> HashSet<u64> {
    let mut found = HashSet::new();
    for address in addresses {
        if let Address::Tcp(address) = address {
            let _untold = tcp(*address, &mut found);
        }
    }
    found.extend(accepted_unix(addresses));
    // A connection in the queue has no inode yet.
    found.remove(&0);
    found
}

fn tcp(address: SocketAddr, found: &mut HashSet<u64>) -> io::Result<()> {
    each(address, STATES, NOTHING_MORE, |message| found.extend(u32_at(message, INODE).map(u64::from)))
}

/// The number of connections in the accept queue of the unix listener with this inode (`struct unix_diag_req`,
/// `UDIAG_SHOW_RQLEN`).
///
/// # Errors
/// The kernel's answer: `ENOENT` if there is no such socket, or the kernel lacks the query for unix sockets.
pub fn waiting(inode: u64) -> io::Result<u32> {
    queue(inode).map(|[waiting, _]| waiting)
}

/// The length of that queue, and its limit, above which connect(2) waits or fails.
///
/// # Errors
/// As [`waiting`].
pub fn queue(inode: u64) -> io::Result<[u32; 2]> {
    let inode = u32::try_from(inode).map_err(|_| io::ErrorKind::NotFound)?;
    let family = u32::try_from(libc::AF_UNIX).unwrap_or(0);
    // Any state and any cookie.
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

#[cfg(test)]
mod tests {
    use super::diag::unix;
    use super::*;
    use std::fs;
    use std::io::Write;
    use std::net::{TcpListener, TcpStream};
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
            // The port may be the local end of another process's connection.
            let strangers = accepted(&address);
            let ours = || &accepted(&address) - &strangers;
            let client = TcpStream::connect(local).unwrap();
            assert_eq!(ours(), HashSet::new(), "neither the client's end nor one in the queue");
            let (server, _) = listener.accept().unwrap();
            assert_eq!(ours(), HashSet::from([inode(&server)]));
            drop(client);
            assert_eq!(ours(), HashSet::from([inode(&server)]), "the client hung up");
            drop(server);
            // A child of another test may hold a copy until it executes.
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
