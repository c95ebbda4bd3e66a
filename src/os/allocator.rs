//! Memory, and the one line that tells of there being none. Until anything is started, to be without it is an error of the
//! start like all others; the standard library would abort.

use crate::core::exit::code;
use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicBool, Ordering};

/// The system's, for all of us.
#[global_allocator]
static ALLOCATOR: Telling = Telling;

/// Whether nothing is started yet.
static STARTS: AtomicBool = AtomicBool::new(false);

const NO_MEMORY: &str =
    "prefork-init: memory: the kernel gives none (mmap, brk): raise the limit (ulimit -d, ulimit -v)\n";

struct Telling;

/// From now on, or no more, want of memory ends us with a line and [`code::CANNOT_START`].
pub fn tell_of_want(starts: bool) {
    STARTS.store(starts, Ordering::Relaxed);
}

fn told(memory: *mut u8) -> *mut u8 {
    if memory.is_null() && STARTS.load(Ordering::Relaxed) {
        // SAFETY: as many bytes as we say; runs nothing of ours again. Nobody waits for what it writes to more than for any
        // error of the start.
        unsafe {
            libc::write(libc::STDERR_FILENO, NO_MEMORY.as_ptr().cast(), NO_MEMORY.len());
            libc::_exit(i32::from(code::CANNOT_START));
        }
    }
    memory
}

// SAFETY: the system's allocator, whose answers are passed on.
unsafe impl GlobalAlloc for Telling {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promises are those that it asks for.
        told(unsafe { System.alloc(layout) })
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as above.
        told(unsafe { System.alloc_zeroed(layout) })
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // SAFETY: as above.
        told(unsafe { System.realloc(memory, layout, size) })
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(memory, layout) };
    }
}
