//! Signals are blocked before anything else happens, and read one by one from a descriptor.
//!
//! A signalfd(2) keeps what handlers lose: of 2,000 queued real-time signals it delivers 2,000, in
//! order, with value and sender. A blocked signal is queued even for PID 1 and even where its action
//! is to be ignored (signal(7)), and as no handler runs in this process, the child of a
//! `clone(CLONE_VM)` cannot be surprised by one.

use super::call::named;
use crate::core::{Received, Signal};
use std::ffi::CStr;
use std::io;
use std::mem::{MaybeUninit, size_of};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// A kernel signal set: bit n-1 is signal n. glibc's `sigset_t` hides signals 32 and 33.
type Set = u64;

/// The size that the kernel wants to hear with every signal set.
const SET_SIZE: usize = size_of::<Set>();

/// The kernel's own `struct sigaction` (sigaction(2), "C library/kernel differences"); only the
/// handler, which comes first on every architecture we build for, is ever set.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct KernelAction {
    handler: usize,
    flags: usize,
    restorer: usize,
    mask: Set,
}

static GIVEN_MASK: AtomicU64 = AtomicU64::new(0);
static CHILD_IGNORED: AtomicBool = AtomicBool::new(false);

/// The mask could not be set: what is not blocked is lost, and nothing would ever be heard.
static MASK_REFUSED: AtomicBool = AtomicBool::new(false);

/// Blocks every signal, and remembers what was blocked, since the command is to have it as we had it. Called once,
/// before anything else.
pub(super) fn hold_all() {
    GIVEN_MASK.store(set_mask(Set::MAX), Ordering::Relaxed);
    // Inherited as ignored, SIGCHLD would make the kernel reap our children behind our back (waitpid(2), "NOTES").
    let old = set_action(libc::SIGCHLD, libc::SIG_DFL);
    CHILD_IGNORED.store(old == libc::SIG_IGN, Ordering::Relaxed);
}

/// Lets signals act again, by default, but for SIGPIPE: where nothing was started and somebody may keep us waiting.
pub fn let_act() {
    set_mask(GIVEN_MASK.load(Ordering::Relaxed) | bit(libc::SIGPIPE));
}

/// Sets the one disposition that we changed and, last, the mask to what we were given: from then on signals act, by
/// default. For a child between its clone and its exec.
pub(super) fn give_back() {
    if CHILD_IGNORED.load(Ordering::Relaxed) {
        set_action(libc::SIGCHLD, libc::SIG_IGN);
    }
    set_mask(GIVEN_MASK.load(Ordering::Relaxed));
}

/// Sends a TSTP by `raise` and lets it stop us, if the kernel thinks that somebody could continue us.
pub(super) fn let_stop(raise: impl FnOnce() -> libc::c_int) {
    raise();
    // Acts as soon as it is let through.
    set_mask(Set::MAX & !bit(libc::SIGTSTP));
    set_mask(Set::MAX);
}

/// What the C library calls a signal in words for people (strsignal(3)).
#[must_use]
pub fn describe(signal: Signal) -> String {
    // SAFETY: a constant, or a buffer that is ours until the next call: there is one thread.
    let text = unsafe { libc::strsignal(signal.number()) };
    if text.is_null() {
        return format!("SIG{signal}");
    }
    // SAFETY: a C string.
    unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned()
}

/// Whether a signal waits to be taken.
pub(super) fn is_pending(number: i32) -> bool {
    let mut pending: Set = 0;
    // SAFETY: the set is as large as we say.
    unsafe { libc::syscall(libc::SYS_rt_sigpending, &raw mut pending, SET_SIZE) };
    pending & bit(number) != 0
}

/// The mask that we were given, and whether SIGCHLD was ignored.
#[must_use]
pub fn given() -> (u64, bool) {
    (GIVEN_MASK.load(Ordering::Relaxed), CHILD_IGNORED.load(Ordering::Relaxed))
}

/// The same, where another program of ours was started with them and has given us this process.
pub fn take_over((mask, child_ignored): (u64, bool)) {
    GIVEN_MASK.store(mask, Ordering::Relaxed);
    CHILD_IGNORED.store(child_ignored, Ordering::Relaxed);
}

/// Returns the mask before.
fn set_mask(new: Set) -> Set {
    let mut old: Set = 0;
    // SAFETY: both sets are as large as we say.
    unsafe {
        if libc::syscall(libc::SYS_rt_sigprocmask, libc::SIG_SETMASK, &raw const new, &raw mut old, SET_SIZE)
            < 0
        {
            MASK_REFUSED.store(true, Ordering::Relaxed);
        }
    };
    old
}

/// A set of one signal.
fn bit(number: i32) -> Set {
    u32::try_from(number.saturating_sub(1)).ok().and_then(|shift| 1u64.checked_shl(shift)).unwrap_or(0)
}

/// Sets a disposition and returns the one before, `SIG_DFL` or `SIG_IGN`: handlers do not survive an exec, and we
/// have none.
fn set_action(number: i32, handler: usize) -> usize {
    let new = KernelAction { handler, ..KernelAction::default() };
    let mut old = KernelAction::default();
    // SAFETY: both actions are as large as the kernel's.
    unsafe { libc::syscall(libc::SYS_rt_sigaction, number, &raw const new, &raw mut old, SET_SIZE) };
    old.handler
}

/// All signals sent to this process, in the order in which the kernel hands them out.
pub struct Signals(AsyncFd<OwnedFd>);

impl Signals {
    /// Opens the descriptor. Must be called inside the runtime.
    ///
    /// # Errors
    /// As signalfd(2) and epoll_ctl(2) give them.
    pub fn open() -> io::Result<Self> {
        if MASK_REFUSED.load(Ordering::Relaxed) {
            named("rt_sigprocmask", Err(io::Error::from_raw_os_error(libc::EPERM)))?;
        }
        let all: Set = Set::MAX;
        let flags = libc::SFD_CLOEXEC | libc::SFD_NONBLOCK;
        // SAFETY: the set is as large as we say.
        let fd = unsafe { libc::syscall(libc::SYS_signalfd4, -1, &raw const all, SET_SIZE, flags) };
        let fd = i32::try_from(fd).map_err(io::Error::other)?;
        if fd < 0 {
            return named("signalfd4", Err(io::Error::last_os_error()));
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
    named("epoll_ctl", unsafe { AsyncFd::register_with_interest(fd, Interest::READABLE) })
}
