//! Our place among processes: PID 1 or subreaper, our parent, and the seed for random numbers.

use super::queued::to_ourselves_from;
use crate::core::Signal;
use std::io;

#[must_use]
pub fn is_pid1() -> bool {
    std::process::id() == 1
}

/// Makes orphaned descendants our children, as PID 1's are (`PR_SET_CHILD_SUBREAPER`, prctl(2)).
///
/// # Errors
/// If a sandbox refuses it; we still run, but orphans go elsewhere.
pub fn become_subreaper() -> io::Result<()> {
    // SAFETY: takes four integers and touches no memory.
    match unsafe { libc::prctl(libc::PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Whether orphaned descendants become our children (`PR_GET_CHILD_SUBREAPER`, prctl(2)). The attribute outlives an
/// exec, so our previous program may have set it. False where a sandbox refuses the call.
#[must_use]
pub fn is_subreaper() -> bool {
    let mut is: libc::c_int = 0;
    // SAFETY: there is room for the answer.
    unsafe { libc::prctl(libc::PR_GET_CHILD_SUBREAPER, &raw mut is) == 0 && is != 0 }
}

/// Asks for a signal when our parent ends (`PR_SET_PDEATHSIG`, prctl(2)). If the parent is not `parent` any more, the
/// signal comes at once with `parent` as its sender, as from the kernel: one from ourselves would not be believed.
///
/// # Errors
/// If a sandbox refuses it.
pub fn ask_for_parent_death_signal(signal: Signal, parent: i32) -> io::Result<()> {
    // SAFETY: take integers and touch no memory.
    unsafe {
        if libc::prctl(libc::PR_SET_PDEATHSIG, signal.number()) != 0 {
            return Err(io::Error::last_os_error());
        }
        if libc::getppid() == parent { Ok(()) } else { to_ourselves_from(parent, signal) }
    }
}

#[must_use]
pub fn parent() -> i32 {
    // SAFETY: always succeeds.
    unsafe { libc::getppid() }
}

/// The parent death signal, if one is set.
#[must_use]
pub fn parent_death_signal() -> Option<Signal> {
    let mut number: libc::c_int = 0;
    // SAFETY: there is room for the answer.
    unsafe { libc::prctl(libc::PR_GET_PDEATHSIG, &raw mut number) };
    Signal::from_number(number)
}

/// Eight random bytes for the core's generator (getrandom(2)); without them, the clock's nanoseconds mixed with our
/// pid.
#[must_use]
pub fn seed() -> u64 {
    let mut seed = [0u8; 8];
    // SAFETY: the length is that of the buffer.
    let got = unsafe { libc::getrandom(seed.as_mut_ptr().cast(), seed.len(), libc::GRND_NONBLOCK) };
    if usize::try_from(got) == Ok(seed.len()) {
        return u64::from_ne_bytes(seed);
    }
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    u64::from(now.subsec_nanos()) ^ u64::from(std::process::id())
}
