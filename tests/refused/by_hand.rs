//! What the generated cases cannot make: a call that is refused with some arguments only, files that cannot be read.

use crate::harness::seccomp::{refusing, refusing_by};
use crate::harness::{Launch, example, launch};
use std::ffi::OsString;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixListener;

/// Refuses a call, by its number and perhaps its first argument.
fn without(launch: Launch, call: &str) -> Launch {
    launch.through(refusing_by([format!("{}:{call}", libc::EPERM)]))
}

/// A pool of one worker, with these options more.
fn pool(options: &[&str]) -> Launch {
    let words = ["-n", "1", "-b", "127.0.0.1:0"].iter().chain(options).chain(&["--"]).map(OsString::from);
    launch(words.chain([example("worker").into_os_string()]))
}

const CLONE_WITH_SHARED_MEMORY: &str = "56:0=0x111";

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
    let mut run = pool(&[]).through(once).start();
    let first = run.wait_for("worker cannot be observed");
    crate::harness::kill(run.outer_pid(first["pid"].as_i64().unwrap()), libc::SIGKILL);
    run.wait_for("worker ready");
    run.signal(libc::SIGTERM);
    assert_eq!(run.wait_exit(), 0);
}

/// The C library's umask(3) keeps the error to itself.
#[test]
#[cfg_attr(
    not(target_arch = "x86_64"),
    ignore = "calls are refused by their numbers, which are those of x86_64"
)]
fn a_umask_that_is_refused_is_told_with_its_own_error() {
    let refused = || refusing(&[(libc::SYS_umask, libc::EPERM)]);
    let words = ["--umask", "027", "--", "sh", "-c", "exit 7"];
    let (code, _, log) = launch(words).through(refused()).finish();
    assert!(code == 125 && log.contains("umask") && log.contains("Operation not permitted"), "{log}");
    assert!(log.contains("seccomp"), "{log}");
    // What we bind has its permissions before it listens all the same.
    let run = pool(&["--bind", "unix:app.sock", "--health", "unix:health"]).through(refused()).start();
    run.wait_for("worker ready");
    for name in ["app.sock", "health"] {
        let mode = std::fs::metadata(run.dir().join(name)).unwrap().mode();
        assert_eq!(mode & 0o777, 0o666, "{name}: {mode:o}");
    }
}

#[test]
#[cfg_attr(
    not(target_arch = "x86_64"),
    ignore = "calls are refused by their numbers, which are those of x86_64"
)]
fn what_a_child_may_not_do_is_told_with_the_call() {
    let words = ["--chdir", "/tmp", "--", "sh", "-c", "exit 7"];
    let (code, _, log) = launch(words).through(refusing(&[(libc::SYS_chdir, libc::EPERM)])).finish();
    assert!(code == 125 && log.contains("chdir") && log.contains("seccomp"), "{log}");
    let (code, _, log) = pool(&[]).through(refusing(&[(libc::SYS_prctl, libc::EPERM)])).finish();
    assert!(code == 125 && log.contains("prctl") && log.contains("seccomp"), "{log}");
}

/// The README promises it: where it is not so, that is worth more than a line for those that look for it.
#[test]
fn orphans_that_will_go_elsewhere_are_told_of() {
    let refused = ["strace", "-qq", "-o", "/dev/null", "-e", "inject=prctl:error=EPERM"];
    let (code, _, log) = launch(["--", "sh", "-c", "exit 7"]).not_pid1().through(refused).finish();
    assert_eq!(code, 7, "{log}");
    let told = log.lines().find(|line| line.contains("subreaper")).unwrap_or_default();
    assert!(told.contains("WARN") && told.contains("prctl"), "{log}");
}

#[test]
#[cfg_attr(
    not(target_arch = "x86_64"),
    ignore = "calls are refused by their numbers, which are those of x86_64"
)]
fn an_upgrade_without_a_call_that_it_needs_names_it() {
    for (call, name) in [(libc::SYS_waitid, "waitid"), (libc::SYS_memfd_create, "memfd_create")] {
        let mut run = pool(&[]).through(refusing(&[(call, libc::EPERM)])).start();
        run.wait_for("worker ready");
        run.signal(libc::SIGUSR2);
        let failed = run.wait_for("upgrade failed");
        assert!(
            failed["reason"].to_string().contains(&format!("the system call {name} is refused")),
            "{failed}"
        );
        run.signal(libc::SIGTERM);
        assert_eq!(run.wait_exit(), 0);
    }
}

/// Whether a socket is in use is asked by connecting to it.
#[test]
#[cfg_attr(
    not(target_arch = "x86_64"),
    ignore = "calls are refused by their numbers, which are those of x86_64"
)]
fn a_stale_socket_that_cannot_be_known_to_be_one_is_not_said_to_be_in_use() {
    let launch = launch(["--control", "control", "--", "sh", "-c", "exit 7"]);
    drop(UnixListener::bind(launch.dir().join("control")).unwrap());
    let (code, _, log) = launch.through(refusing(&[(libc::SYS_connect, libc::EPERM)])).finish();
    assert!(code == 125 && log.contains("the system call connect is refused"), "{log}");
    assert!(!log.contains("somebody listens there"), "{log}");
}

/// Whether connections wait is what a worker is stopped by: that it is not to be seen is told once.
#[test]
#[cfg_attr(
    not(target_arch = "x86_64"),
    ignore = "calls are refused by their numbers, which are those of x86_64"
)]
fn queues_that_cannot_be_seen_are_told_of() {
    let mut run = pool(&[]).through(refusing(&[(libc::SYS_getsockopt, libc::EPERM)])).start();
    run.wait_for("worker ready");
    run.signal(libc::SIGHUP);
    run.wait_for("reload finished");
    run.signal(libc::SIGTERM);
    assert_eq!(run.wait_exit(), 0);
    let told = run.log.with_message("how many connections wait cannot be seen");
    assert_eq!((told.len(), &told[0]["level"]), (1, &"WARN".into()), "{}", run.log.text());
    assert!(told[0]["error"].to_string().contains("the system call getsockopt is refused"), "{}", told[0]);
    let held = run.log.text();
    assert!(!held.contains("raise the limit on open files"), "{held}");
}
