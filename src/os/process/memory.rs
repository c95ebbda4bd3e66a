//! Returns memory that only the start needed.

use crate::os::stack;

/// The stack below the caller that is kept, in bytes: the loop itself will use it.
const KEPT_STACK: usize = 8 * 1024;

/// The stack below that which reading the command line may have touched, in bytes.
const TOUCHED_STACK: usize = 256 * 1024;

/// Returns to the kernel the free heap pages (malloc_trim(3)) and the stack pages below those in use. An init lives as
/// long as its container, and 60 kB of leftovers would too.
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
    // Below a stack of our own, other memory may be in use.
    let bottom = top.saturating_sub(TOUCHED_STACK).max(stack::lowest().unwrap_or(0));
    let length = top.saturating_sub(bottom);
    // SAFETY: nothing is in use below the stack pointer (beyond the red zone, far less than `KEPT_STACK`); pages that
    // are touched again come back zeroed. On an unmapped range the call fails and does nothing more.
    unsafe { libc::madvise(std::ptr::without_provenance_mut(bottom), length, libc::MADV_DONTNEED) };
}
