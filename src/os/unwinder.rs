//! Replaces the unwinder, which `panic = "abort"` never needs. Only std's backtraces would use it, and bring a reader
//! of debug information along (227 kB of the static binary on glibc).
//!
//! Only for `cargo static`, which defines `prefork_no_unwinder`: without its link-time optimisation both unwinders
//! would be linked. Names and return values are those of the Itanium C++ ABI, Level I.

use std::ffi::{c_int, c_void};
use std::ptr;

/// `_URC_END_OF_STACK`
const END_OF_STACK: c_int = 5;

/// Reports no frame.
#[unsafe(no_mangle)]
extern "C" fn _Unwind_Backtrace(_each: *const c_void, _argument: *mut c_void) -> c_int {
    END_OF_STACK
}

/// Defines functions that query a frame: there is none.
macro_rules! of_a_frame {
    ($($name:ident)*) => {$(
        #[unsafe(no_mangle)]
        extern "C" fn $name(_frame: *mut c_void) -> *mut c_void {
            ptr::null_mut()
        }
    )*};
}

of_a_frame! {
    _Unwind_GetIP _Unwind_GetCFA _Unwind_GetRegionStart _Unwind_GetLanguageSpecificData _Unwind_GetDataRelBase
    _Unwind_GetTextRelBase _Unwind_FindEnclosingFunction
}

#[unsafe(no_mangle)]
extern "C" fn _Unwind_GetIPInfo(_frame: *mut c_void, _before: *mut c_int) -> *mut c_void {
    ptr::null_mut()
}

#[unsafe(no_mangle)]
extern "C" fn _Unwind_SetGR(_frame: *mut c_void, _register: c_int, _value: usize) {}

#[unsafe(no_mangle)]
extern "C" fn _Unwind_SetIP(_frame: *mut c_void, _value: usize) {}

#[unsafe(no_mangle)]
extern "C" fn _Unwind_DeleteException(_exception: *mut c_void) {}

/// Resumes an exception, which cannot exist.
#[unsafe(no_mangle)]
extern "C" fn _Unwind_Resume(_exception: *mut c_void) -> ! {
    std::process::abort()
}

/// No frame catches.
#[unsafe(no_mangle)]
extern "C" fn _Unwind_RaiseException(_exception: *mut c_void) -> c_int {
    END_OF_STACK
}
