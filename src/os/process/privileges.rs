//! Our capabilities (capabilities(7)) and ids, and giving up what is not needed.

use super::pid1;
use crate::os::call::named;
use std::io;

/// `_LINUX_CAPABILITY_VERSION_3`: two words of 32 bits for each set.
const VERSION_3: u32 = 0x2008_0522;

/// `CAP_CHOWN`: change the owner and group of any file.
pub const CHOWN: u32 = 0;
/// `CAP_DAC_OVERRIDE`: bypass file permissions.
pub const DAC_OVERRIDE: u32 = 1;
/// `CAP_KILL`: signal processes of other users.
pub const KILL: u32 = 5;
/// `CAP_SETGID`: change the group and the supplementary groups.
pub const SETGID: u32 = 6;
/// `CAP_SETUID`: change the user.
pub const SETUID: u32 = 7;
/// `CAP_SYS_PTRACE`: see what processes of other users wait for.
pub const SYS_PTRACE: u32 = 19;
/// `CAP_NET_BIND_SERVICE`: listen on a port below 1024.
pub const NET_BIND_SERVICE: u32 = 10;
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

/// Our effective user and group ids.
#[must_use]
pub fn own_ids() -> (u32, u32) {
    // SAFETY: always succeed.
    unsafe { (libc::geteuid(), libc::getegid()) }
}

/// Our groups, the effective one first, as in [`Identity::groups`](super::spawn::Identity::groups).
#[must_use]
pub fn own_groups() -> Vec<u32> {
    let (_, gid) = own_ids();
    // SAFETY: with size 0 the call returns the number of groups and writes nothing.
    let count = unsafe { libc::getgroups(0, std::ptr::null_mut()) };
    let mut groups = vec![0u32; usize::try_from(count).unwrap_or(0)];
    // SAFETY: the length is that of the buffer.
    let count = unsafe { libc::getgroups(count.max(0), groups.as_mut_ptr()) };
    groups.truncate(usize::try_from(count).unwrap_or(0));
    groups.retain(|group| *group != gid);
    groups.insert(0, gid);
    groups
}

/// Gives up all capabilities for good and returns whether that succeeded. The ambient ones are cleared too: the kernel
/// leaves them to a process that changes from one ordinary user to another. For a child between fork and exec: system
/// calls only.
pub(crate) fn give_up_all() -> bool {
    // SAFETY: takes integers. Kernels before 4.3 have no ambient set, and refuse.
    unsafe { libc::prctl(libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) };
    set([Sets::default(); 2]).is_ok()
}

/// Whether we have these capabilities, each a number below 32. Where capget(2) is refused, root is assumed to have
/// them: the call that needs one will fail.
#[must_use]
pub fn have(rights: &[u32]) -> bool {
    let has = |sets: [Sets; 2]| rights.iter().all(|right| sets[0].effective & bit(*right) != 0);
    get().map_or_else(|_| own_ids().0 == 0, has)
}

/// Gives up all capabilities but these, each a number below 32. Children that stay root get theirs at exec from the
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
    set([low, Sets::default()])
}

fn set(sets: [Sets; 2]) -> io::Result<()> {
    let header = Header { version: VERSION_3, pid: 0 };
    // SAFETY: both structs have the kernel's layout.
    named("capset", check(unsafe { libc::syscall(libc::SYS_capset, &raw const header, sets.as_ptr()) }))
}

fn get() -> io::Result<[Sets; 2]> {
    let header = Header { version: VERSION_3, pid: 0 };
    let mut sets = [Sets::default(); 2];
    // SAFETY: both structs have the kernel's layout.
    named("capget", check(unsafe { libc::syscall(libc::SYS_capget, &raw const header, sets.as_mut_ptr()) }))?;
    Ok(sets)
}

fn bit(right: u32) -> u32 {
    1u32.checked_shl(right).unwrap_or(0)
}

fn check(result: libc::c_long) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Calls `act` with the file system ids of another user and group (setfsuid(2)): what /proc shows of a process depends
/// on them.
pub fn acting_as<T>(uid: u32, gid: u32, act: impl FnOnce() -> T) -> T {
    let (own_uid, own_gid) = own_ids();
    let (death_signal, parent) = (pid1::parent_death_signal(), pid1::parent());
    set_fs_ids(uid, gid);
    let result = act();
    set_fs_ids(own_uid, own_gid);
    // The kernel clears it with each change of ids.
    if let Some(signal) = death_signal {
        let _was_set_before = pid1::ask_for_parent_death_signal(signal, parent);
    }
    result
}

/// As [`acting_as`] if there are ids, else with our own.
pub fn acting_for<T>(ids: Option<(u32, u32)>, act: impl FnOnce() -> T) -> T {
    match ids {
        Some((uid, gid)) => acting_as(uid, gid, act),
        None => act(),
    }
}

fn set_fs_ids(uid: u32, gid: u32) {
    // SAFETY: take integers. Without the capability they change nothing.
    unsafe {
        libc::syscall(libc::SYS_setfsgid, gid);
        libc::syscall(libc::SYS_setfsuid, uid);
    }
}
