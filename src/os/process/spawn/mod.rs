//! Starts a program with one `clone(CLONE_VM)`, nearly as posix_spawn(3) does.
//!
//! The child shares our memory, so nothing is copied. We wait until it executes or ends: until the pipe whose other end
//! it holds is closed. So the pid that is returned is that of a running program. This is sound because we only wait
//! meanwhile, because all our signals are blocked, so no handler of ours runs in the child, and because the child
//! allocates nothing: arguments, environment and paths are made before. Not `CLONE_VFORK`: its wait has no deadline,
//! and a child that is stopped before it executes (`pkill -STOP`), or executes from a file system that hangs, would
//! make us deaf for good. std's `Command` can neither write the child's own pid into `LISTEN_PID` nor restore a signal
//! mask.

mod child;
mod image;
mod program;
mod stack;

pub use program::{Identity, Placement, Program, SpawnAttributes};

use super::lookup::candidates;
use crate::core::event::{Pid, SpawnFailure};
use crate::core::exit::code;
use crate::os::call::{self, named};
use crate::os::entry;
use crate::values::FIRST_FD;
use image::{ChildFailure, ChildImage};
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout};
use stack::Stack;
use std::ffi::{CStr, CString, OsString};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::ptr;
use std::time::{Duration, Instant};

/// The wait after `SIGKILL`: a process in uninterruptible sleep does not die of it.
const DIE_WITHIN: Duration = Duration::from_secs(1);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Method {
    Clone,
    /// Where a sandbox refuses `Clone`.
    Fork,
}

/// Starts the program with the signal mask and the ignored signals that we were started with. Returns once it runs.
///
/// # Errors
/// The step that failed.
pub fn spawn(program: &Program<'_>) -> Result<Pid, SpawnFailure> {
    let mut image = ChildImage::new(program)?;
    // Memory is never shared with another user. Processes that share memory also share their OOM score.
    let apart = program.attributes.identity.is_some() || program.attributes.oom_score_adj.is_some();
    let method = if apart { Method::Fork } else { Method::Clone };
    let mut result = image.run(method);
    for _ in 0..TRIES_MORE {
        result = match result {
            // A filter, or a limit on memory, may allow fork(2).
            Err(SpawnFailure { step: "clone", errno: libc::EINVAL | libc::EPERM | libc::ENOSYS, .. })
            | Err(SpawnFailure { step: "mmap", .. }) => image.run(Method::Fork),
            // The obstacle may pass: other processes end, and close what they had open.
            Err(SpawnFailure { step: "clone" | "fork" | "pipe", errno, .. }) if passes(errno) => {
                call::pause(TRY_AGAIN_AFTER);
                image.run(method)
            }
            _ => break,
        };
    }
    if image.in_use {
        std::mem::forget(image);
    }
    result
}

/// The number of further attempts if a resource was short, and the pause before each. The supervisor is deaf meanwhile.
const TRIES_MORE: u32 = 3;
const TRY_AGAIN_AFTER: Duration = Duration::from_millis(5);

/// Whether an error of fork(2) or pipe(2) may pass within moments.
fn passes(errno: i32) -> bool {
    matches!(errno, libc::EAGAIN | libc::ENOMEM | libc::EMFILE | libc::ENFILE | libc::EINTR)
}

/// Room for `LISTEN_PID=` and the ten digits of the largest pid.
const LISTEN_PID: &[u8] = b"LISTEN_PID=\0\0\0\0\0\0\0\0\0\0\0";

impl ChildImage {
    fn new(program: &Program<'_>) -> Result<Self, SpawnFailure> {
        let nul = |_| SpawnFailure { step: "execute", errno: libc::EINVAL, code: code::CANNOT_START };
        let c_strings =
            |list: Vec<Vec<u8>>| list.into_iter().map(CString::new).collect::<Result<Vec<_>, _>>();
        let args =
            c_strings(program.argv.iter().map(|arg| arg.as_bytes().to_vec()).collect()).map_err(nul)?;
        let env = program.env.unwrap_or_default().iter();
        let env = env.map(|(key, value)| [key.as_bytes(), b"=", value.as_bytes()].concat());
        let env = c_strings(env.collect()).map_err(nul)?;
        let command = program.argv.first().map(OsString::as_os_str).unwrap_or_default();
        let path = match program.env {
            None => std::env::var_os("PATH"),
            Some(env) => env.iter().find(|(key, _)| key == "PATH").map(|(_, value)| value.clone()),
        };
        let paths = candidates(command, path.as_deref());
        let is_only_one = paths.len() == 1;
        let paths = c_strings(paths.into_iter().skip(program.missing).collect()).map_err(nul)?;

        let pointers = |list: &[CString]| list.iter().map(|s| s.as_ptr()).collect::<Vec<_>>();
        let mut argv = pointers(&args);
        argv.push(ptr::null());
        let mut shell_argv = vec![c"/bin/sh".as_ptr(), ptr::null()];
        shell_argv.extend(argv.iter().skip(1));
        let listen_pid = if program.listen_pid { LISTEN_PID.to_vec() } else { Vec::new() };
        let mut envp = match program.env {
            None => entry::variables().map(CStr::as_ptr).collect(),
            Some(_) => pointers(&env),
        };
        if program.listen_pid {
            envp.push(listen_pid.as_ptr().cast());
        }
        envp.push(ptr::null());
        let mut strings = args;
        strings.extend(env);
        Ok(Self {
            paths,
            is_only_one,
            argv,
            shell_argv,
            envp,
            listen_pid,
            output: program.output.map(|fd| fd.map(|fd| fd.as_raw_fd())),
            fds: program.fds.iter().map(AsRawFd::as_raw_fd).collect(),
            close_others: program.close_others,
            execute_within: program.execute_within,
            placement: program.placement,
            attributes: program.attributes.clone(),
            oom_score_adj: program
                .attributes
                .oom_score_adj
                .and_then(|score| CString::new(score.to_string()).ok()),
            // SAFETY: always succeeds.
            parent: program.parent_death.map_or(-1, |_| unsafe { libc::getpid() }),
            parent_death: program.parent_death,
            error_pipe: -1,
            stack: None,
            in_use: false,
            _strings: strings,
        })
    }

    fn run(&mut self, method: Method) -> Result<Pid, SpawnFailure> {
        let cannot = |step: &'static str| {
            move |error: io::Error| SpawnFailure {
                step,
                errno: call::errno(&error),
                code: code::CANNOT_START,
            }
        };
        if method == Method::Clone && self.stack.is_none() {
            self.stack = Some(Stack::new().map_err(cannot("mmap"))?);
        }
        let (reader, writer) = self.make_pipe().map_err(cannot("pipe"))?;
        self.error_pipe = writer.as_raw_fd();
        let pid = match method {
            Method::Clone => self.clone_shared().map_err(cannot("clone"))?,
            Method::Fork => self.fork().map_err(cannot("fork"))?,
        };
        // While it is open here, the reader sees no end of file.
        // SAFETY: `writer` owned it, and gives it up here.
        let closed = Errno::result(unsafe { libc::close(writer.into_raw_fd()) });
        let told = match closed {
            Err(Errno::EPERM | Errno::ENOSYS) => {
                ExecOutcome::Deaf("close", closed.err().unwrap_or(Errno::EPERM))
            }
            _ => wait_for(&reader, self.execute_within),
        };
        let ChildFailure { step, errno } = match told {
            ExecOutcome::Executed => return Ok(Pid(pid)),
            ExecOutcome::Deaf(step, errno) => {
                self.in_use = !kill(pid);
                let errno = errno as i32;
                return Err(SpawnFailure { step, errno, code: code::CANNOT_START });
            }
            ExecOutcome::Failed(failure) => {
                // SAFETY: a null status is allowed. The child is already ending, so the wait is short.
                unsafe { libc::waitpid(pid, ptr::null_mut(), libc::__WALL) };
                failure
            }
            ExecOutcome::Nothing => {
                self.in_use = !kill(pid);
                ChildFailure { step: child::EXECUTE, errno: libc::ETIMEDOUT }
            }
        };
        let step = child::name_of(step);
        Err(SpawnFailure { step, errno, code: exec_code(step, errno) })
    }

    /// A pipe that exec closes. Its write end lies above the numbers that the listeners will have in the child.
    fn make_pipe(&self) -> io::Result<(OwnedFd, OwnedFd)> {
        let (reader, writer) = nix::unistd::pipe2(OFlag::O_CLOEXEC)?;
        let least = i32::try_from(self.fds.len()).unwrap_or(0).saturating_add(FIRST_FD);
        if writer.as_raw_fd() >= least {
            return Ok((reader, writer));
        }
        let writer = duplicate_above(writer.as_fd(), least)?;
        Ok((reader, writer))
    }

    fn clone_shared(&mut self) -> io::Result<libc::pid_t> {
        let top = self.stack.as_ref().ok_or(io::ErrorKind::OutOfMemory)?.top();
        let flags = libc::CLONE_VM | libc::SIGCHLD;
        // SAFETY: the stack and `self` live until the child has executed or ended, or for ever if that cannot be known;
        // until then we only wait. The child shares our errno, which we do not read meanwhile.
        let pid = unsafe { libc::clone(child::run, top, flags, ptr::from_mut(self).cast()) };
        if pid < 0 { Err(io::Error::last_os_error()) } else { Ok(pid) }
    }

    fn fork(&mut self) -> io::Result<libc::pid_t> {
        // SAFETY: this process has one thread, and the child makes only calls that signal-safety(7) allows.
        let pid = unsafe { libc::fork() };
        if pid == 0 {
            child::run(ptr::from_mut(self).cast());
        }
        if pid < 0 { Err(io::Error::last_os_error()) } else { Ok(pid) }
    }
}

/// The message in the child's pipe.
enum ExecOutcome {
    Executed,
    Failed(ChildFailure),
    /// No message within the time limit.
    Nothing,
    /// The pipe cannot be read: this call is refused.
    Deaf(&'static str, Errno),
}

/// The interval of reads where poll(2) is refused.
const LOOK_EVERY: Duration = Duration::from_millis(1);

fn wait_for(reader: &OwnedFd, limit: Duration) -> ExecOutcome {
    let start = Instant::now();
    let mut can_poll = true;
    loop {
        let left = limit.saturating_sub(start.elapsed());
        if can_poll {
            let mut fds = [PollFd::new(reader.as_fd(), PollFlags::POLLIN)];
            match nix::poll::poll(&mut fds, PollTimeout::try_from(left).unwrap_or(PollTimeout::ZERO)) {
                Ok(0) => return ExecOutcome::Nothing,
                Ok(_) => {}
                Err(_) if left.is_zero() => return ExecOutcome::Nothing,
                // We were stopped and continued.
                Err(Errno::EINTR) => continue,
                // Refused, or out of memory.
                Err(_) => match fcntl(reader, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)) {
                    Ok(_) => can_poll = false,
                    Err(errno) => return ExecOutcome::Deaf("poll", errno),
                },
            }
        }
        let mut failure = ChildFailure::default();
        let size = size_of::<ChildFailure>();
        // SAFETY: `ChildFailure` is two integers, and the length is its size.
        let read = unsafe { libc::read(reader.as_raw_fd(), ptr::from_mut(&mut failure).cast(), size) };
        match Errno::result(read) {
            Ok(read) if usize::try_from(read) == Ok(size) => return ExecOutcome::Failed(failure),
            Ok(_) => return ExecOutcome::Executed,
            Err(Errno::EAGAIN | Errno::EINTR) if left.is_zero() => return ExecOutcome::Nothing,
            Err(Errno::EAGAIN | Errno::EINTR) => call::pause(LOOK_EVERY),
            Err(errno) => return ExecOutcome::Deaf("read", errno),
        }
    }
}

/// Kills and reaps a child of ours. Returns whether it is gone.
fn kill(pid: libc::pid_t) -> bool {
    // SAFETY: takes two integers; the child is ours and not reaped.
    unsafe { libc::kill(pid, libc::SIGKILL) };
    let start = Instant::now();
    loop {
        // SAFETY: a null status is allowed.
        if unsafe { libc::waitpid(pid, ptr::null_mut(), libc::WNOHANG | libc::__WALL) } != 0 {
            return true;
        }
        if start.elapsed() >= DIE_WITHIN {
            return false;
        }
        call::pause(Duration::from_millis(1));
    }
}

/// The code with which a shell would end (POSIX, "Exit Status for Commands").
fn exec_code(step: &str, errno: i32) -> u8 {
    match (step, errno) {
        ("execute", libc::ENOENT | libc::ENOTDIR) => code::NOT_FOUND,
        ("execute", libc::E2BIG | libc::ENOMEM) => code::CANNOT_START,
        ("execute", _) => code::CANNOT_EXECUTE,
        _ => code::CANNOT_START,
    }
}

/// A duplicate of a descriptor, closed on exec, whose number is at least `least`.
///
/// # Errors
/// As fcntl(2), `F_DUPFD_CLOEXEC`.
pub fn duplicate_above(fd: BorrowedFd<'_>, least: RawFd) -> io::Result<OwnedFd> {
    let copy = named("fcntl", fcntl(fd, FcntlArg::F_DUPFD_CLOEXEC(least)))?;
    // SAFETY: the kernel has just given us this descriptor.
    Ok(unsafe { OwnedFd::from_raw_fd(copy) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn program(argv: &[OsString]) -> Program<'_> {
        const NOTHING: &SpawnAttributes = &SpawnAttributes {
            identity: None,
            no_new_privs: false,
            umask: None,
            directory: None,
            oom_score_adj: None,
        };
        Program {
            execute_within: Duration::from_secs(10),
            placement: Placement::Session,
            attributes: NOTHING,
            argv,
            missing: 0,
            env: None,
            listen_pid: true,
            output: [None; 2],
            fds: &[],
            close_others: false,
            parent_death: None,
        }
    }

    fn exit_code(pid: Pid) -> i32 {
        let mut status = 0;
        // SAFETY: `status` has room for the answer.
        unsafe { libc::waitpid(pid.0, &raw mut status, 0) };
        libc::WEXITSTATUS(status)
    }

    #[test]
    fn both_methods_run_the_program_with_its_own_pid_in_listen_pid_and_in_its_own_session() {
        let script = r#"[ "$LISTEN_PID" = $$ ] && [ "$(ps -o sid= -p $$ | tr -d ' ')" = $$ ] && exit 7"#;
        let argv = ["sh", "-c", script].map(OsString::from);
        for method in [Method::Clone, Method::Fork] {
            let pid = ChildImage::new(&program(&argv)).unwrap().run(method).unwrap();
            assert_eq!(exit_code(pid), 7, "{method:?}");
        }
    }

    #[test]
    fn both_methods_bring_the_error_back() {
        for (command, errno, code) in [
            ("no-such-command", libc::ENOENT, 127),
            ("/", libc::EACCES, 126),
            ("/etc/passwd", libc::EACCES, 126),
        ] {
            let argv = [OsString::from(command)];
            for method in [Method::Clone, Method::Fork] {
                let failure = ChildImage::new(&program(&argv)).unwrap().run(method).unwrap_err();
                assert_eq!(failure, SpawnFailure { step: "execute", errno, code }, "{command} by {method:?}");
            }
        }
    }

    #[test]
    fn a_script_without_an_interpreter_line_runs_in_the_shell() {
        let script = tempfile::NamedTempFile::new().unwrap().into_temp_path();
        std::fs::write(&script, "exit $#\n").unwrap();
        std::fs::set_permissions(&script, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        let argv = [script.as_os_str().to_owned(), "a".into(), "b".into()];
        assert_eq!(exit_code(spawn(&program(&argv)).unwrap()), 2);
    }
}
