//! Files without a path: memfd_create(2).

use std::ffi::CStr;
use std::io;
use std::os::fd::{FromRawFd, OwnedFd};

/// A new file, closed on exec, that may be sealed. It is not executable, as some systems require (`vm.memfd_noexec`,
/// proc_sys_vm(5)); kernels before 6.3 do not know that flag.
///
/// # Errors
/// As memfd_create(2).
pub fn create(name: &CStr) -> io::Result<OwnedFd> {
    let flags = libc::MFD_CLOEXEC | libc::MFD_ALLOW_SEALING;
    // SAFETY: the name is a C string.
    let create = |flags| unsafe { libc::memfd_create(name.as_ptr(), flags) };
    let mut fd = create(flags | libc::MFD_NOEXEC_SEAL);
    if fd < 0 && io::Error::last_os_error().raw_os_error() == Some(libc::EINVAL) {
        fd = create(flags);
    }
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just given us this descriptor.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}
