//! Replaces the program of this process by execve(2), with some descriptors left open.
//!
//! The process remains PID 1, the parent of its children, with its pending signals. All signals are blocked, which the
//! next program inherits, so none is lost.

use super::open_files;
use super::spawn::duplicate_above;
use crate::os::call::{self, named};
use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use std::ffi::{CString, OsStr, OsString};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::ptr;
use std::time::{Duration, Instant};

/// The longest text, in bytes, that is accepted as a handover.
const LONGEST: usize = 16 << 20;

/// The path of our own program when it was started: another file may be there by now.
///
/// # Errors
/// As readlink(2) of `/proc/self/exe`.
pub fn own_program() -> io::Result<PathBuf> {
    /// What the kernel appends once the file has been removed or another was renamed over it (proc_pid_exe(5)).
    const REMOVED: &[u8] = b" (deleted)";
    let shown = std::env::current_exe()?;
    match shown.as_os_str().as_bytes().strip_suffix(REMOVED) {
        Some(path) if !shown.exists() => Ok(PathBuf::from(OsStr::from_bytes(path))),
        _ => Ok(shown),
    }
}

/// Runs a program with these arguments and additional variables, and returns what it prints; `None` if it does not end
/// with code 0 within this time, or prints too much. Blocks the whole supervisor, so the program must be short.
/// Processes that it leaves behind are killed and not waited for, though they may hold the pipe open.
///
/// # Errors
/// As execve(2), and as the calls that read from a child and wait for it.
pub fn ask(
    program: &Path,
    args: &[OsString],
    variables: &[(&str, &str)],
    within: Duration,
) -> io::Result<Option<String>> {
    let begin = Instant::now();
    let added = |name: &OsString| variables.iter().any(|(added, _)| name == added);
    let mut env: Vec<(OsString, OsString)> = std::env::vars_os().filter(|(name, _)| !added(name)).collect();
    env.extend(variables.iter().map(|(name, value)| (name.into(), value.into())));
    let image = Image::new(program, args, &env)?;
    let mut command = Command::new(program);
    command.stdin(Stdio::null()).stdout(Stdio::piped());
    let execute = move || {
        open_files::give_back()?;
        // Not by std: execvp(3) has a shell run a file that is not a program.
        Err(image.execute())
    };
    // SAFETY: makes system calls only.
    unsafe { command.pre_exec(execute) };
    let mut child = command.process_group(0).spawn()?;
    let mut out = child.stdout.take().ok_or(io::ErrorKind::BrokenPipe)?;
    let output = read_output(&child, &mut out, begin, within);
    let group = libc::pid_t::try_from(child.id()).unwrap_or(0);
    if group > 1 {
        // SAFETY: takes integers. The child is not reaped, so the group is its own.
        unsafe { libc::kill(group.saturating_neg(), libc::SIGKILL) };
    }
    let mut went_well = false;
    // A process in uninterruptible sleep does not die of SIGKILL: the loop reaps it later.
    for _ in 0..MOST_LOOKS_AT_ITS_END {
        match child.try_wait() {
            Ok(None) => call::pause(LOOK_EVERY),
            Ok(Some(status)) => {
                went_well = status.success();
                break;
            }
            Err(_) => break,
        }
    }
    let text = output?.filter(|_| went_well);
    Ok(text.and_then(|bytes| String::from_utf8(bytes).ok()))
}

/// The interval of looks at the child: SIGCHLD is blocked.
const LOOK_EVERY: Duration = Duration::from_millis(1);

/// A second of looks at [`LOOK_EVERY`].
const MOST_LOOKS_AT_ITS_END: u32 = 1000;

/// All output until the child ends; `None` if it is too long or comes too late.
fn read_output(
    child: &Child,
    out: &mut ChildStdout,
    begin: Instant,
    within: Duration,
) -> io::Result<Option<Vec<u8>>> {
    named("fcntl", fcntl(&*out, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)))?;
    let mut text = Vec::new();
    loop {
        // Before reading: once the child has ended, all its output is in the pipe.
        let ended = has_ended(child)?;
        loop {
            let mut piece = [0; 4096];
            match out.read(&mut piece) {
                Ok(0) => break,
                Ok(length) => text.extend_from_slice(piece.get(..length).unwrap_or_default()),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
            if text.len() > LONGEST || begin.elapsed() >= within {
                return Ok(None);
            }
        }
        if ended {
            return Ok(Some(text));
        }
        if begin.elapsed() >= within {
            return Ok(None);
        }
        call::pause(LOOK_EVERY);
    }
}

/// Whether a child has ended; it stays a zombie.
fn has_ended(child: &Child) -> io::Result<bool> {
    let mut info = MaybeUninit::<libc::siginfo_t>::zeroed();
    let options = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
    // SAFETY: there is room for the answer, which is plain numbers; while the child runs, the pid stays zero.
    unsafe {
        let asked = Errno::result(libc::waitid(libc::P_PID, child.id(), info.as_mut_ptr(), options));
        named("waitid", asked)?;
        Ok(info.assume_init().si_pid() != 0)
    }
}

/// Writes bytes into a memory file, for [`received`].
///
/// # Errors
/// As memfd_create(2) and write(2).
pub fn put_down(bytes: &[u8]) -> io::Result<OwnedFd> {
    // SAFETY: the name is a C string.
    let fd = unsafe { libc::memfd_create(c"prefork-handover".as_ptr(), libc::MFD_CLOEXEC) };
    if fd < 0 {
        return named("memfd_create", Err(io::Error::last_os_error()));
    }
    // SAFETY: the kernel has just given us this descriptor.
    let mut file = std::fs::File::from(unsafe { OwnedFd::from_raw_fd(fd) });
    file.write_all(bytes)?;
    file.seek(SeekFrom::Start(0))?;
    // Not at 3: programs may expect a descriptor of their own there.
    duplicate_above(OwnedFd::from(file).as_fd(), 3)
}

/// The text from the descriptor of this number.
///
/// # Errors
/// As read(2).
pub fn received(fd: RawFd) -> io::Result<String> {
    let mut text = String::new();
    std::fs::File::from(adopt(fd)?).take(LONGEST as u64).read_to_string(&mut text)?;
    Ok(text)
}

/// The bytes from the descriptor of this number, without a limit.
///
/// # Errors
/// As read(2).
pub fn received_bytes(fd: RawFd) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    std::fs::File::from(adopt(fd)?).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Takes a descriptor that was left open for us, and closes it on exec from now on.
///
/// # Errors
/// `InvalidInput` for a standard stream; as fcntl(2): there is no such descriptor.
pub fn adopt(fd: RawFd) -> io::Result<OwnedFd> {
    if fd <= 2 {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    closes_on_exec(fd, true)?;
    // SAFETY: it is open, and no other part of the program can own it: only std has opened descriptors before this, and
    // it does not keep them.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Executes another program with this environment and these descriptors left open. Returns only on failure.
#[must_use]
pub fn exchange(
    program: &Path,
    args: &[OsString],
    env: &[(OsString, OsString)],
    keep: &[BorrowedFd<'_>],
) -> io::Error {
    let image = match Image::new(program, args, env) {
        Ok(image) => image,
        Err(error) => return error,
    };
    for fd in keep {
        if let Err(error) = closes_on_exec(fd.as_raw_fd(), false) {
            return error;
        }
    }
    let error = image.execute();
    for fd in keep {
        let _as_before = closes_on_exec(fd.as_raw_fd(), true);
    }
    error
}

/// A program, its arguments and its environment, in the layout of execve(2).
struct Image {
    path: CString,
    args: Vec<*const libc::c_char>,
    env: Vec<*const libc::c_char>,
    _strings: [Vec<CString>; 2],
}

// SAFETY: the pointers refer to strings that it owns, and are only read.
unsafe impl Send for Image {}
// SAFETY: as above.
unsafe impl Sync for Image {}

impl Image {
    fn new(program: &Path, args: &[OsString], env: &[(OsString, OsString)]) -> io::Result<Self> {
        let pair = |(name, value): &(OsString, OsString)| [name.as_bytes(), b"=", value.as_bytes()].concat();
        let strings = |list: Vec<Vec<u8>>| list.into_iter().map(CString::new).collect::<Result<Vec<_>, _>>();
        let pointers = |list: &[CString]| -> Vec<*const libc::c_char> {
            list.iter().map(|string| string.as_ptr()).chain([ptr::null()]).collect()
        };
        let args = strings(args.iter().map(|arg| arg.as_bytes().to_vec()).collect())?;
        let env = strings(env.iter().map(pair).collect())?;
        Ok(Self {
            path: CString::new(program.as_os_str().as_bytes())?,
            args: pointers(&args),
            env: pointers(&env),
            _strings: [args, env],
        })
    }

    /// Returns only on failure. Makes one system call and nothing else.
    fn execute(&self) -> io::Error {
        // SAFETY: both lists end with a null pointer, and `self` owns their strings.
        unsafe { libc::execve(self.path.as_ptr(), self.args.as_ptr(), self.env.as_ptr()) };
        io::Error::last_os_error()
    }
}

fn closes_on_exec(fd: RawFd, closes: bool) -> io::Result<()> {
    let flags = if closes { libc::FD_CLOEXEC } else { 0 };
    // SAFETY: takes integers.
    let result = unsafe { libc::fcntl(fd, libc::F_SETFD, flags) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
