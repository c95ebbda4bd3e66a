//! Sockets that another program bound for us: socket activation (sd_listen_fds(3)).

use super::connections;
use super::listen::{Listener, bound_address};
use super::steer::SteeringProgram;
use crate::os::process::exec::adopt;
use crate::os::process::spawn::duplicate_above;
use crate::values::address::Address;
use nix::errno::Errno;
use nix::sys::socket::{self, SockType, UnixAddr, sockopt};
use std::collections::HashSet;
use std::ffi::OsStr;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use tracing::debug;

/// The address of a listening socket that we inherited.
///
/// # Errors
/// What the descriptor is instead, in words.
pub fn look(fd: RawFd) -> Result<Address, &'static str> {
    // SAFETY: the number is used in this call only. If it is not open, the kernel says so.
    let fd = unsafe { BorrowedFd::borrow_raw(fd) };
    let kind = match socket::getsockopt(&fd, sockopt::SockType) {
        Ok(kind) => kind,
        Err(Errno::EBADF) => return Err("there is no such descriptor"),
        Err(Errno::ENOTSOCK) => return Err("it is not a socket"),
        Err(Errno::EPERM | Errno::ENOSYS) => return Err(REFUSED),
        Err(_) => return Err("it is no socket that we know"),
    };
    if kind != SockType::Stream {
        return Err("it is not a stream socket");
    }
    match socket::getsockopt(&fd, sockopt::AcceptConn) {
        Ok(true) => {}
        Ok(false) => return Err("it does not listen"),
        Err(_) => return Err("the kernel does not tell whether it listens (getsockopt)"),
    }
    if let Some(address) = bound_address(fd) {
        return match number(fd, libc::SOL_SOCKET, libc::SO_PROTOCOL) {
            Ok(libc::IPPROTO_TCP) => Ok(Address::Tcp(address)),
            Ok(_) | Err(_) => Err("it is not TCP"),
        };
    }
    match socket::getsockname::<UnixAddr>(fd.as_raw_fd()) {
        Ok(name) => Ok(Address::Unix(match (name.path(), name.as_abstract()) {
            (Some(path), _) => path.to_owned(),
            (None, Some(name)) => PathBuf::from(OsStr::from_bytes(&[b"@", name].concat())),
            (None, None) => PathBuf::from("(unnamed)"),
        })),
        Err(Errno::EPERM | Errno::ENOSYS) => Err(REFUSED),
        Err(_) => Err("it is neither TCP nor a unix socket"),
    }
}

/// The kind of socket cannot be determined.
const REFUSED: &str = "a sandbox's filter (seccomp) refuses us the look: getsockopt, getsockname";

/// Moves a listener from its number, which a worker's listeners will use, to one that is at least `least`.
///
/// # Errors
/// As fcntl(2).
pub fn take(fd: RawFd, address: &Address, least: RawFd) -> io::Result<Listener> {
    let low = adopt(fd)?;
    Ok(Listener::adopt(duplicate_above(low.as_fd(), least)?, address))
}

/// Makes a listening TCP socket the first of a group (`SO_REUSEPORT`), with a program that steers all connections to it
/// while it is alone. The kernel makes a group only when a second socket begins to listen at the address. For that
/// moment there is a deaf one: it drops segments that have passed a router or come from this machine (`IP_MINTTL`,
/// ip(7)), and a dropped client tries again. Connections in the queue stay.
///
/// # Errors
/// The reason for sharing the listener instead; it is unchanged. `EADDRINUSE`: another user made it, or some of its
/// connections are older than the option and lack `SO_REUSEADDR`. `AlreadyExists`: its group has other members, whose
/// places cannot be known. `EINVAL`: it is bound to a device.
pub fn begin_group(listener: &Listener, live: &[u32], least: RawFd) -> io::Result<()> {
    let &Address::Tcp(address) = listener.address() else { return Err(io::ErrorKind::Unsupported.into()) };
    let allowed = listener.allows_more()?;
    // Without the option it is alone.
    if allowed && connections::listening(address)? != HashSet::from([listener.id()?.inode]) {
        let others = "others listen at the same address";
        return Err(io::Error::new(io::ErrorKind::AlreadyExists, others));
    }
    listener.allow_more(true)?;
    let begun = begin_with_deaf(listener, address, live, least);
    if begun.is_err() && !allowed {
        let _as_it_was = listener.allow_more(false);
    }
    begun
}

/// Makes a listener deaf: it silently drops requests for a connection that have passed a router or come from this
/// machine (`IP_MINTTL`, ip(7)). A client that was already answered gets in.
///
/// # Errors
/// As setsockopt(2).
pub fn deafen(listener: &Listener, address: SocketAddr) -> io::Result<()> {
    /// The maximum of a TTL.
    const HIGHEST: libc::c_int = 255;
    let deafen = |level, option| set_number(listener.as_fd(), level, option, HIGHEST);
    if address.is_ipv6() {
        deafen(libc::IPPROTO_IPV6, IPV6_MINHOPCOUNT)?;
    }
    if !address.is_ipv6() || address.ip().is_unspecified() {
        deafen(libc::IPPROTO_IP, libc::IP_MINTTL)?;
    }
    Ok(())
}

fn begin_with_deaf(listener: &Listener, address: SocketAddr, live: &[u32], least: RawFd) -> io::Result<()> {
    let deaf = listener.bind_more(least)?;
    deafen(&deaf, address)?;
    deaf.listen(0)?;
    SteeringProgram::spread(&[0], live).map_or(Ok(()), |program| program.choose(listener.as_fd()))
}

/// `include/uapi/linux/in6.h`
const IPV6_MINHOPCOUNT: libc::c_int = 73;

/// Copies to our listener the options of an inherited one that its connections inherit and that systemd.socket(5) can
/// set.
pub fn copy_options(from: &Listener, to: &Listener) {
    const OPTIONS: [(libc::c_int, libc::c_int); 7] = [
        (libc::SOL_SOCKET, libc::SO_KEEPALIVE),
        (libc::IPPROTO_TCP, libc::TCP_KEEPIDLE),
        (libc::IPPROTO_TCP, libc::TCP_KEEPINTVL),
        (libc::IPPROTO_TCP, libc::TCP_KEEPCNT),
        (libc::IPPROTO_TCP, libc::TCP_DEFER_ACCEPT),
        (libc::IPPROTO_TCP, libc::TCP_USER_TIMEOUT),
        (libc::IPPROTO_IP, libc::IP_TOS),
    ];
    for (level, option) in OPTIONS {
        let copied = number(from.as_fd(), level, option)
            .and_then(|value| set_number(to.as_fd(), level, option, value));
        if let Err(error) = copied {
            debug!(%error, level, option, "a socket option cannot be copied");
        }
    }
}

/// The value of an integer option.
fn number(fd: BorrowedFd<'_>, level: libc::c_int, option: libc::c_int) -> io::Result<libc::c_int> {
    let mut value: libc::c_int = 0;
    let mut length = libc::socklen_t::try_from(size_of_val(&value)).unwrap_or(0);
    // SAFETY: the length is that of the value.
    let result = unsafe {
        let value = (&raw mut value).cast();
        libc::getsockopt(fd.as_raw_fd(), level, option, value, &raw mut length)
    };
    Errno::result(result)?;
    Ok(value)
}

fn set_number(
    fd: BorrowedFd<'_>,
    level: libc::c_int,
    option: libc::c_int,
    value: libc::c_int,
) -> io::Result<()> {
    let length = libc::socklen_t::try_from(size_of_val(&value)).unwrap_or(0);
    // SAFETY: the length is that of the value.
    let result =
        unsafe { libc::setsockopt(fd.as_raw_fd(), level, option, (&raw const value).cast(), length) };
    Errno::result(result)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{Ipv4Addr, TcpListener, TcpStream};
    use std::os::fd::OwnedFd;

    const LEAST: RawFd = 40;

    /// A listener of another program, and the address for a client.
    fn given(address: &str) -> (TcpListener, Listener, SocketAddr) {
        let theirs = TcpListener::bind(address).unwrap();
        let address = theirs.local_addr().unwrap();
        let ours = OwnedFd::from(theirs.try_clone().unwrap());
        let mut to = address;
        if to.ip().is_unspecified() {
            to.set_ip(Ipv4Addr::LOCALHOST.into());
        }
        (theirs, Listener::adopt(ours, &Address::Tcp(address)), to)
    }

    /// Waits for children that other tests fork: they hold copies of our descriptors until they execute.
    fn wait_until_alone(listener: &Listener) {
        let &Address::Tcp(address) = listener.address() else { panic!("{:?}", listener.address()) };
        let end = std::time::Instant::now() + std::time::Duration::from_secs(10);
        while connections::listening(address).unwrap().len() > 1 {
            assert!(std::time::Instant::now() < end, "others listen");
            std::thread::yield_now();
        }
    }

    #[test]
    fn a_group_begins_with_a_listener_that_listens_and_nobody_gets_lost() {
        for address in ["127.0.0.1:0", "[::1]:0", "0.0.0.0:0", "[::]:0"] {
            let (theirs, listener, to) = given(address);
            let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
            let clients = {
                let stop = std::sync::Arc::clone(&stop);
                std::thread::spawn(move || {
                    let mut clients = Vec::new();
                    while !stop.load(std::sync::atomic::Ordering::Relaxed) && clients.len() < 100 {
                        clients.push(TcpStream::connect(to).unwrap());
                    }
                    clients
                })
            };
            // Repeated, since each later program of ours does this too; clients connect meanwhile.
            for _ in 0..20 {
                wait_until_alone(&listener);
                begin_group(&listener, &[0], LEAST).unwrap();
            }
            stop.store(true, std::sync::atomic::Ordering::Relaxed);
            let clients = clients.join().unwrap();
            let more = listener.bind_more(LEAST).unwrap();
            more.listen(10).unwrap();
            let late: Vec<_> = (0..10).map(|_| TcpStream::connect(to).unwrap()).collect();
            assert_eq!(more.queue().unwrap(), 0, "{address}: the program leads all to the first");
            for _ in clients.iter().chain(&late) {
                theirs.accept().unwrap();
            }
        }
    }

    #[test]
    fn who_is_not_alone_cannot_begin_one_and_stays_as_he_was() {
        let (_theirs, listener, _) = given("127.0.0.1:0");
        listener.allow_more(true).unwrap();
        let stranger = listener.bind_more(LEAST).unwrap();
        stranger.listen(10).unwrap();
        let error = begin_group(&listener, &[0], LEAST).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
        assert!(listener.allows_more().unwrap());
        drop(stranger);
        wait_until_alone(&listener);
        begin_group(&listener, &[0], LEAST).unwrap();
        let unix = std::os::unix::net::UnixDatagram::unbound().unwrap();
        let unix = Listener::adopt(unix.into(), &Address::Unix("@x".into()));
        assert!(begin_group(&unix, &[0], LEAST).is_err());
    }

    #[test]
    fn what_other_sockets_are_is_told() {
        let look_at = |fd: &dyn AsRawFd| look(fd.as_raw_fd());
        let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
        assert_eq!(look_at(&tcp), Ok(Address::Tcp(tcp.local_addr().unwrap())));
        let client = TcpStream::connect(tcp.local_addr().unwrap()).unwrap();
        assert_eq!(look_at(&client), Err("it does not listen"));
        let udp = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        assert_eq!(look_at(&udp), Err("it is not a stream socket"));
        assert_eq!(look_at(&std::fs::File::open("/dev/null").unwrap()), Err("it is not a socket"));
        assert_eq!(look(100_000), Err("there is no such descriptor"));
    }
}
