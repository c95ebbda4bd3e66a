//! Directories with a random name that only some users can reach, for sockets that have a path.
//!
//! Their content is not trusted. Work inside a directory that belongs to another user is done with that user's rights
//! (setfsuid(2)), so a symbolic link in it gives that user nothing new.

use crate::os::process::pid1::seed;
use crate::os::process::privileges::{self, own_ids};
use crate::os::process::spawn::Identity;
use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

/// The longest path, in bytes, that fits into an address: `sun_path` (unix(7)) less the zero at its end.
pub const LONGEST_PATH: usize = 107;

/// The prefix of all names, and the one before it while a directory is not finished.
const PREFIX: &str = "prefork-";
const DRAFT: &str = ".";

/// The most entries that are looked at or removed: another user may fill a directory without end.
const MOST_ENTRIES: usize = 4_096;

/// The users whose processes can reach the content of a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Users {
    /// Our own user.
    Ours,
    /// This user.
    One(Identity),
    /// Every process that knows a name: all can enter (0711), only we can list.
    Any,
}

impl Users {
    /// The mode of a directory for these users.
    fn mode(&self) -> u32 {
        match self {
            Self::Ours | Self::One(_) => 0o700,
            Self::Any => 0o711,
        }
    }

    /// Whether these users may search a directory with this owner, group and mode (path_resolution(7)).
    fn may_search(&self, (uid, gid, mode): (u32, u32, u32)) -> bool {
        let bit = match self {
            // Resolving the path was a search of our own.
            Self::Ours => return true,
            Self::One(identity) if identity.uid == 0 => return true,
            Self::One(identity) if identity.uid == uid => 0o100,
            Self::One(identity) if identity.gid == gid || identity.groups.contains(&gid) => 0o010,
            Self::One(_) => 0o001,
            // Any group, or none.
            Self::Any => return mode & 0o011 == 0o011,
        };
        mode & bit != 0
    }

    /// The user and group that own the directory; `None` for our own.
    #[must_use]
    pub fn owner(&self) -> Option<(u32, u32)> {
        match self {
            Self::One(identity) => Some(identity.ids()),
            Self::Ours | Self::Any => None,
        }
    }
}

/// A directory of ours, removed on drop.
#[derive(Debug)]
pub struct PrivateDirectory {
    place: DirectoryLocation,
    /// Locked (flock(2)): the lock shows other supervisors that the directory is not stale, and systemd-tmpfiles(8)
    /// leaves a locked one alone.
    lock: File,
}

/// The path of a directory, and its user and group; `None` for our own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirectoryLocation {
    path: PathBuf,
    owner: Option<(u32, u32)>,
}

impl PrivateDirectory {
    /// Makes one in `base`. `longest` is the length, in bytes, of the longest name that will be used in it.
    ///
    /// # Errors
    /// `InvalidFilename` if a path in it would be longer than [`LONGEST_PATH`]; `PermissionDenied` if the users could
    /// not reach it; and as mkdir(2), open(2), fchmod(2), fchown(2) and rename(2).
    pub fn create(base: &Path, users: &Users, longest: usize) -> io::Result<Self> {
        let base = fs::canonicalize(base)?;
        let name = format!("{PREFIX}{:016x}", seed());
        let path = base.join(&name);
        if path.as_os_str().len().saturating_add(longest).saturating_add(1) > LONGEST_PATH {
            return Err(io::ErrorKind::InvalidFilename.into());
        }
        for above in base.ancestors() {
            let found = fs::metadata(above)?;
            if !users.may_search((found.uid(), found.gid(), found.mode())) {
                return Err(io::ErrorKind::PermissionDenied.into());
            }
        }
        let draft = base.join(format!("{DRAFT}{name}"));
        let owner = users.owner();
        let make = |gives| {
            make(&draft, &path, users.mode(), gives).inspect_err(|_| {
                let _was_not_made = fs::remove_dir(&draft);
            })
        };
        let lock = match make(owner) {
            // We may lack the right to write there or to change the owner; that user may have the right to write.
            Err(_) if owner.is_some() => privileges::acting_for(owner, || make(None))?,
            made => made?,
        };
        Ok(Self { place: DirectoryLocation { path, owner }, lock })
    }

    /// Takes over a directory that our previous program made in this process.
    #[must_use]
    pub fn take_over(place: DirectoryLocation, lock: OwnedFd) -> Self {
        Self { place, lock: File::from(lock) }
    }

    #[must_use]
    pub fn place(&self) -> &DirectoryLocation {
        &self.place
    }

    /// The descriptor that holds the lock.
    #[must_use]
    pub fn lock(&self) -> BorrowedFd<'_> {
        self.lock.as_fd()
    }
}

impl Drop for PrivateDirectory {
    fn drop(&mut self) {
        self.place.remove();
    }
}

impl DirectoryLocation {
    /// The place of a directory that our previous program handed over.
    #[must_use]
    pub fn new(path: PathBuf, owner: Option<(u32, u32)>) -> Self {
        Self { path, owner }
    }

    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The user and group that own it; `None` for our own.
    #[must_use]
    pub fn owner(&self) -> Option<(u32, u32)> {
        self.owner
    }

    /// A path in it, with a name of [`NAME`] bytes that cannot be guessed.
    #[must_use]
    pub fn new_path(&self) -> PathBuf {
        self.path.join(random_name())
    }

    /// Calls `act` with the owner's rights.
    pub fn within<T>(&self, act: impl FnOnce() -> T) -> T {
        privileges::acting_for(self.owner, act)
    }

    /// Removes the directory and the files in it. What cannot be removed stays.
    pub fn remove(&self) {
        self.within(|| {
            // Its user may have changed the mode.
            if self.owner.is_some() {
                let _stays = fs::set_permissions(&self.path, Permissions::from_mode(0o700));
            }
            for entry in fs::read_dir(&self.path).into_iter().flatten().flatten().take(MOST_ENTRIES) {
                let _stays = fs::remove_file(entry.path());
            }
        });
        // Whether we or the owner may remove it depends on the directory above.
        if fs::remove_dir(&self.path).is_err() {
            let _stays = self.within(|| fs::remove_dir(&self.path));
        }
    }
}

/// The length of [`random_name`], in bytes.
pub const NAME: usize = 32;

/// 128 random bits as hexadecimal digits.
#[must_use]
pub fn random_name() -> String {
    format!("{:016x}{:016x}", seed(), seed())
}

/// Removes finished directories of this owner that no process has locked: a killed supervisor left them behind.
pub fn remove_stale(base: &Path, users: &Users) {
    let Ok(entries) = fs::read_dir(base) else { return };
    for entry in entries.flatten().take(MOST_ENTRIES) {
        let name = entry.file_name();
        let bytes = name.as_bytes().strip_prefix(DRAFT.as_bytes()).unwrap_or(name.as_bytes());
        // A draft may be about to be locked.
        let is_ours = bytes.len() == name.len() && bytes.starts_with(PREFIX.as_bytes());
        if !is_ours || bytes.len() != PREFIX.len().saturating_add(16) {
            continue;
        }
        let place = DirectoryLocation { path: entry.path(), owner: users.owner() };
        let is_stale = place.within(|| {
            let Ok(directory) = open_directory(place.path()) else { return false };
            let Ok(found) = directory.metadata() else { return false };
            let (own, _) = place.owner.unwrap_or(own_ids());
            found.uid() == own && lock(&directory)
        });
        if is_stale {
            place.remove();
        }
    }
}

fn make(draft: &Path, path: &Path, mode: u32, gives: Option<(u32, u32)>) -> io::Result<File> {
    // Fails if the name exists, also as a link.
    DirBuilder::new().mode(0o700).create(draft)?;
    let directory = open_directory(draft)?;
    directory.set_permissions(Permissions::from_mode(mode))?;
    if let Some((uid, gid)) = gives {
        fchown(&directory, Some(uid), Some(gid))?;
    }
    // Locked before the rename: under its final name an unlocked directory looks stale. On a file system without locks,
    // none ever looks stale.
    lock(&directory);
    fs::rename(draft, path)?;
    Ok(directory)
}

fn open_directory(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).custom_flags(libc::O_DIRECTORY | libc::O_NOFOLLOW).open(path)
}

/// Whether we hold the lock now: no other process had it.
fn lock(directory: &File) -> bool {
    // SAFETY: takes integers.
    unsafe { libc::flock(directory.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) == 0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::os::worker::notify_socket::NotifySocket;
    use std::os::unix::net::UnixDatagram;

    fn nobody(groups: &[u32]) -> Users {
        Users::One(Identity { uid: 65534, gid: 65534, groups: groups.to_vec() })
    }

    #[test]
    fn who_may_search_a_directory_is_told_by_owner_group_and_mode() {
        for (users, owner, mode, may) in [
            (nobody(&[]), (65534, 0), 0o700, true),
            (nobody(&[]), (65534, 0), 0o077, false),
            (nobody(&[]), (0, 65534), 0o010, true),
            (nobody(&[]), (0, 65534), 0o701, false),
            (nobody(&[7]), (0, 7), 0o010, true),
            (nobody(&[7]), (0, 8), 0o010, false),
            (nobody(&[]), (0, 0), 0o711, true),
            (nobody(&[]), (0, 0), 0o770, false),
            (Users::Any, (0, 0), 0o711, true),
            (Users::Any, (0, 0), 0o701, false),
            (Users::Any, (0, 0), 0o710, false),
            (Users::Ours, (0, 0), 0, true),
        ] {
            assert_eq!(users.may_search((owner.0, owner.1, mode)), may, "{users:?} {owner:?} {mode:o}");
        }
    }

    #[test]
    fn sockets_that_come_and_go_leave_no_files_and_no_descriptors() {
        let base = tempfile::tempdir().unwrap();
        let directory = PrivateDirectory::create(base.path(), &Users::Ours, NAME).unwrap();
        let place = directory.place().clone();

        let lowest = || File::open("/dev/null").unwrap().as_raw_fd();
        let before = lowest();
        for _ in 0..1000 {
            let socket = NotifySocket::open(&place, 0o600).unwrap();
            let speaker = UnixDatagram::unbound().unwrap();
            speaker.send_to(b"READY=1", socket.address()).unwrap();
            assert_eq!(socket.take().unwrap().text, b"READY=1");
            speaker.send_to(b"READY=1", socket.address()).unwrap();
            let address = socket.address().to_owned();
            socket.retire();
            assert!(speaker.send_to(b"READY=1", address).is_err());
        }
        assert_eq!(fs::read_dir(place.path()).unwrap().count(), 0);
        // Other tests open descriptors meanwhile, but not a thousand.
        assert!(lowest() < before + 500);
        // Files of other processes are removed too.
        fs::write(place.path().join("more"), "").unwrap();
        drop(directory);
        assert_eq!(fs::read_dir(base.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_stale_one_is_removed_and_one_in_use_is_not() {
        let base = tempfile::tempdir().unwrap();
        let used = PrivateDirectory::create(base.path(), &Users::Ours, NAME).unwrap();
        let stale = base.path().join(format!("{PREFIX}0123456789abcdef"));
        fs::create_dir(&stale).unwrap();
        fs::write(stale.join("socket"), "").unwrap();
        let kept = tempfile::tempdir().unwrap();
        fs::write(kept.path().join("file"), "").unwrap();
        let link = base.path().join(format!("{PREFIX}fedcba9876543210"));
        std::os::unix::fs::symlink(kept.path(), &link).unwrap();
        let others = base.path().join("prefork-0123");
        fs::create_dir(&others).unwrap();
        remove_stale(base.path(), &Users::Ours);
        assert!(!stale.exists());
        assert!(used.place().path().exists() && others.exists() && link.exists());
        assert!(kept.path().join("file").exists(), "a link leads nowhere");
    }

    #[test]
    fn a_path_that_does_not_fit_into_an_address_is_refused() {
        let base = tempfile::tempdir().unwrap();
        let longest = LONGEST_PATH - base.path().as_os_str().len() - "/prefork-0123456789abcdef/".len();
        let made = PrivateDirectory::create(base.path(), &Users::Ours, longest).unwrap();
        assert_eq!(made.place().path().join("x".repeat(longest)).as_os_str().len(), LONGEST_PATH);
        let error = PrivateDirectory::create(base.path(), &Users::Ours, longest + 1).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidFilename);
    }
}
