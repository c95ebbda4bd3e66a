//! Letting go of what we were started with and have no use for ourselves: it is the command's.

use std::fs;
use std::os::fd::RawFd;

/// Closes every descriptor above 2 that is not closed on exec: it was inherited, for ours all are. A pipe or a socket
/// that only the command holds ends with the command. Without /proc, nothing is closed.
pub fn close_descriptors() {
    let Ok(entries) = fs::read_dir("/proc/self/fd") else { return };
    let open: Vec<RawFd> =
        entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    for fd in open.into_iter().filter(|fd| *fd > 2) {
        // SAFETY: takes integers. The one by which we looked is closed already, and refused.
        let flags = unsafe { libc::fcntl(fd, libc::F_GETFD) };
        if flags >= 0 && flags & libc::FD_CLOEXEC == 0 {
            // SAFETY: nobody here holds it.
            unsafe { libc::close(fd) };
        }
    }
}

/// Goes to `/`, so that no file system is kept from being unmounted.
pub fn leave_directory() {
    let _stays = std::env::set_current_dir("/");
}
