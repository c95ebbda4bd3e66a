//! Which users may connect to a unix socket of `--bind`.

use super::pool;
use super::python::python;
use crate::harness::{Launch, Run, launch};
use std::ffi::OsString;
use std::io::{Read, Write};
use std::os::unix::fs::{MetadataExt, chown};
use std::os::unix::net::UnixStream;
use std::process::Command;

/// The permissions and the group of a unix socket.
fn rights(run: &Run) -> (u32, u32) {
    let found = std::fs::metadata(run.dir().join("app.sock")).unwrap();
    (found.mode() & 0o7777, found.gid())
}

fn unix_pool_with(options: &[&str]) -> Launch {
    let words = ["-b", "unix:app.sock"].iter().chain(options).chain(&["--"]).map(OsString::from);
    launch(words.chain(python("serve()")))
}

/// What becomes of a stranger's connection: another user with no rights.
fn stranger(run: &Run) -> String {
    let client = "
try:
    s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1])
    s.sendall(b'GET / HTTP/1.1\\r\\n\\r\\n'); print(s.recv(12).decode())
except PermissionError: print('refused')";
    let output = Command::new("python3")
        // Root may run a Python that strangers may not reach: it becomes one of them afterwards.
        .args([
            "-I",
            "-S",
            "-c",
            &format!(
                "import os, socket, sys; os.setgroups([]); os.setgid(65534); os.setuid(65534)\n{client}"
            ),
        ])
        .arg("app.sock")
        .current_dir(run.dir())
        .output()
        .unwrap();
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

#[test]
fn everybody_may_connect_to_a_unix_socket_whatever_our_umask_unless_told_otherwise() {
    for (options, answer) in [(&[][..], "HTTP/1.1 200"), (&["--bind-mode", "600"], "refused")] {
        let launch = unix_pool_with(options).through(["sh", "-c", "umask 077; exec \"$@\"", "sh"]);
        chown(launch.dir(), Some(65534), None).unwrap();
        let run = launch.start();
        run.wait_for("worker ready");
        assert_eq!(stranger(&run), answer, "{options:?} {:o}", rights(&run).0);
    }
}

#[test]
fn a_unix_socket_has_the_mode_and_the_group_that_are_asked_for_and_keeps_them() {
    let options = ["--bind-mode", "660", "--bind-group", "4242", "--replacement-gap", "0s"];
    let run = unix_pool_with(&options).of_a_copy().start();
    run.wait_for("worker ready");
    assert_eq!(rights(&run), (0o660, 4242));
    // An operator's own change is not taken back either.
    let path = run.dir().join("app.sock");
    chown(&path, None, Some(4243)).unwrap();
    run.signal(libc::SIGHUP);
    run.wait_for("reload finished");
    assert_eq!(rights(&run), (0o660, 4243));
    run.signal(libc::SIGUSR2);
    run.wait_for("upgraded");
    let (mut stream, mut answer) = (UnixStream::connect(&path).unwrap(), String::new());
    stream.write_all(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n").unwrap();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
    assert_eq!(rights(&run), (0o660, 4243));
}

/// There umask(2) counts for nothing, and the ACL for everything.
#[test]
fn a_default_acl_of_the_directory_does_not_change_the_mode() {
    let launch = unix_pool_with(&["--bind-mode", "600"]);
    // A default ACL u::rwx,g::rwx,o::rwx: version 2, then tag, permissions and id of each entry (xattr(7)).
    let script = "import os, struct, sys\n\
                  entries = b''.join(struct.pack('<HHI', tag, 7, 0xffffffff) for tag in (1, 4, 32))\n\
                  os.setxattr(sys.argv[1], 'system.posix_acl_default', struct.pack('<I', 2) + entries)";
    let set =
        Command::new(crate::harness::python()).args(["-I", "-S", "-c", script]).arg(launch.dir()).status();
    assert!(set.unwrap().success(), "the file system of the temporary directory has no ACLs");
    let run = launch.start();
    run.wait_for("worker ready");
    assert_eq!(rights(&run).0, 0o600);
}

#[test]
fn rights_of_a_unix_socket_that_cannot_be_are_told_before_anything_starts() {
    let unprivileged = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];
    for (options, through, code, said) in [
        (
            &["--bind-group", "no-such-group"][..],
            &[][..],
            125,
            "--bind-group 'no-such-group': not in /etc/group",
        ),
        (&["--bind-group", "4242"], &unprivileged, 125, "--bind-group '4242': we are not in it"),
        (&["--bind-mode", "888"], &[], 2, "--bind-mode '888': not an octal number"),
        (&["--bind-mode", "1777"], &[], 2, "--bind-mode '1777': not an octal number"),
    ] {
        let words = ["-b", "unix:app.sock"].iter().chain(options).chain(&["--", "true"]);
        let launch = launch(words.copied()).of_a_copy();
        chown(launch.dir(), Some(65534), None).unwrap();
        let (found, _, log) = launch.through(through.iter().copied()).finish();
        assert!(found == code && log.contains(said), "{options:?}: {found} {log}");
        assert!(!log.contains("listening"), "{log}");
    }
    let (code, _, log) = pool(&["--bind-mode", "660"], python("serve()")).finish();
    assert!(code == 2 && log.contains("--bind-mode: no unix socket is bound"), "{code} {log}");
}
