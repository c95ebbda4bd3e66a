//! What the generated cases cannot make: a call that is refused with some arguments only, files that cannot be read.

use crate::harness::{Launch, launch, python};
use std::ffi::OsString;
use std::path::Path;

/// Refuses a call, by its number on x86_64 and perhaps its first argument.
fn without(launch: Launch, call: &str) -> Launch {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/refused/refuse.py");
    let eperm = libc::EPERM.to_string();
    launch.through([python(), "-IS".into(), script.into(), eperm.into(), OsString::from(call)])
}

const CLONE_WITH_SHARED_MEMORY: &str = "56:0x111";

#[test]
#[cfg_attr(
    not(target_arch = "x86_64"),
    ignore = "calls are refused by their numbers, which are those of x86_64"
)]
fn where_memory_may_not_be_shared_it_forks() {
    let (code, _, log) = without(launch(["--", "sh", "-c", "exit 7"]), CLONE_WITH_SHARED_MEMORY).finish();
    assert_eq!(code, 7, "{log}");
}

#[test]
#[cfg_attr(
    not(target_arch = "x86_64"),
    ignore = "calls are refused by their numbers, which are those of x86_64"
)]
fn a_clone_that_is_refused_is_no_matter_of_too_many_processes() {
    let (code, _, log) = without(launch(["--", "sh", "-c", "exit 7"]), "56").finish();
    assert!(code == 125 && log.contains("fork") && log.contains("seccomp"), "{log}");
    assert!(!log.contains("too many processes"), "{log}");
}

#[test]
fn an_unreadable_passwd_is_told_as_such() {
    let unreadable =
        ["strace", "-qq", "-o", "/dev/null", "-P", "/etc/passwd", "-e", "inject=openat:error=EACCES"];
    let run = |user: &str| launch(["--user", user, "--", "sh", "-c", "exit 7"]).through(unreadable).finish();
    let (code, _, log) = run("nobody");
    assert!(code == 125 && log.contains("/etc/passwd cannot be read: Permission denied"), "{log}");
    // Numbers need no names.
    let (code, _, log) = run("65534:65534");
    assert_eq!(code, 7, "{log}");
}

#[test]
fn rights_that_cannot_be_given_up_are_told_of() {
    let refused = ["strace", "-qq", "-o", "/dev/null", "-e", "inject=capset:error=EPERM"];
    let words = ["--user", "65534:65534", "--", "sh", "-c", "exit 7"];
    let (code, _, log) = launch(words).through(refused).finish();
    assert_eq!(code, 7, "{log}");
    let told = log.lines().find(|line| line.contains("capset")).unwrap_or_default();
    assert!(told.contains("WARN") && told.contains("cannot be given up"), "{log}");
}

/// The first look at /proc fails this once; the worker is seen all the same.
#[test]
fn one_look_that_fails_is_not_remembered() {
    let once =
        ["strace", "-qq", "-o", "/dev/null", "-P", "/proc/self", "-e", "inject=readlink:error=ENOMEM:when=1"];
    let worker = crate::harness::example("worker").into_os_string();
    let words = ["-n", "1", "-b", "127.0.0.1:0", "--"].map(OsString::from);
    let mut run = launch(words.into_iter().chain([worker])).through(once).start();
    let first = run.wait_for("worker cannot be observed");
    crate::harness::kill(run.outer_pid(first["pid"].as_i64().unwrap()), libc::SIGKILL);
    run.wait_for("worker ready");
    run.signal(libc::SIGTERM);
    assert_eq!(run.wait_exit(), 0);
}
