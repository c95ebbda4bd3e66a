//! Reaping in two steps: finding a child that has ended, and releasing it.
//!
//! Between the two the child is a zombie: its pid and its process group cannot belong to another process, so they are
//! safe to signal. `nix::waitpid` is unsuitable: it returns `EINVAL` for a child killed by a real-time signal, and its
//! pid is lost.
//!
//! A sandbox may refuse waitid(2), the only call that can look without reaping. Then wait4(2) does both steps at once,
//! and the child is gone when it is reported. A signal to the rest of its group is still safe: the kernel does not
//! reuse the number of a group that has members, and for an empty group the signal finds no process. It hits a stranger
//! only if, between the two calls, all other numbers were used and the stranger made a group of its own.

use crate::core::exit::Exit;
use crate::core::{Pid, Signal};
use std::io;
use std::mem::MaybeUninit;
use std::ptr;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WaitOutcome {
    /// This child has ended and waits for [`Reaper::release`].
    Ended(Pid, Exit),
    /// This child has ended and is already reaped, by wait4(2).
    Gone(Pid, Exit),
    /// This child was stopped by a signal. Reported once.
    Stopped(Pid, Signal),
    /// This child has asked us to trace it (`PTRACE_TRACEME`, ptrace(2)), so a signal has stopped it before taking
    /// effect. It waits for [`let_run`].
    Traced(Pid, Signal),
    /// Children are left, and none has ended.
    AllAlive,
    /// There are no children.
    Nobody,
    /// The call failed; try again later.
    Unknown,
}

/// Looks at our children by the best call that the kernel allows.
#[derive(Debug, Default)]
pub struct Reaper {
    /// waitid(2) is refused, and wait4(2) is used instead.
    at_once: bool,
    /// The error of waitid(2), until it is logged.
    refusal: Option<io::Error>,
}

/// Attempts of a call that is interrupted or lacks memory for a moment.
const TRIES: u32 = 3;

impl Reaper {
    /// Looks for a child that has ended or, with `stops`, was stopped. Traced children are reported in any case.
    #[must_use]
    pub fn look(&mut self, stops: bool) -> WaitOutcome {
        if !self.at_once {
            match tried(|| look_at_zombie(stops)) {
                Ok(WaitOutcome::Stopped(pid, signal)) => {
                    // Before reporting: the child may be continued and stopped again before the report is read.
                    forget_stop(pid);
                    return WaitOutcome::Stopped(pid, signal);
                }
                Ok(found) => return found,
                Err(error) if error.raw_os_error() == Some(libc::ECHILD) => return WaitOutcome::Nobody,
                Err(error) => {
                    self.at_once = true;
                    self.refusal = Some(error);
                }
            }
        }
        match tried(|| reap_any(stops)) {
            Ok(found) => found,
            Err(error) if error.raw_os_error() == Some(libc::ECHILD) => WaitOutcome::Nobody,
            Err(_) => WaitOutcome::Unknown,
        }
    }

    /// Reaps a child that [`look`](Self::look) reported as ended. From here on its pid may be reused.
    pub fn release(&mut self, pid: Pid) {
        let Ok(id) = libc::id_t::try_from(pid.0) else { return };
        // SAFETY: a null answer is allowed on Linux.
        let waitid = || unsafe {
            libc::waitid(libc::P_PID, id, ptr::null_mut(), libc::WEXITED | libc::WNOHANG | libc::__WALL)
        };
        // SAFETY: a null status is allowed.
        let wait4 = || unsafe { libc::waitpid(pid.0, ptr::null_mut(), libc::WNOHANG | libc::__WALL) };
        // If neither worked, the child would be reported again and again.
        self.at_once |= tried(|| check(waitid())).is_err() && tried(|| check(wait4())).is_err();
    }

    /// The reason that waitid(2) is not used any more; returned once.
    pub fn take_refusal(&mut self) -> Option<io::Error> {
        self.refusal.take()
    }
}

/// Repeats a call that fails for a reason that may pass.
fn tried<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    let mut result = call();
    for _ in 1..TRIES {
        match &result {
            Err(error) if matches!(error.raw_os_error(), Some(libc::EINTR | libc::EAGAIN | libc::ENOMEM)) => {
                result = call();
            }
            Ok(_) | Err(_) => break,
        }
    }
    result
}

fn check(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// Looks without reaping (`WNOWAIT`, waitid(2)).
fn look_at_zombie(stops: bool) -> io::Result<WaitOutcome> {
    let mut info = MaybeUninit::<libc::siginfo_t>::zeroed();
    let stopped = if stops { libc::WSTOPPED } else { 0 };
    let options = stopped | libc::WEXITED | libc::WNOHANG | libc::WNOWAIT | libc::__WALL;
    // SAFETY: `info` has room for the answer.
    check(unsafe { libc::waitid(libc::P_ALL, 0, info.as_mut_ptr(), options) })?;
    // SAFETY: zeroed before the call and filled by it; all fields are integers. With WNOHANG and no child to report,
    // the pid stays zero.
    let (info, pid, status) = unsafe {
        let info = info.assume_init();
        (info, Pid(info.si_pid()), info.si_status())
    };
    Ok(match (pid, info.si_code, Signal::from_number(status & NUMBER)) {
        (Pid(0), ..) => WaitOutcome::AllAlive,
        (_, libc::CLD_STOPPED, Some(signal)) => WaitOutcome::Stopped(pid, signal),
        (_, libc::CLD_TRAPPED, Some(signal)) => WaitOutcome::Traced(pid, signal),
        (_, libc::CLD_KILLED, Some(signal)) => {
            WaitOutcome::Ended(pid, Exit::Signal { signal, core_dumped: false })
        }
        (_, libc::CLD_DUMPED, Some(signal)) => {
            WaitOutcome::Ended(pid, Exit::Signal { signal, core_dumped: true })
        }
        // The kernel has already reduced the code to 8 bits.
        _ => WaitOutcome::Ended(pid, Exit::Code(u8::try_from(status & 0xff).unwrap_or(u8::MAX))),
    })
}

/// The bits of a signal's number; those above carry ptrace(2) events.
const NUMBER: libc::c_int = 0x7f;

/// Looks and reaps (wait4(2)).
fn reap_any(stops: bool) -> io::Result<WaitOutcome> {
    let mut status = 0;
    let stopped = if stops { libc::WUNTRACED } else { 0 };
    // SAFETY: `status` has room for the answer.
    let pid =
        Pid(check(unsafe { libc::waitpid(-1, &raw mut status, stopped | libc::WNOHANG | libc::__WALL) })?);
    let number = if libc::WIFSTOPPED(status) { libc::WSTOPSIG(status) } else { libc::WTERMSIG(status) };
    Ok(match (pid, Signal::from_number(number & NUMBER)) {
        (Pid(0), _) => WaitOutcome::AllAlive,
        (_, Some(signal)) if libc::WIFSTOPPED(status) && is_traced(pid) => WaitOutcome::Traced(pid, signal),
        (_, Some(signal)) if libc::WIFSTOPPED(status) => WaitOutcome::Stopped(pid, signal),
        (_, Some(signal)) if libc::WIFSIGNALED(status) => {
            WaitOutcome::Gone(pid, Exit::Signal { signal, core_dumped: libc::WCOREDUMP(status) })
        }
        _ => WaitOutcome::Gone(pid, Exit::Code(u8::try_from(libc::WEXITSTATUS(status)).unwrap_or(u8::MAX))),
    })
}

/// Consumes the report of a stop, so that it is not found again.
fn forget_stop(pid: Pid) {
    let Ok(id) = libc::id_t::try_from(pid.0) else { return };
    let options = libc::WSTOPPED | libc::WNOHANG | libc::__WALL;
    // SAFETY: a null answer is allowed on Linux.
    let _told_again = tried(|| check(unsafe { libc::waitid(libc::P_PID, id, ptr::null_mut(), options) }));
}

/// Ends the tracing of a child that is [`WaitOutcome::Traced`] and delivers the signal, as if it were not traced.
///
/// # Errors
/// As ptrace(2): where a sandbox refuses it, the child stays stopped until it is killed, and is not reported again.
pub fn let_run(pid: Pid, signal: Signal) -> io::Result<()> {
    let number = if is_of_exec(pid, signal) { 0 } else { signal.number() };
    let data = ptr::without_provenance_mut::<libc::c_void>(usize::try_from(number).unwrap_or(0));
    // SAFETY: the last argument is a number here.
    if unsafe { libc::ptrace(libc::PTRACE_DETACH, pid.0, ptr::null_mut::<libc::c_void>(), data) } == 0 {
        return Ok(());
    }
    let error = io::Error::last_os_error();
    forget_stop(pid);
    // ESRCH: it was killed meanwhile.
    if error.raw_os_error() == Some(libc::ESRCH) { Ok(()) } else { Err(error) }
}

/// Whether this is the SIGTRAP that a traced process sends itself after an exec, for its tracer alone.
fn is_of_exec(pid: Pid, signal: Signal) -> bool {
    let trap = signal.number() == libc::SIGTRAP;
    // SAFETY: si_pid is valid for a signal from kill(2), which SI_USER is.
    trap && info_of(pid).is_ok_and(|info| info.si_code == libc::SI_USER && unsafe { info.si_pid() } == pid.0)
}

/// Whether we trace this stopped child.
fn is_traced(pid: Pid) -> bool {
    // In a group-stop PTRACE_GETSIGINFO fails with EINVAL (ptrace(2)).
    info_of(pid).map_or_else(|error| error.raw_os_error() == Some(libc::EINVAL), |_| true)
}

/// The signal that has stopped a traced child.
fn info_of(pid: Pid) -> io::Result<libc::siginfo_t> {
    let mut info = MaybeUninit::<libc::siginfo_t>::zeroed();
    // SAFETY: `info` has room for the answer; the third argument is ignored.
    let result = unsafe {
        libc::ptrace(
            libc::PTRACE_GETSIGINFO,
            pid.0,
            ptr::null_mut::<libc::c_void>(),
            info.as_mut_ptr().cast::<libc::c_void>(),
        )
    };
    // SAFETY: zeroed, and filled by the call.
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(unsafe { info.assume_init() }) }
}
