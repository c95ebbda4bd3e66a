//! What the child reads.

use super::program::{Placement, SpawnAttributes};
use super::stack::Stack;
use crate::core::Signal;
use std::ffi::CString;
use std::os::fd::RawFd;
use std::time::Duration;

/// All that the child needs, laid out in memory before it exists.
pub(super) struct ChildImage {
    pub(super) paths: Vec<CString>,
    /// No other place was to be searched, with those that are left out here since it is missing there.
    pub(super) is_only_one: bool,
    pub(super) argv: Vec<*const libc::c_char>,
    /// `/bin/sh`, the path, the arguments: for a script without `#!`, as execvp(3) does.
    pub(super) shell_argv: Vec<*const libc::c_char>,
    pub(super) envp: Vec<*const libc::c_char>,
    /// Empty where it is not set.
    pub(super) listen_pid: Vec<u8>,
    pub(super) output: [Option<RawFd>; 2],
    pub(super) fds: Vec<RawFd>,
    pub(super) close_others: bool,
    pub(super) execute_within: Duration,
    pub(super) placement: Placement,
    pub(super) settings: SpawnAttributes,
    /// The text to write, if any.
    pub(super) oom_score_adj: Option<CString>,
    pub(super) parent: libc::pid_t,
    pub(super) parent_death: Option<Signal>,
    /// The write end by which the child tells what went wrong, and by its closing that it has executed.
    pub(super) error_pipe: RawFd,
    pub(super) stack: Option<Stack>,
    /// The child could neither be seen to execute nor be killed: it may still look at this.
    pub(super) in_use: bool,
    pub(super) _strings: Vec<CString>,
}

/// What went wrong in the child, as it goes through the pipe.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub(super) struct ChildFailure {
    pub(super) step: u32,
    pub(super) errno: i32,
}
