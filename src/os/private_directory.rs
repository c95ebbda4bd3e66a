//! Directories with a random name that only some users reach: for sockets that have a path.
//!
//! Nothing in them is trusted. What is done inside of one that belongs to another user is done with that user's rights
//! (setfsuid(2)): a symbolic link in it leads that user to nothing new.

use crate::os::process::pid1::seed;
use crate::os::process::privileges::{self, own_ids};
use crate::os::process::spawn::Identity;
use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};

/// A path with more bytes fits into no address (`sun_path`, unix(7), less the zero at its end).
pub const LONGEST_PATH: usize = 107;

/// How all names begin, and how one begins that is not finished.
const PREFIX: &str = "prefork-";
const DRAFT: &str = ".";

/// Entries that are looked at, or removed, at most: another may fill a directory without end.
const MOST_ENTRIES: usize = 4_096;

/// Which users' processes reach what is in a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Users {
    /// Ours.
    Ours,
    /// This one's.
    One(Identity),
    /// All that are told of a name: they can enter (0711), and only we can look around.
    Any,
}

impl Users {
    /// The mode of a directory of theirs.
    fn mode(&self) -> u32 {
        match self {
            Self::Ours | Self::One(_) => 0o700,
            Self::Any => 0o711,
        }
    }

    /// Whether they may search a directory with this owner, group and mode (path_resolution(7)).
    fn may_search(&self, (uid, gid, mode): (u32, u32, u32)) -> bool {
        let bit = match self {
            // We have been there.
            Self::Ours => return true,
            Self::One(identity) if identity.uid == 0 => return true,
            Self::One(identity) if identity.uid == uid => 0o100,
            Self::One(identity) if identity.gid == gid || identity.groups.contains(&gid) => 0o010,
            Self::One(_) => 0o001,
            // Any group, and no group at all.
            Self::Any => return mode & 0o011 == 0o011,
        };
        mode & bit != 0
    }

    /// Whose their directories are, user and group, if not ours.
    #[must_use]
    pub fn owner(&self) -> Option<(u32, u32)> {
        match self {
            Self::One(identity) => Some(identity.ids()),
            Self::Ours | Self::Any => None,
        }
    }
}

/// A directory of ours. It is removed when this is dropped.
#[derive(Debug)]
pub struct PrivateDirectory {
    place: DirectoryLocation,
    /// Locked (flock(2)): so another of us sees that it is not stale, and systemd-tmpfiles(8) leaves it alone.
    lock: File,
}

/// Where it is, and whose it is if not ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirectoryLocation {
    path: PathBuf,
    owner: Option<(u32, u32)>,
}

impl PrivateDirectory {
    /// Makes one in another directory. `longest` is the length, in bytes, of the longest name that will be used in it.
    ///
    /// # Errors
    /// `InvalidFilename` if a path in it would be longer than [`LONGEST_PATH`]; `PermissionDenied` if the users could
    /// not get there; and as mkdir(2), open(2), fchmod(2), fchown(2) and rename(2).
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
            // We may not write there, or not give it away: that user may write there perhaps.
            Err(_) if owner.is_some() => privileges::acting_for(owner, || make(None))?,
            made => made?,
        };
        Ok(Self { place: DirectoryLocation { path, owner }, lock })
    }

    /// One that another program of ours made in this process.
    #[must_use]
    pub fn take_over(place: DirectoryLocation, lock: OwnedFd) -> Self {
        Self { place, lock: File::from(lock) }
    }

    /// Where it is.
    #[must_use]
    pub fn place(&self) -> &DirectoryLocation {
        &self.place
    }

    /// What keeps it locked.
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
    /// A place that another program of ours has told of.
    #[must_use]
    pub fn new(path: PathBuf, owner: Option<(u32, u32)>) -> Self {
        Self { path, owner }
    }

    /// The directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whose it is, user and group, if not ours.
    #[must_use]
    pub fn owner(&self) -> Option<(u32, u32)> {
        self.owner
    }

    /// The path of something in it: by a name of [`NAME`] bytes that cannot be guessed.
    #[must_use]
    pub fn new_path(&self) -> PathBuf {
        self.path.join(random_name())
    }

    /// Does something in it, with its owner's rights.
    pub fn within<T>(&self, act: impl FnOnce() -> T) -> T {
        privileges::acting_for(self.owner, act)
    }

    /// Removes it and the files in it. What cannot be removed stays.
    pub fn remove(&self) {
        self.within(|| {
            // Its user may have spoilt it.
            if self.owner.is_some() {
                let _stays = fs::set_permissions(&self.path, Permissions::from_mode(0o700));
            }
            for entry in fs::read_dir(&self.path).into_iter().flatten().flatten().take(MOST_ENTRIES) {
                let _stays = fs::remove_file(entry.path());
            }
        });
        // The owner of the directory above decides which of us may.
        if fs::remove_dir(&self.path).is_err() {
            let _stays = self.within(|| fs::remove_dir(&self.path));
        }
    }
}

/// How many bytes [`random_name`] has.
pub const NAME: usize = 32;

/// 128 bits of chance, as hexadecimal digits.
#[must_use]
pub fn random_name() -> String {
    format!("{:016x}{:016x}", seed(), seed())
}

/// Removes directories of ours, and of this owner, that no process has locked: those of one of us that was killed.
pub fn remove_stale(base: &Path, users: &Users) {
    let Ok(entries) = fs::read_dir(base) else { return };
    for entry in entries.flatten().take(MOST_ENTRIES) {
        let name = entry.file_name();
        let bytes = name.as_bytes().strip_prefix(DRAFT.as_bytes()).unwrap_or(name.as_bytes());
        // A draft may be locked in a moment.
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
    // Fails where there is anything of that name: a link, too.
    DirBuilder::new().mode(0o700).create(draft)?;
    let directory = open_directory(draft)?;
    directory.set_permissions(Permissions::from_mode(mode))?;
    if let Some((uid, gid)) = gives {
        fchown(&directory, Some(uid), Some(gid))?;
    }
    // Before it has its name, by which it would be taken for stale. A file system without locks has no stale ones.
    lock(&directory);
    fs::rename(draft, path)?;
    Ok(directory)
}

fn open_directory(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).custom_flags(libc::O_DIRECTORY | libc::O_NOFOLLOW).open(path)
}

/// Whether no other process had it locked, and we have now.
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
        // Other tests open some meanwhile, but not a thousand.
        assert!(lowest() < before + 500);
        // What others have put there goes too.
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
