//! Signals are blocked before anything else happens, and read one by one from a descriptor.
//!
//! A signalfd(2) keeps what handlers lose: of 2,000 queued real-time signals it delivers 2,000, in
//! order, with value and sender. A blocked signal is queued even for PID 1 and even where its action
//! is to be ignored (signal(7)), and as no handler runs in this process, the child of a
//! `clone(CLONE_VM)` cannot be surprised by one.

use crate::core::{Received, Signal};
use std::io;
use std::mem::{MaybeUninit, size_of};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// A kernel signal set: bit n-1 is signal n. glibc's `sigset_t` hides signals 32 and 33.
pub(super) type Set = u64;

/// The size that the kernel wants to hear with every signal set.
pub(super) const SET_SIZE: usize = size_of::<Set>();

/// The kernel's own `struct sigaction` (sigaction(2), "C library/kernel differences"); only the
/// handler, which comes first on every architecture we build for, is ever set.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub(super) struct KernelAction {
    pub(super) handler: usize,
    flags: usize,
    restorer: usize,
    mask: Set,
}

static GIVEN_MASK: AtomicU64 = AtomicU64::new(0);
static GIVEN_IGNORED: AtomicU64 = AtomicU64::new(0);

/// Makes the binary that calls it hold all signals from its first instruction, before `main`, and
/// before the standard library sets `SIGPIPE` to be ignored. To be used once, in `main.rs`.
#[macro_export]
macro_rules! hold_signals_from_the_start {
    () => {
        // SAFETY: the loader calls every entry of `.init_array` once, as a C function, before main;
        // the function needs nothing but system calls.
        #[used]
        #[unsafe(link_section = ".init_array")]
        static HOLD_SIGNALS: extern "C" fn() = $crate::os::signals::hold_all;
    };
}

/// Blocks every signal, and remembers which were blocked or ignored, since the command is to have
/// it as we had it. Called once, by [`hold_signals_from_the_start!`](crate::hold_signals_from_the_start).
pub extern "C" fn hold_all() {
    let all: Set = Set::MAX;
    let mut given: Set = 0;
    // SAFETY: both sets are as large as we say.
    unsafe {
        libc::syscall(libc::SYS_rt_sigprocmask, libc::SIG_SETMASK, &raw const all, &raw mut given, SET_SIZE)
    };
    let mut ignored: Set = 0;
    for number in 1..=64 {
        let mut action = KernelAction::default();
        // SAFETY: a null new action only asks; the old one has room in `action`.
        unsafe {
            libc::syscall(
                libc::SYS_rt_sigaction,
                number,
                std::ptr::null::<KernelAction>(),
                &raw mut action,
                SET_SIZE,
            )
        };
        if action.handler == libc::SIG_IGN {
            ignored |= bit(number);
        }
    }
    GIVEN_MASK.store(given, Ordering::Relaxed);
    GIVEN_IGNORED.store(ignored, Ordering::Relaxed);
    // Inherited as ignored, SIGCHLD would make the kernel reap our children behind our back (waitpid(2), "NOTES").
    let default = KernelAction::default();
    // SAFETY: a zeroed action is SIG_DFL with no flags.
    unsafe {
        libc::syscall(
            libc::SYS_rt_sigaction,
            libc::SIGCHLD,
            &raw const default,
            std::ptr::null_mut::<KernelAction>(),
            SET_SIZE,
        )
    };
}

/// The signals that were blocked when we were started.
pub(super) fn given_mask() -> Set {
    GIVEN_MASK.load(Ordering::Relaxed)
}

/// The signals that were ignored when we were started.
pub(super) fn given_ignored() -> Set {
    GIVEN_IGNORED.load(Ordering::Relaxed)
}

pub(super) fn bit(number: i32) -> Set {
    u32::try_from(number.saturating_sub(1)).ok().and_then(|shift| 1u64.checked_shl(shift)).unwrap_or(0)
}

/// All signals sent to this process, in the order in which the kernel hands them out.
pub struct Signals(AsyncFd<OwnedFd>);

impl Signals {
    /// Opens the descriptor. Must be called inside the runtime.
    ///
    /// # Errors
    /// As signalfd(2) and epoll_ctl(2) give them.
    pub fn open() -> io::Result<Self> {
        let all: Set = Set::MAX;
        let flags = libc::SFD_CLOEXEC | libc::SFD_NONBLOCK;
        // SAFETY: the set is as large as we say.
        let fd = unsafe { libc::syscall(libc::SYS_signalfd4, -1, &raw const all, SET_SIZE, flags) };
        let fd = i32::try_from(fd).map_err(io::Error::other)?;
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the kernel has just given us this descriptor.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        watch(fd).map(Self)
    }

    /// Ready when there is something to take.
    pub fn poll_ready(&self, cx: &mut Context<'_>) -> Poll<()> {
        if let Ok(mut guard) = ready!(self.0.poll_read_ready(cx)) {
            guard.retain_ready();
        }
        Poll::Ready(())
    }

    /// Takes up to 32 signals that wait. Empty when there is none.
    pub fn take(&self) -> Vec<Received> {
        self.0.try_io(Interest::READABLE, |fd| read(fd.as_raw_fd())).unwrap_or_default()
    }
}

fn read(fd: RawFd) -> io::Result<Vec<Received>> {
    const ROOM: usize = 32;
    let mut infos = [const { MaybeUninit::<libc::signalfd_siginfo>::uninit() }; ROOM];
    let size = size_of::<libc::signalfd_siginfo>();
    // SAFETY: the buffer is as large as we say; the kernel writes whole records only.
    let read = unsafe { libc::read(fd, infos.as_mut_ptr().cast(), size.saturating_mul(ROOM)) };
    let Ok(read) = usize::try_from(read) else { return Err(io::Error::last_os_error()) };
    let count = read.checked_div(size).unwrap_or(0);
    // SAFETY: the kernel has filled the first `count` records.
    Ok(infos.iter().take(count).filter_map(|info| received(unsafe { info.assume_init_ref() })).collect())
}

fn received(info: &libc::signalfd_siginfo) -> Option<Received> {
    let signal = i32::try_from(info.ssi_signo).ok().and_then(Signal::from_number)?;
    let sender = i32::try_from(info.ssi_pid).unwrap_or(0);
    Some(Received { signal, code: info.ssi_code, sender, uid: info.ssi_uid, value: info.ssi_ptr })
}

/// Hands a descriptor to the runtime's epoll.
pub(super) fn watch(fd: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: an OwnedFd keeps its number for as long as the AsyncFd holds it.
    unsafe { AsyncFd::register_with_interest(fd, Interest::READABLE) }.map_err(io::Error::from)
}
