//! The first instructions: `main` as C calls it, without std's own preparations.
//!
//! Those read `/proc/self/maps`, install handlers for SIGSEGV and SIGBUS to report a stack overflow, and ignore
//! SIGPIPE. They cost a tenth of our start-up, and three dispositions to undo in every child. This module does the part
//! that we need; with musl also the arguments, which std has from those preparations alone.

use super::{allocator, signals, stack};
use std::ffi::{CStr, OsStr, OsString, c_char, c_int};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::ptr;
use std::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};

/// Defines `main`: blocks all signals, opens missing standard streams, calls `$run`, a `fn() -> u8`, on a stack of our
/// own, and ends with its code. To be used once, in `main.rs`, under `#![no_main]`.
macro_rules! entry_point {
    ($run:path) => {
        // SAFETY: the one `main` of the binary, with the type that C gives it.
        // In unit tests, `main` is the harness's.
        #[cfg_attr(not(test), unsafe(no_mangle))]
        unsafe extern "C" fn main(
            count: std::ffi::c_int,
            words: *const *const std::ffi::c_char,
        ) -> std::ffi::c_int {
            // SAFETY: the arguments are those that C gives to `main`.
            std::ffi::c_int::from(unsafe { $crate::os::entry::enter(count, words, $run) })
        }
    };
}
pub(crate) use entry_point;

/// Prepares the process and runs the program. Called once, by [`entry_point!`].
///
/// # Safety
/// `count` and `words` are those of `main`.
#[must_use]
pub unsafe fn enter(count: c_int, words: *const *const c_char, program: fn() -> u8) -> u8 {
    keep(count, words);
    signals::hold_all();
    open_missing_streams();
    allocator::report_out_of_memory(true);
    stack::run(program)
}

/// Null until `main` is called; it never is in unit tests.
static WORDS: AtomicPtr<*const c_char> = AtomicPtr::new(ptr::null_mut());
static COUNT: AtomicUsize = AtomicUsize::new(0);

fn keep(count: c_int, words: *const *const c_char) {
    COUNT.store(usize::try_from(count).unwrap_or(0), Ordering::Relaxed);
    WORDS.store(words.cast_mut(), Ordering::Relaxed);
}

/// The arguments, with `argv[0]`.
#[must_use]
pub fn args() -> Vec<OsString> {
    let words = WORDS.load(Ordering::Relaxed).cast_const();
    if words.is_null() {
        return Vec::new();
    }
    // SAFETY: `main` received this many pointers, and they stay valid and unchanged.
    let words = unsafe { std::slice::from_raw_parts(words, COUNT.load(Ordering::Relaxed)) };
    let words = words.iter().take_while(|word| !word.is_null());
    // SAFETY: as above; each is a C string.
    let words = words.map(|word| unsafe { CStr::from_ptr(*word) });
    words.map(|word| OsStr::from_bytes(word.to_bytes()).to_owned()).collect()
}

unsafe extern "C" {
    /// environ(7).
    static environ: *const *const c_char;
}

/// Our environment as `NAME=value` strings in place. std's iterator would copy them all.
pub(super) fn variables() -> impl Iterator<Item = &'static CStr> {
    // SAFETY: the C library's own list, which nothing in this process changes: C strings up to a null pointer. The list
    // itself is null only after clearenv(3).
    let mut next = unsafe { environ };
    std::iter::from_fn(move || {
        // SAFETY: as above; `next` does not go beyond the null pointer.
        unsafe {
            if next.is_null() || (*next).is_null() {
                return None;
            }
            let variable = CStr::from_ptr(*next);
            next = next.wrapping_add(1);
            Some(variable)
        }
    })
}

/// Whether any variable's name begins with this prefix, in upper or lower case.
#[must_use]
pub fn has_variable(prefix: &str) -> bool {
    let begins = |name: &[u8]| name.eq_ignore_ascii_case(prefix.as_bytes());
    variables().any(|variable| variable.to_bytes().get(..prefix.len()).is_some_and(begins))
}

/// Opens `/dev/null` for a closed 0, 1 or 2. open(2) takes the lowest free number, so the next thing that we open,
/// perhaps a listener, would become a standard stream. Does nothing where there is no `/dev/null`.
fn open_missing_streams() {
    for fd in 0..=2 {
        // SAFETY: takes integers.
        let flags = unsafe { libc::fcntl(fd, libc::F_GETFD) };
        if flags < 0 && io::Error::last_os_error().raw_os_error() == Some(libc::EBADF) {
            // SAFETY: a C string. The descriptor stays open on purpose.
            unsafe { libc::open(c"/dev/null".as_ptr(), libc::O_RDWR) };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_are_those_that_main_was_given() {
        assert_eq!(args(), [""; 0]);
        let words = [c"prefork-init".as_ptr(), c"--".as_ptr(), c"\xff".as_ptr(), ptr::null()];
        for (count, wanted) in [(3, 3), (4, 3), (0, 0), (-1, 0)] {
            keep(count, words.as_ptr());
            let all = ["prefork-init".into(), "--".into(), OsStr::from_bytes(b"\xff").to_owned()];
            assert_eq!(args(), all[..wanted]);
        }
        keep(0, ptr::null());
        assert_eq!(args(), [""; 0]);
    }

    #[test]
    fn a_variable_is_found_by_how_its_name_begins() {
        let (name, _) = std::env::vars().find(|(name, _)| name.len() > 2).unwrap();
        for start in [&name, &name[..2], &name.to_ascii_lowercase(), &name.to_ascii_uppercase()] {
            assert!(has_variable(start), "{start}");
        }
        assert!(!has_variable(&format!("{name}=no such value")) && !has_variable("NO_SUCH_VARIABLE"));
    }
}
