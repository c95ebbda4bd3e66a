//! The first instructions: `main` as C calls it, without the standard library's own preparations.
//!
//! Those read `/proc/self/maps`, install handlers for SIGSEGV and SIGBUS to tell of a stack overflow, and ignore
//! SIGPIPE: a tenth of our start-up, and three dispositions to undo in every child. What we need of them is here.

use super::{allocator, signals, stack};
use std::io;

/// Defines `main`: holds all signals, opens missing standard streams, then calls `$run`, a `fn() -> u8`, on a stack
/// of our own, and ends with its code. To be used once, in `main.rs`, under `#![no_main]`.
macro_rules! entry_point {
    ($run:path) => {
        // SAFETY: the one `main` of the binary, with the type that C gives it.
        // That of the unit tests is their harness's.
        #[cfg_attr(not(test), unsafe(no_mangle))]
        extern "C" fn main(_: std::ffi::c_int, _: *const *const std::ffi::c_char) -> std::ffi::c_int {
            std::ffi::c_int::from($crate::os::entry::enter($run))
        }
    };
}
pub(crate) use entry_point;

/// What comes before everything else, and then all the rest. Called once, by [`entry_point!`].
#[must_use]
pub fn enter(program: fn() -> u8) -> u8 {
    signals::hold_all();
    open_missing_streams();
    allocator::tell_of_want(true);
    stack::run(program)
}

/// A closed 0, 1 or 2 becomes `/dev/null`, lest the next thing we open, a listener perhaps, be taken for it. open(2)
/// takes the lowest number that is free. Where there is no `/dev/null`, nothing is done.
fn open_missing_streams() {
    for fd in 0..=2 {
        // SAFETY: takes integers.
        let flags = unsafe { libc::fcntl(fd, libc::F_GETFD) };
        if flags < 0 && io::Error::last_os_error().raw_os_error() == Some(libc::EBADF) {
            // SAFETY: a C string. The descriptor is to stay open.
            unsafe { libc::open(c"/dev/null".as_ptr(), libc::O_RDWR) };
        }
    }
}
