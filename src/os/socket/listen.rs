//! Listeners: bound before the first worker and held to the end. While the supervisor holds one, its queue survives any
//! worker's death, and no client is refused. Which worker gets one is decided in `lanes`.

use super::connections;
use crate::os::call::named;
use crate::os::process::spawn::duplicate_above;
use crate::os::socket::passed;
use crate::os::socket::rights::Rights;
use crate::values::address::Address;
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::socket::{
    self, AddressFamily, Backlog, SockFlag, SockType, SockaddrStorage, UnixAddr, sockopt,
};
use nix::sys::stat;
use std::fs;
use std::io;
use std::mem::MaybeUninit;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, IntoRawFd, OwnedFd, RawFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

/// Identifies a socket in another process: its inode and device, as `/proc/PID/fdinfo` shows them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SocketId {
    pub inode: u64,
    /// The kernel's internal file system for sockets.
    pub device: u64,
}

#[derive(Debug)]
pub struct Listener {
    fd: OwnedFd,
    address: Address,
    /// Held for its drop.
    _file: Option<SocketFile>,
    /// Bound by another program, which passes it on after us.
    adopted: bool,
}

/// The file of a unix socket; removed on drop if it is still ours.
#[derive(Debug)]
struct SocketFile {
    path: PathBuf,
    identity: (u64, u64),
}

impl Listener {
    /// Binds without listening: no client can connect yet. TCP listeners get `SO_REUSEADDR`, and `TCP_NODELAY`, which
    /// accepted connections inherit: `uvicorn --fd` cannot set it, and without it each keep-alive request takes 44 ms.
    /// The file of a unix socket gets these rights. The descriptor's number is at least `least`, above those that
    /// workers use.
    ///
    /// # Errors
    /// As socket(2) and bind(2), and chown(2) for the group of the file. For a unix socket `EADDRINUSE` only if a
    /// program listens on it, or the file is no socket.
    pub fn bind(address: &Address, least: RawFd, rights: Rights) -> io::Result<Self> {
        let (fd, file) = match address {
            Address::Tcp(address) => (bind_tcp(*address, None)?, None),
            Address::Unix(path) => {
                rights.bind(path, || bind_unix(path)).map(|(fd, file)| (fd, Some(file)))?
            }
        };
        Self::new(fd, address, file, least)
    }

    /// Binds as [`Listener::bind`], and listens. Where the kernel can, accepted connections refuse passed descriptors.
    ///
    /// # Errors
    /// As [`Listener::bind`] and listen(2).
    pub fn endpoint(address: &Address, backlog: u32, least: RawFd, rights: Rights) -> io::Result<Self> {
        let listener = Self::bind(address, least, rights)?;
        if matches!(address, Address::Unix(_)) {
            let _looked_at_instead = passed::refuse(&listener, true);
        }
        listener.listen(backlog)?;
        Ok(listener)
    }

    fn new(fd: OwnedFd, address: &Address, file: Option<SocketFile>, least: RawFd) -> io::Result<Self> {
        let fd = duplicate_above(fd.as_fd(), least)?;
        let address = bound_address(fd.as_fd()).map_or_else(|| address.clone(), Address::Tcp);
        Ok(Self { fd, address, _file: file, adopted: false })
    }

    /// Binds another socket at the address of this TCP listener, which must [allow](Listener::allow_more) it. It does
    /// not listen yet.
    ///
    /// # Errors
    /// As socket(2) and bind(2); `EADDRINUSE` if it is not allowed, or another user's socket is there.
    pub fn bind_more(&self, least: RawFd) -> io::Result<Self> {
        let Address::Tcp(address) = self.address else { return Err(io::ErrorKind::Unsupported.into()) };
        // The kernel puts two sockets into one group only if they are equal in this option too.
        let v6_only =
            address.is_ipv6() && named("getsockopt", socket::getsockopt(&self.fd, sockopt::Ipv6V6Only))?;
        let fd = duplicate_above(bind_tcp(address, Some(v6_only))?.as_fd(), least)?;
        Ok(Self { fd, address: Address::Tcp(address), _file: None, adopted: false })
    }

    /// Adopts a listener of another program, which keeps the file of a unix socket. Accepted connections get
    /// `TCP_NODELAY`, as those of our own listeners do.
    #[must_use]
    pub fn adopt(fd: OwnedFd, address: &Address) -> Self {
        if matches!(address, Address::Tcp(_)) {
            let _slower = socket::setsockopt(&fd, sockopt::TcpNoDelay, &true);
        }
        Self { fd, address: address.clone(), _file: None, adopted: true }
    }

    /// Takes over a listener that our previous program in this process bound to this address.
    #[must_use]
    pub fn take_over(fd: OwnedFd, address: &Address) -> Self {
        let file = match address {
            Address::Tcp(_) => None,
            Address::Unix(path) => SocketFile::new(path).ok(),
        };
        let address = bound_address(fd.as_fd()).map_or_else(|| address.clone(), Address::Tcp);
        Self { fd, address, _file: file, adopted: false }
    }

    /// Whether other sockets of the same user may listen at this address (`SO_REUSEPORT`, socket(7)). Set after
    /// bind(2), so that the bind itself fails if another socket is there.
    ///
    /// # Errors
    /// As setsockopt(2).
    pub fn allow_more(&self, allow: bool) -> io::Result<()> {
        named("setsockopt", socket::setsockopt(&self.fd, sockopt::ReusePort, &allow))
    }

    /// The value that [`allow_more`](Listener::allow_more) sets.
    ///
    /// # Errors
    /// As getsockopt(2).
    pub fn allows_more(&self) -> io::Result<bool> {
        named("getsockopt", socket::getsockopt(&self.fd, sockopt::ReusePort))
    }

    /// Listens, or changes the backlog of a socket that listens already (listen(2)).
    ///
    /// # Errors
    /// As listen(2).
    pub fn listen(&self, backlog: u32) -> io::Result<()> {
        let backlog = i32::try_from(backlog).unwrap_or(i32::MAX);
        named("listen", socket::listen(&self.fd, Backlog::new(backlog).unwrap_or(Backlog::MAXCONN)))
    }

    /// Makes accept(2) block again, for all holders of the socket.
    ///
    /// # Errors
    /// As fcntl(2).
    pub fn make_blocking(&self) -> io::Result<()> {
        named("fcntl", fcntl(&self.fd, FcntlArg::F_SETFL(OFlag::empty())))?;
        Ok(())
    }

    /// The address, with the port that the kernel chose for port 0.
    #[must_use]
    pub fn address(&self) -> &Address {
        &self.address
    }

    /// Whether it listens. It does not once any holder has called shutdown(2): then the queue of a TCP listener is
    /// lost, but it can listen again. A unix listener is lost for good, and this does not show it.
    ///
    /// # Errors
    /// As getsockopt(2).
    pub fn is_listening(&self) -> io::Result<bool> {
        match self.address {
            Address::Tcp(_) => Ok(tcp_info(self.fd.as_fd())?.tcpi_state == TCP_LISTEN),
            Address::Unix(_) => Ok(true),
        }
    }

    /// The number of connections in the accept queue: `tcpi_unacked`, which for a listener means that (tcp(7)), or the
    /// answer of sock_diag(7).
    ///
    /// # Errors
    /// As getsockopt(2); for a unix socket, as the query of the kernel.
    pub fn queue(&self) -> io::Result<u32> {
        match self.address {
            Address::Tcp(_) => {
                let info = tcp_info(self.fd.as_fd())?;
                Ok(if info.tcpi_state == TCP_LISTEN { info.tcpi_unacked } else { 0 })
            }
            Address::Unix(_) => connections::waiting(self.id()?.inode),
        }
    }

    /// The limit of the accept queue: `tcpi_sacked`, which for a listener is the backlog last given to listen(2), or
    /// `net.core.somaxconn` if that is less.
    ///
    /// # Errors
    /// As [`queue`](Self::queue).
    pub fn queue_limit(&self) -> io::Result<u32> {
        match self.address {
            Address::Tcp(_) => Ok(tcp_info(self.fd.as_fd())?.tcpi_sacked),
            Address::Unix(_) => connections::queue(self.id()?.inode).map(|[_, limit]| limit),
        }
    }

    /// Refuses all new clients, for all holders of the socket (shutdown(2)). Connections in a TCP queue are reset.
    ///
    /// # Errors
    /// As shutdown(2).
    pub fn refuse(&self) -> io::Result<()> {
        Ok(socket::shutdown(self.fd.as_raw_fd(), socket::Shutdown::Read)?)
    }

    /// Its identity in the descriptors of other processes.
    ///
    /// # Errors
    /// As fstat(2).
    pub fn id(&self) -> io::Result<SocketId> {
        let stat = stat::fstat(&self.fd)?;
        Ok(SocketId { inode: stat.st_ino, device: stat.st_dev })
    }

    /// A copy of a TCP listener for std; `None` for a unix listener.
    #[must_use]
    pub fn to_tcp(&self) -> Option<TcpListener> {
        match &self.address {
            Address::Tcp(_) => self.fd.try_clone().ok().map(TcpListener::from),
            Address::Unix(_) => None,
        }
    }

    /// A copy of a unix listener for std; `None` for a TCP listener.
    #[must_use]
    pub fn to_unix(&self) -> Option<UnixListener> {
        match &self.address {
            Address::Unix(_) => self.fd.try_clone().ok().map(UnixListener::from),
            Address::Tcp(_) => None,
        }
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl SocketFile {
    /// The path is made absolute: we may change the working directory.
    fn new(path: &Path) -> io::Result<Self> {
        Ok(Self { identity: identity(path)?, path: std::path::absolute(path)? })
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        // Stays open until we end: a close here would close what waits in the queue, also passed descriptors, and may
        // linger; for a process that ends, the kernel does not linger.
        if matches!(self.address, Address::Unix(_)) {
            let _stays_open = self.fd.try_clone().map(IntoRawFd::into_raw_fd);
        }
        // A worker may have shut it down as it ended.
        if self.adopted && self.is_listening().is_ok_and(|listens| !listens) {
            let _gone = socket::listen(&self.fd, Backlog::MAXCONN);
        }
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        // A successor may have put its own socket there.
        if identity(&self.path).is_ok_and(|identity| identity == self.identity) {
            let _gone = fs::remove_file(&self.path);
        }
    }
}

/// The state of a listener (`include/net/tcp_states.h`).
const TCP_LISTEN: u8 = 10;

fn tcp_info(fd: BorrowedFd<'_>) -> io::Result<libc::tcp_info> {
    let mut info = MaybeUninit::<libc::tcp_info>::zeroed();
    let mut length = libc::socklen_t::try_from(size_of::<libc::tcp_info>()).unwrap_or(0);
    // SAFETY: the length is that of the buffer.
    let result = unsafe {
        let info = info.as_mut_ptr().cast();
        libc::getsockopt(fd.as_raw_fd(), libc::IPPROTO_TCP, libc::TCP_INFO, info, &raw mut length)
    };
    named("getsockopt", Errno::result(result))?;
    // SAFETY: plain numbers; those that an older kernel does not fill are zero.
    Ok(unsafe { info.assume_init() })
}

/// `more` is for a further socket at an address that [allows](Listener::allow_more) it, and says whether it takes IPv6
/// alone.
fn bind_tcp(address: SocketAddr, more: Option<bool>) -> io::Result<OwnedFd> {
    let shared = more.is_some();
    let family = if address.is_ipv6() { AddressFamily::Inet6 } else { AddressFamily::Inet };
    let fd = stream_socket(family)?;
    named("setsockopt", socket::setsockopt(&fd, sockopt::ReuseAddr, &true))?;
    named("setsockopt", socket::setsockopt(&fd, sockopt::TcpNoDelay, &true))?;
    if address.is_ipv6() {
        // `[::]` takes IPv4 too, whatever net.ipv6.bindv6only says.
        let v6_only = more.unwrap_or(!address.ip().is_unspecified());
        socket::setsockopt(&fd, sockopt::Ipv6V6Only, &v6_only)?;
    }
    if shared {
        socket::setsockopt(&fd, sockopt::ReusePort, &true)?;
    }
    named("bind", socket::bind(fd.as_raw_fd(), &SockaddrStorage::from(address)))?;
    match bound_address(fd.as_fd()) {
        // Without the port that the kernel chose, no client can be told the address.
        None if address.port() == 0 => {
            named("getsockname", socket::getsockname::<SockaddrStorage>(fd.as_raw_fd()))?;
            Ok(fd)
        }
        // shutdown(2), which any worker may call, releases a port that the kernel chose (`SOCK_BINDPORT_LOCK` is not
        // set) but not one that was requested: bind again to the same number.
        Some(chosen) if address.port() == 0 => {
            socket::setsockopt(&fd, sockopt::ReusePort, &true)?;
            let asked_for = bind_tcp(chosen, Some(!chosen.ip().is_unspecified()))?;
            socket::setsockopt(&asked_for, sockopt::ReusePort, &shared)?;
            Ok(asked_for)
        }
        _ => Ok(fd),
    }
}

fn stream_socket(family: AddressFamily) -> io::Result<OwnedFd> {
    named("socket", socket::socket(family, SockType::Stream, SockFlag::SOCK_CLOEXEC, None))
}

/// The local address (getsockname(2)) of a TCP socket; `None` for others.
#[must_use]
pub fn bound_address(fd: BorrowedFd<'_>) -> Option<SocketAddr> {
    let name = socket::getsockname::<SockaddrStorage>(fd.as_raw_fd()).ok()?;
    let v4 = name.as_sockaddr_in().map(|v4| SocketAddr::V4((*v4).into()));
    let v6 = name.as_sockaddr_in6().map(|v6| SocketAddr::V6((*v6).into()));
    v4.or(v6)
}

fn bind_unix(path: &Path) -> io::Result<(OwnedFd, SocketFile)> {
    let fd = stream_socket(AddressFamily::Unix)?;
    let address = UnixAddr::new(path)?;
    match socket::bind(fd.as_raw_fd(), &address) {
        Err(Errno::EADDRINUSE) if is_stale(path)? => {
            fs::remove_file(path)?;
            socket::bind(fd.as_raw_fd(), &address)?;
        }
        result => named("bind", result)?,
    }
    Ok((fd, SocketFile::new(path)?))
}

/// Whether the path is a socket on which no program listens any more. A program with a full accept queue listens:
/// connect(2) does not wait for room.
///
/// # Errors
/// As socket(2), and if connect(2) is refused: then the answer is unknown.
fn is_stale(path: &Path) -> io::Result<bool> {
    if !fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_socket()) {
        return Ok(false);
    }
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let client = named("socket", socket::socket(AddressFamily::Unix, SockType::Stream, flags, None))?;
    let _let_go_instead = passed::refuse(&client, true);
    let connected = socket::connect(client.as_raw_fd(), &UnixAddr::new(path)?);
    // A listening program may have sent data or descriptors by now.
    passed::let_go(client);
    match connected {
        Err(error @ (Errno::EPERM | Errno::ENOSYS)) => named("connect", Err(error)),
        connected => Ok(connected == Err(Errno::ECONNREFUSED)),
    }
}

/// Whether it failed for lack of descriptors rather than for the address.
#[must_use]
pub fn is_out_of_descriptors(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE))
}

/// Whether it failed for lack of kernel memory, which may pass.
#[must_use]
pub fn is_out_of_memory(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::ENOMEM | libc::ENOBUFS))
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    fs::symlink_metadata(path).map(|found| (found.dev(), found.ino()))
}
