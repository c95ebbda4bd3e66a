//! Exchanging the program of this process for another: execve(2), with some descriptors left open.
//!
//! The process stays what it is: PID 1, parent of its children, with the signals that wait for it. All of its signals are
//! blocked, which the next program inherits, so none is lost on the way.

use super::open_files;
use super::spawn::duplicate_above;
use std::ffi::{CString, OsString};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::ptr;
use std::time::{Duration, Instant};

/// More text than this is not taken for a handover.
const LONGEST: u64 = 16 << 20;

/// Where our own program was when we were started: another may be there by now.
///
/// # Errors
/// As readlink(2) of `/proc/self/exe`.
pub fn own_program() -> io::Result<PathBuf> {
    std::env::current_exe()
}

/// Runs a program with these arguments and these variables more, and returns what it prints; nothing if it does not end
/// with code 0 within this time. All waits for it: it is to be short.
///
/// # Errors
/// As execve(2), and as the calls by which a child is waited for and heard.
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
        // Not by std, which gives what is no program to a shell.
        Err(image.execute())
    };
    // SAFETY: makes system calls only.
    unsafe { command.pre_exec(execute) };
    let mut child = command.spawn()?;
    loop {
        match child.try_wait() {
            Ok(Some(status)) => {
                // What it prints fits into the pipe.
                let mut text = String::new();
                if let Some(out) = child.stdout.take() {
                    out.take(LONGEST).read_to_string(&mut text)?;
                }
                return Ok(status.success().then_some(text));
            }
            Ok(None) if begin.elapsed() < within => std::thread::sleep(Duration::from_millis(1)),
            Ok(None) | Err(_) => {
                let _gone = child.kill();
                let _reaped = child.wait();
                return Ok(None);
            }
        }
    }
}

/// Puts bytes into a file without a name, for [`received`].
///
/// # Errors
/// As memfd_create(2) and write(2).
pub fn put_down(bytes: &[u8]) -> io::Result<OwnedFd> {
    // SAFETY: the name is a C string.
    let fd = unsafe { libc::memfd_create(c"prefork-handover".as_ptr(), libc::MFD_CLOEXEC) };
    if fd < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just given us this descriptor.
    let mut file = std::fs::File::from(unsafe { OwnedFd::from_raw_fd(fd) });
    file.write_all(bytes)?;
    file.seek(SeekFrom::Start(0))?;
    // Not one of those that a program may have to have.
    duplicate_above(OwnedFd::from(file).as_fd(), 3)
}

/// The text that was put down, by the number of its descriptor.
///
/// # Errors
/// As read(2).
pub fn received(fd: RawFd) -> io::Result<String> {
    let mut text = String::new();
    std::fs::File::from(adopt(fd)?).take(LONGEST).read_to_string(&mut text)?;
    Ok(text)
}

/// The bytes that were put down, however many.
///
/// # Errors
/// As read(2).
pub fn received_bytes(fd: RawFd) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    std::fs::File::from(adopt(fd)?).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// A descriptor that was left open for us; from here on it is closed on exec.
///
/// # Errors
/// As fcntl(2): there is no such descriptor.
pub fn adopt(fd: RawFd) -> io::Result<OwnedFd> {
    if fd <= 2 {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    closes_on_exec(fd, true)?;
    // SAFETY: it is open, and by its number nobody here can have it: nothing has been opened before this but by std, which
    // does not keep it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Becomes another program, with this environment and these descriptors left open. Returns only if that failed.
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

/// A program with its arguments and its environment, laid out as execve(2) wants them.
struct Image {
    path: CString,
    args: Vec<*const libc::c_char>,
    env: Vec<*const libc::c_char>,
    _strings: [Vec<CString>; 2],
}

// SAFETY: the pointers are to strings of its own, and are only read.
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

    /// Returns only if it fails. Makes a system call, and nothing else.
    fn execute(&self) -> io::Error {
        // SAFETY: both lists end with a null pointer, and their strings live as long.
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
