//! Which users may connect to a unix socket: those that may write to its file (unix(7)).

use crate::os::call::{self, named};
use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::stat::{self, Mode, SFlag};
use std::fs::{self, Permissions};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// The permissions and the group of a socket's file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rights {
    /// The permissions, chmod(2).
    pub mode: u32,
    /// The group, if it is not to be the one that new files here get.
    pub group: Option<u32>,
}

impl Rights {
    /// A user that gets to its directory may connect, as to a TCP port. So do gunicorn and uvicorn: a proxy runs as
    /// another user.
    pub const EVERYBODY: Self = Self { mode: 0o666, group: None };

    /// Of our own user and root.
    pub const OURS: Self = Self { mode: 0o600, group: None };

    /// Binds a socket to a path, whose file has these rights before any client can connect: the socket may not listen
    /// yet. The permissions are there from the file's first moment on, unless its directory has a default ACL, by which
    /// umask(2) does not go, or umask(2) is refused. No other thread may be creating files in this process meanwhile.
    ///
    /// # Errors
    /// As `bind`; `EPERM`, by the name of chown(2), if we may not give a file to the group.
    pub(in crate::os) fn bind<T>(self, path: &Path, bind: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        // nix panics where it is refused.
        let ours = call::umask(!self.mode & 0o777);
        let bound = bind();
        if let Ok(ours) = ours {
            named("umask", call::umask(ours))?;
        }
        let bound = bound?;
        self.settle(path)?;
        Ok(bound)
    }

    /// What the file has not got yet. It is held while it is changed: another in its place is not.
    fn settle(self, path: &Path) -> io::Result<()> {
        let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let file: OwnedFd = named("open", open(path, flags, Mode::empty()))?;
        let found = stat::fstat(&file)?;
        if found.st_mode & SFlag::S_IFMT.bits() != SFlag::S_IFSOCK.bits() {
            return Err(io::ErrorKind::AddrInUse.into());
        }
        if let Some(group) = self.group.filter(|group| *group != found.st_gid) {
            // SAFETY: the path is empty: it is about the descriptor, which stays open.
            let given = unsafe {
                let (fd, same) = (file.as_raw_fd(), libc::uid_t::MAX);
                libc::fchownat(fd, c"".as_ptr(), same, group, libc::AT_EMPTY_PATH)
            };
            named("chown", Errno::result(given))?;
        }
        if found.st_mode & 0o777 != self.mode {
            let path = format!("/proc/self/fd/{}", file.as_raw_fd());
            named("chmod", fs::set_permissions(path, Permissions::from_mode(self.mode)))?;
        }
        Ok(())
    }
}

/// Whether giving the file to the group is what failed.
#[must_use]
pub fn is_of_group(error: &io::Error) -> bool {
    call::name(error) == Some("chown") || call::errno(error) == Errno::EINVAL as i32
}
