//! The rights that we have (capabilities(7)), and giving up what is not needed.

use std::io;

/// `_LINUX_CAPABILITY_VERSION_3`: two words of 32 bits for each set.
const VERSION_3: u32 = 0x2008_0522;

/// `CAP_KILL`: signal processes of other users.
pub const KILL: u32 = 5;
/// `CAP_SETGID`: become another group, supplementary ones too.
pub const SETGID: u32 = 6;
/// `CAP_SETUID`: become another user.
pub const SETUID: u32 = 7;
/// `CAP_SYS_PTRACE`: see what processes of other users wait for.
pub const SYS_PTRACE: u32 = 19;
/// `CAP_SYS_RESOURCE`: lower an OOM score.
pub const SYS_RESOURCE: u32 = 24;

#[repr(C)]
struct Header {
    version: u32,
    pid: i32,
}

#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Sets {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

/// Our user and group ids: the effective ones.
#[must_use]
pub fn own_ids() -> (u32, u32) {
    // SAFETY: always succeed.
    unsafe { (libc::geteuid(), libc::getegid()) }
}

/// Whether we have these rights, each a number below 32.
#[must_use]
pub fn have(rights: &[u32]) -> bool {
    get().is_ok_and(|sets| rights.iter().all(|right| sets[0].effective & bit(*right) != 0))
}

/// Gives up all rights but these, each a number below 32. Children that stay root get theirs by their exec, from the
/// bounding set, which is left alone.
///
/// # Errors
/// As capset(2).
pub fn keep_only(rights: &[u32]) -> io::Result<()> {
    let keep = rights.iter().fold(0, |set, right| set | bit(*right));
    let sets = get()?;
    let low = Sets {
        effective: sets[0].effective & keep,
        permitted: sets[0].permitted & keep,
        inheritable: sets[0].inheritable & keep,
    };
    let sets = [low, Sets::default()];
    let header = Header { version: VERSION_3, pid: 0 };
    // SAFETY: both structs are as the kernel wants them.
    check(unsafe { libc::syscall(libc::SYS_capset, &raw const header, sets.as_ptr()) })
}

fn get() -> io::Result<[Sets; 2]> {
    let header = Header { version: VERSION_3, pid: 0 };
    let mut sets = [Sets::default(); 2];
    // SAFETY: both structs are as the kernel wants them.
    check(unsafe { libc::syscall(libc::SYS_capget, &raw const header, sets.as_mut_ptr()) })?;
    Ok(sets)
}

fn bit(right: u32) -> u32 {
    1u32.checked_shl(right).unwrap_or(0)
}

fn check(result: libc::c_long) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Does something with the file system rights of another user and group (setfsuid(2)): what /proc shows of a process
/// depends on them.
pub fn acting_as<T>(uid: u32, gid: u32, act: impl FnOnce() -> T) -> T {
    let (own_uid, own_gid) = own_ids();
    set_fs_ids(uid, gid);
    let result = act();
    set_fs_ids(own_uid, own_gid);
    result
}

fn set_fs_ids(uid: u32, gid: u32) {
    // SAFETY: take integers. Without the right to, they change nothing.
    unsafe {
        libc::syscall(libc::SYS_setfsgid, gid);
        libc::syscall(libc::SYS_setfsuid, uid);
    }
}
