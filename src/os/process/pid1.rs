//! What it takes to get the orphans.

use super::queued::to_ourselves_from;
use crate::core::Signal;
use std::io;

/// Whether we are the init of our PID namespace.
#[must_use]
pub fn is_pid1() -> bool {
    std::process::id() == 1
}

/// Makes orphaned descendants come to us, as they come to PID 1 (`PR_SET_CHILD_SUBREAPER`, prctl(2)).
///
/// # Errors
/// Where a sandbox refuses it; we then still serve, but orphans go elsewhere.
pub fn become_subreaper() -> io::Result<()> {
    // SAFETY: takes four integers and touches no memory.
    match unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Whether orphaned descendants come to us: that we are to get them outlives an exec, so the program before us may have
/// seen to it (`PR_GET_CHILD_SUBREAPER`, prctl(2)). Not, where a sandbox refuses to tell.
#[must_use]
pub fn is_subreaper() -> bool {
    let mut is: libc::c_int = 0;
    // SAFETY: there is room for the answer.
    unsafe { libc::prctl(libc::PR_GET_CHILD_SUBREAPER, &raw mut is) == 0 && is != 0 }
}

/// Asks for a signal when the process that started us is gone (`PR_SET_PDEATHSIG`, prctl(2)). If it is no longer
/// `parent`, the signal comes at once, and as the kernel would have sent it: from there. One from ourselves would have
/// no sender to believe.
///
/// # Errors
/// Where a sandbox refuses it.
pub fn ask_for_parent_death_signal(signal: Signal, parent: i32) -> io::Result<()> {
    // SAFETY: take integers and touch no memory.
    unsafe {
        if libc::prctl(libc::PR_SET_PDEATHSIG, signal.number()) != 0 {
            return Err(io::Error::last_os_error());
        }
        if libc::getppid() == parent { Ok(()) } else { to_ourselves_from(parent, signal) }
    }
}

/// Whose child we are.
#[must_use]
pub fn parent() -> i32 {
    // SAFETY: always succeeds.
    unsafe { libc::getppid() }
}

/// The signal that was asked for, if one was.
#[must_use]
pub fn parent_death_signal() -> Option<Signal> {
    let mut number: libc::c_int = 0;
    // SAFETY: there is room for the answer.
    unsafe { libc::prctl(libc::PR_GET_PDEATHSIG, &raw mut number) };
    Signal::from_number(number)
}

/// Eight bytes of chance for the core's generator (getrandom(2)); the time of day if there are none.
#[must_use]
pub fn seed() -> u64 {
    let mut seed = [0u8; 8];
    // SAFETY: the buffer is as large as we say.
    let got = unsafe { libc::getrandom(seed.as_mut_ptr().cast(), seed.len(), libc::GRND_NONBLOCK) };
    if usize::try_from(got) == Ok(seed.len()) {
        return u64::from_ne_bytes(seed);
    }
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    u64::from(now.subsec_nanos()) ^ u64::from(std::process::id())
}
