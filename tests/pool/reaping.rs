//! Workers that have asked to be traced, and a kernel that refuses the call by which we learn of their end.

use super::python::python;
use super::{BRISK, assert_stops, pool, readiness, wait_serving, who_answers};
use crate::harness::seccomp::refusing;
use crate::harness::strace::fail_once;
use crate::harness::{Run, kill};
use std::ffi::OsString;

fn brisk(script: &str, wrapper: Vec<OsString>) -> Run {
    pool(&[&BRISK[..], &["-n", "2"]].concat(), python(script)).through(wrapper).start()
}

/// Kills one worker, and waits until another serves in its place.
fn loses_one(run: &Run) {
    let old = wait_serving(run, 2);
    kill(run.outer_pid(*old.first().unwrap()), libc::SIGKILL);
    let exit = run.wait_for("worker exited");
    assert_eq!(exit["signal"], "KILL");
    let new = wait_serving(run, 2);
    assert_eq!(new.intersection(&old).count(), 1);
    assert_eq!(who_answers(&run.address(0), 2), new);
    assert_eq!(readiness(run), (200, 2, 1, 2));
}

/// Any signal stops it then, until we have it go on.
#[test]
fn workers_that_asked_to_be_traced_serve_and_are_reloaded_and_stopped() {
    let script = "
import ctypes, subprocess
ctypes.CDLL(None).ptrace(0, 0, 0, 0)
subprocess.run(['true'])
serve_all()";
    let run = brisk(script, Vec::new());
    let old = wait_serving(&run, 2);
    run.signal(libc::SIGHUP);
    run.wait_for("reload finished");
    let new = wait_serving(&run, 2);
    assert!(new.is_disjoint(&old));
    for exit in run.log.with_message("worker exited") {
        assert_eq!((&exit["reason"], &exit["exit_code"]), (&"reload".into(), &0.into()), "{exit}");
    }
    assert_stops(run);
}

#[test]
fn where_waitid_is_refused_a_dead_worker_is_replaced_all_the_same() {
    for error in [libc::EPERM, libc::ENOSYS] {
        let run = brisk("serve_all()", refusing(&[(libc::SYS_waitid, error)]));
        loses_one(&run);
        assert_eq!(run.log.text().matches("waitid is refused").count(), 1);
        assert_stops(run);
    }
}

/// The slot is not left empty until something else ends.
#[test]
fn a_waitid_that_fails_once_leaves_no_slot_empty() {
    let run = brisk("serve_all()", Vec::new());
    wait_serving(&run, 2);
    let injected = fail_once(run.pid, "waitid", "EAGAIN");
    loses_one(&run);
    assert!(injected.text().contains("EAGAIN ("), "{}", injected.text());
    drop(injected);
    assert_stops(run);
}
