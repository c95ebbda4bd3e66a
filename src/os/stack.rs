//! A stack of our own: reading the command line takes some 200 kB, and we may be started with less (`ulimit -s 64`,
//! a small `RLIMIT_STACK` of a pod), which kills without a word.

use std::ffi::c_void;
use std::io;
use std::ptr;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Some more than is needed; only what is touched takes memory. Frames that were not optimised are several times as large.
const SIZE: usize = if cfg!(debug_assertions) { 8 << 20 } else { 512 << 10 };

/// Where a stack that is full ends us, rather than anything else. No page is larger on those that we build for.
const GUARD: usize = 64 << 10;

/// The lowest address of ours; 0 while we are on the one that we were given.
static LOWEST: AtomicUsize = AtomicUsize::new(0);

/// The lowest address that may be used of the stack that we are on, if it is ours.
#[must_use]
pub(super) fn lowest() -> Option<usize> {
    Some(LOWEST.load(Ordering::Relaxed)).filter(|lowest| *lowest > 0)
}

/// Calls this on a stack of our own, for good; on the one that we were given where there is no memory for it.
pub(super) fn run(program: fn() -> u8) -> u8 {
    let Ok(base) = map() else { return program() };
    LOWEST.store(base.addr().saturating_add(GUARD), Ordering::Relaxed);
    let mut order = StackOrder { program, code: 0 };
    // SAFETY: the memory is fresh, ends at a multiple of 16, and is never given back; `order` outlives the call.
    unsafe { switch(base.wrapping_byte_add(GUARD.saturating_add(SIZE)), ptr::from_mut(&mut order)) };
    order.code
}

struct StackOrder {
    program: fn() -> u8,
    code: u8,
}

extern "C" fn carry_out(order: *mut StackOrder) {
    // SAFETY: the caller's, who waits.
    let order = unsafe { &mut *order };
    order.code = (order.program)();
}

fn map() -> io::Result<*mut c_void> {
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_STACK | libc::MAP_NORESERVE;
    // SAFETY: asks for fresh memory anywhere, and changes what nobody uses yet.
    unsafe {
        let base = libc::mmap(ptr::null_mut(), GUARD.saturating_add(SIZE), libc::PROT_NONE, flags, -1, 0);
        if base == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let usable = base.wrapping_byte_add(GUARD);
        if libc::mprotect(usable, SIZE, libc::PROT_READ | libc::PROT_WRITE) != 0 {
            let error = io::Error::last_os_error();
            libc::munmap(base, GUARD.saturating_add(SIZE));
            return Err(error);
        }
        Ok(base)
    }
}

/// Calls [`carry_out`] on the stack that ends here, and comes back.
#[cfg(target_arch = "x86_64")]
unsafe fn switch(top: *mut c_void, order: *mut StackOrder) {
    // SAFETY: the old stack pointer is kept in a register that the callee restores (System V ABI).
    unsafe {
        std::arch::asm!(
            "mov r12, rsp",
            "mov rsp, {top}",
            "call {call}",
            "mov rsp, r12",
            top = in(reg) top,
            call = in(reg) carry_out as extern "C" fn(*mut StackOrder),
            in("rdi") order,
            out("r12") _,
            clobber_abi("C"),
        );
    }
}

/// Calls [`carry_out`] on the stack that ends here, and comes back.
#[cfg(target_arch = "aarch64")]
unsafe fn switch(top: *mut c_void, order: *mut StackOrder) {
    // SAFETY: the old stack pointer is kept in a register that the callee restores (AAPCS64).
    unsafe {
        std::arch::asm!(
            "mov x20, sp",
            "mov sp, {top}",
            "blr {call}",
            "mov sp, x20",
            top = in(reg) top,
            call = in(reg) carry_out as extern "C" fn(*mut StackOrder),
            in("x0") order,
            out("x20") _,
            clobber_abi("C"),
        );
    }
}

/// Elsewhere we stay where we are.
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
unsafe fn switch(_top: *mut c_void, order: *mut StackOrder) {
    LOWEST.store(0, Ordering::Relaxed);
    carry_out(order);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_deep_and_gives_the_code_back() {
        // Inlined, it would be on the stack of the caller.
        #[inline(never)]
        fn deep() -> u8 {
            let here = [7u8; SIZE / 2];
            let at = std::hint::black_box(&here).as_ptr().addr();
            assert!(lowest().is_some_and(|lowest| (lowest..lowest + SIZE).contains(&at)));
            here[SIZE / 4]
        }
        assert_eq!(run(deep), 7);
        LOWEST.store(0, Ordering::Relaxed);
    }
}
