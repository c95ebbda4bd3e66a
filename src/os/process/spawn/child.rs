//! The code between clone and exec. It runs on memory shared with the parent, so it makes system calls and nothing
//! else.

use super::image::{ChildFailure, ChildImage};
use super::program::Placement;
use crate::core::exit::code;
use crate::os::process::{open_files, privileges};
use crate::os::{call, signals};
use crate::values::FIRST_FD;
use std::ffi::{CStr, CString};
use std::mem::size_of;
use std::ptr;

/// The length of `LISTEN_PID=`.
const LISTEN_PID_DIGITS: usize = 11;

/// The steps that can fail, by the number that is sent through the pipe.
const STEPS: [&str; 13] = [
    "setsid",
    "dup2",
    "execute",
    "setpgid",
    "set the OOM score",
    "change the directory (chdir)",
    "setgroups",
    "setgid",
    "setuid",
    "set no_new_privs (prctl)",
    "ask for a death signal (prctl)",
    "give up capabilities (capset)",
    "umask",
];
const SETSID: u32 = 0;
const DUP2: u32 = 1;
pub(super) const EXECUTE: u32 = 2;
const SETPGID: u32 = 3;
const OOM: u32 = 4;
const CHDIR: u32 = 5;
const SETGROUPS: u32 = 6;
const SETGID: u32 = 7;
const SETUID: u32 = 8;
const NO_NEW_PRIVS: u32 = 9;
const DEATH_SIGNAL: u32 = 10;
const CAPSET: u32 = 11;
const UMASK: u32 = 12;

/// The name of a step in messages.
pub(super) fn name_of(step: u32) -> &'static str {
    usize::try_from(step).ok().and_then(|step| STEPS.get(step)).copied().unwrap_or("execute")
}

/// Runs in the child, on our memory or on a copy of it; never returns.
pub(super) extern "C" fn run(image: *mut libc::c_void) -> libc::c_int {
    // SAFETY: the caller passed its `&mut ChildImage`, and does not touch it until the child executes or ends.
    let image = unsafe { &mut *image.cast::<ChildImage>() };
    // SAFETY: system calls on memory that was prepared before; no allocation, no lock.
    unsafe {
        take_place(image);
        take_identity(image);
        if let Some(signal) = image.parent_death {
            // After the change of user, which clears it.
            if libc::prctl(libc::PR_SET_PDEATHSIG, signal.number()) < 0 {
                fail(image, DEATH_SIGNAL);
            }
            // If the parent has already died, the signal will not come. A filter may hide one of the two numbers: then
            // there is nothing to compare.
            let parent = libc::getppid();
            if parent >= 0 && image.parent >= 0 && parent != image.parent {
                libc::_exit(i32::from(code::CANNOT_START));
            }
        }
        if !image.listen_pid.is_empty() {
            write_pid(image);
        }
        for (fd, target) in image.output.iter().zip(1..) {
            if fd.is_some_and(|fd| libc::dup2(fd, target) < 0) {
                fail(image, DUP2);
            }
        }
        for (&fd, target) in image.fds.iter().zip(FIRST_FD..) {
            if libc::dup2(fd, target) < 0 {
                fail(image, DUP2);
            }
        }
        if image.close_others {
            close_others(image.fds.len());
        }
        // After the descriptors have their numbers, which may be above the limit.
        let _as_ours = open_files::give_back();
        signals::give_back();
        execute(image);
        fail(image, EXECUTE)
    }
}

/// A refused terminal is not an error: most programs run without one.
unsafe fn take_place(image: &ChildImage) {
    // SAFETY: these take integers. All signals are blocked, also TTOU for the change of the foreground group.
    unsafe {
        match image.placement {
            Placement::Session | Placement::SessionWithTerminal(_) if libc::setsid() < 0 => {
                fail(image, SETSID)
            }
            Placement::Group(_) if libc::setpgid(0, 0) < 0 => fail(image, SETPGID),
            Placement::SessionWithTerminal(fd) => {
                libc::ioctl(fd, libc::TIOCSCTTY, 0);
            }
            Placement::Group(Some(fd)) => {
                libc::tcsetpgrp(fd, libc::getpgrp());
            }
            Placement::Session | Placement::Group(None) | Placement::Shared => {}
        }
    }
}

unsafe fn take_identity(image: &ChildImage) {
    let attributes = &image.attributes;
    // SAFETY: C strings and a slice that live in `image`. The raw calls change this process alone; glibc's wrappers
    // would notify other threads, which it believes may exist.
    unsafe {
        if let Some(score) = &image.oom_score_adj
            && !write_file(c"/proc/self/oom_score_adj", score)
        {
            fail(image, OOM);
        }
        // umask(2) never fails, but a filter may refuse it.
        if attributes.umask.is_some_and(|umask| call::umask(umask).is_err()) {
            fail(image, UMASK);
        }
        let directory = attributes.directory.as_deref().filter(|path| libc::chdir(path.as_ptr()) < 0);
        if let Some(identity) = &attributes.identity {
            let count = identity.groups.len();
            if libc::syscall(libc::SYS_setgroups, count, identity.groups.as_ptr()) < 0 {
                fail(image, SETGROUPS);
            }
            let (uid, gid) = (identity.uid, identity.gid);
            if libc::syscall(libc::SYS_setresgid, gid, gid, gid) < 0 {
                fail(image, SETGID);
            }
            if libc::syscall(libc::SYS_setresuid, uid, uid, uid) < 0 {
                fail(image, SETUID);
            }
            if uid != 0 && !privileges::give_up_all() {
                fail(image, CAPSET);
            }
        }
        // Again: perhaps only the new user may enter the directory.
        if directory.is_some_and(|path| libc::chdir(path.as_ptr()) < 0) {
            fail(image, CHDIR);
        }
        if attributes.no_new_privs && libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 {
            fail(image, NO_NEW_PRIVS);
        }
    }
}

unsafe fn write_file(path: &CStr, text: &CString) -> bool {
    let bytes = text.as_bytes();
    // SAFETY: a C string, and a length that is that of the text.
    unsafe {
        let fd = libc::open(path.as_ptr(), libc::O_WRONLY | libc::O_CLOEXEC);
        fd >= 0 && libc::write(fd, bytes.as_ptr().cast(), bytes.len()) >= 0 && libc::close(fd) == 0
    }
}

/// Writes our pid after `LISTEN_PID=`, without allocating.
fn write_pid(image: &mut ChildImage) {
    let mut digits = [0u8; 10];
    let mut rest = std::process::id();
    let mut count = 0usize;
    for digit in &mut digits {
        *digit = b'0'.saturating_add(u8::try_from(rest % 10).unwrap_or(0));
        rest /= 10;
        count = count.saturating_add(1);
        if rest == 0 {
            break;
        }
    }
    let room = image.listen_pid.iter_mut().skip(LISTEN_PID_DIGITS);
    for (byte, digit) in room.zip(digits.iter().take(count).rev()) {
        *byte = *digit;
    }
}

/// Marks all descriptors but the child's own to be closed on exec (close_range(2), Linux 5.11). Those that we opened
/// are marked already; this is for those that we inherited.
unsafe fn close_others(inherited: usize) {
    let first = libc::c_uint::try_from(inherited).unwrap_or(0).saturating_add(3);
    // SAFETY: takes integers.
    unsafe {
        if libc::syscall(libc::SYS_close_range, first, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC) == 0 {
            return;
        }
        for fd in first..MOST_DESCRIPTORS {
            libc::fcntl(fd as libc::c_int, libc::F_SETFD, libc::FD_CLOEXEC);
        }
    }
}

/// Without close_range(2), descriptors from this number on stay open. It is the usual RLIMIT_NOFILE.
const MOST_DESCRIPTORS: libc::c_uint = 1024;

/// Tries each path as execvp(3) does: passes over one that is missing or unreachable, and remembers that one was
/// denied. Returns only on failure, with errno set.
unsafe fn execute(image: &mut ChildImage) {
    let mut denied = false;
    for path in &image.paths {
        // SAFETY: null-terminated arrays of C strings that live in `image`.
        unsafe { libc::execve(path.as_ptr(), image.argv.as_ptr(), image.envp.as_ptr()) };
        match errno() {
            _ if image.is_only_one && errno() != libc::ENOEXEC => return,
            libc::ENOENT | libc::ENOTDIR | libc::ESTALE | libc::ENODEV | libc::ETIMEDOUT => {}
            libc::EACCES => denied = true,
            // A shell would read it as a script and report another error.
            libc::ENOEXEC if is_elf(path) => {
                set_errno(libc::ENOEXEC);
                return;
            }
            libc::ENOEXEC => {
                if let Some(script) = image.shell_argv.get_mut(1) {
                    *script = path.as_ptr();
                }
                // SAFETY: as above.
                unsafe { libc::execve(c"/bin/sh".as_ptr(), image.shell_argv.as_ptr(), image.envp.as_ptr()) };
                // Usually: there is no shell.
                return;
            }
            _ => return,
        }
    }
    set_errno(if denied { libc::EACCES } else { libc::ENOENT });
}

/// Whether a file that the kernel cannot execute is a program for another machine (elf(5)). False if it cannot be read.
fn is_elf(path: &CStr) -> bool {
    let mut magic = [0u8; 4];
    // SAFETY: a C string, and a length that is that of the buffer.
    unsafe {
        let fd = libc::open(path.as_ptr(), libc::O_RDONLY | libc::O_NONBLOCK | libc::O_CLOEXEC);
        let read = if fd < 0 { -1 } else { libc::read(fd, magic.as_mut_ptr().cast(), magic.len()) };
        libc::close(fd);
        usize::try_from(read) == Ok(magic.len()) && magic == *b"\x7fELF"
    }
}

fn fail(image: &ChildImage, step: u32) -> ! {
    let failure = ChildFailure { step, errno: errno() };
    // SAFETY: `ChildFailure` is two integers; a pipe takes 8 bytes at once; _exit runs no code of ours.
    unsafe {
        libc::write(image.error_pipe, ptr::from_ref(&failure).cast(), size_of::<ChildFailure>());
        libc::_exit(i32::from(code::NOT_FOUND))
    }
}

fn errno() -> i32 {
    // SAFETY: points to this thread's errno.
    unsafe { *libc::__errno_location() }
}

fn set_errno(errno: i32) {
    // SAFETY: points to this thread's errno.
    unsafe { *libc::__errno_location() = errno };
}
