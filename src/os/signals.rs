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
use std::task::{Context, Poll};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// A kernel signal set: bit n-1 is signal n. glibc's `sigset_t` hides signals 32 and 33.
type SignalMask = u64;

/// The size that the kernel wants to hear with every signal set.
const SET_SIZE: usize = size_of::<SignalMask>();

/// The kernel's own `struct sigaction` (sigaction(2), "C library/kernel differences"); only the
/// handler, which comes first on every architecture we build for, is ever set.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct KernelAction {
    handler: usize,
    flags: usize,
    restorer: usize,
    mask: SignalMask,
}

static GIVEN_MASK: AtomicU64 = AtomicU64::new(0);

/// Signals that were ignored when we were started, of those whose disposition we have changed.
static GIVEN_IGNORED: AtomicU64 = AtomicU64::new(0);

/// Signals that the kernel discards: ignored, and not blocked.
static DISCARDED: AtomicU64 = AtomicU64::new(0);

/// The mask could not be set: what is not blocked is lost, and nothing would ever be heard.
static MASK_REFUSED: AtomicBool = AtomicBool::new(false);

/// Blocks every signal, and remembers what was blocked, since the command is to have it as we had it. Called once,
/// before anything else.
pub(super) fn hold_all() {
    GIVEN_MASK.store(set_mask(SignalMask::MAX), Ordering::Relaxed);
    // Inherited as ignored, SIGCHLD would make the kernel reap our children behind our back (waitpid(2), "NOTES").
    change_action(libc::SIGCHLD, libc::SIG_DFL);
}

/// Has the kernel discard these signals at their sender, and no others. One that is ignored and not blocked is never
/// queued (signal(7)): it takes neither our time nor room in the queue. The others are held again, from before their
/// old disposition comes back.
pub fn discard(wanted: impl IntoIterator<Item = Signal>) {
    let wanted = wanted.into_iter().fold(0, |set, signal| set | bit(signal.number()));
    let before = DISCARDED.load(Ordering::Relaxed);
    set_mask(SignalMask::MAX & !(before & wanted));
    for number in members(before & !wanted & !GIVEN_IGNORED.load(Ordering::Relaxed)) {
        set_action(number, libc::SIG_DFL);
    }
    // Where that is refused, one that is not blocked would end us.
    let more = members(wanted & !before).filter(|number| change_action(*number, libc::SIG_IGN));
    let more = more.fold(0, |set, number| set | bit(number));
    DISCARDED.store(wanted & before | more, Ordering::Relaxed);
    set_mask(held());
}

/// What is blocked while we run.
fn held() -> SignalMask {
    SignalMask::MAX & !DISCARDED.load(Ordering::Relaxed)
}

/// Changes a disposition that is as it was given. Returns whether it did.
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

/// Lets signals act again, by default, but for SIGPIPE: where nothing was started and a peer may keep us waiting.
pub fn let_act() {
    set_mask(GIVEN_MASK.load(Ordering::Relaxed) | bit(libc::SIGPIPE));
}

/// Sets the dispositions that we changed and, last, the mask to what we were given: from then on signals act. For a
/// child between its clone and its exec, which they survive if they are "ignored".
pub(super) fn give_back() {
    let (ignored, discarded) = (GIVEN_IGNORED.load(Ordering::Relaxed), DISCARDED.load(Ordering::Relaxed));
    // One that comes meanwhile waits for what becomes of it.
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

/// Sends a TSTP by `raise` and lets it stop us, if the kernel thinks that a process could continue us.
pub(super) fn let_stop(raise: impl FnOnce() -> libc::c_int) {
    raise();
    // Acts as soon as it is let through.
    set_mask(held() & !bit(libc::SIGTSTP));
    set_mask(held());
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
    let mut pending: SignalMask = 0;
    // SAFETY: the set is as large as we say.
    unsafe { libc::syscall(libc::SYS_rt_sigpending, &raw mut pending, SET_SIZE) };
    pending & bit(number) != 0
}

/// What the first program in this process was started with, and what it has made of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dispositions {
    /// The mask that was given: bit n-1 is signal n, here and below.
    pub mask: u64,
    /// Signals that were ignored, of those that have been changed.
    pub ignored: u64,
    /// Signals that the kernel discards.
    pub discarded: u64,
}

/// What the next program in this process has to know.
#[must_use]
pub fn given() -> Dispositions {
    Dispositions {
        mask: GIVEN_MASK.load(Ordering::Relaxed),
        ignored: GIVEN_IGNORED.load(Ordering::Relaxed),
        discarded: DISCARDED.load(Ordering::Relaxed),
    }
}

/// The same, from the program before us. All signals are held until the next [`discard`].
pub fn take_over(given: Dispositions) {
    GIVEN_MASK.store(given.mask, Ordering::Relaxed);
    GIVEN_IGNORED.store(given.ignored, Ordering::Relaxed);
    DISCARDED.store(given.discarded, Ordering::Relaxed);
}

/// Returns the mask before.
fn set_mask(new: SignalMask) -> SignalMask {
    let mut old: SignalMask = 0;
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
fn bit(number: i32) -> SignalMask {
    u32::try_from(number.saturating_sub(1)).ok().and_then(|shift| 1u64.checked_shl(shift)).unwrap_or(0)
}

/// Sets a disposition and returns the one before, `SIG_DFL` or `SIG_IGN`: handlers do not survive an exec, and we
/// have none. `None` if it is refused.
fn set_action(number: i32, handler: usize) -> Option<usize> {
    let new = KernelAction { handler, ..KernelAction::default() };
    let mut old = KernelAction::default();
    // SAFETY: both actions are as large as the kernel's.
    let result =
        unsafe { libc::syscall(libc::SYS_rt_sigaction, number, &raw const new, &raw mut old, SET_SIZE) };
    (result == 0).then_some(old.handler)
}

/// The signals with a number below this are not queued: of each, one waits at most (signal(7)).
const FIRST_QUEUED: i32 = 32;

/// The signals sent to this process.
pub struct Signals {
    /// Of all signals; of those that are not queued, as soon as there is another for the rest.
    fd: AsyncFd<OwnedFd>,
    /// Of real-time signals: from the first one on, which most of us never see.
    queued: Option<AsyncFd<OwnedFd>>,
}

impl Signals {
    /// Opens the descriptor. Must be called inside the runtime.
    ///
    /// # Errors
    /// As signalfd(2) and epoll_ctl(2) give them.
    pub fn open() -> io::Result<Self> {
        if MASK_REFUSED.load(Ordering::Relaxed) {
            named("rt_sigprocmask", Err(io::Error::from_raw_os_error(libc::EPERM)))?;
        }
        Ok(Self { fd: watch(open(SignalMask::MAX)?)?, queued: None })
    }

    /// Ready when there is something to take.
    pub fn poll_ready(&self, cx: &mut Context<'_>) -> Poll<()> {
        // Each is asked, so that each will tell.
        let ready = [Some(&self.fd), self.queued.as_ref()].into_iter().flatten().filter(|fd| {
            let ready = fd.poll_read_ready(cx);
            ready.map(|guard| guard.map(|mut guard| guard.retain_ready())).is_ready()
        });
        if ready.count() > 0 { Poll::Ready(()) } else { Poll::Pending }
    }

    /// Takes what waits, of each signal that is not queued one, into `batch`, which is empty. The first real-time
    /// signals come here too, 32 at most; afterwards they are [`take_queued`](Self::take_queued)'s. The kernel gives
    /// the lower numbers first.
    pub fn take(&mut self, batch: &mut Vec<Received>) {
        let mut any_queued = false;
        take::<MOST_AT_ONCE>(&self.fd, |received| {
            let is_queued = received.signal.number() >= FIRST_QUEUED;
            any_queued |= is_queued;
            // Sent again while we read: a moment later the kernel would have kept one.
            if is_queued || !batch.iter().any(|other| other.signal == received.signal) {
                batch.push(received);
            }
        });
        if any_queued && self.queued.is_none() {
            self.separate();
        }
    }

    /// Takes the real-time signal that is next: the lowest number first, and of one number in the order in which they
    /// were sent.
    pub fn take_queued(&self) -> Option<Received> {
        let mut next = None;
        take::<1>(self.queued.as_ref()?, |received| next = Some(received));
        next
    }

    /// From here on no other signal waits behind the queued ones. Without a descriptor for that, it stays as it was.
    fn separate(&mut self) {
        let unqueued = bit(FIRST_QUEUED).wrapping_sub(1);
        self.queued = open(!unqueued).and_then(watch).ok();
        if self.queued.is_some() {
            let _refused = signalfd(self.fd.as_raw_fd(), unqueued);
        }
    }
}

/// Signals read at once from the descriptor of all.
const MOST_AT_ONCE: usize = 32;

fn open(set: SignalMask) -> io::Result<OwnedFd> {
    let fd = signalfd(-1, set)?;
    // SAFETY: the kernel has just given us this descriptor.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// A new descriptor, or another set for this one.
fn signalfd(fd: RawFd, set: SignalMask) -> io::Result<RawFd> {
    let flags = libc::SFD_CLOEXEC | libc::SFD_NONBLOCK;
    // SAFETY: the set is as large as we say.
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
    // SAFETY: the buffer is as large as we say; the kernel writes whole records only.
    let read = unsafe { libc::read(fd, infos.as_mut_ptr().cast(), size_of_val(infos)) };
    let Ok(read) = usize::try_from(read) else { return Err(io::Error::last_os_error()) };
    Ok(read.checked_div(size_of::<libc::signalfd_siginfo>()).unwrap_or(0))
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
