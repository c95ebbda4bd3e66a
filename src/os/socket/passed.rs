//! Descriptors that peers pass to us over unix sockets (`SCM_RIGHTS`, unix(7)).
//!
//! The last close of a descriptor may take as long as its sender likes: of a TCP socket with unsent data and
//! `SO_LINGER`, or of a file on a file system that does not answer. A close happens when a message is read without
//! taking its descriptors, and when a socket is closed with one in its queue. So no such descriptor may enter our table
//! or leave a queue in our context. Where the kernel can (`SO_PASSRIGHTS`, Linux 6.16), it refuses them to their
//! sender. Otherwise a look that takes nothing (`MSG_PEEK`), without room for any, shows whether some come along
//! (`MSG_CTRUNC`). Then a child takes them, or the whole connection, and closes them as it ends: for a process that
//! ends, the kernel does not linger.

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

/// The most connections that wait for such a child; then no more may be accepted.
const MOST_WAITING: usize = 64;

/// The pause after a fork failed.
const PAUSE: Duration = Duration::from_millis(100);

/// The age at which a child has certainly closed the descriptors that it does not need.
const SETTLED: Duration = Duration::from_secs(1);

/// The size of the most descriptors that one message carries (`SCM_MAX_FD`, unix(7)).
const RIGHTS: libc::c_uint = size_of::<[RawFd; 253]>() as libc::c_uint;

/// More pieces than fit into a socket's queue.
const MOST_PIECES: usize = 4096;

/// The states of a child.
const RUNS: u8 = 0;
const DONE: u8 = 1;
const FAILED: u8 = 2;

/// The state of a child, for the socket on whose behalf it runs.
#[derive(Clone, Debug)]
pub(super) struct Fate(Arc<AtomicU8>);

impl Fate {
    /// Whether it succeeded; `None` while it runs.
    pub fn is_done(&self) -> Option<bool> {
        match self.0.load(Ordering::Relaxed) {
            RUNS => None,
            end => Some(end == DONE),
        }
    }
}

struct Child {
    pid: Pid,
    fate: Fate,
    since: Instant,
}

/// All children: they belong to the process, and so does this.
struct Children {
    running: Vec<Child>,
    /// Connections to be closed by a child.
    waiting: VecDeque<OwnedFd>,
    /// The earliest time of the next fork, after one failed.
    retry_at: Option<Instant>,
    /// The time when [`tend`] may find a child for what waits.
    look_at: Option<Instant>,
}

static CHILDREN: Mutex<Children> =
    Mutex::new(Children { running: Vec::new(), waiting: VecDeque::new(), retry_at: None, look_at: None });

fn children() -> MutexGuard<'static, Children> {
    CHILDREN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Has the kernel refuse descriptors that are sent to this unix socket (the sender gets an error), or accept them
/// again. Accepted connections inherit the setting.
///
/// # Errors
/// As setsockopt(2); `ENOPROTOOPT` before Linux 6.16.
pub fn refuse(socket: impl AsFd, refuse: bool) -> io::Result<()> {
    let value = libc::c_int::from(!refuse);
    let length = libc::socklen_t::try_from(size_of_val(&value)).unwrap_or(0);
    let fd = socket.as_fd().as_raw_fd();
    // SAFETY: the length is that of the integer.
    let result =
        unsafe { libc::setsockopt(fd, libc::SOL_SOCKET, PASS_RIGHTS, (&raw const value).cast(), length) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Whether the kernel refuses them: an older one may accept the option without knowing it.
pub fn are_refused(socket: impl AsFd) -> bool {
    let mut value: libc::c_int = -1;
    let mut length = libc::socklen_t::try_from(size_of_val(&value)).unwrap_or(0);
    let fd = socket.as_fd().as_raw_fd();
    // SAFETY: the length is that of the integer.
    let result = unsafe {
        libc::getsockopt(fd, libc::SOL_SOCKET, PASS_RIGHTS, (&raw mut value).cast(), &raw mut length)
    };
    result == 0 && value == 0
}

/// The first message in a socket's queue.
pub(super) struct Head {
    /// The number of its bytes in the buffer.
    pub length: usize,
    /// The sending process and its user, if the socket shows them (`SO_PASSCRED`).
    pub sender: Option<(Pid, u32)>,
    /// Whether descriptors come with it.
    pub carries: bool,
}

/// Looks at the first message, and takes nothing.
///
/// # Errors
/// As recvmsg(2); `WouldBlock` if the queue is empty.
pub(super) fn peek(fd: BorrowedFd<'_>, buffer: &mut [u8], credentials: bool) -> io::Result<Head> {
    // SAFETY: takes an integer.
    let space = unsafe { libc::CMSG_SPACE(CREDENTIALS) };
    let mut room = [0u64; 8];
    let mut part = libc::iovec { iov_base: buffer.as_mut_ptr().cast(), iov_len: buffer.len() };
    // SAFETY: plain numbers and pointers, for which zero is a value.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    (message.msg_iov, message.msg_iovlen) = (&raw mut part, 1);
    if credentials {
        // Room for credentials alone, which come first: none is left for a descriptor.
        message.msg_control = room.as_mut_ptr().cast();
        message.msg_controllen = space as _;
    }
    let flags = libc::MSG_PEEK | libc::MSG_DONTWAIT | libc::MSG_CMSG_CLOEXEC;
    // SAFETY: all that the message points to lives here, and has the length that it says.
    let length = unsafe { libc::recvmsg(fd.as_raw_fd(), &raw mut message, flags) };
    let length = usize::try_from(length).map_err(|_| io::Error::last_os_error())?;
    // SAFETY: the kernel has filled what the message describes; credentials are three integers.
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

/// Takes the first `length` bytes, known to carry no descriptors; of a datagram, all of it.
///
/// # Errors
/// As recv(2).
pub(super) fn take(fd: BorrowedFd<'_>, buffer: &mut [u8]) -> io::Result<usize> {
    Ok(socket::recv(fd.as_raw_fd(), buffer, MsgFlags::MSG_DONTWAIT)?)
}

/// Has a child take the first message. `None` if the most children are running, or fork failed: [`may_start`] says when
/// to try again.
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

/// Forks a child that runs this, which makes only calls that signal-safety(7) allows.
fn start(children: &mut Children, run: impl FnOnce() -> libc::c_int) -> Option<Fate> {
    if !children.may_start() {
        return None;
    }
    // SAFETY: this process has one thread, and the child makes system calls only.
    let pid = unsafe { libc::fork() };
    if pid == 0 {
        let code = run();
        // SAFETY: runs no code of ours.
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

/// Records the end of a child. Returns whether it was one of these: the rest of the program ignores them.
pub fn ended(pid: Pid, exit: Exit) -> bool {
    let mut children = children();
    let Some(at) = children.running.iter().position(|child| child.pid == pid) else { return false };
    let child = children.running.swap_remove(at);
    child.fate.0.store(if exit == Exit::Code(0) { DONE } else { FAILED }, Ordering::Relaxed);
    true
}

/// The pids of the running children.
#[must_use]
pub fn running() -> Vec<Pid> {
    children().running.iter().map(|child| child.pid).collect()
}

/// The time at which [`tend`] is to be called; `None` if nothing waits for a time.
#[must_use]
pub fn retry_at() -> Option<Instant> {
    let children = children();
    children.retry_at.into_iter().chain(children.look_at).min()
}

/// Whether one more connection could be left to a child to close.
#[must_use]
pub fn has_room() -> bool {
    children().waiting.len() < MOST_WAITING
}

/// Has children close what waits, as far as children can be started.
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

/// Closes a unix socket without closing any passed descriptor in our context.
pub fn let_go(socket: OwnedFd) {
    let _not_connected = socket::shutdown(socket.as_raw_fd(), Shutdown::Read);
    // After shutdown(2) no more data comes.
    if carries(&socket) {
        let_go_unread(socket);
    }
}

/// As [`let_go`], for a socket whose queue we must not look at.
pub(super) fn let_go_unread(socket: OwnedFd) {
    children().waiting.push_back(socket);
    tend();
}

/// Reads the queue to its end. Returns whether descriptors are left in it.
fn carries(socket: &OwnedFd) -> bool {
    let credentials = socket::getsockopt(socket, sockopt::PassCred).unwrap_or(false);
    let mut buffer = [0; 4096];
    for _ in 0..MOST_PIECES {
        match peek(socket.as_fd(), &mut buffer, credentials) {
            Ok(Head { carries: true, .. }) => return true,
            // The end of a stream. An empty datagram has a sender, and is taken.
            Ok(Head { length: 0, sender: None, .. }) => return false,
            Ok(Head { length, .. }) => {
                let piece = buffer.get_mut(..length).unwrap_or_default();
                if take(socket.as_fd(), piece).is_err() {
                    return false;
                }
            }
            // Tried again: a signal, or a peer that has hung up with data unread.
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => {}
            Err(_) => return false,
        }
    }
    true
}

/// Gives a copy of the socket to a child, which ends after ours is closed: its end is then the last close. Not while a
/// younger child may still hold a copy that it is about to close: that might be the last.
fn close_by_child(children: &mut Children, socket: OwnedFd) -> Result<(), OwnedFd> {
    if let Some(until) = children.running.iter().filter_map(|child| child.since.checked_add(SETTLED)).max()
        && until > Instant::now()
    {
        // Usually that child ends before.
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

/// The code of the children: system calls and nothing else.
mod child {
    use super::{CREDENTIALS, RIGHTS, RawFd};

    /// Takes the first message with its descriptors, and returns the exit code.
    pub unsafe fn take_one(fd: RawFd) -> libc::c_int {
        let mut room = [0u64; 160];
        let mut byte = 0u8;
        let mut part = libc::iovec { iov_base: (&raw mut byte).cast(), iov_len: 1 };
        // SAFETY: all that the message points to lives here, and has the length that it says: (16 + 12 + 4) + (16 + 4 *
        // 253 + 4) bytes, less than `room`.
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

    /// Waits until the parent has closed its copy of `fd`.
    pub unsafe fn hold(fd: RawFd, pipe: RawFd) -> libc::c_int {
        let mut byte = 0u8;
        // SAFETY: there is room for a byte. None is ever written: the pipe ends when the parent has closed its end.
        unsafe {
            close_all_but(fd, pipe);
            while libc::read(pipe, (&raw mut byte).cast(), 1) < 0 && *libc::__errno_location() == libc::EINTR
            {
            }
        }
        0
    }

    /// Closes all other descriptors: a child that cannot end must not keep a listener or a worker's pipe open. None of
    /// these is a last copy.
    unsafe fn close_all_but(one: RawFd, other: RawFd) {
        let (low, high) = (one.min(other).cast_unsigned(), one.max(other).cast_unsigned());
        // The middle range is empty if both are equal. The first range wraps, and is skipped, if `low` is 0.
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

    /// The largest descriptor number.
    const MOST_NUMBER: libc::c_uint = i32::MAX.cast_unsigned();

    /// Without close_range(2): the usual RLIMIT_NOFILE.
    const USUAL_LIMIT: libc::c_uint = 1024;
}
