//! A stack of our own. Reading the command line takes about 200 kB, and a smaller stack (`ulimit -s 64`, a pod's small
//! `RLIMIT_STACK`) would end us without a message.

use std::ffi::c_void;
use std::io;
use std::ptr;
use std::sync::atomic::{AtomicUsize, Ordering};

/// More than is needed; only touched pages take memory. Unoptimised frames are several times as large.
const SIZE: usize = if cfg!(debug_assertions) { 8 << 20 } else { 512 << 10 };

/// The guard below the stack, where an overflow ends us before it reaches other memory. At least a page on all targets.
const GUARD: usize = 64 << 10;

/// The lowest usable address of our stack; 0 while we are on the original one.
static LOWEST: AtomicUsize = AtomicUsize::new(0);

/// The lowest usable address of the stack; `None` on the original one.
#[must_use]
pub(super) fn lowest() -> Option<usize> {
    Some(LOWEST.load(Ordering::Relaxed)).filter(|lowest| *lowest > 0)
}

/// Calls `program` on a stack of our own, which is never freed; on the original one if there is no memory.
pub(super) fn run(program: fn() -> u8) -> u8 {
    let Ok(base) = map() else { return program() };
    LOWEST.store(base.addr().saturating_add(GUARD), Ordering::Relaxed);
    let mut order = StackOrder { program, code: 0 };
    // SAFETY: the memory is new, ends at a multiple of 16, and is never freed; `order` outlives the call.
    unsafe { switch(base.wrapping_byte_add(GUARD.saturating_add(SIZE)), ptr::from_mut(&mut order)) };
    order.code
}

struct StackOrder {
    program: fn() -> u8,
    code: u8,
}

extern "C" fn carry_out(order: *mut StackOrder) {
    // SAFETY: `run` owns it, and waits for this call.
    let order = unsafe { &mut *order };
    order.code = (order.program)();
}

fn map() -> io::Result<*mut c_void> {
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_STACK | libc::MAP_NORESERVE;
    // SAFETY: asks for new memory at any address, and changes only that.
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

/// Calls [`carry_out`] on the stack that ends at `top`, and returns.
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

/// Calls [`carry_out`] on the stack that ends at `top`, and returns.
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

/// Other architectures keep the original stack.
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
        // Inlined, its frame would be part of the caller's.
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
