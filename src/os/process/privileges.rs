//! The rights that we have (capabilities(7)), and giving up what is not needed.

use super::pid1;
use crate::os::call::named;
use std::io;

/// `_LINUX_CAPABILITY_VERSION_3`: two words of 32 bits for each set.
const VERSION_3: u32 = 0x2008_0522;

/// `CAP_CHOWN`: give a file to any group.
pub const CHOWN: u32 = 0;
/// `CAP_DAC_OVERRIDE`: pass over the permissions of files.
pub const DAC_OVERRIDE: u32 = 1;
/// `CAP_KILL`: signal processes of other users.
pub const KILL: u32 = 5;
/// `CAP_SETGID`: become another group, supplementary ones too.
pub const SETGID: u32 = 6;
/// `CAP_SETUID`: become another user.
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

/// Our user and group ids: the effective ones.
#[must_use]
pub fn own_ids() -> (u32, u32) {
    // SAFETY: always succeed.
    unsafe { (libc::geteuid(), libc::getegid()) }
}

/// Our supplementary groups, the effective one first, as [`Identity::groups`](super::spawn::Identity::groups) has them.
#[must_use]
pub fn own_groups() -> Vec<u32> {
    let (_, gid) = own_ids();
    // SAFETY: with no room, only the number is asked for.
    let count = unsafe { libc::getgroups(0, std::ptr::null_mut()) };
    let mut groups = vec![0u32; usize::try_from(count).unwrap_or(0)];
    // SAFETY: there is room for as many as we say.
    let count = unsafe { libc::getgroups(count.max(0), groups.as_mut_ptr()) };
    groups.truncate(usize::try_from(count).unwrap_or(0));
    groups.retain(|group| *group != gid);
    groups.insert(0, gid);
    groups
}

/// Gives up all rights for good, ambient ones too, which the kernel leaves to a process that changes from one ordinary
/// user to another. For a child between its fork and its exec: system calls only.
/// Returns whether it did.
pub(crate) fn give_up_all() -> bool {
    // SAFETY: takes integers. Kernels before 4.3 have no ambient rights, and refuse.
    unsafe { libc::prctl(libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) };
    set([Sets::default(); 2]).is_ok()
}

/// Whether we have these rights, each a number below 32. Where we may not ask (capget(2)), root is believed to: the call that
/// needs them tells.
#[must_use]
pub fn have(rights: &[u32]) -> bool {
    let has = |sets: [Sets; 2]| rights.iter().all(|right| sets[0].effective & bit(*right) != 0);
    get().map_or_else(|_| own_ids().0 == 0, has)
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
    set([low, Sets::default()])
}

fn set(sets: [Sets; 2]) -> io::Result<()> {
    let header = Header { version: VERSION_3, pid: 0 };
    // SAFETY: both structs are as the kernel wants them.
    named("capset", check(unsafe { libc::syscall(libc::SYS_capset, &raw const header, sets.as_ptr()) }))
}

fn get() -> io::Result<[Sets; 2]> {
    let header = Header { version: VERSION_3, pid: 0 };
    let mut sets = [Sets::default(); 2];
    // SAFETY: both structs are as the kernel wants them.
    named("capget", check(unsafe { libc::syscall(libc::SYS_capget, &raw const header, sets.as_mut_ptr()) }))?;
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
    let (death_signal, parent) = (pid1::parent_death_signal(), pid1::parent());
    set_fs_ids(uid, gid);
    let result = act();
    set_fs_ids(own_uid, own_gid);
    // The kernel forgets it with each change of ids.
    if let Some(signal) = death_signal {
        let _was_set_before = pid1::ask_for_parent_death_signal(signal, parent);
    }
    result
}

/// The same for these, if it is to be another user and group than our own.
pub fn acting_for<T>(ids: Option<(u32, u32)>, act: impl FnOnce() -> T) -> T {
    match ids {
        Some((uid, gid)) => acting_as(uid, gid, act),
        None => act(),
    }
}

fn set_fs_ids(uid: u32, gid: u32) {
    // SAFETY: take integers. Without the right to, they change nothing.
    unsafe {
        libc::syscall(libc::SYS_setfsgid, gid);
        libc::syscall(libc::SYS_setfsuid, uid);
    }
}
