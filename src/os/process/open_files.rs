//! The limit on open files (`RLIMIT_NOFILE`, getrlimit(2)). A pool raises its own, since each worker costs descriptors.
//! Its children get the original: many programs take a high limit for an amount of work.

use std::io;
use std::mem::MaybeUninit;
use std::sync::atomic::{AtomicU64, Ordering};

/// The limit that we were started with, while ours differs.
static GIVEN: AtomicU64 = AtomicU64::new(UNCHANGED);
/// Never the value of a limit that is raised: `RLIM_INFINITY` cannot be.
const UNCHANGED: u64 = libc::RLIM_INFINITY;

/// Raises our limit to the maximum, and remembers the original for our children.
///
/// # Errors
/// As getrlimit(2) and setrlimit(2); the limit is then unchanged.
pub fn raise() -> io::Result<()> {
    let mut limits = MaybeUninit::<libc::rlimit>::zeroed();
    // SAFETY: there is room for the answer, which is two integers.
    let limits = unsafe {
        check(libc::getrlimit(libc::RLIMIT_NOFILE, limits.as_mut_ptr()))?;
        limits.assume_init()
    };
    if limits.rlim_cur >= limits.rlim_max {
        return Ok(());
    }
    set(libc::rlimit { rlim_cur: limits.rlim_max, ..limits })?;
    // A previous program of ours may have handed over the original.
    let _told_before =
        GIVEN.compare_exchange(UNCHANGED, limits.rlim_cur, Ordering::Relaxed, Ordering::Relaxed);
    Ok(())
}

/// The limit that we were started with; `None` if ours is the same.
#[must_use]
pub fn given() -> Option<u64> {
    Some(GIVEN.load(Ordering::Relaxed)).filter(|given| *given != UNCHANGED)
}

/// Takes over the original limit from our previous program in this process.
pub fn take_over(given: Option<u64>) {
    GIVEN.store(given.unwrap_or(UNCHANGED), Ordering::Relaxed);
}

/// Sets the original limit again. For a child between fork and exec: system calls only.
///
/// # Errors
/// As prlimit(2).
pub(crate) fn give_back() -> io::Result<()> {
    let Some(given) = given() else { return Ok(()) };
    let mut limits = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: there is room for the answer.
    check(unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limits) })?;
    set(libc::rlimit { rlim_cur: given.min(limits.rlim_max), ..limits })
}

fn set(limits: libc::rlimit) -> io::Result<()> {
    // SAFETY: takes two integers by their address.
    check(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limits) })
}

fn check(result: libc::c_int) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
