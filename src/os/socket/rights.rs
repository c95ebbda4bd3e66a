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

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rights {
    /// The permissions, as for chmod(2).
    pub mode: u32,
    /// The group; `None` for the one that new files in the directory get.
    pub group: Option<u32>,
}

impl Rights {
    /// Every user that can reach the directory may connect, as to a TCP port, and as with gunicorn and uvicorn: a proxy
    /// runs as another user.
    pub const EVERYBODY: Self = Self { mode: 0o666, group: None };

    /// Only our own user and root may connect.
    pub const OURS: Self = Self { mode: 0o600, group: None };

    /// Calls `bind`, which must not listen yet, and gives the socket's file these rights, so that they hold before any
    /// client can connect. The file has the permissions from its first moment, unless its directory has a default ACL,
    /// which replaces umask(2), or umask(2) is refused. No other thread of this process may create files meanwhile.
    ///
    /// # Errors
    /// As `bind`; `EPERM`, under the name of chown(2), if we may not give a file to the group.
    pub(in crate::os) fn bind<T>(self, path: &Path, bind: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        // Not nix's umask, which panics if the call is refused.
        let ours = call::umask(!self.mode & 0o777);
        let bound = bind();
        if let Ok(ours) = ours {
            named("umask", call::umask(ours))?;
        }
        let bound = bound?;
        self.settle(path)?;
        Ok(bound)
    }

    /// Sets the rights that the file lacks. It is held open meanwhile, so a file that replaces it stays untouched.
    fn settle(self, path: &Path) -> io::Result<()> {
        let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let file: OwnedFd = named("open", open(path, flags, Mode::empty()))?;
        let found = stat::fstat(&file)?;
        if found.st_mode & SFlag::S_IFMT.bits() != SFlag::S_IFSOCK.bits() {
            return Err(io::ErrorKind::AddrInUse.into());
        }
        if let Some(group) = self.group.filter(|group| *group != found.st_gid) {
            // SAFETY: with the empty path, the call changes the file of the descriptor, which stays open.
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

/// Whether the change of the group failed.
#[must_use]
pub fn is_of_group(error: &io::Error) -> bool {
    call::name(error) == Some("chown") || call::errno(error) == Errno::EINVAL as i32
}
