//! What to start, and with which attributes.

use crate::core::Signal;
use std::ffi::{CString, OsString};
use std::os::fd::{BorrowedFd, RawFd};
use std::time::Duration;

#[derive(Debug)]
pub struct Program<'a> {
    /// The command and its arguments; the command is searched for as a shell does.
    pub argv: &'a [OsString],
    /// The number of PATH's first directories to skip: the command is known to be missing there.
    pub missing: usize,
    /// The whole environment; `None` for ours, unchanged.
    pub env: Option<&'a [(OsString, OsString)]>,
    /// Whether to add `LISTEN_PID` with the pid of the new process, which only the child knows.
    pub listen_pid: bool,
    /// Descriptors that become stdout and stderr; for `None`, ours is inherited.
    pub output: [Option<BorrowedFd<'a>>; 2],
    /// Descriptors that become 3, 4, ... in this order. Their own numbers must be above those.
    pub fds: &'a [BorrowedFd<'a>],
    /// Whether to close every other descriptor above 2.
    pub close_others: bool,
    /// A child that has not executed the program within this time is killed.
    pub execute_within: Duration,
    pub placement: Placement,
    pub attributes: &'a SpawnAttributes,
    /// The signal that the program gets if we die without stopping it (`PR_SET_PDEATHSIG`, prctl(2)). In a PID
    /// namespace of our own the kernel kills it anyway.
    pub parent_death: Option<Signal>,
}

/// The session, process group and terminal of a new process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placement {
    /// A new session and group, without a terminal.
    Session,
    /// A new session with this terminal as its controlling one, if that is free (`TIOCSCTTY`).
    SessionWithTerminal(RawFd),
    /// A new group in our session; made the foreground group of this terminal, if there is one.
    Group(Option<RawFd>),
    /// Our own session and group.
    Shared,
}

/// What a new process changes before it executes the program.
#[derive(Clone, Debug, Default)]
pub struct SpawnAttributes {
    pub identity: Option<Identity>,
    /// Whether to forbid set-user-ID programs to give more rights (`PR_SET_NO_NEW_PRIVS`, prctl(2)).
    pub no_new_privs: bool,
    /// The file mode creation mask, umask(2).
    pub umask: Option<u32>,
    /// The working directory. It is entered before the change of user, and if that fails, again after it.
    pub directory: Option<CString>,
    /// From -1000, never killed for lack of memory, to 1000, killed first (proc_pid_oom_score_adj(5)).
    pub oom_score_adj: Option<i32>,
}

/// The user and the groups of a process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    pub uid: u32,
    pub gid: u32,
    pub groups: Vec<u32>,
}

impl Identity {
    #[must_use]
    pub fn ids(&self) -> (u32, u32) {
        (self.uid, self.gid)
    }
}
