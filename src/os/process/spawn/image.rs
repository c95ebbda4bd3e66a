//! The memory that the child reads.

use super::program::{Placement, SpawnAttributes};
use super::stack::Stack;
use crate::core::Signal;
use std::ffi::CString;
use std::os::fd::RawFd;
use std::time::Duration;

/// All that the child needs, prepared before it exists.
pub(super) struct ChildImage {
    pub(super) paths: Vec<CString>,
    /// The command has one possible path, counted with those that are skipped as known to be missing.
    pub(super) is_only_one: bool,
    pub(super) argv: Vec<*const libc::c_char>,
    /// `/bin/sh`, the path, the arguments: for a script without `#!`, as in execvp(3).
    pub(super) shell_argv: Vec<*const libc::c_char>,
    pub(super) envp: Vec<*const libc::c_char>,
    /// Empty if the variable is not set.
    pub(super) listen_pid: Vec<u8>,
    pub(super) output: [Option<RawFd>; 2],
    pub(super) fds: Vec<RawFd>,
    pub(super) close_others: bool,
    pub(super) execute_within: Duration,
    pub(super) placement: Placement,
    pub(super) attributes: SpawnAttributes,
    pub(super) oom_score_adj: Option<CString>,
    pub(super) parent: libc::pid_t,
    pub(super) parent_death: Option<Signal>,
    /// The write end of the pipe on which the child reports a failure; an exec closes it.
    pub(super) error_pipe: RawFd,
    pub(super) stack: Option<Stack>,
    /// The child was neither seen to execute nor to die: it may still read this.
    pub(super) in_use: bool,
    pub(super) _strings: Vec<CString>,
}

/// A failure in the child, as sent through the pipe.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub(super) struct ChildFailure {
    pub(super) step: u32,
    pub(super) errno: i32,
}
