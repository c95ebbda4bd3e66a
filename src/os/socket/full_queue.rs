//! A listener with a full queue, so that the kernel silently drops each request for a connection. A client that is
//! steered to it tries again after a second; a client that was already answered gets in at the listener that answered.
//!
//! A socket filter (`SO_ATTACH_FILTER`) would drop them too, but on a TCP socket it needs `CAP_NET_ADMIN` since about
//! 6.18, which even root lacks in containers. This needs no capability.

use super::listen::Listener;
use crate::os::call::named;
use crate::os::process::spawn::duplicate_above;
use crate::values::address::Address;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout};
use nix::sys::socket::{self, AddressFamily, SockFlag, SockType, SockaddrStorage, sockopt};
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};

/// With 0, the kernel would log a warning of a flood for each request.
const BACKLOG: u32 = 1;

/// The number of connections that fill the queue: it takes one more than its backlog.
const FULL: usize = 2;

/// The longest wait for a connection to ourselves, in milliseconds. Usually there is no wait.
const WITHIN: u16 = 500;

#[derive(Debug)]
pub struct FullQueue {
    listener: Listener,
    /// Our own connections, which fill the queue.
    _clients: Vec<OwnedFd>,
}

impl FullQueue {
    /// Adds one at the address of `beside`. `lead` is called to steer connections from one address to it, while all
    /// others go on as before: it is not full yet.
    ///
    /// # Errors
    /// As socket(2), bind(2), listen(2) and connect(2); `TimedOut` if we cannot connect to ourselves.
    pub fn open(
        beside: &Listener,
        least_fd: RawFd,
        lead: impl Fn(SocketAddr) -> io::Result<()>,
    ) -> io::Result<Self> {
        let &Address::Tcp(address) = beside.address() else { return Err(io::ErrorKind::Unsupported.into()) };
        let listener = beside.bind_more(least_fd)?;
        listener.listen(BACKLOG)?;
        // `[::]` accepts IPv4 too.
        let local = SocketAddr::from((Ipv4Addr::LOCALHOST, address.port()));
        let to = if address.ip().is_unspecified() { local } else { address };
        let mut clients = Vec::new();
        for _ in 0..FULL {
            let client = duplicate_above(client_at(to)?.as_fd(), least_fd)?;
            if let Some(from) = super::listen::bound_address(client.as_fd()) {
                lead(from)?;
            }
            match socket::connect(client.as_raw_fd(), &SockaddrStorage::from(to)) {
                Ok(()) | Err(Errno::EINPROGRESS) => {}
                Err(error) => return named("connect", Err(error)),
            }
            let mut connected = [PollFd::new(client.as_fd(), PollFlags::POLLOUT)];
            if named("poll", nix::poll::poll(&mut connected, PollTimeout::from(WITHIN)))? == 0 {
                return Err(io::ErrorKind::TimedOut.into());
            }
            if let error @ 1.. = named("getsockopt", socket::getsockopt(&client, sockopt::SocketError))? {
                return Err(io::Error::from_raw_os_error(error));
            }
            clients.push(client);
        }
        Ok(Self { listener, _clients: clients })
    }

    #[must_use]
    pub fn listener(&self) -> &Listener {
        &self.listener
    }
}

/// An unconnected client socket at a port that the kernel chooses.
fn client_at(address: SocketAddr) -> io::Result<OwnedFd> {
    let family = if address.is_ipv6() { AddressFamily::Inet6 } else { AddressFamily::Inet };
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let fd = named("socket", socket::socket(family, SockType::Stream, flags, None))?;
    let mut any_port = address;
    any_port.set_port(0);
    socket::bind(fd.as_raw_fd(), &SockaddrStorage::from(any_port))?;
    Ok(fd)
}
