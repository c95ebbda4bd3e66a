//! The terminal that controls our session: whose keys are whose (tty_ioctl(4), credentials(7)).
//!
//! All our signals are blocked, TTOU too, so that no call here can stop us, in the background either.

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

    /// Whether it is ours to lend: our group is in the foreground, and it is our stdin and stdout. In a pipeline
    /// (`prefork-init cat | less`) the others of the job need it as well.
    #[must_use]
    pub fn is_ours_to_lend(&self) -> bool {
        self.is_ours() && (0..=1).all(is_controlling)
    }

    fn is_ours(&self) -> bool {
        // SAFETY: take integers.
        unsafe { libc::tcgetpgrp(self.fd) == libc::getpgrp() }
    }

    /// Makes a group the foreground group, if ours is.
    pub fn lend(&self, group: Pid) {
        if self.is_ours() {
            // SAFETY: takes integers.
            unsafe { libc::tcsetpgrp(self.fd, group.0) };
        }
    }

    /// Makes ours the foreground group.
    pub fn take_back(&self) {
        // SAFETY: take integers. A group that our namespace does not know, 0, is refused.
        unsafe { libc::tcsetpgrp(self.fd, libc::getpgrp()) };
    }
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

/// Gives up the terminal on stdin, as dumb-init does. Returns whether the kernel tells everybody with HUP and CONT, as
/// it does if we lead the session.
#[must_use]
pub fn give_up() -> bool {
    let leads = leads_session();
    // SAFETY: takes integers.
    let gave_up = unsafe { libc::ioctl(libc::STDIN_FILENO, libc::TIOCNOTTY) == 0 };
    gave_up && leads
}

/// Stops us, as Ctrl-Z would: with all others of our group if `job` says so. Returns when somebody continues us; at once
/// as PID 1, whom nothing stops.
pub fn stop_self(job: bool) {
    // SAFETY: take integers. Our own TSTP is blocked; the continuing takes it from the queue.
    unsafe {
        if job {
            libc::kill(0, libc::SIGTSTP);
        }
        libc::kill(libc::getpid(), libc::SIGSTOP);
    }
}
