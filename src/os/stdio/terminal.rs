//! The controlling terminal of our session, and which process group is in its foreground (tty_ioctl(4),
//! credentials(7)).
//!
//! All our signals are blocked, TTOU too, so no call here can stop us, even in the background.

use crate::core::{Pid, Signal};
use crate::os::process::proc;
use crate::os::process::send::is_empty_group;
use crate::os::signals;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;

#[derive(Debug)]
pub struct Terminal {
    fd: RawFd,
    /// Owns `fd`, if we had to open it.
    _own: Option<OwnedFd>,
}

impl Terminal {
    /// Looks among the standard streams, then at `/dev/tty`. `None` if no terminal controls our session.
    #[must_use]
    pub fn controlling() -> Option<Self> {
        if let Some(fd) = (0..=2).find(|fd| is_controlling(*fd)) {
            return Some(Self { fd, _own: None });
        }
        // In a sandbox the name may be another file.
        let own = open_own(0).filter(|own| is_controlling(own.as_raw_fd()))?;
        Some(Self { fd: own.as_raw_fd(), _own: Some(own) })
    }

    #[must_use]
    pub fn fd(&self) -> RawFd {
        self.fd
    }

    #[must_use]
    pub fn is_stdin(&self) -> bool {
        is_controlling(libc::STDIN_FILENO)
    }

    /// Whether it is our stdout. In a pipeline (`prefork-init cat | less`) other processes of the job need it too.
    #[must_use]
    pub fn is_stdout(&self) -> bool {
        is_controlling(libc::STDOUT_FILENO)
    }

    /// Whether our group is in the foreground.
    #[must_use]
    pub fn is_ours(&self) -> bool {
        match self.foreground() {
            // A group outside our PID namespace, as ours is.
            Ok(0) => !has_known_group() && may_read(),
            Ok(group) => group == own_group(),
            // We lead its session, and no group has been in the foreground yet.
            Err(_) => leads_session(),
        }
    }

    /// Whether we may give it to this group of the command: our own group is in the foreground; or, where no shell has
    /// a claim, this group or an empty one is.
    #[must_use]
    pub fn can_be_taken(&self, by: Pid) -> bool {
        let has_no_claim = |group| group == by.0 || is_empty_group(Pid(group));
        let no_shell = leads_session() || !has_known_group();
        self.is_ours() || no_shell && self.foreground().is_ok_and(has_no_claim)
    }

    /// Whether the kernel lets us set the foreground group. The attempt sets our own group, which is there already. It
    /// cannot be tried from the background.
    #[must_use]
    pub fn can_be_lent(&self) -> bool {
        if self.is_ours() && has_known_group() {
            self.set_foreground(own_group())
        } else {
            self.foreground().is_ok()
        }
    }

    fn foreground(&self) -> io::Result<libc::pid_t> {
        // SAFETY: takes an integer.
        let group = unsafe { libc::tcgetpgrp(self.fd) };
        if group < 0 { Err(io::Error::last_os_error()) } else { Ok(group) }
    }

    fn set_foreground(&self, group: libc::pid_t) -> bool {
        // SAFETY: takes integers.
        unsafe { libc::tcsetpgrp(self.fd, group) == 0 }
    }

    /// Makes a group the foreground group. Returns whether that succeeded; `None` if
    /// [`can_be_taken`](Self::can_be_taken) forbids it.
    pub fn lend(&self, group: Pid) -> Option<bool> {
        let is_another = || self.foreground().is_ok_and(|foreground| foreground != group.0);
        self.can_be_taken(group).then(|| self.set_foreground(group.0) && !is_another())
    }

    /// Makes our group the foreground group if this group or an empty one is: a shell may have taken the terminal
    /// meanwhile.
    pub fn take_back_from(&self, group: Pid) {
        match self.foreground() {
            Ok(foreground) if foreground == group.0 => self.make_ours(),
            Err(_) if leads_session() => self.make_ours(),
            Ok(_) | Err(_) => self.take_back_from_empty_group(),
        }
    }

    /// Makes our group the foreground group if the present one is empty.
    pub fn take_back_from_empty_group(&self) {
        if self.foreground().is_ok_and(|foreground| is_empty_group(Pid(foreground))) {
            self.make_ours();
        }
    }

    fn make_ours(&self) {
        if has_known_group() {
            self.set_foreground(own_group());
        }
    }
}

/// Opens our session's controlling terminal by its universal name.
fn open_own(flags: libc::c_int) -> Option<OwnedFd> {
    let flags = flags | libc::O_RDWR | libc::O_NOCTTY | libc::O_CLOEXEC;
    // SAFETY: a C string. With O_NOCTTY the terminal does not become our controlling one.
    let fd = unsafe { libc::open(c"/dev/tty".as_ptr(), flags) };
    // SAFETY: the kernel has just given us this descriptor.
    (fd >= 0).then(|| unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Whether our group may read the terminal now, as only the foreground group may: in the background with TTIN blocked,
/// a read fails with EIO (POSIX, 11.1.4). Reads nothing and waits for nothing: the descriptor is our own.
fn may_read() -> bool {
    let Some(own) = open_own(libc::O_NONBLOCK) else { return false };
    // SAFETY: zero bytes are written to the buffer.
    let read = unsafe { libc::read(own.as_raw_fd(), ptr::null_mut(), 0) };
    read == 0 || io::Error::last_os_error().raw_os_error() == Some(libc::EAGAIN)
}

fn own_group() -> libc::pid_t {
    // SAFETY: always succeeds.
    unsafe { libc::getpgrp() }
}

/// Whether our PID namespace knows our process group. The init of a new namespace on an old terminal belongs to a group
/// of the outer one, whose number is not visible.
#[must_use]
pub fn has_known_group() -> bool {
    own_group() > 0
}

/// Whether this descriptor is our session's controlling terminal. The kernel returns a foreground group only for that
/// one, and for the other end of any; `TIOCGSID`, which gVisor lacks, distinguishes the two.
pub(crate) fn is_controlling(fd: RawFd) -> bool {
    let mut session: libc::pid_t = -1;
    // SAFETY: take integers and room for one.
    unsafe {
        libc::tcgetpgrp(fd) >= 0
            && (libc::ioctl(fd, libc::TIOCGSID, &raw mut session) < 0 || session == libc::getsid(0))
    }
}

/// Whether a terminal controls our session though [`Terminal::controlling`] found none: /proc shows one, but every call
/// about it is refused.
#[must_use]
pub fn is_hidden() -> bool {
    // SAFETY: takes an integer.
    let is_terminal = unsafe { libc::isatty(libc::STDIN_FILENO) == 1 };
    is_terminal && proc::has_terminal()
}

#[must_use]
pub fn leads_session() -> bool {
    // SAFETY: take integers.
    unsafe { libc::getsid(0) == libc::getpid() }
}

/// Whether we lead our process group, as a process started by a shell with job control does.
#[must_use]
pub fn leads_group() -> bool {
    // SAFETY: always succeeds.
    own_group() == unsafe { libc::getpid() }
}

/// Gives up the terminal on stdin, as dumb-init does. Returns whether the kernel sends HUP and CONT to the foreground
/// group, as it does if we lead the session.
#[must_use]
pub fn give_up() -> bool {
    let leads = leads_session();
    // SAFETY: takes integers.
    let gave_up = unsafe { libc::ioctl(libc::STDIN_FILENO, libc::TIOCNOTTY) == 0 };
    gave_up && leads
}

/// Rows and columns of the terminal on stdout; `None` if it is no terminal or does not report them.
#[must_use]
pub fn size() -> Option<(usize, usize)> {
    let mut size = libc::winsize { ws_row: 0, ws_col: 0, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: the kernel fills in such a struct.
    let result = unsafe { libc::ioctl(libc::STDOUT_FILENO, libc::TIOCGWINSZ, &raw mut size) };
    let known = result == 0 && size.ws_row > 0 && size.ws_col > 0;
    known.then(|| (usize::from(size.ws_row), usize::from(size.ws_col)))
}

/// How to stop ourselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    /// With all of our process group, as Ctrl-Z stops a job.
    Job,
    /// As a process of a job that Ctrl-Z has stopped.
    LikeTheJob,
    /// Unconditionally, by SIGSTOP: the sender will continue us.
    ForSure,
}

/// What would continue a job that Ctrl-Z has stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Continuer {
    /// A shell with job control. Such a shell ignores TSTP itself.
    Shell,
    /// Nothing: for example, our group's parent is an init that leads the terminal's session. The kernel would let us
    /// stop.
    Nobody,
    /// There is no /proc, or the parent is outside our PID namespace.
    Unknown,
}

/// Finds the process that would continue our job.
#[must_use]
pub fn continuer() -> Continuer {
    let tstp = Signal::TSTP;
    let Some(own) = proc::own() else { return Continuer::Unknown };
    let mut above = own;
    for _ in 0..proc::DEEPEST {
        let Some(parent) = proc::process(above.parent) else { return Continuer::Unknown };
        if parent.group != own.group {
            // If we ignore TSTP too, both may have inherited that.
            let is_shell = parent.session == own.session
                && proc::ignores(parent.pid, tstp)
                && !proc::ignores(own.pid, tstp);
            return if is_shell { Continuer::Shell } else { Continuer::Nobody };
        }
        above = parent;
    }
    Continuer::Unknown
}

/// Continues all of our process group.
///
/// # Errors
/// As kill(2).
pub fn continue_job() -> io::Result<()> {
    // SAFETY: takes two integers.
    if unsafe { libc::kill(0, libc::SIGCONT) } < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Stops us until a CONT comes. Returns whether it did: PID 1 cannot be stopped, the kernel stops no orphaned process
/// group (setpgid(2)), and we do not stop a job that no shell could continue.
pub fn stop_self(how: Stop) -> bool {
    if how != Stop::ForSure && continuer() != Continuer::Shell {
        return false;
    }
    // SAFETY: take integers.
    unsafe {
        match how {
            Stop::ForSure => {
                libc::kill(libc::getpid(), libc::SIGSTOP);
            }
            // Our group includes us: we stop as soon as TSTP is unblocked.
            Stop::Job => signals::let_stop(|| libc::kill(0, libc::SIGTSTP)),
            Stop::LikeTheJob => signals::let_stop(|| libc::kill(libc::getpid(), libc::SIGTSTP)),
        }
    }
    signals::is_pending(libc::SIGCONT)
}
