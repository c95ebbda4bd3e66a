//! strace(1) on what a test has started: says whether anybody woke up.

use super::{eventually, kill, status_line};
use std::fs;
use std::process::{Child, Command, Stdio};

/// A process whose system calls are written down.
pub struct Trace {
    strace: Child,
    output: tempfile::NamedTempFile,
    attached: usize,
}

impl Trace {
    /// Attaches to a process once it waits for events, and waits until it does so again: being attached to wakes it.
    pub fn attach(pid: i32) -> Self {
        Self::attach_with(pid, &["-f"])
    }

    /// As [`attach`](Self::attach), to a process of one thread, and not to those that it starts meanwhile.
    pub fn attach_alone(pid: i32) -> Self {
        Self::attach_with(pid, &[])
    }

    fn attach_with(pid: i32, options: &[&str]) -> Self {
        let asleep = || status_line(pid, "State").unwrap_or_default().starts_with('S');
        eventually("sleep", || asleep().then_some(()));
        let output = tempfile::NamedTempFile::new().unwrap();
        let strace = Command::new("strace")
            .args(options)
            .args(["-q", "-p", &pid.to_string(), "-o"])
            .arg(output.path())
            .stdin(Stdio::null())
            .spawn()
            .unwrap_or_else(|error| panic!("strace is needed: {error}"));
        let mut trace = Self { strace, output, attached: 0 };
        // A call that has not returned has no end of line.
        let waits =
            |text: &str| text.lines().last().is_some_and(|l| l.contains("epoll_")) && !text.ends_with('\n');
        trace.attached = eventually("a wait for events under strace", || {
            let text = trace.text();
            (waits(&text) && asleep()).then_some(text.len())
        });
        trace
    }

    /// As [`detach`](Self::detach), once it waits for events again.
    pub fn detach_at_rest(self, pid: i32) -> Vec<String> {
        eventually("a wait for events", || {
            let text = self.text();
            let waits =
                text.lines().last().is_some_and(|l| l.contains("epoll_wait(")) && !text.ends_with('\n');
            let asleep = status_line(pid, "State").unwrap_or_default().starts_with('S');
            (waits && asleep).then_some(())
        });
        self.detach()
    }

    /// Detaches, and tells what the process has done since then, a line each.
    pub fn detach(mut self) -> Vec<String> {
        kill(self.strace.id().cast_signed(), libc::SIGINT);
        self.strace.wait().unwrap();
        let text = self.text();
        assert!(text.ends_with("<detached ...>\n"), "not traced to the end: {text}");
        text[self.attached..].trim().trim_end_matches("<detached ...>").lines().map(str::to_owned).collect()
    }

    fn text(&self) -> String {
        fs::read_to_string(self.output.path()).unwrap()
    }
}

/// Lets the next call of this name that a process makes fail with this error, and no other; it does so until dropped.
pub fn fail_once(pid: i32, call: &str, error: &str) -> Injected {
    let output = tempfile::NamedTempFile::new().unwrap();
    let strace = Command::new("strace")
        .args(["-q", "-p", &pid.to_string(), "-e", &format!("trace={call}")])
        .args(["-e", &format!("inject={call}:error={error}:when=1"), "-o"])
        .arg(output.path())
        .stdin(Stdio::null())
        .spawn()
        .unwrap_or_else(|error| panic!("strace is needed: {error}"));
    let injected = Injected { strace, output };
    let tracer = injected.strace.id().to_string();
    eventually("strace to be attached", || (status_line(pid, "TracerPid")? == tracer).then_some(()));
    injected
}

/// See [`fail_once`].
pub struct Injected {
    strace: Child,
    output: tempfile::NamedTempFile,
}

impl Injected {
    /// The calls of that name that were made, a line each.
    pub fn text(&self) -> String {
        fs::read_to_string(self.output.path()).unwrap()
    }
}

impl Drop for Injected {
    fn drop(&mut self) {
        // Killed, it would leave what it traces as it is.
        kill(self.strace.id().cast_signed(), libc::SIGTERM);
        let _ended = self.strace.wait();
    }
}

impl Drop for Trace {
    fn drop(&mut self) {
        let _ended = self.strace.kill();
        let _ended = self.strace.wait();
    }
}
