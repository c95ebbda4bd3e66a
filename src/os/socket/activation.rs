//! Sockets that another program bound for us: socket activation, sd_listen_fds(3).

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

/// Where a descriptor listens that we were given.
///
/// # Errors
/// What it is instead, in words.
pub fn look(fd: RawFd) -> Result<Address, &'static str> {
    // SAFETY: the number is looked at, and not kept. If nobody has it, the kernel says so.
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

/// What it is cannot be known.
const REFUSED: &str = "a sandbox's filter (seccomp) refuses us the look: getsockopt, getsockname";

/// Takes it from its number, which is one of those that workers will see, to one from `least` on.
///
/// # Errors
/// As fcntl(2).
pub fn take(fd: RawFd, address: &Address, least: RawFd) -> io::Result<Listener> {
    let low = adopt(fd)?;
    Ok(Listener::adopt(duplicate_above(low.as_fd(), least)?, address))
}

/// Has a TCP listener that listens already begin a group (`SO_REUSEPORT`), with a program that sends all to it as long as
/// it is alone. The kernel makes a group of it only when another begins to listen at the same address; for that moment
/// there is one that hears nothing: it drops whatever has passed a router, or comes from this machine
/// (`IP_MINTTL`, ip(7)), and a client that is dropped asks again. What waits in the queue stays there.
///
/// # Errors
/// Why the listener is better shared; it is as it was. `EADDRINUSE`: another user made it, or some of its connections are
/// older than the option and without `SO_REUSEADDR`. `AlreadyExists`: others are in its group whose places are not to be
/// known. `EINVAL`: it is bound to a device.
pub fn begin_group(listener: &Listener, live: &[u32], least: RawFd) -> io::Result<()> {
    let &Address::Tcp(address) = listener.address() else { return Err(io::ErrorKind::Unsupported.into()) };
    let allowed = listener.allows_more()?;
    // One that does not allow it is alone.
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

/// Makes a listener at this address deaf: it drops what asks for a connection, unanswered, if that has passed a router,
/// or comes from this machine (`IP_MINTTL`, ip(7)). A client that was answered before gets in.
///
/// # Errors
/// As setsockopt(2).
pub fn deafen(listener: &Listener, address: SocketAddr) -> io::Result<()> {
    /// Nothing has more.
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

/// Makes a listener beside one that somebody else has made as that is, as far as its connections inherit it and services
/// are set up with it (systemd.socket(5)).
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

/// An option that is a number.
fn number(fd: BorrowedFd<'_>, level: libc::c_int, option: libc::c_int) -> io::Result<libc::c_int> {
    let mut value: libc::c_int = 0;
    let mut length = libc::socklen_t::try_from(size_of_val(&value)).unwrap_or(0);
    // SAFETY: there is room for as much as we say.
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
    // SAFETY: the value is as long as we say.
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

    /// A listener that somebody else made, and where a client finds it.
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

    /// A child that another test forks has copies of what is open until it executes its program.
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
            // Again and again, as each of our programs does that gets it; clients come meanwhile.
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
