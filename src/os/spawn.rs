//! Starting a program: one `clone(CLONE_VM | CLONE_VFORK)`, as posix_spawn(3) does it.
//!
//! The child shares our memory and we sleep until it executes or ends (clone(2)), so an error
//! comes back through a field, and the pid that is told to us is that of a program that runs. This
//! is sound because all our signals are blocked and no handler of ours can run in the child, and
//! because the child allocates nothing: arguments, environment and paths are made before. std's
//! `Command` can neither write the child's own pid into `LISTEN_PID` nor give back a signal mask.

use super::signals;
use crate::core::event::{Pid, SpawnFailure};
use crate::core::exit::code;
use std::ffi::{CString, OsStr, OsString};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::ptr;

/// The first descriptor after stdin, stdout and stderr, where inherited listeners begin (`SD_LISTEN_FDS_START`).
pub const FIRST_FD: RawFd = 3;

/// What to start, and with what.
#[derive(Debug)]
pub struct Program<'a> {
    /// The command and its arguments; the command is looked for as a shell does.
    pub argv: &'a [OsString],
    /// The whole environment.
    pub env: Vec<(OsString, OsString)>,
    /// Whether to add `LISTEN_PID` with the pid of the new process, which only it can know.
    pub listen_pid: bool,
    /// Descriptors to become 3, 4, ... in this order. They must themselves lie above those numbers.
    pub fds: &'a [BorrowedFd<'a>],
    /// Whether to close every other descriptor above 2.
    pub close_others: bool,
}

/// How to make the new process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Method {
    Clone,
    /// Where a sandbox refuses the other.
    Fork,
}

/// Starts the program in a session and process group of its own, with the signal mask and the
/// ignored signals that we were started with. Returns when it runs.
///
/// # Errors
/// Names the step that failed.
pub fn spawn(program: &Program<'_>) -> Result<Pid, SpawnFailure> {
    let mut image = Image::new(program)?;
    match image.run(Method::Clone) {
        Err(SpawnFailure { step: "clone", errno: libc::EINVAL | libc::EPERM | libc::ENOSYS, .. }) => {
            image.run(Method::Fork)
        }
        result => result,
    }
}

/// Looks for a command as execvp(3) does, without running it.
///
/// # Errors
/// `NotFound`, or `PermissionDenied` where all that was found cannot be executed.
pub fn find(command: &OsStr) -> io::Result<()> {
    let mut result = Err(io::Error::from_raw_os_error(libc::ENOENT));
    for path in candidates(command, std::env::var_os("PATH").as_deref()) {
        let path = std::path::PathBuf::from(OsString::from_vec(path));
        match std::fs::metadata(&path) {
            Ok(found)
                if found.is_file() && nix::unistd::access(&path, nix::unistd::AccessFlags::X_OK).is_ok() =>
            {
                return Ok(());
            }
            Ok(_) => result = Err(io::Error::from_raw_os_error(libc::EACCES)),
            Err(_) => {}
        }
    }
    result
}

/// The paths at which a command may be: itself if it has a slash, else in each directory of PATH.
fn candidates(command: &OsStr, path: Option<&OsStr>) -> Vec<Vec<u8>> {
    let command = command.as_bytes();
    // Nothing is not a name: it is not found, as execvp(3) has it, rather than each directory denied.
    if command.contains(&b'/') || command.is_empty() {
        return vec![command.to_vec()];
    }
    // The default is that of confstr(3), _CS_PATH, with the directories where images install.
    let path = path.map_or(&b"/usr/local/bin:/usr/bin:/bin"[..], OsStr::as_bytes);
    path.split(|byte| *byte == b':')
        .map(|dir| if dir.is_empty() { command.to_vec() } else { [dir, b"/", command].concat() })
        .collect()
}

/// Room for `LISTEN_PID=` and the ten digits of the largest pid.
const LISTEN_PID: &[u8] = b"LISTEN_PID=\0\0\0\0\0\0\0\0\0\0\0";
const LISTEN_PID_DIGITS: usize = 11;

/// The stack of the child until it executes; it calls nothing deep.
const STACK: usize = 64 * 1024;

/// All that the child needs, laid out in memory before it exists.
struct Image {
    paths: Vec<CString>,
    argv: Vec<*const libc::c_char>,
    /// `/bin/sh`, the path, the arguments: for a script without `#!`, as execvp(3) does.
    shell_argv: Vec<*const libc::c_char>,
    envp: Vec<*const libc::c_char>,
    listen_pid: Vec<u8>,
    fds: Vec<RawFd>,
    close_others: bool,
    /// The write end by which a forked child tells what went wrong; -1 when memory is shared.
    error_pipe: RawFd,
    failure: Failure,
    _strings: Vec<CString>,
}

/// What went wrong in the child. Plain integers: a forked child sends it through a pipe.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Failure {
    step: u32,
    errno: i32,
}

const STEPS: [&str; 3] = ["setsid", "dup2", "execute"];
const SETSID: u32 = 0;
const DUP2: u32 = 1;
const EXECUTE: u32 = 2;

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
        let paths = c_strings(candidates(command, path)).map_err(nul)?;

        let pointers = |list: &[CString]| list.iter().map(|s| s.as_ptr()).collect::<Vec<_>>();
        let mut argv = pointers(&args);
        argv.push(ptr::null());
        let mut shell_argv = vec![c"/bin/sh".as_ptr(), ptr::null()];
        shell_argv.extend(argv.iter().skip(1));
        let listen_pid = LISTEN_PID.to_vec();
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
            fds: program.fds.iter().map(AsRawFd::as_raw_fd).collect(),
            close_others: program.close_others,
            error_pipe: -1,
            failure: Failure::default(),
            _strings: strings,
        })
    }

    fn run(&mut self, method: Method) -> Result<Pid, SpawnFailure> {
        let made = match method {
            Method::Clone => self.clone_shared(),
            Method::Fork => self.fork(),
        };
        let pid = made.map_err(|error| SpawnFailure {
            step: if method == Method::Clone { "clone" } else { "fork" },
            errno: error.raw_os_error().unwrap_or(0),
            code: code::CANNOT_START,
        })?;
        let Failure { step, errno } = self.failure;
        if errno == 0 {
            return Ok(Pid(pid));
        }
        // SAFETY: a null status is allowed. The child has ended or is ending: this does not wait for anything else.
        unsafe { libc::waitpid(pid, ptr::null_mut(), libc::__WALL) };
        let step = usize::try_from(step).ok().and_then(|step| STEPS.get(step)).copied().unwrap_or("execute");
        Err(SpawnFailure { step, errno, code: exec_code(step, errno) })
    }

    fn clone_shared(&mut self) -> io::Result<libc::pid_t> {
        let stack = Stack::new()?;
        let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD;
        // SAFETY: the stack is ours and mapped until the child has executed or ended, since we
        // sleep until then; `self` outlives that, and only the child touches it meanwhile.
        let pid = unsafe { libc::clone(child, stack.top(), flags, ptr::from_mut(self).cast()) };
        if pid < 0 { Err(io::Error::last_os_error()) } else { Ok(pid) }
    }

    fn fork(&mut self) -> io::Result<libc::pid_t> {
        let (reader, low_writer) = nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC)?;
        // Out of the way of the numbers that the listeners will take in the child.
        let least = i32::try_from(self.fds.len()).unwrap_or(0).saturating_add(FIRST_FD);
        let writer = duplicate_above(low_writer.as_fd(), least)?;
        drop(low_writer);
        self.error_pipe = writer.as_raw_fd();
        // SAFETY: this process has one thread, and the child calls only what signal-safety(7) allows.
        let pid = unsafe { libc::fork() };
        if pid == 0 {
            child(ptr::from_mut(self).cast());
        }
        self.error_pipe = -1;
        drop(writer);
        if pid < 0 {
            return Err(io::Error::last_os_error());
        }
        // Ends with the exec, which closes the writer, or with the child.
        let size = size_of::<Failure>();
        // SAFETY: `Failure` is two integers, and as large as we say.
        unsafe { libc::read(reader.as_raw_fd(), ptr::from_mut(&mut self.failure).cast(), size) };
        Ok(pid)
    }
}

/// Runs in the child, on our memory or a copy of it; never returns.
extern "C" fn child(image: *mut libc::c_void) -> libc::c_int {
    // SAFETY: the caller passed its `&mut Image`, and does not touch it before we execute or end.
    let image = unsafe { &mut *image.cast::<Image>() };
    // SAFETY: system calls on memory that was laid out before; no allocation, no lock.
    unsafe {
        if libc::setsid() < 0 {
            fail(image, SETSID);
        }
        write_pid(image);
        for (&fd, target) in image.fds.iter().zip(FIRST_FD..) {
            if libc::dup2(fd, target) < 0 {
                fail(image, DUP2);
            }
        }
        if image.close_others {
            close_others(image.fds.len());
        }
        signals::restore();
        execute(image);
        fail(image, EXECUTE)
    }
}

/// Writes our pid behind `LISTEN_PID=`, without allocating.
fn write_pid(image: &mut Image) {
    let mut digits = [0u8; 10];
    let mut rest = std::process::id();
    let mut count = 0usize;
    for digit in &mut digits {
        *digit = b'0'.saturating_add(u8::try_from(rest % 10).unwrap_or(0));
        rest /= 10;
        count = count.saturating_add(1);
        if rest == 0 {
            break;
        }
    }
    let room = image.listen_pid.iter_mut().skip(LISTEN_PID_DIGITS);
    for (byte, digit) in room.zip(digits.iter().take(count).rev()) {
        *byte = *digit;
    }
}

/// Marks all but the inherited descriptors to be closed by the exec (close_range(2), Linux 5.11). Our own
/// are so marked already; this is for what we were given ourselves.
unsafe fn close_others(inherited: usize) {
    let first = libc::c_uint::try_from(inherited).unwrap_or(0).saturating_add(3);
    // SAFETY: takes three integers.
    unsafe { libc::syscall(libc::SYS_close_range, first, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC) };
}

/// Tries each path, as execvp(3): one that is missing or unreachable is passed over, one that may not be
/// executed is remembered. Returns only on failure, with errno set.
unsafe fn execute(image: &mut Image) {
    let mut denied = false;
    for path in &image.paths {
        // SAFETY: null-terminated arrays of C strings that live in `image`.
        unsafe { libc::execve(path.as_ptr(), image.argv.as_ptr(), image.envp.as_ptr()) };
        match errno() {
            libc::ENOENT | libc::ENOTDIR | libc::ESTALE | libc::ENODEV | libc::ETIMEDOUT => {}
            libc::EACCES => denied = true,
            libc::ENOEXEC => {
                if let Some(script) = image.shell_argv.get_mut(1) {
                    *script = path.as_ptr();
                }
                // SAFETY: as above.
                unsafe { libc::execve(c"/bin/sh".as_ptr(), image.shell_argv.as_ptr(), image.envp.as_ptr()) };
                set_errno(libc::ENOEXEC);
                return;
            }
            _ => return,
        }
    }
    set_errno(if denied { libc::EACCES } else { libc::ENOENT });
}

fn fail(image: &mut Image, step: u32) -> ! {
    image.failure = Failure { step, errno: errno() };
    // SAFETY: `Failure` is two integers; a pipe takes 8 bytes at once; _exit runs nothing of ours.
    unsafe {
        if image.error_pipe >= 0 {
            libc::write(image.error_pipe, ptr::from_ref(&image.failure).cast(), size_of::<Failure>());
        }
        libc::_exit(i32::from(code::NOT_FOUND))
    }
}

fn errno() -> i32 {
    // SAFETY: points to this thread's errno.
    unsafe { *libc::__errno_location() }
}

fn set_errno(errno: i32) {
    // SAFETY: points to this thread's errno.
    unsafe { *libc::__errno_location() = errno };
}

/// The code a shell would end with (POSIX, "Exit Status for Commands").
fn exec_code(step: &str, errno: i32) -> u8 {
    match (step, errno) {
        ("execute", libc::ENOENT) => code::NOT_FOUND,
        ("execute", libc::E2BIG | libc::ENOMEM) => code::CANNOT_START,
        ("execute", _) => code::CANNOT_EXECUTE,
        _ => code::CANNOT_START,
    }
}

/// Memory for the child's stack, given back as soon as it has executed.
struct Stack(*mut libc::c_void);

impl Stack {
    fn new() -> io::Result<Self> {
        let (read_write, private) =
            (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
        // SAFETY: asks for fresh memory anywhere.
        let base =
            unsafe { libc::mmap(ptr::null_mut(), STACK, read_write, private | libc::MAP_STACK, -1, 0) };
        if base == libc::MAP_FAILED { Err(io::Error::last_os_error()) } else { Ok(Self(base)) }
    }

    /// Stacks grow down on every architecture Linux runs Rust on. Mappings are aligned to pages.
    fn top(&self) -> *mut libc::c_void {
        self.0.wrapping_byte_add(STACK)
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        // SAFETY: mapped by `new`, and the child no longer runs on it.
        unsafe { libc::munmap(self.0, STACK) };
    }
}

/// A duplicate of a descriptor, closed on exec, whose number is at least `least`.
///
/// # Errors
/// As fcntl(2), `F_DUPFD_CLOEXEC`.
pub fn duplicate_above(fd: BorrowedFd<'_>, least: RawFd) -> io::Result<OwnedFd> {
    let copy = nix::fcntl::fcntl(fd, nix::fcntl::FcntlArg::F_DUPFD_CLOEXEC(least))?;
    // SAFETY: the kernel has just given us this descriptor.
    Ok(unsafe { OwnedFd::from_raw_fd(copy) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn program(argv: &[OsString]) -> Program<'_> {
        Program { argv, env: std::env::vars_os().collect(), listen_pid: true, fds: &[], close_others: false }
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
