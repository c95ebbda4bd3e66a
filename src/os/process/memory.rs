//! Memory that only the start needed.

use crate::os::stack;

/// How much stack below the caller is kept: what the loop itself will use.
const KEPT_STACK: usize = 8 * 1024;

/// How much stack below that may have been touched by reading the command line.
const TOUCHED_STACK: usize = 256 * 1024;

/// Gives back to the kernel what reading the command line has left behind: free heap pages (malloc_trim(3)) and
/// stack pages below the ones in use. An init lives as long as its container; 60 kB of leftovers would too.
pub fn give_back() {
    // SAFETY: takes an integer; releases only memory that is not in use.
    #[cfg(target_env = "gnu")]
    unsafe {
        libc::malloc_trim(0)
    };
    let here = 0u8;
    // SAFETY: takes an integer.
    let page = usize::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).unwrap_or(TOUCHED_STACK);
    let top = std::ptr::from_ref(&here).addr().saturating_sub(KEPT_STACK) & page.wrapping_neg();
    // Below a stack of our own there may be other memory that is in use.
    let bottom = top.saturating_sub(TOUCHED_STACK).max(stack::lowest().unwrap_or(0));
    let length = top.saturating_sub(bottom);
    // SAFETY: nothing lives below the stack pointer (beyond the red zone, far less than `KEPT_STACK`); pages
    // that are touched again come back zeroed. Where the range is not mapped, the call says so and does no more.
    unsafe { libc::madvise(std::ptr::without_provenance_mut(bottom), length, libc::MADV_DONTNEED) };
}
