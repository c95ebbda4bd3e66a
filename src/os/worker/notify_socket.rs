//! The socket on which a worker reports its state (`$NOTIFY_SOCKET`, sd_notify(3)).
//!
//! It has a path in a private directory, so that the file system decides which processes reach it; without such a
//! directory, an abstract name, which every process of the network namespace reaches.

use crate::os::call::{self, named};
use crate::os::private_directory::{DirectoryLocation, random_name};
use crate::os::socket::taker::Taker;
use nix::sys::socket::{self, AddressFamily, Shutdown, SockFlag, SockType, UnixAddr, sockopt};
use std::ffi::{OsStr, OsString};
use std::fs::{self, Permissions};
use std::io;
use std::mem::ManuallyDrop;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

pub use crate::os::socket::taker::Datagram;

/// Longer datagrams are cut, in bytes: the notices that we understand are short.
pub const LONGEST: usize = 4096;

#[derive(Debug)]
pub struct NotifySocket {
    /// Closed with care, see [`Taker::let_go`].
    fd: ManuallyDrop<OwnedFd>,
    taker: Taker,
    address: OsString,
    /// Its directory; `None` for an abstract name.
    place: Option<DirectoryLocation>,
}

impl NotifySocket {
    /// Opens a socket in this directory. `mode` decides which processes may write to it.
    ///
    /// # Errors
    /// As socket(2), bind(2), chmod(2) and rename(2).
    pub fn open(place: &DirectoryLocation, mode: u32) -> io::Result<Self> {
        let fd = new()?;
        // /proc/net/unix shows every process the path at which a socket was bound. So the path that the worker is given
        // is another, set by a rename.
        let (draft, path) = (place.new_path(), place.new_path());
        place.within(|| {
            named("bind", socket::bind(fd.as_raw_fd(), &UnixAddr::new(&draft)?))?;
            let finished = fs::set_permissions(&draft, Permissions::from_mode(mode));
            finished.and_then(|()| fs::rename(&draft, &path)).inspect_err(|_| {
                let _gone = fs::remove_file(&draft);
            })
        })?;
        Ok(Self::take_over(fd, path.into(), Some(place.clone())))
    }

    /// Opens a socket with a random abstract name.
    ///
    /// # Errors
    /// As socket(2) and bind(2).
    pub fn open_abstract() -> io::Result<Self> {
        let fd = new()?;
        let name = format!("prefork-{}", random_name());
        named("bind", socket::bind(fd.as_raw_fd(), &UnixAddr::new_abstract(name.as_bytes())?))?;
        Ok(Self::take_over(fd, format!("@{name}").into(), None))
    }

    /// Takes over a socket that our previous program opened in this process.
    #[must_use]
    pub fn take_over(fd: OwnedFd, address: OsString, place: Option<DirectoryLocation>) -> Self {
        Self { fd: ManuallyDrop::new(fd), taker: Taker::default(), address, place }
    }

    /// The value for `$NOTIFY_SOCKET`: a path, or an abstract name with an `@` in place of its zero byte.
    #[must_use]
    pub fn address(&self) -> &OsStr {
        &self.address
    }

    /// Its directory; `None` for an abstract name.
    #[must_use]
    pub fn place(&self) -> Option<&DirectoryLocation> {
        self.place.as_ref()
    }

    /// Whether a child is taking, or will take, descriptors that have arrived: until it ends, nothing else is taken.
    #[must_use]
    pub fn is_held(&self) -> bool {
        self.taker.is_held()
    }

    /// Takes one waiting datagram; `None` if there is none. A child closes descriptors that come with it, which is what
    /// the sender of `BARRIER=1` waits for; until it has ended no datagram is taken. None is stored (`FDSTORE=1`).
    pub fn take(&self) -> Option<Datagram> {
        self.taker.take(self.fd.as_fd(), LONGEST).ok()
    }

    /// Drops it.
    pub fn retire(self) {}

    /// Sends it a datagram with the rights of its directory's owner, and receives that: some file systems have no
    /// sockets.
    ///
    /// # Errors
    /// As connect(2) and send(2); `BrokenPipe` if nothing arrives.
    pub fn try_out(&self) -> io::Result<()> {
        let speaks = || {
            let speaker = std::os::unix::net::UnixDatagram::unbound()?;
            speaker.set_nonblocking(true)?;
            speaker.send_to(b"", PathBuf::from(&self.address))
        };
        match &self.place {
            Some(place) => place.within(speaks)?,
            None => return Ok(()),
        };
        self.take().map(|_| ()).ok_or_else(|| io::ErrorKind::BrokenPipe.into())
    }
}

/// Removes its file and stops receiving. Closed with care, since a close would close the descriptors in its queue.
impl Drop for NotifySocket {
    fn drop(&mut self) {
        if let Some(place) = &self.place {
            let _gone_already = place.within(|| fs::remove_file(Path::new(&self.address)));
        }
        let _takes_nothing_more = socket::shutdown(self.fd.as_raw_fd(), Shutdown::Read);
        // SAFETY: `fd` is not used again.
        let fd = unsafe { ManuallyDrop::take(&mut self.fd) };
        self.taker.let_go(fd);
    }
}

fn new() -> io::Result<OwnedFd> {
    call::may_receive()?;
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let fd = named("socket", socket::socket(AddressFamily::Unix, SockType::Datagram, flags, None))?;
    named("setsockopt", socket::setsockopt(&fd, sockopt::PassCred, &true))?;
    Ok(fd)
}

impl AsFd for NotifySocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
