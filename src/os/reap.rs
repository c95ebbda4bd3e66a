//! Reaping, in two steps: who has ended, and letting go of it.
//!
//! Between the two the child is a zombie: its pid and its process group cannot belong to anybody
//! else, so they are safe to signal. `nix::waitpid` is of no use here: it returns `EINVAL` for a
//! child killed by a real-time signal, and its pid is lost.

use crate::core::exit::Exit;
use crate::core::{Pid, Signal};
use std::mem::MaybeUninit;

/// What a look at our children found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Found {
    /// This child has ended and waits for [`release`].
    Ended(Pid, Exit),
    /// This child was stopped by a signal and waits for [`forget_stop`].
    Stopped(Pid, Signal),
    /// Children are left, and none has ended.
    AllAlive,
    /// There are no children.
    Nobody,
}

/// Looks for a child that has ended or, if `stops` says so, was stopped, without reaping it (`WNOWAIT`, waitid(2)).
#[must_use]
pub fn look(stops: bool) -> Found {
    let mut info = MaybeUninit::<libc::siginfo_t>::zeroed();
    let stopped = if stops { libc::WSTOPPED } else { 0 };
    let options = stopped | libc::WEXITED | libc::WNOHANG | libc::WNOWAIT | libc::__WALL;
    // SAFETY: `info` has room for the answer.
    if unsafe { libc::waitid(libc::P_ALL, 0, info.as_mut_ptr(), options) } != 0 {
        return Found::Nobody;
    }
    // SAFETY: zeroed before the call and filled by it; all fields are integers. With WNOHANG and
    // nobody to report, the pid stays zero.
    let (info, pid, status) = unsafe {
        let info = info.assume_init();
        (info, info.si_pid(), info.si_status())
    };
    if pid == 0 {
        return Found::AllAlive;
    }
    let exit = match Signal::from_number(status) {
        // Traced ones are a debugger's business, and are told of as if stopped.
        Some(signal) if [libc::CLD_STOPPED, libc::CLD_TRAPPED].contains(&info.si_code) => {
            return Found::Stopped(Pid(pid), signal);
        }
        Some(signal) if info.si_code != libc::CLD_EXITED => {
            Exit::Signal { signal, core_dumped: info.si_code == libc::CLD_DUMPED }
        }
        // The kernel has already cut the code to 8 bits.
        Some(_) | None => Exit::Code(u8::try_from(status & 0xff).unwrap_or(u8::MAX)),
    };
    Found::Ended(Pid(pid), exit)
}

/// Lets the news of a stop go, so that [`look`] finds it no more.
pub fn forget_stop(pid: Pid) {
    let Ok(id) = libc::id_t::try_from(pid.0) else { return };
    let options = libc::WSTOPPED | libc::WNOHANG | libc::__WALL;
    // SAFETY: a null answer is allowed on Linux.
    unsafe { libc::waitid(libc::P_PID, id, std::ptr::null_mut(), options) };
}

/// Reaps a child that [`look`] has found. From here its pid may belong to anybody.
pub fn release(pid: Pid) {
    // SAFETY: a null status is allowed.
    unsafe { libc::waitpid(pid.0, std::ptr::null_mut(), libc::WNOHANG | libc::__WALL) };
}
