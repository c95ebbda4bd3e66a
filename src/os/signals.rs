//! Blocks all signals before anything else happens, and reads them one by one from a descriptor.
//!
//! signalfd(2) keeps what handlers lose: of 2,000 queued real-time signals it delivers 2,000, in order, with value and
//! sender. A blocked signal is queued even for PID 1, and even if its action is to be ignored (signal(7)). No handler
//! runs in this process, so no signal can interrupt the child of a `clone(CLONE_VM)`.

use super::call::named;
use crate::core::{Received, Signal};
use std::ffi::CStr;
use std::io;
use std::mem::{MaybeUninit, size_of};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// The kernel's signal set: bit n-1 is signal n. glibc's `sigset_t` hides signals 32 and 33.
type SignalMask = u64;

/// The size that the kernel expects with each signal set.
const SET_SIZE: usize = size_of::<SignalMask>();

/// The kernel's own `struct sigaction` (sigaction(2), "C library/kernel differences"). Only the handler is ever set: it
/// is the first field on every architecture that we build for.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct KernelAction {
    handler: usize,
    flags: usize,
    restorer: usize,
    mask: SignalMask,
}

static GIVEN_MASK: AtomicU64 = AtomicU64::new(0);

/// The signals that were ignored when we were started, among those whose disposition we have changed.
static GIVEN_IGNORED: AtomicU64 = AtomicU64::new(0);

/// The signals that the kernel discards: ignored and not blocked.
static DISCARDED: AtomicU64 = AtomicU64::new(0);

/// The mask could not be set: unblocked signals would be lost, and signalfd(2) would never report one.
static MASK_REFUSED: AtomicBool = AtomicBool::new(false);

/// Blocks every signal, and keeps the original mask for the command. Called once, before anything else.
pub(super) fn hold_all() {
    GIVEN_MASK.store(set_mask(SignalMask::MAX), Ordering::Relaxed);
    // If SIGCHLD is inherited as ignored, the kernel reaps our children itself (waitpid(2), "NOTES").
    change_action(libc::SIGCHLD, libc::SIG_DFL);
}

/// Has the kernel discard exactly these signals when they are sent. An ignored and unblocked signal is never queued
/// (signal(7)): it costs us no time and takes no room in the queue. Other signals are blocked again before their
/// original disposition is restored.
pub fn discard(wanted: impl IntoIterator<Item = Signal>) {
    let wanted = wanted.into_iter().fold(0, |set, signal| set | bit(signal.number()));
    let before = DISCARDED.load(Ordering::Relaxed);
    set_mask(SignalMask::MAX & !(before & wanted));
    for number in members(before & !wanted & !GIVEN_IGNORED.load(Ordering::Relaxed)) {
        set_action(number, libc::SIG_DFL);
    }
    // If the change is refused, the unblocked signal would end us.
    let more = members(wanted & !before).filter(|number| change_action(*number, libc::SIG_IGN));
    let more = more.fold(0, |set, number| set | bit(number));
    DISCARDED.store(wanted & before | more, Ordering::Relaxed);
    set_mask(held());
}

/// The mask while we run.
fn held() -> SignalMask {
    SignalMask::MAX & !DISCARDED.load(Ordering::Relaxed)
}

/// Changes a disposition that we have not changed yet. Returns whether that succeeded.
fn change_action(number: i32, handler: usize) -> bool {
    let old = set_action(number, handler);
    if old == Some(libc::SIG_IGN) {
        GIVEN_IGNORED.fetch_or(bit(number), Ordering::Relaxed);
    }
    old.is_some()
}

fn members(set: SignalMask) -> impl Iterator<Item = i32> {
    (1..=SignalMask::BITS).filter_map(|number| i32::try_from(number).ok()).filter(move |n| set & bit(*n) != 0)
}

/// Restores the original mask, so that signals act, but keeps SIGPIPE blocked. For when nothing has been started and a
/// peer may keep us waiting.
pub fn let_act() {
    set_mask(GIVEN_MASK.load(Ordering::Relaxed) | bit(libc::SIGPIPE));
}

/// Restores the dispositions that we changed and, last, the original mask: from then on signals act. For a child
/// between clone and exec: "ignored" survives the exec.
pub(super) fn give_back() {
    let (ignored, discarded) = (GIVEN_IGNORED.load(Ordering::Relaxed), DISCARDED.load(Ordering::Relaxed));
    // A signal that comes meanwhile waits for its final disposition.
    if discarded != 0 {
        set_mask(SignalMask::MAX);
    }
    for number in members(discarded & !ignored) {
        set_action(number, libc::SIG_DFL);
    }
    if ignored & bit(libc::SIGCHLD) != 0 {
        set_action(libc::SIGCHLD, libc::SIG_IGN);
    }
    set_mask(GIVEN_MASK.load(Ordering::Relaxed));
}

/// Calls `raise`, which sends us a TSTP, and lets it stop us; the kernel does so only if a process could continue us.
pub(super) fn let_stop(raise: impl FnOnce() -> libc::c_int) {
    raise();
    // It acts as soon as it is unblocked.
    set_mask(held() & !bit(libc::SIGTSTP));
    set_mask(held());
}

/// The C library's description of a signal (strsignal(3)).
#[must_use]
pub fn describe(signal: Signal) -> String {
    // SAFETY: returns a constant, or a buffer that is valid until the next call: there is one thread.
    let text = unsafe { libc::strsignal(signal.number()) };
    if text.is_null() {
        return format!("SIG{signal}");
    }
    // SAFETY: a C string.
    unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned()
}

pub(super) fn is_pending(number: i32) -> bool {
    let mut pending: SignalMask = 0;
    // SAFETY: the size is that of the set.
    unsafe { libc::syscall(libc::SYS_rt_sigpending, &raw mut pending, SET_SIZE) };
    pending & bit(number) != 0
}

/// The signal state that the first program in this process was started with, and what was made of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dispositions {
    /// The original mask: bit n-1 is signal n, also below.
    pub mask: u64,
    /// The signals that were ignored, among those whose disposition was changed.
    pub ignored: u64,
    pub discarded: u64,
}

/// The state for the next program in this process.
#[must_use]
pub fn given() -> Dispositions {
    Dispositions {
        mask: GIVEN_MASK.load(Ordering::Relaxed),
        ignored: GIVEN_IGNORED.load(Ordering::Relaxed),
        discarded: DISCARDED.load(Ordering::Relaxed),
    }
}

/// Takes the state over from our previous program. All signals stay blocked until the next [`discard`].
pub fn take_over(given: Dispositions) {
    GIVEN_MASK.store(given.mask, Ordering::Relaxed);
    GIVEN_IGNORED.store(given.ignored, Ordering::Relaxed);
    DISCARDED.store(given.discarded, Ordering::Relaxed);
}

/// Sets the mask and returns the previous one.
fn set_mask(new: SignalMask) -> SignalMask {
    let mut old: SignalMask = 0;
    // SAFETY: the size is that of both sets.
    unsafe {
        if libc::syscall(libc::SYS_rt_sigprocmask, libc::SIG_SETMASK, &raw const new, &raw mut old, SET_SIZE)
            < 0
        {
            MASK_REFUSED.store(true, Ordering::Relaxed);
        }
    };
    old
}

fn bit(number: i32) -> SignalMask {
    u32::try_from(number.saturating_sub(1)).ok().and_then(|shift| 1u64.checked_shl(shift)).unwrap_or(0)
}

/// Sets a disposition and returns the previous one, `SIG_DFL` or `SIG_IGN`: handlers do not survive an exec, and we
/// install none. `None` if it is refused.
fn set_action(number: i32, handler: usize) -> Option<usize> {
    let new = KernelAction { handler, ..KernelAction::default() };
    let mut old = KernelAction::default();
    // SAFETY: both actions have the kernel's layout.
    let result =
        unsafe { libc::syscall(libc::SYS_rt_sigaction, number, &raw const new, &raw mut old, SET_SIZE) };
    (result == 0).then_some(old.handler)
}

/// Signals with a lower number are not queued: at most one of each is pending (signal(7)).
const FIRST_QUEUED: i32 = 32;

pub struct Signals {
    /// Reports all signals; once `queued` is open, only those that are not queued.
    fd: AsyncFd<OwnedFd>,
    /// Reports real-time signals. Opened at the first one: most processes never get any.
    queued: Option<AsyncFd<OwnedFd>>,
}

impl Signals {
    /// Opens the descriptor. Must be called inside the runtime.
    ///
    /// # Errors
    /// As rt_sigprocmask(2), signalfd(2) and epoll_ctl(2).
    pub fn open() -> io::Result<Self> {
        if MASK_REFUSED.load(Ordering::Relaxed) {
            named("rt_sigprocmask", Err(io::Error::from_raw_os_error(libc::EPERM)))?;
        }
        Ok(Self { fd: watch(open(SignalMask::MAX)?)?, queued: None })
    }

    /// Ready when a signal can be taken.
    pub fn poll_ready(&self, cx: &mut Context<'_>) -> Poll<()> {
        // All are polled, so that each registers the waker.
        let ready = [Some(&self.fd), self.queued.as_ref()].into_iter().flatten().filter(|fd| {
            let ready = fd.poll_read_ready(cx);
            ready.map(|guard| guard.map(|mut guard| guard.retain_ready())).is_ready()
        });
        if ready.count() > 0 { Poll::Ready(()) } else { Poll::Pending }
    }

    /// Takes the pending signals, one of each that is not queued, into `batch`, which is empty. The first real-time
    /// signals come here too, 32 at most; later ones by [`take_queued`](Self::take_queued). The kernel returns lower
    /// numbers first.
    pub fn take(&mut self, batch: &mut Vec<Received>) {
        let mut any_queued = false;
        take::<MOST_AT_ONCE>(&self.fd, |received| {
            let is_queued = received.signal.number() >= FIRST_QUEUED;
            any_queued |= is_queued;
            // Sent again during the read: a little later the kernel would have merged the two.
            if is_queued || !batch.iter().any(|other| other.signal == received.signal) {
                batch.push(received);
            }
        });
        if any_queued && self.queued.is_none() {
            self.separate();
        }
    }

    /// Takes the next real-time signal: the lowest number first, and those of one number in the order in which they
    /// were sent.
    pub fn take_queued(&self) -> Option<Received> {
        let mut next = None;
        take::<1>(self.queued.as_ref()?, |received| next = Some(received));
        next
    }

    /// Gives real-time signals a descriptor of their own, so that no other signal waits behind them. If that fails,
    /// nothing changes.
    fn separate(&mut self) {
        let unqueued = bit(FIRST_QUEUED).wrapping_sub(1);
        self.queued = open(!unqueued).and_then(watch).ok();
        if self.queued.is_some() {
            let _refused = signalfd(self.fd.as_raw_fd(), unqueued);
        }
    }
}

/// The most signals that one read takes.
const MOST_AT_ONCE: usize = 32;

fn open(set: SignalMask) -> io::Result<OwnedFd> {
    let fd = signalfd(-1, set)?;
    // SAFETY: the kernel has just given us this descriptor.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Opens a new descriptor for `fd` -1, else changes the set of this one.
fn signalfd(fd: RawFd, set: SignalMask) -> io::Result<RawFd> {
    let flags = libc::SFD_CLOEXEC | libc::SFD_NONBLOCK;
    // SAFETY: the size is that of the set.
    let fd = unsafe { libc::syscall(libc::SYS_signalfd4, fd, &raw const set, SET_SIZE, flags) };
    let fd = i32::try_from(fd).map_err(io::Error::other)?;
    if fd < 0 { named("signalfd4", Err(io::Error::last_os_error())) } else { Ok(fd) }
}

/// Reads what waits, as much as there is room for.
fn take<const ROOM: usize>(fd: &AsyncFd<OwnedFd>, each: impl FnMut(Received)) {
    let mut infos = [const { MaybeUninit::<libc::signalfd_siginfo>::uninit() }; ROOM];
    let count = fd.try_io(Interest::READABLE, |fd| read(fd.as_raw_fd(), &mut infos)).unwrap_or(0);
    // SAFETY: the kernel has filled the first `count` records.
    infos.iter().take(count).filter_map(|info| received(unsafe { info.assume_init_ref() })).for_each(each);
}

/// Fills the records and returns how many.
fn read(fd: RawFd, infos: &mut [MaybeUninit<libc::signalfd_siginfo>]) -> io::Result<usize> {
    // SAFETY: the buffer is as long as the size says; the kernel writes whole records only.
    let read = unsafe { libc::read(fd, infos.as_mut_ptr().cast(), size_of_val(infos)) };
    let Ok(read) = usize::try_from(read) else { return Err(io::Error::last_os_error()) };
    Ok(read.checked_div(size_of::<libc::signalfd_siginfo>()).unwrap_or(0))
}

fn received(info: &libc::signalfd_siginfo) -> Option<Received> {
    let signal = i32::try_from(info.ssi_signo).ok().and_then(Signal::from_number)?;
    let sender = i32::try_from(info.ssi_pid).unwrap_or(0);
    Some(Received { signal, code: info.ssi_code, sender, uid: info.ssi_uid, value: info.ssi_ptr })
}

/// Registers a descriptor with the runtime's epoll.
pub(super) fn watch(fd: OwnedFd) -> io::Result<AsyncFd<OwnedFd>> {
    // SAFETY: an OwnedFd keeps its number for as long as the AsyncFd holds it.
    named("epoll_ctl", unsafe { AsyncFd::register_with_interest(fd, Interest::READABLE) })
}
