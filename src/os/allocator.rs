//! The global allocator: the system's, with one error line when memory runs out before anything is started. std alone
//! would abort.

use crate::core::exit::code;
use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicBool, Ordering};

#[global_allocator]
static ALLOCATOR: Telling = Telling;

/// Whether nothing has been started yet.
static STARTS: AtomicBool = AtomicBool::new(false);

const NO_MEMORY: &str =
    "prefork-init: memory: the kernel gives none (mmap, brk): raise the limit (ulimit -d, ulimit -v)\n";

struct Telling;

/// While `starts` is true, a failed allocation ends the process with a line on stderr and [`code::CANNOT_START`].
pub fn report_out_of_memory(starts: bool) {
    STARTS.store(starts, Ordering::Relaxed);
}

fn told(memory: *mut u8) -> *mut u8 {
    if memory.is_null() && STARTS.load(Ordering::Relaxed) {
        // SAFETY: the length is that of the text, and neither call allocates. A write that blocks holds up only our own
        // start.
        unsafe {
            libc::write(libc::STDERR_FILENO, NO_MEMORY.as_ptr().cast(), NO_MEMORY.len());
            libc::_exit(i32::from(code::CANNOT_START));
        }
    }
    memory
}

// SAFETY: forwards to the system's allocator.
unsafe impl GlobalAlloc for Telling {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller makes the promises that `System` asks for.
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
