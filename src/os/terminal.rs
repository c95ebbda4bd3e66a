//! The terminal that controls our session: whose keys are whose (tty_ioctl(4), credentials(7)).
//!
//! All our signals are blocked, TTOU too, so that no call here can stop us, in the background either.

use super::signals;
use crate::core::Pid;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};

/// Our controlling terminal.
#[derive(Debug)]
pub struct Terminal {
    fd: RawFd,
    /// Keeps `fd`, if we had to open it.
    _own: Option<OwnedFd>,
}

impl Terminal {
    /// Looks among the standard streams, and else for `/dev/tty`. `None` if no terminal controls our session.
    #[must_use]
    pub fn controlling() -> Option<Self> {
        if let Some(fd) = (0..=2).find(|fd| is_controlling(*fd)) {
            return Some(Self { fd, _own: None });
        }
        // SAFETY: a C string. A terminal that is opened so does not become ours.
        let fd = unsafe { libc::open(c"/dev/tty".as_ptr(), libc::O_RDWR | libc::O_NOCTTY | libc::O_CLOEXEC) };
        // SAFETY: the kernel has just given us this descriptor.
        let own = (fd >= 0).then(|| unsafe { OwnedFd::from_raw_fd(fd) })?;
        Some(Self { fd: own.as_raw_fd(), _own: Some(own) })
    }

    /// Its descriptor.
    #[must_use]
    pub fn fd(&self) -> RawFd {
        self.fd
    }

    /// Whether it is our stdin.
    #[must_use]
    pub fn is_stdin(&self) -> bool {
        is_controlling(libc::STDIN_FILENO)
    }

    /// Whether it is our stdout. In a pipeline (`prefork-init cat | less`) others of the job need it as well.
    #[must_use]
    pub fn is_stdout(&self) -> bool {
        is_controlling(libc::STDOUT_FILENO)
    }

    /// Whether our group is in the foreground.
    #[must_use]
    pub fn is_ours(&self) -> bool {
        has_known_group() && self.foreground() == own_group()
    }

    fn foreground(&self) -> libc::pid_t {
        // SAFETY: takes an integer.
        unsafe { libc::tcgetpgrp(self.fd) }
    }

    /// Makes a group the foreground group, if ours is. Returns whether it was.
    pub fn lend(&self, group: Pid) -> bool {
        let ours = self.is_ours();
        if ours {
            // SAFETY: takes integers.
            unsafe { libc::tcsetpgrp(self.fd, group.0) };
        }
        ours
    }

    /// Makes ours the foreground group, if this one still is, or one of which nobody is left: a shell may have taken the
    /// terminal meanwhile.
    pub fn take_back_from(&self, group: Pid) {
        if self.foreground() == group.0 {
            self.make_ours();
        } else {
            self.take_back_from_nobody();
        }
    }

    /// Makes ours the foreground group, if nobody is in the one that is.
    pub fn take_back_from_nobody(&self) {
        let foreground = self.foreground();
        // SAFETY: takes integers; signal 0 only asks.
        if foreground > 1 && unsafe { libc::kill(foreground.saturating_neg(), 0) } < 0 {
            self.make_ours();
        }
    }

    fn make_ours(&self) {
        if has_known_group() {
            // SAFETY: takes integers.
            unsafe { libc::tcsetpgrp(self.fd, own_group()) };
        }
    }
}

fn own_group() -> libc::pid_t {
    // SAFETY: always succeeds.
    unsafe { libc::getpgrp() }
}

/// Whether our PID namespace knows our process group: as the init of a new one on an old terminal, we are in a group of
/// the namespace outside, of which we see no number.
#[must_use]
pub fn has_known_group() -> bool {
    own_group() > 0
}

/// Whether this descriptor is the terminal that controls our session, not only any.
fn is_controlling(fd: RawFd) -> bool {
    let mut session: libc::pid_t = -1;
    // SAFETY: takes integers and room for one.
    unsafe { libc::ioctl(fd, libc::TIOCGSID, &raw mut session) == 0 && session == libc::getsid(0) }
}

/// Whether we lead our session.
#[must_use]
pub fn leads_session() -> bool {
    // SAFETY: take integers.
    unsafe { libc::getsid(0) == libc::getpid() }
}

/// Whether we lead our process group, as who was started by a shell with job control does.
#[must_use]
pub fn leads_group() -> bool {
    // SAFETY: always succeeds.
    own_group() == unsafe { libc::getpid() }
}

/// Gives up the terminal on stdin, as dumb-init does. Returns whether the kernel tells everybody with HUP and CONT, as
/// it does if we lead the session.
#[must_use]
pub fn give_up() -> bool {
    let leads = leads_session();
    // SAFETY: takes integers.
    let gave_up = unsafe { libc::ioctl(libc::STDIN_FILENO, libc::TIOCNOTTY) == 0 };
    gave_up && leads
}

/// How many rows and columns the terminal on stdout has, if it is one and knows.
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
    /// With all others of our process group, as Ctrl-Z stops a job.
    Job,
    /// As one of a job that Ctrl-Z has stopped.
    LikeTheJob,
    /// Whoever may continue us.
    ForSure,
}

/// Stops us until somebody continues us. Returns whether it did: nobody stops PID 1, and the kernel stops no job that
/// no shell could continue (an orphaned process group, setpgid(2)).
pub fn stop_self(how: Stop) -> bool {
    // SAFETY: take integers.
    unsafe {
        match how {
            Stop::ForSure => {
                libc::kill(libc::getpid(), libc::SIGSTOP);
            }
            // The caller is hit as well, and stops as soon as it may.
            Stop::Job => signals::let_stop(|| libc::kill(0, libc::SIGTSTP)),
            Stop::LikeTheJob => signals::let_stop(|| libc::kill(libc::getpid(), libc::SIGTSTP)),
        }
    }
    signals::is_pending(libc::SIGCONT)
}
