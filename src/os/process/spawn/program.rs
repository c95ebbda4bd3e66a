//! What to start, and how.

use crate::core::Signal;
use std::ffi::{CString, OsString};
use std::os::fd::{BorrowedFd, RawFd};
use std::time::Duration;

/// What to start, and with what.
#[derive(Debug)]
pub struct Program<'a> {
    /// The command and its arguments; the command is looked for as a shell does.
    pub argv: &'a [OsString],
    /// In how many directories of PATH it is not looked for: it is known not to be there.
    pub missing: usize,
    /// The whole environment; ours as it is where it is `None`.
    pub env: Option<&'a [(OsString, OsString)]>,
    /// Whether to add `LISTEN_PID` with the pid of the new process, which only it can know.
    pub listen_pid: bool,
    /// Descriptors to become stdout and stderr; without one, ours is inherited.
    pub output: [Option<BorrowedFd<'a>>; 2],
    /// Descriptors to become 3, 4, ... in this order. They must themselves lie above those numbers.
    pub fds: &'a [BorrowedFd<'a>],
    /// Whether to close every other descriptor above 2.
    pub close_others: bool,
    /// A child that has not executed the program by then never will: it is killed.
    pub execute_within: Duration,
    /// In which session and process group.
    pub placement: Placement,
    /// The user, the directory and the limits.
    pub settings: &'a SpawnAttributes,
    /// What the program gets should we die without having stopped it (`PR_SET_PDEATHSIG`, prctl(2)). In a PID
    /// namespace of our own the kernel kills it anyway.
    pub parent_death: Option<Signal>,
}

/// The session and the process group of a new process, and what it has to do with a terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placement {
    /// A session and a group of its own, without a terminal.
    Session,
    /// A session of its own, controlled by the terminal that this descriptor is, if that is free (`TIOCSCTTY`).
    SessionWithTerminal(RawFd),
    /// A group of its own in our session; the foreground group of this terminal, if there is one.
    Group(Option<RawFd>),
    /// Our own session and group.
    Shared,
}

/// What a new process changes of itself before it executes the program.
#[derive(Clone, Debug, Default)]
pub struct SpawnAttributes {
    pub identity: Option<Identity>,
    /// Whether set-user-ID programs give it no more rights (`PR_SET_NO_NEW_PRIVS`, prctl(2)).
    pub no_new_privs: bool,
    /// The file mode creation mask, umask(2).
    pub umask: Option<u32>,
    /// Where to run; looked up before the change of user, and again after it should that fail.
    pub directory: Option<CString>,
    /// From -1000, never killed for want of memory, to 1000, first (proc_pid_oom_score_adj(5)).
    pub oom_score_adj: Option<i32>,
}

/// The user and the groups of a process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    pub uid: u32,
    pub gid: u32,
    /// Supplementary groups.
    pub groups: Vec<u32>,
}

impl Identity {
    #[must_use]
    pub fn ids(&self) -> (u32, u32) {
        (self.uid, self.gid)
    }
}
