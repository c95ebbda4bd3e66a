//! A socket at which a worker tells of itself (`$NOTIFY_SOCKET`, sd_notify(3)).
//!
//! It has a path in a private directory, so that the file system decides which processes reach it; or, where there is no
//! such directory, an abstract name, which every process of the network namespace reaches.

use super::private_directory::{Place, random_name};
use nix::cmsg_space;
use nix::sys::socket::{
    self, AddressFamily, ControlMessageOwned, MsgFlags, Shutdown, SockFlag, SockType, UnixAddr,
    UnixCredentials, sockopt,
};
use std::ffi::{OsStr, OsString};
use std::fs::{self, Permissions};
use std::io::{self, IoSliceMut};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::core::Pid;

/// Longer datagrams are cut: the notices we understand are short.
pub const LONGEST: usize = 4096;

/// No message carries more (unix(7), `SCM_MAX_FD`).
const MOST_DESCRIPTORS: usize = 253;

/// A datagram and who sent it, as the kernel vouches (`SCM_CREDENTIALS`, unix(7)).
#[derive(Debug)]
pub struct Datagram {
    /// The process that sent it, in our PID namespace.
    pub sender: Pid,
    /// Its user.
    pub uid: u32,
    /// What it said.
    pub text: Vec<u8>,
}

/// The receiving end.
#[derive(Debug)]
pub struct NotifySocket {
    fd: OwnedFd,
    address: OsString,
    /// Where its directory is, if it has a path.
    place: Option<Place>,
}

impl NotifySocket {
    /// Opens one in this directory, with this mode: those reach it who may write to it.
    ///
    /// # Errors
    /// As socket(2), bind(2), chmod(2) and rename(2).
    pub fn open(place: &Place, mode: u32) -> io::Result<Self> {
        let fd = new()?;
        // /proc/net/unix shows all processes by what path it was bound. So it gets the one that is told in confidence
        // afterwards.
        let (draft, path) = (place.new_path(), place.new_path());
        place.within(|| {
            socket::bind(fd.as_raw_fd(), &UnixAddr::new(&draft)?)?;
            let finished = fs::set_permissions(&draft, Permissions::from_mode(mode));
            finished.and_then(|()| fs::rename(&draft, &path)).inspect_err(|_| {
                let _gone = fs::remove_file(&draft);
            })
        })?;
        Ok(Self { fd, address: path.into(), place: Some(place.clone()) })
    }

    /// Opens one with a random abstract name.
    ///
    /// # Errors
    /// As socket(2) and bind(2).
    pub fn open_abstract() -> io::Result<Self> {
        let fd = new()?;
        let name = format!("prefork-{}", random_name());
        socket::bind(fd.as_raw_fd(), &UnixAddr::new_abstract(name.as_bytes())?)?;
        Ok(Self { fd, address: format!("@{name}").into(), place: None })
    }

    /// One that another program of ours opened in this process: its address, and where its directory is.
    #[must_use]
    pub fn take_over(fd: OwnedFd, address: OsString, place: Option<Place>) -> Self {
        Self { fd, address, place }
    }

    /// The value for `$NOTIFY_SOCKET`: a path, or a name after an `@`, which stands for the zero byte of an abstract one.
    #[must_use]
    pub fn address(&self) -> &OsStr {
        &self.address
    }

    /// Where its directory is, if it has a path.
    #[must_use]
    pub fn place(&self) -> Option<&Place> {
        self.place.as_ref()
    }

    /// Takes one datagram that waits; `None` when there is none. Descriptors sent along are closed, which is what the
    /// sender of `BARRIER=1` waits for; we store none (`FDSTORE=1`).
    pub fn take(&self) -> Option<Datagram> {
        receive(self.fd.as_raw_fd()).ok()
    }

    /// Ends it, as when it is dropped.
    pub fn retire(self) {}

    /// Speaks to it as its directory's owner, and hears that: not every file system has sockets.
    ///
    /// # Errors
    /// As connect(2) and send(2); `BrokenPipe` if nothing comes.
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

/// Its file goes, it takes nothing more, and what waits is taken as always: descriptors on their way would be closed by
/// whatever closes the socket.
impl Drop for NotifySocket {
    fn drop(&mut self) {
        if let Some(place) = &self.place {
            let _gone_already = place.within(|| fs::remove_file(Path::new(&self.address)));
        }
        let _takes_nothing_more = socket::shutdown(self.fd.as_raw_fd(), Shutdown::Read);
        while self.take().is_some() {}
    }
}

fn new() -> io::Result<OwnedFd> {
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let fd = socket::socket(AddressFamily::Unix, SockType::Datagram, flags, None)?;
    socket::setsockopt(&fd, sockopt::PassCred, &true)?;
    Ok(fd)
}

fn receive(fd: i32) -> io::Result<Datagram> {
    let mut text = vec![0; LONGEST];
    let mut parts = [IoSliceMut::new(&mut text)];
    let mut control = cmsg_space!(UnixCredentials, [RawFd; MOST_DESCRIPTORS]);
    let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_CMSG_CLOEXEC;
    let message = socket::recvmsg::<()>(fd, &mut parts, Some(&mut control), flags)?;
    let mut sender = None;
    for part in message.cmsgs()? {
        match part {
            ControlMessageOwned::ScmCredentials(credentials) => {
                sender = Some((Pid(credentials.pid()), credentials.uid()));
            }
            ControlMessageOwned::ScmRights(fds) => {
                for fd in fds {
                    // SAFETY: the kernel has just given it to us, and to nobody else.
                    drop(unsafe { OwnedFd::from_raw_fd(fd) });
                }
            }
            _ => {}
        }
    }
    let length = message.bytes;
    text.truncate(length);
    // 0 is no process we can see, hence nobody's worker.
    let (sender, uid) = sender.unwrap_or((Pid(0), u32::MAX));
    Ok(Datagram { sender, uid, text })
}

impl AsFd for NotifySocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
