//! Listeners: bound before the first worker, held to the end.
//!
//! While the supervisor holds a listener, its queue survives any worker's death, and nobody is refused.

use super::spawn::duplicate_above;
use crate::address::Address;
use nix::errno::Errno;
use nix::sys::socket::{
    self, AddressFamily, Backlog, SockFlag, SockType, SockaddrStorage, UnixAddr, sockopt,
};
use std::fs;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

/// What identifies a socket from outside the process that has it: its inode, as `/proc/PID/fdinfo` shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SocketId {
    /// Inode number.
    pub inode: u64,
    /// Number of the file system, which for sockets is one of the kernel's own.
    pub device: u64,
}

/// A bound, listening socket.
#[derive(Debug)]
pub struct Listener {
    fd: OwnedFd,
    address: Address,
    /// Held for its drop.
    _file: Option<SocketFile>,
}

/// The file of a unix socket; removed when we end, if it is still ours.
#[derive(Debug)]
struct SocketFile {
    path: PathBuf,
    identity: (u64, u64),
}

impl Listener {
    /// Binds and listens. TCP listeners get `SO_REUSEADDR`, and `TCP_NODELAY`, which accepted connections
    /// inherit: `uvicorn --fd` cannot set it, and without it each keep-alive request takes 44 ms.
    /// The descriptor's number is at least `least`, out of the way of those the workers will see.
    ///
    /// # Errors
    /// As socket(2), bind(2) and listen(2); `EADDRINUSE` for a unix socket only if somebody listens on it.
    pub fn bind(address: &Address, backlog: u32, least: RawFd) -> io::Result<Self> {
        let (fd, file) = match address {
            Address::Tcp(address) => (bind_tcp(*address)?, None),
            Address::Unix(path) => bind_unix(path).map(|(fd, file)| (fd, Some(file)))?,
        };
        let listener =
            Self { fd: duplicate_above(fd.as_fd(), least)?, address: address.clone(), _file: file };
        listener.listen(backlog)?;
        let address = listener.bound_address();
        Ok(Self { address, ..listener })
    }

    /// Sets the length of the accept queue, listen(2); also on a socket that listens already.
    ///
    /// # Errors
    /// As listen(2).
    pub fn listen(&self, backlog: u32) -> io::Result<()> {
        let backlog = i32::try_from(backlog).unwrap_or(i32::MAX);
        Ok(socket::listen(&self.fd, Backlog::new(backlog).unwrap_or(Backlog::MAXCONN))?)
    }

    /// Where it listens; with the port that the kernel chose if port 0 was asked for.
    #[must_use]
    pub fn address(&self) -> &Address {
        &self.address
    }

    fn bound_address(&self) -> Address {
        let Ok(name) = socket::getsockname::<SockaddrStorage>(self.fd.as_raw_fd()) else {
            return self.address.clone();
        };
        let v4 = name.as_sockaddr_in().map(|v4| SocketAddr::V4((*v4).into()));
        let v6 = name.as_sockaddr_in6().map(|v6| SocketAddr::V6((*v6).into()));
        v4.or(v6).map_or_else(|| self.address.clone(), Address::Tcp)
    }

    /// How others' view of their descriptors will name it.
    ///
    /// # Errors
    /// As fstat(2).
    pub fn id(&self) -> io::Result<SocketId> {
        let stat = nix::sys::stat::fstat(&self.fd)?;
        Ok(SocketId { inode: stat.st_ino, device: stat.st_dev })
    }

    /// Turns a TCP listener into std's. A unix listener cannot be one.
    #[must_use]
    pub fn into_tcp(self) -> Option<TcpListener> {
        match &self.address {
            Address::Tcp(_) => self.fd.try_clone().ok().map(TcpListener::from),
            Address::Unix(_) => None,
        }
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        // A successor may have put its own socket there meanwhile.
        if identity(&self.path).is_ok_and(|identity| identity == self.identity) {
            let _gone = fs::remove_file(&self.path);
        }
    }
}

fn bind_tcp(address: SocketAddr) -> io::Result<OwnedFd> {
    let family = if address.is_ipv6() { AddressFamily::Inet6 } else { AddressFamily::Inet };
    let fd = socket::socket(family, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
    socket::setsockopt(&fd, sockopt::ReuseAddr, &true)?;
    socket::setsockopt(&fd, sockopt::TcpNoDelay, &true)?;
    if address.is_ipv6() {
        // `[::]` takes IPv4 too, whatever net.ipv6.bindv6only says.
        socket::setsockopt(&fd, sockopt::Ipv6V6Only, &!address.ip().is_unspecified())?;
    }
    socket::bind(fd.as_raw_fd(), &SockaddrStorage::from(address))?;
    Ok(fd)
}

fn bind_unix(path: &Path) -> io::Result<(OwnedFd, SocketFile)> {
    let fd = socket::socket(AddressFamily::Unix, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
    let address = UnixAddr::new(path)?;
    match socket::bind(fd.as_raw_fd(), &address) {
        Err(Errno::EADDRINUSE) if is_stale(path) => {
            fs::remove_file(path)?;
            socket::bind(fd.as_raw_fd(), &address)?;
        }
        result => result?,
    }
    let identity = identity(path)?;
    Ok((fd, SocketFile { path: path.to_owned(), identity }))
}

/// Whether this is a socket on which nobody listens any more. Somebody whose accept queue is full listens: we do not
/// wait for room in it.
fn is_stale(path: &Path) -> bool {
    let is_socket = fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_socket());
    let refused = || {
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let client = socket::socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
        socket::connect(client.as_raw_fd(), &UnixAddr::new(path)?)
    };
    is_socket && refused() == Err(Errno::ECONNREFUSED)
}

/// Whether it failed for want of descriptors, and not because of the address.
#[must_use]
pub fn is_out_of_descriptors(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE))
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    fs::symlink_metadata(path).map(|found| (found.dev(), found.ino()))
}
