//! Chooses the place of private directories.

use crate::os::private_directory::{PrivateDirectory, Users, remove_stale};
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use tracing::debug;

/// The variable that names a directory of our own user.
const OF_USER: &str = "XDG_RUNTIME_DIR";

/// The other places: first those whose content does not survive a boot. A container with a read-only file system still
/// has /dev/shm.
const OF_ALL: [&str; 3] = ["/run", "/dev/shm", "/tmp"];

/// Makes a private directory for these users' processes in the first place where that succeeds and `works` does too.
/// `longest` is the length, in bytes, of the longest name in it.
pub fn private_directory(
    users: &Users,
    longest: usize,
    works: impl Fn(&PrivateDirectory) -> io::Result<()>,
) -> Option<PrivateDirectory> {
    let bases = bases(users, std::env::var_os(OF_USER));
    bases.iter().find_map(|base| {
        remove_stale(base, users);
        let made = PrivateDirectory::create(base, users, longest);
        let made = made.and_then(|directory| works(&directory).map(|()| directory));
        made.inspect_err(|error| debug!(%error, base = %base.display(), "no private directory")).ok()
    })
}

/// The places to try.
fn bases(users: &Users, of_user: Option<OsString>) -> Vec<PathBuf> {
    // Another user's workers cannot use our user's directory.
    let of_user = of_user.filter(|_| !matches!(users, Users::One(_))).map(PathBuf::from);
    let of_user = of_user.filter(|path| path.is_absolute());
    of_user.into_iter().chain(OF_ALL.iter().map(|base| Path::new(base).to_owned())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::os::process::spawn::Identity;

    #[test]
    fn a_user_directory_is_for_our_own_user_only() {
        let tried = |users: &Users, of_user: &str| {
            let bases = bases(users, Some(of_user.into()));
            bases.first().unwrap().to_str().unwrap().to_owned()
        };
        let nobody = Users::One(Identity { uid: 65534, gid: 65534, groups: vec![65534] });
        assert_eq!(tried(&Users::Ours, "/run/user/1000"), "/run/user/1000");
        assert_eq!(tried(&nobody, "/run/user/1000"), "/run");
        assert_eq!(tried(&Users::Ours, "relative"), "/run");
        assert_eq!(bases(&Users::Any, None).len(), OF_ALL.len());
    }
}
