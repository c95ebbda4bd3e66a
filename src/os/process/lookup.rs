//! Finds a command as execvp(3) does.

use crate::os::call;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// Looks for a command without running it. Returns the number of PATH's directories before the first that has a file of
/// its name. Only execve(2) knows which file may be executed: access(2) uses other ids.
///
/// # Errors
/// `NotFound`, or `PermissionDenied` where all that was found cannot be executed.
pub fn find(command: &OsStr) -> io::Result<usize> {
    let mut result = Err(io::Error::from_raw_os_error(libc::ENOENT));
    let mut missing = 0usize;
    for path in candidates(command, std::env::var_os("PATH").as_deref()) {
        let path = PathBuf::from(OsString::from_vec(path));
        match std::fs::metadata(&path) {
            Ok(found) if found.is_file() && may_be_executed(&path) => return Ok(missing),
            Ok(_) => result = Err(io::Error::from_raw_os_error(libc::EACCES)),
            // We may not look there: execve(2) decides.
            Err(error) if call::is_refused(call::errno(&error)) => return Ok(missing),
            Err(_) if result.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::NotFound) => {
                missing = missing.saturating_add(1);
            }
            Err(_) => {}
        }
    }
    result
}

/// Whether access(2) does not deny it. If it fails for another reason, execve(2) decides.
fn may_be_executed(path: &Path) -> bool {
    nix::unistd::access(path, nix::unistd::AccessFlags::X_OK) != Err(nix::errno::Errno::EACCES)
}

/// The paths at which a command may be: itself if it has a slash, else one in each directory of PATH.
pub(crate) fn candidates(command: &OsStr, path: Option<&OsStr>) -> Vec<Vec<u8>> {
    let command = command.as_bytes();
    // The empty name is "not found", as in execvp(3), rather than a directory that is denied.
    if command.contains(&b'/') || command.is_empty() {
        return vec![command.to_vec()];
    }
    // The default is confstr(3)'s _CS_PATH, preceded by the directory where images install programs.
    let path = path.map_or(&b"/usr/local/bin:/usr/bin:/bin"[..], OsStr::as_bytes);
    path.split(|byte| *byte == b':')
        .map(|dir| if dir.is_empty() { command.to_vec() } else { [dir, b"/", command].concat() })
        .collect()
}
