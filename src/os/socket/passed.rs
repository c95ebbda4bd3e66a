//! Descriptors that others pass to us over unix sockets (`SCM_RIGHTS`, unix(7)).
//!
//! The last close of one may take as long as its sender likes: of a TCP socket with unsent data and `SO_LINGER`, or of a
//! file on a file system that does not answer. It happens wherever a message is read without taking what comes along,
//! and where a socket is closed in whose queue one waits. So no such descriptor ever enters our table or leaves a queue
//! in our context. Where the kernel can (`SO_PASSRIGHTS`, Linux 6.16), it refuses them to their sender. Otherwise a look
//! that takes nothing (`MSG_PEEK`) without room for any tells whether some come along (`MSG_CTRUNC`), and then a child
//! takes them, or the whole connection, with it when it ends: a process that ends does not linger.

use crate::core::Pid;
use crate::core::exit::Exit;
use nix::sys::socket::{self, MsgFlags, Shutdown, sockopt};
use std::collections::VecDeque;
use std::io;
use std::mem::{size_of, size_of_val};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// `SO_PASSRIGHTS` (`include/uapi/asm-generic/socket.h`).
const PASS_RIGHTS: libc::c_int = 83;

/// The most children that take descriptors at a time.
pub const MOST: usize = 4;

/// The most connections that wait for one of them; more are not to be accepted.
const MOST_WAITING: usize = 64;

/// Pause after the kernel gave us no child.
const PAUSE: Duration = Duration::from_millis(100);

/// A child that is this old has closed all that it does not need.
const SETTLED: Duration = Duration::from_secs(1);

/// What the descriptors of one message take: no message carries more (`SCM_MAX_FD`, unix(7)).
const RIGHTS: libc::c_uint = size_of::<[RawFd; 253]>() as libc::c_uint;

/// More pieces than a socket's queue has room for.
const MOST_PIECES: usize = 4096;

/// What has become of a child.
const RUNS: u8 = 0;
const DONE: u8 = 1;
const FAILED: u8 = 2;

/// A child that takes descriptors, as seen by the socket for which it does.
#[derive(Clone, Debug)]
pub(super) struct Fate(Arc<AtomicU8>);

impl Fate {
    /// Whether it did what it was to do; `None` while it runs.
    pub fn is_done(&self) -> Option<bool> {
        match self.0.load(Ordering::Relaxed) {
            RUNS => None,
            end => Some(end == DONE),
        }
    }
}

/// A child that runs.
struct Child {
    pid: Pid,
    fate: Fate,
    since: Instant,
}

/// All that there is; children are of the process, and so is this.
struct Children {
    running: Vec<Child>,
    /// Connections to be closed by a child.
    waiting: VecDeque<OwnedFd>,
    /// Not before then: the kernel gave us none.
    retry_at: Option<Instant>,
    /// Then there may be a child for what waits.
    look_at: Option<Instant>,
}

static CHILDREN: Mutex<Children> =
    Mutex::new(Children { running: Vec::new(), waiting: VecDeque::new(), retry_at: None, look_at: None });

fn children() -> MutexGuard<'static, Children> {
    CHILDREN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Has the kernel refuse descriptors that are sent to this unix socket (the sender gets an error), or pass them again.
/// Accepted connections inherit it from their listener.
///
/// # Errors
/// As setsockopt(2); `ENOPROTOOPT` before Linux 6.16.
pub fn refuse(socket: impl AsFd, refuse: bool) -> io::Result<()> {
    let value = libc::c_int::from(!refuse);
    let length = libc::socklen_t::try_from(size_of_val(&value)).unwrap_or(0);
    let fd = socket.as_fd().as_raw_fd();
    // SAFETY: there is an integer of the length that we say.
    let result =
        unsafe { libc::setsockopt(fd, libc::SOL_SOCKET, PASS_RIGHTS, (&raw const value).cast(), length) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Whether the kernel refuses them: it may have taken the order without knowing it.
pub fn are_refused(socket: impl AsFd) -> bool {
    let mut value: libc::c_int = -1;
    let mut length = libc::socklen_t::try_from(size_of_val(&value)).unwrap_or(0);
    let fd = socket.as_fd().as_raw_fd();
    // SAFETY: there is room for as much as we say.
    let result = unsafe {
        libc::getsockopt(fd, libc::SOL_SOCKET, PASS_RIGHTS, (&raw mut value).cast(), &raw mut length)
    };
    result == 0 && value == 0
}

/// What is first in a socket's queue.
pub(super) struct Head {
    /// How many bytes of it were written to the buffer.
    pub length: usize,
    /// The process that sent it and its user, where the socket tells (`SO_PASSCRED`).
    pub sender: Option<(Pid, u32)>,
    /// Whether descriptors come along.
    pub carries: bool,
}

/// Looks at what is first in the queue, and takes nothing.
///
/// # Errors
/// As recvmsg(2); `WouldBlock` where the queue is empty.
pub(super) fn peek(fd: BorrowedFd<'_>, buffer: &mut [u8], credentials: bool) -> io::Result<Head> {
    // SAFETY: takes an integer.
    let space = unsafe { libc::CMSG_SPACE(CREDENTIALS) };
    let mut room = [0u64; 8];
    let mut part = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    // SAFETY: plain numbers and pointers, for which zero is a value.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    (message.msg_iov, message.msg_iovlen) = (&raw mut part, 1);
    if credentials {
        // Exactly as much as they take, and they come first: no descriptor has room.
        message.msg_control = room.as_mut_ptr().cast();
        message.msg_controllen = space as _;
    }
    let flags = libc::MSG_PEEK | libc::MSG_DONTWAIT | libc::MSG_CMSG_CLOEXEC;
    // SAFETY: all that the message points to lives here, and is as long as it says.
    let length = unsafe { libc::recvmsg(fd.as_raw_fd(), &raw mut message, flags) };
    let length = usize::try_from(length).map_err(|_| io::Error::last_os_error())?;
    // SAFETY: the kernel has filled in what the message says now; credentials are three integers.
    let sender = unsafe {
        let first = libc::CMSG_FIRSTHDR(&raw const message);
        first
            .as_ref()
            .filter(|first| (first.cmsg_level, first.cmsg_type) == (libc::SOL_SOCKET, libc::SCM_CREDENTIALS))
            .map(|_| libc::CMSG_DATA(first).cast::<libc::ucred>().read_unaligned())
    };
    let sender = sender.map(|sender| (Pid(sender.pid), sender.uid));
    Ok(Head { length, sender, carries: message.msg_flags & libc::MSG_CTRUNC != 0 })
}

/// The length of `struct ucred`.
const CREDENTIALS: libc::c_uint = size_of::<libc::ucred>() as libc::c_uint;

/// Takes the first `length` bytes, which are known to carry nothing; of a datagram the whole.
///
/// # Errors
/// As recv(2).
pub(super) fn take(fd: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<usize> {
    Ok(socket::recv(fd.as_raw_fd(), buffer, MsgFlags::MSG_DONTWAIT)?)
}

/// Has a child take the message that is first in the queue. `None` if there are as many children as may be, or the kernel
/// gave us none: [`may_start`] knows when to try again.
pub(super) fn consume(fd: BorrowedFd<'_>) -> Option<Fate> {
    let fd = fd.as_raw_fd();
    // SAFETY: the child ends without returning.
    start(&mut children(), || unsafe { child::take_one(fd) })
}

/// Whether [`consume`] is worth trying.
pub(super) fn may_start() -> bool {
    children().may_start()
}

impl Children {
    fn may_start(&self) -> bool {
        self.running.len() < MOST && self.retry_at.is_none_or(|at| at <= Instant::now())
    }
}

/// Begins a child that runs this, which calls nothing but what signal-safety(7) allows.
fn start(children: &mut Children, run: impl FnOnce() -> libc::c_int) -> Option<Fate> {
    if !children.may_start() {
        return None;
    }
    // SAFETY: this process has one thread, and the child makes system calls only.
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        let code = run();
        // SAFETY: runs nothing of ours.
        unsafe { libc::_exit(code) };
    }
    if pid < 0 {
        children.retry_at = Instant::now().checked_add(PAUSE);
        return None;
    }
    children.retry_at = None;
    let fate = Fate(Arc::new(AtomicU8::new(RUNS)));
    children.running.push(Child { pid: Pid(pid), fate: fate.clone(), since: Instant::now() });
    Some(fate)
}

/// A child of ours has ended; tells whether it was one of these, of which nothing else needs to know.
pub fn ended(pid: Pid, exit: Exit) -> bool {
    let mut children = children();
    let Some(at) = children.running.iter().position(|child| child.pid == pid) else { return false };
    let child = children.running.swap_remove(at);
    child.fate.0.store(if exit == Exit::Code(0) { DONE } else { FAILED }, Ordering::Relaxed);
    true
}

/// Those that run.
#[must_use]
pub fn running() -> Vec<Pid> {
    children().running.iter().map(|child| child.pid).collect()
}

/// When [`tend`] is to be called, if something waits though there is a place for it.
#[must_use]
pub fn retry_at() -> Option<Instant> {
    let children = children();
    children.retry_at.into_iter().chain(children.look_at).min()
}

/// Whether there is room for one more connection, should it have to be closed by a child.
#[must_use]
pub fn has_room() -> bool {
    children().waiting.len() < MOST_WAITING
}

/// Has children close what waits for it, as far as there are places.
pub fn tend() {
    let mut children = children();
    if children.retry_at.is_some_and(|at| at <= Instant::now()) {
        children.retry_at = None;
    }
    children.look_at = None;
    while let Some(socket) = children.waiting.pop_front() {
        if let Err(socket) = close_by_child(&mut children, socket) {
            children.waiting.push_front(socket);
            return;
        }
    }
}

/// Closes a unix socket. Nothing in its queue is closed in our context.
pub fn let_go(socket: OwnedFd) {
    let _not_connected = socket::shutdown(socket.as_raw_fd(), Shutdown::Read);
    // What waits now is all that ever will.
    if carries(&socket) {
        let_go_unread(socket);
    }
}

/// The same, of one at whose queue we must not look.
pub(super) fn let_go_unread(socket: OwnedFd) {
    children().waiting.push_back(socket);
    tend();
}

/// Reads the queue to its end; tells whether descriptors are left in it.
fn carries(socket: &OwnedFd) -> bool {
    let credentials = socket::getsockopt(socket, sockopt::PassCred).unwrap_or(false);
    let mut buffer = [0; 4096];
    for _ in 0..MOST_PIECES {
        match peek(socket.as_fd(), &mut buffer, credentials) {
            Ok(Head { carries: true, .. }) => return true,
            // The end of a stream. An empty datagram is one of those that are taken.
            Ok(Head { length: 0, sender: None, .. }) => return false,
            Ok(Head { length, .. }) => {
                let piece = buffer.get_mut(..length).unwrap_or_default();
                if take(socket.as_fd(), piece).is_err() {
                    return false;
                }
            }
            // The queue is empty, or the peer has hung up with something unread.
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => {}
            Err(_) => return false,
        }
    }
    true
}

/// A child gets a copy of the socket and ends when ours is closed: then its own end closes it. Not while another may have
/// a copy that it is about to close, for that might be the last.
fn close_by_child(children: &mut Children, socket: OwnedFd) -> Result<(), OwnedFd> {
    if let Some(until) = children.running.iter().filter_map(|child| child.since.checked_add(SETTLED)).max()
        && until > Instant::now()
    {
        // As a rule the end of that other one comes first.
        children.look_at = Some(until);
        return Err(socket);
    }
    let Ok((reader, writer)) = nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC) else {
        children.retry_at = Instant::now().checked_add(PAUSE);
        return Err(socket);
    };
    let (fd, pipe) = (socket.as_raw_fd(), reader.as_raw_fd());
    // SAFETY: the child ends without returning.
    match start(children, || unsafe { child::hold(fd, pipe) }) {
        Some(_fate) => {
            drop(socket);
            drop(writer);
            Ok(())
        }
        None => Err(socket),
    }
}

/// What children do: system calls, and nothing else.
mod child {
    use super::{CREDENTIALS, RIGHTS, RawFd};

    /// Takes the first message of the queue and all that comes along, and returns the exit code.
    pub unsafe fn take_one(fd: RawFd) -> libc::c_int {
        let mut room = [0u64; 160];
        let mut byte = 0u8;
        let mut part = libc::iovec { iov_base: (&raw mut byte).cast(), iov_len: 1 };
        // SAFETY: what the message points to lives here, and is as long as it says: (16 + 12 + 4) + (16 + 4 * 253 + 4)
        // bytes, which are less.
        unsafe {
            close_all_but(fd, fd);
            let mut message: libc::msghdr = std::mem::zeroed();
            (message.msg_iov, message.msg_iovlen) = (&raw mut part, 1);
            message.msg_control = room.as_mut_ptr().cast();
            let rights = libc::CMSG_SPACE(RIGHTS);
            message.msg_controllen = rights.wrapping_add(libc::CMSG_SPACE(CREDENTIALS)) as _;
            let flags = libc::MSG_DONTWAIT | libc::MSG_CMSG_CLOEXEC;
            libc::c_int::from(libc::recvmsg(fd, &raw mut message, flags) < 0)
        }
    }

    /// Waits until we have closed our copy of `fd`.
    pub unsafe fn hold(fd: RawFd, pipe: RawFd) -> libc::c_int {
        let mut byte = 0u8;
        // SAFETY: there is room for a byte. Nothing is ever written: the end comes when we have closed ours.
        unsafe {
            close_all_but(fd, pipe);
            while libc::read(pipe, (&raw mut byte).cast(), 1) < 0 && *libc::__errno_location() == libc::EINTR
            {
            }
        }
        0
    }

    /// A child that cannot end must keep nothing of ours open: neither a listener nor the pipe of a worker. None of these
    /// is the last copy.
    unsafe fn close_all_but(one: RawFd, other: RawFd) {
        let (low, high) = (one.min(other).cast_unsigned(), one.max(other).cast_unsigned());
        // The middle range is empty where both are one; the first where that is 0, which wraps to what is no range.
        let ranges = [
            (0, low.wrapping_sub(1)),
            (low.wrapping_add(1), high.wrapping_sub(1)),
            (high.wrapping_add(1), MOST_NUMBER),
        ];
        for (first, last) in ranges {
            if first > last || last > MOST_NUMBER {
                continue;
            }
            // SAFETY: takes integers.
            if unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) } == 0 {
                continue;
            }
            for fd in first..=last.min(USUAL_LIMIT) {
                // SAFETY: takes an integer.
                unsafe { libc::close(fd.cast_signed()) };
            }
        }
    }

    /// No descriptor has a larger number.
    const MOST_NUMBER: libc::c_uint = i32::MAX.cast_unsigned();

    /// Where the kernel does not know close_range(2): RLIMIT_NOFILE as a rule.
    const USUAL_LIMIT: libc::c_uint = 1024;
}
