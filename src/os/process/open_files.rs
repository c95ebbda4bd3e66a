//! How many files we may have open (`RLIMIT_NOFILE`, getrlimit(2)): a pool takes all that it may have, since each worker
//! costs it some, and its children get what it was given. Many programs take a high limit for a number of things to do.

use std::io;
use std::mem::MaybeUninit;
use std::sync::atomic::{AtomicU64, Ordering};

/// What we were given, while ours is another.
static GIVEN: AtomicU64 = AtomicU64::new(UNCHANGED);
/// No limit is as high: `RLIM_INFINITY`, and what is infinite is not raised.
const UNCHANGED: u64 = libc::RLIM_INFINITY;

/// Raises our limit as far as it goes. What we were given is remembered for our children.
///
/// # Errors
/// As getrlimit(2) and setrlimit(2): then it is as before.
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
    // Another program of ours may have been given less before, and has told of it.
    let _told_before =
        GIVEN.compare_exchange(UNCHANGED, limits.rlim_cur, Ordering::Relaxed, Ordering::Relaxed);
    Ok(())
}

/// What we were given, if ours is another.
#[must_use]
pub fn given() -> Option<u64> {
    Some(GIVEN.load(Ordering::Relaxed)).filter(|given| *given != UNCHANGED)
}

/// The same, where another program of ours was given it in this process.
pub fn take_over(given: Option<u64>) {
    GIVEN.store(given.unwrap_or(UNCHANGED), Ordering::Relaxed);
}

/// Sets the limit to what we were given. For a child between its fork and its exec: system calls only.
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
