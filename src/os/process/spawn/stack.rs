//! The stack on which a child runs until it executes.

use std::io;
use std::ptr;

/// The stack of the child until it executes; it calls nothing deep.
const STACK: usize = 64 * 1024;

/// Memory for the child's stack, given back as soon as it has executed.
pub(super) struct Stack(*mut libc::c_void);

impl Stack {
    pub(super) fn new() -> io::Result<Self> {
        let (read_write, private) =
            (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
        // SAFETY: asks for fresh memory anywhere.
        let base =
            unsafe { libc::mmap(ptr::null_mut(), STACK, read_write, private | libc::MAP_STACK, -1, 0) };
        if base == libc::MAP_FAILED { Err(io::Error::last_os_error()) } else { Ok(Self(base)) }
    }

    /// Stacks grow down on every architecture Linux runs Rust on. Mappings are aligned to pages.
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
