//! Whatever our stdout is.

use super::{Tally, lines, redirected, whole, writers};
use crate::harness::{Launch, Run, eventually};
use crate::pool::assert_stops;
use std::ffi::CStr;
use std::fs::File;
use std::io::BufReader;
use std::os::fd::{AsRawFd, FromRawFd};
use std::os::unix::net::UnixListener;

const LINES: usize = 20_000;

fn two() -> Launch {
    let script = format!("write_lines(1, 0, {LINES}); sleep_for_ever()");
    writers(&["-n", "2", "--worker-output", "prefix"], &script)
}

fn assert_all(reader: impl std::io::Read, run: Run) {
    let mut tally = Tally::default();
    tally.read_until(&mut BufReader::new(reader), 2 * LINES);
    assert!(tally.0.values().all(|lines| *lines == LINES), "{:?}", tally.0);
    assert_stops(run);
}

#[test]
fn a_file_gets_every_line() {
    let run = two().start();
    eventually("all lines", || (whole(&run.stdout()).lines().count() == 2 * LINES).then_some(()));
    assert_all(File::open(run.dir().join("stdout")).unwrap(), run);
}

/// journald gives its services one.
#[test]
fn a_socket_gets_every_line() {
    let launch = two();
    let listener = UnixListener::bind(launch.dir().join("socket")).unwrap();
    let connect = "
import os, socket, sys
stream = socket.socket(socket.AF_UNIX)
stream.connect('socket')
os.dup2(stream.fileno(), 1)
os.execvp(sys.argv[1], sys.argv[1:])";
    let python = crate::harness::python().into_string().unwrap();
    let run = launch.through([python.as_str(), "-c", connect]).start();
    let (stream, _) = listener.accept().unwrap();
    assert_all(stream, run);
}

#[test]
fn a_terminal_gets_every_line() {
    // SAFETY: the calls take integers, and fill what they are given.
    let (master, name) = unsafe {
        let master = libc::posix_openpt(libc::O_RDWR | libc::O_NOCTTY | libc::O_CLOEXEC);
        assert!(master >= 0 && libc::grantpt(master) == 0 && libc::unlockpt(master) == 0);
        let mut name = [0; 64];
        assert_eq!(libc::ptsname_r(master, name.as_mut_ptr(), name.len()), 0);
        let mut settings = std::mem::zeroed();
        libc::tcgetattr(master, &raw mut settings);
        // As they are written: no carriage returns.
        libc::cfmakeraw(&raw mut settings);
        libc::tcsetattr(master, libc::TCSANOW, &raw const settings);
        (File::from_raw_fd(master), CStr::from_ptr(name.as_ptr()).to_str().unwrap().to_owned())
    };
    assert!(master.as_raw_fd() >= 0);
    let run = redirected(&format!(">{name}"), two()).start();
    assert_all(master, run);
}

#[test]
fn stdout_and_stderr_in_one_file_get_every_line_of_both() {
    let script = format!(
        "
import threading
other = threading.Thread(target=write_lines, args=(2, 0, {LINES}))
other.start()
other.join()
sleep_for_ever()"
    );
    let launch = writers(&["-n", "2", "--worker-output", "prefix", "--log-level", "error"], &script);
    let (run, reader) = super::start_into_fifo(">fifo 2>&1", launch);
    let mut tally = Tally::default();
    tally.read_until(&mut lines(reader), 2 * LINES);
    let mut run = run;
    run.signal(libc::SIGTERM);
    assert_eq!(run.wait_exit(), 0);
}

#[test]
fn a_closed_stdout_is_written_to_by_nobody_and_keeps_nobody_waiting() {
    let script = format!("write_lines(1, 0, {LINES}); note('done', ''); sleep_for_ever()");
    for redirection in [">&-", ">/dev/null", ">/dev/full"] {
        let launch = writers(&["-n", "2", "--worker-output", "prefix"], &script);
        let run = redirected(redirection, launch).start();
        run.wait_lines("done", 2);
        // What cannot be written is told of once; of a closed stream nobody wants to know.
        let told = run.log.with_message("workers' output is lost").len();
        assert_eq!(told, usize::from(redirection == ">/dev/full"), "{redirection}");
        assert_stops(run);
    }
}

/// nginx and others open `/dev/stdout`, which is the pipe by its name.
#[test]
fn a_worker_of_another_user_may_open_its_stdout_again() {
    // Python may be where nobody else may go.
    let script = "echo out of $(id -u) >/dev/stdout; echo err of $(id -u) >/dev/stderr; exec sleep 1000";
    let words = ["-n", "1", "--worker-output", "prefix", "--user", "65534:65534", "--", "sh", "-c", script];
    let run = crate::harness::launch(words).start();
    let told = run.wait_lines("stdout", 1);
    assert!(told.ends_with("] out of 65534\n"), "{told}");
    eventually("the other", || run.log.text().contains("] err of 65534\n").then_some(()));
    assert_stops(run);
}
