//! Lets go of what we inherited for the command and do not use ourselves.

use std::fs;
use std::os::fd::RawFd;

/// Closes every descriptor above 2 that stays open on exec: those are inherited, since all of ours close. A pipe or a
/// socket that only the command holds then ends with the command. Does nothing without /proc.
pub fn close_descriptors() {
    let Ok(entries) = fs::read_dir("/proc/self/fd") else { return };
    let open: Vec<RawFd> =
        entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    for fd in open.into_iter().filter(|fd| *fd > 2) {
        // SAFETY: takes integers. The descriptor of the listing is closed by now, and fcntl(2) refuses it.
        let flags = unsafe { libc::fcntl(fd, libc::F_GETFD) };
        if flags >= 0 && flags & libc::FD_CLOEXEC == 0 {
            // SAFETY: inherited, so no part of this program owns it.
            unsafe { libc::close(fd) };
        }
    }
}

/// Changes to `/`, so that no file system is kept from being unmounted.
pub fn leave_directory() {
    let _stays = std::env::set_current_dir("/");
}
