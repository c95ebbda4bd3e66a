//! The stack on which a child runs until it executes.

use std::io;
use std::ptr;

/// The size in bytes; the child calls nothing deep.
const STACK: usize = 64 * 1024;

/// Unmapped on drop, once the child has executed.
pub(super) struct Stack(*mut libc::c_void);

impl Stack {
    pub(super) fn new() -> io::Result<Self> {
        let (read_write, private) =
            (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
        // SAFETY: asks for new memory at any address.
        let base =
            unsafe { libc::mmap(ptr::null_mut(), STACK, read_write, private | libc::MAP_STACK, -1, 0) };
        if base == libc::MAP_FAILED { Err(io::Error::last_os_error()) } else { Ok(Self(base)) }
    }

    /// The highest address: stacks grow down wherever Rust runs on Linux. Mappings are aligned to pages.
    pub(super) fn top(&self) -> *mut libc::c_void {
        self.0.wrapping_byte_add(STACK)
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        // SAFETY: mapped by `new`, and the child no longer runs on it.
        unsafe { libc::munmap(self.0, STACK) };
    }
}
