//! Starting a program: one `clone(CLONE_VM)`, nearly as posix_spawn(3) does it.
//!
//! The child shares our memory, so nothing is copied, and we wait until it executes or ends: until a pipe of which it
//! holds the other end is closed. So the pid that is returned is that of a program that runs. This is sound because
//! we do nothing but wait meanwhile, because all our signals are blocked and no handler of ours can run in the
//! child, and because the child allocates nothing: arguments, environment and paths are made before. Not
//! `CLONE_VFORK`, whose wait has no deadline: a child that is stopped before it executes (`pkill -STOP`), or executes
//! from a file system that hangs, would make us deaf for good. std's `Command` can neither write the child's own pid
//! into `LISTEN_PID` nor give back a signal mask.

mod child;
mod stack;

use super::lookup::candidates;
use crate::core::Signal;
use crate::core::event::{Pid, SpawnFailure};
use crate::core::exit::code;
use crate::os::call::{self, named};
use crate::values::FIRST_FD;
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout};
use stack::Stack;
use std::ffi::{CString, OsString};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, IntoRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::ptr;
use std::time::{Duration, Instant};

/// A process in uninterruptible sleep does not die of `SIGKILL`.
const DIE_WITHIN: Duration = Duration::from_secs(1);

/// What to start, and with what.
#[derive(Debug)]
pub struct Program<'a> {
    /// The command and its arguments; the command is looked for as a shell does.
    pub argv: &'a [OsString],
    /// In how many directories of PATH it is not looked for: it is known not to be there.
    pub missing: usize,
    /// The whole environment.
    pub env: &'a [(OsString, OsString)],
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
    /// As whom, where, and under which limits.
    pub settings: &'a Settings,
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
pub struct Settings {
    /// As whom to run.
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

/// Whom a process runs as.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The user's id.
    pub uid: u32,
    /// The group's id.
    pub gid: u32,
    /// Supplementary groups.
    pub groups: Vec<u32>,
}

impl Identity {
    /// The user's and the group's id.
    #[must_use]
    pub fn ids(&self) -> (u32, u32) {
        (self.uid, self.gid)
    }
}

/// How to make the new process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Method {
    Clone,
    /// Where a sandbox refuses the other.
    Fork,
}

/// Starts the program with the signal mask and the ignored signals that we were started with. Returns when it runs.
///
/// # Errors
/// Names the step that failed.
pub fn spawn(program: &Program<'_>) -> Result<Pid, SpawnFailure> {
    let mut image = Image::new(program)?;
    // Never share memory with another user, not for a moment; and what shares memory shares its OOM score.
    let apart = program.settings.identity.is_some() || program.settings.oom_score_adj.is_some();
    let method = if apart { Method::Fork } else { Method::Clone };
    let mut result = image.run(method);
    for _ in 0..TRIES_MORE {
        result = match result {
            // A filter may allow the other way, and so may a limit on memory.
            Err(SpawnFailure { step: "clone", errno: libc::EINVAL | libc::EPERM | libc::ENOSYS, .. })
            | Err(SpawnFailure { step: "mmap", .. }) => image.run(Method::Fork),
            // What was in the way may be gone: others end, and close what they had.
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

/// How often a child that could not be made for want of something is tried again, and after what pause. Nothing else is
/// heard meanwhile.
const TRIES_MORE: u32 = 3;
const TRY_AGAIN_AFTER: Duration = Duration::from_millis(5);

/// Whether an error of fork(2) or pipe(2) may be another the next moment.
fn passes(errno: i32) -> bool {
    matches!(errno, libc::EAGAIN | libc::ENOMEM | libc::EMFILE | libc::ENFILE | libc::EINTR)
}

/// Room for `LISTEN_PID=` and the ten digits of the largest pid.
const LISTEN_PID: &[u8] = b"LISTEN_PID=\0\0\0\0\0\0\0\0\0\0\0";

/// All that the child needs, laid out in memory before it exists.
struct Image {
    paths: Vec<CString>,
    argv: Vec<*const libc::c_char>,
    /// `/bin/sh`, the path, the arguments: for a script without `#!`, as execvp(3) does.
    shell_argv: Vec<*const libc::c_char>,
    envp: Vec<*const libc::c_char>,
    /// Empty where it is not set.
    listen_pid: Vec<u8>,
    output: [Option<RawFd>; 2],
    fds: Vec<RawFd>,
    close_others: bool,
    execute_within: Duration,
    placement: Placement,
    settings: Settings,
    /// The text to write, if any.
    oom_score_adj: Option<CString>,
    parent: libc::pid_t,
    parent_death: Option<Signal>,
    /// The write end by which the child tells what went wrong, and by its closing that it has executed.
    error_pipe: RawFd,
    stack: Option<Stack>,
    /// The child could neither be seen to execute nor be killed: it may still look at this.
    in_use: bool,
    _strings: Vec<CString>,
}

/// What went wrong in the child, as it goes through the pipe.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Failure {
    step: u32,
    errno: i32,
}

impl Image {
    fn new(program: &Program<'_>) -> Result<Self, SpawnFailure> {
        let nul = |_| SpawnFailure { step: "execute", errno: libc::EINVAL, code: code::CANNOT_START };
        let c_strings =
            |list: Vec<Vec<u8>>| list.into_iter().map(CString::new).collect::<Result<Vec<_>, _>>();
        let args =
            c_strings(program.argv.iter().map(|arg| arg.as_bytes().to_vec()).collect()).map_err(nul)?;
        let env = program.env.iter().map(|(key, value)| [key.as_bytes(), b"=", value.as_bytes()].concat());
        let env = c_strings(env.collect()).map_err(nul)?;
        let command = program.argv.first().map(OsString::as_os_str).unwrap_or_default();
        let path = program.env.iter().find(|(key, _)| key == "PATH").map(|(_, value)| value.as_os_str());
        let paths = candidates(command, path).into_iter().skip(program.missing).collect();
        let paths = c_strings(paths).map_err(nul)?;

        let pointers = |list: &[CString]| list.iter().map(|s| s.as_ptr()).collect::<Vec<_>>();
        let mut argv = pointers(&args);
        argv.push(ptr::null());
        let mut shell_argv = vec![c"/bin/sh".as_ptr(), ptr::null()];
        shell_argv.extend(argv.iter().skip(1));
        let listen_pid = if program.listen_pid { LISTEN_PID.to_vec() } else { Vec::new() };
        let mut envp = pointers(&env);
        if program.listen_pid {
            envp.push(listen_pid.as_ptr().cast());
        }
        envp.push(ptr::null());
        let mut strings = args;
        strings.extend(env);
        Ok(Self {
            paths,
            argv,
            shell_argv,
            envp,
            listen_pid,
            output: program.output.map(|fd| fd.map(|fd| fd.as_raw_fd())),
            fds: program.fds.iter().map(AsRawFd::as_raw_fd).collect(),
            close_others: program.close_others,
            execute_within: program.execute_within,
            placement: program.placement,
            settings: program.settings.clone(),
            oom_score_adj: program
                .settings
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
        // While it is open here, it tells nothing.
        // SAFETY: it was ours, and is nobody's now.
        let closed = Errno::result(unsafe { libc::close(writer.into_raw_fd()) });
        let told = match closed {
            Err(Errno::EPERM | Errno::ENOSYS) => Told::Deaf("close", closed.err().unwrap_or(Errno::EPERM)),
            _ => wait_for(&reader, self.execute_within),
        };
        let Failure { step, errno } = match told {
            Told::Executed => return Ok(Pid(pid)),
            Told::Deaf(step, errno) => {
                self.in_use = !kill(pid);
                let errno = errno as i32;
                return Err(SpawnFailure { step, errno, code: code::CANNOT_START });
            }
            Told::Failed(failure) => {
                // SAFETY: a null status is allowed. The child is ending: this does not wait for anything else.
                unsafe { libc::waitpid(pid, ptr::null_mut(), libc::__WALL) };
                failure
            }
            Told::Nothing => {
                self.in_use = !kill(pid);
                Failure { step: child::EXECUTE, errno: libc::ETIMEDOUT }
            }
        };
        let step = child::name_of(step);
        Err(SpawnFailure { step, errno, code: exec_code(step, errno) })
    }

    /// A pipe that closes itself when the program is executed, whose write end is out of the way of the numbers that
    /// the listeners will take in the child.
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
        // SAFETY: the stack and `self` live until the child has executed or ended, or for ever if we cannot know;
        // until then we only wait. It shares our errno, which we do not look at meanwhile.
        let pid = unsafe { libc::clone(child::run, top, flags, ptr::from_mut(self).cast()) };
        if pid < 0 { Err(io::Error::last_os_error()) } else { Ok(pid) }
    }

    fn fork(&mut self) -> io::Result<libc::pid_t> {
        // SAFETY: this process has one thread, and the child calls only what signal-safety(7) allows.
        let pid = unsafe { libc::fork() };
        if pid == 0 {
            child::run(ptr::from_mut(self).cast());
        }
        if pid < 0 { Err(io::Error::last_os_error()) } else { Ok(pid) }
    }
}

/// What the child has told through its pipe.
enum Told {
    Executed,
    Failed(Failure),
    /// Nothing, in all the time it had.
    Nothing,
    /// We cannot hear what it says: this call is refused.
    Deaf(&'static str, Errno),
}

/// How often the pipe is looked at where the kernel does not let us wait for it.
const LOOK_EVERY: Duration = Duration::from_millis(1);

fn wait_for(reader: &OwnedFd, limit: Duration) -> Told {
    let start = Instant::now();
    let mut can_poll = true;
    loop {
        let left = limit.saturating_sub(start.elapsed());
        if can_poll {
            let mut fds = [PollFd::new(reader.as_fd(), PollFlags::POLLIN)];
            match nix::poll::poll(&mut fds, PollTimeout::try_from(left).unwrap_or(PollTimeout::ZERO)) {
                Ok(0) => return Told::Nothing,
                Ok(_) => {}
                Err(_) if left.is_zero() => return Told::Nothing,
                // Stopped and continued ourselves.
                Err(Errno::EINTR) => continue,
                // Refused, or no memory for it.
                Err(_) => match fcntl(reader, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)) {
                    Ok(_) => can_poll = false,
                    Err(errno) => return Told::Deaf("poll", errno),
                },
            }
        }
        let mut failure = Failure::default();
        let size = size_of::<Failure>();
        // SAFETY: `Failure` is two integers, and as large as we say.
        let read = unsafe { libc::read(reader.as_raw_fd(), ptr::from_mut(&mut failure).cast(), size) };
        match Errno::result(read) {
            Ok(read) if usize::try_from(read) == Ok(size) => return Told::Failed(failure),
            Ok(_) => return Told::Executed,
            Err(Errno::EAGAIN | Errno::EINTR) if left.is_zero() => return Told::Nothing,
            Err(Errno::EAGAIN | Errno::EINTR) => call::pause(LOOK_EVERY),
            Err(errno) => return Told::Deaf("read", errno),
        }
    }
}

/// Kills a child of ours and reaps it. Returns whether it is gone.
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

/// The code a shell would end with (POSIX, "Exit Status for Commands").
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
        const NOTHING: &Settings = &Settings {
            identity: None,
            no_new_privs: false,
            umask: None,
            directory: None,
            oom_score_adj: None,
        };
        Program {
            execute_within: Duration::from_secs(10),
            placement: Placement::Session,
            settings: NOTHING,
            argv,
            missing: 0,
            env: Vec::leak(std::env::vars_os().collect()),
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
            let pid = Image::new(&program(&argv)).unwrap().run(method).unwrap();
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
                let failure = Image::new(&program(&argv)).unwrap().run(method).unwrap_err();
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
