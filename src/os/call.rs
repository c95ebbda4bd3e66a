//! Names a system call that the kernel refuses: a sandbox's filter (seccomp(2)) or a security module answers `EPERM` or
//! `ENOSYS`, and its operator must know which call to allow.

use crate::core::exit::code;
use crate::values::error::StartError;
use nix::errno::Errno;
use std::fmt;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{FromRawFd, OwnedFd};
use std::ptr;
use std::time::Duration;

/// The remedy for a refused call.
pub const REMEDY: &str = "have the sandbox's system call filter (seccomp) allow it";

/// The inner error that carries the name.
#[derive(Debug)]
struct Refused {
    call: &'static str,
    errno: i32,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { call, errno } = self;
        write!(f, "the system call {call} is refused: {}", io::Error::from_raw_os_error(*errno))
    }
}

impl std::error::Error for Refused {}

/// Adds the name of the call to `EPERM` and `ENOSYS`; leaves all other errors unchanged.
pub fn named<T, E: Into<io::Error>>(call: &'static str, result: Result<T, E>) -> io::Result<T> {
    result.map_err(|error| {
        let error = error.into();
        match error.raw_os_error() {
            Some(errno @ (libc::EPERM | libc::ENOSYS)) => {
                io::Error::new(error.kind(), Refused { call, errno })
            }
            Some(_) | None => error,
        }
    })
}

/// The errno of an error, named or not; 0 if it has none.
#[must_use]
pub fn errno(error: &io::Error) -> i32 {
    let named = error.get_ref().and_then(|inner| inner.downcast_ref::<Refused>());
    named.map(|named| named.errno).or(error.raw_os_error()).unwrap_or(0)
}

/// The call that was refused, if [`named`] recorded it.
#[must_use]
pub fn name(error: &io::Error) -> Option<&'static str> {
    error.get_ref().and_then(|inner| inner.downcast_ref::<Refused>()).map(|named| named.call)
}

/// Whether this errno means that the call is refused whatever its arguments are.
#[must_use]
pub fn is_refused(errno: i32) -> bool {
    matches!(errno, libc::EPERM | libc::ENOSYS)
}

/// Checks that epoll_wait(2) is allowed: the runtime takes it for granted. Calls it with a descriptor that does not
/// exist: a kernel that allows the call answers `EBADF`.
///
/// # Errors
/// If it is refused.
pub fn may_wait_for_events() -> io::Result<()> {
    let mut event = MaybeUninit::<libc::epoll_event>::uninit();
    // SAFETY: there is room for one event; there is no such descriptor.
    allowed("epoll_wait", Errno::result(unsafe { libc::epoll_wait(-1, event.as_mut_ptr(), 1, 0) }))
}

/// Checks in the same way the calls that accept, identify (`SO_PEERCRED`), read and answer connections.
///
/// # Errors
/// The first call that is refused.
pub fn may_serve() -> io::Result<()> {
    // SAFETY: nothing is read or written: there is no such descriptor, and there are no parts.
    unsafe {
        let accepted = libc::accept4(-1, ptr::null_mut(), ptr::null_mut(), libc::SOCK_CLOEXEC);
        allowed("accept4", Errno::result(accepted))?;
        allowed("recvfrom", Errno::result(libc::recv(-1, ptr::null_mut(), 0, 0)))?;
        allowed("sendto", Errno::result(libc::send(-1, ptr::null(), 0, libc::MSG_NOSIGNAL)))?;
        allowed("writev", Errno::result(libc::writev(-1, ptr::null(), 0)))?;
        let (value, length) = (ptr::null_mut(), ptr::null_mut());
        let asked = libc::getsockopt(-1, libc::SOL_SOCKET, libc::SO_PEERCRED, value, length);
        allowed("getsockopt", Errno::result(asked))
    }
}

/// Checks in the same way that descriptors may be closed. std panics when closedir(3) fails.
///
/// # Errors
/// If it is refused.
pub fn may_close() -> io::Result<()> {
    // SAFETY: there is no such descriptor.
    allowed("close", Errno::result(unsafe { libc::close(-1) }))
}

/// Checks recvmsg(2) in the same way.
///
/// # Errors
/// If it is refused.
pub fn may_receive() -> io::Result<()> {
    // SAFETY: nothing is written: there is no such descriptor.
    let received = unsafe {
        let mut message = MaybeUninit::<libc::msghdr>::zeroed();
        libc::recvmsg(-1, message.as_mut_ptr(), 0)
    };
    allowed("recvmsg", Errno::result(received))
}

/// Sets the file mode creation mask and returns the previous one. libc's umask(3) hides an error. Allocates nothing.
///
/// # Errors
/// If it is refused; the call itself never fails.
pub(super) fn umask(mask: u32) -> Result<u32, Errno> {
    // SAFETY: takes an integer.
    let before = Errno::result(unsafe { libc::syscall(libc::SYS_umask, mask) })?;
    Ok(u32::try_from(before).unwrap_or(0))
}

fn allowed<T>(call: &'static str, result: Result<T, Errno>) -> io::Result<()> {
    match result {
        Err(error) if is_refused(error as i32) => named(call, Err(error)),
        Ok(_) | Err(_) => Ok(()),
    }
}

/// Tries one by one the calls that a runtime is made with, after making one has failed.
///
/// # Errors
/// The first that fails.
pub fn try_what_a_runtime_needs() -> io::Result<()> {
    let own = |call: &'static str, fd: libc::c_int| {
        named(call, if fd < 0 { Err(io::Error::last_os_error()) } else { Ok(()) })?;
        // SAFETY: the kernel has just given us this descriptor.
        Ok::<_, io::Error>(unsafe { OwnedFd::from_raw_fd(fd) })
    };
    // SAFETY: takes integers.
    let set = own("epoll_create1", unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) })?;
    // SAFETY: takes integers.
    let event = own("eventfd2", unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) })?;
    let set = nix::sys::epoll::Epoll(set);
    let none = nix::sys::epoll::EpollEvent::empty();
    named("epoll_ctl", set.add(&event, none))?;
    named("fcntl", event.try_clone())?;
    Ok(())
}

/// Sleeps, and never fails: where nanosleep(2) is refused, yields the processor instead.
pub fn pause(span: Duration) {
    // The field has 64 bits, or 32; a number below a billion fits.
    #[allow(clippy::unnecessary_fallible_conversions)]
    let spec = libc::timespec {
        tv_sec: libc::time_t::try_from(span.as_secs()).unwrap_or(libc::time_t::MAX),
        tv_nsec: span.subsec_nanos().try_into().unwrap_or(0),
    };
    // SAFETY: the time is valid, and a null pointer discards the remainder.
    unsafe {
        if libc::nanosleep(&raw const spec, ptr::null_mut()) != 0 {
            libc::sched_yield();
        }
    }
}

/// The start error for a call that we cannot do without.
#[must_use]
pub fn refused(what: &str, error: &io::Error) -> StartError {
    StartError::usage(what, error, remedy_of(error)).with_code(code::CANNOT_START)
}

/// The remedy for a failed call of any kind.
pub fn remedy_of(error: &io::Error) -> &'static str {
    if name(error).is_some() {
        return REMEDY;
    }
    match error.kind() {
        io::ErrorKind::OutOfMemory => "there is no memory for it: raise the limit",
        _ => "raise the limit on open files, or loosen the sandbox's system call filter",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_refusal_gets_a_name_and_keeps_its_number() {
        for (number, named_so) in [(libc::EPERM, true), (libc::ENOSYS, true), (libc::EACCES, false)] {
            let failed: io::Result<()> = Err(io::Error::from_raw_os_error(number));
            let error = named("listen", failed).unwrap_err();
            assert_eq!((name(&error).is_some(), errno(&error)), (named_so, number));
            assert_eq!(error.to_string().starts_with("the system call listen is refused: "), named_so);
        }
        assert!(name(&io::ErrorKind::TimedOut.into()).is_none());
    }

    #[test]
    fn what_this_kernel_allows_is_allowed() {
        may_wait_for_events().unwrap();
        may_serve().unwrap();
        may_receive().unwrap();
        may_close().unwrap();
        try_what_a_runtime_needs().unwrap();
    }
}
