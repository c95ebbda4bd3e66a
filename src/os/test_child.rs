//! Children for unit tests to look at.

use crate::core::Pid;
use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

/// A Python process that leads a group; the group is killed on drop.
pub struct Python(Child);

impl Python {
    /// Returns once the script has printed `ready`.
    pub fn new(script: &str) -> Self {
        Self::of(Command::new("python3").args(["-c", script]))
    }

    /// As [`new`](Self::new), with this user and group id.
    pub fn of_user(id: u32, script: &str) -> Self {
        Self::of(Command::new("python3").args(["-c", script]).uid(id).gid(id))
    }

    fn of(command: &mut Command) -> Self {
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).process_group(0).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "ready\n");
        Self(child)
    }

    pub fn pid(&self) -> Pid {
        Pid(i32::try_from(self.0.id()).unwrap())
    }
}

impl Drop for Python {
    fn drop(&mut self) {
        // SAFETY: takes integers; the leader is not reaped, so the group is its own.
        unsafe { libc::kill(-self.pid().0, libc::SIGKILL) };
        let _ended = self.0.wait();
    }
}

/// Calls `act` with a child that has ended and is not reaped.
pub fn with_zombie(act: impl FnOnce(Pid)) {
    let mut child = Command::new("true").spawn().unwrap();
    // SAFETY: a null answer is allowed; the child stays a zombie.
    unsafe { libc::waitid(libc::P_PID, child.id(), std::ptr::null_mut(), libc::WEXITED | libc::WNOWAIT) };
    act(Pid(i32::try_from(child.id()).unwrap()));
    child.wait().unwrap();
}
