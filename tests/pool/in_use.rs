//! An address that is in use: by which process.

use super::python::python;
use crate::harness::{binary, eventually, kill, launch, plain_command};
use std::ffi::OsString;
use std::fs;
use std::io::{BufRead, BufReader};
use std::process::Stdio;

/// Ends it, whatever becomes of the test.
struct Ends(i32);

impl Drop for Ends {
    fn drop(&mut self) {
        kill(self.0, libc::SIGKILL);
    }
}

/// A shell's child does not hear of the supervisor's death, as the shell does.
#[test]
fn the_next_start_names_the_server_that_has_outlived_a_supervisor_that_was_killed() {
    for (bind, other) in [("127.0.0.1:0", "use another port"), ("unix:app.sock", "use another path")] {
        let directory = tempfile::tempdir().unwrap();
        let start = |address: &str, command: Vec<OsString>| {
            plain_command(binary().as_os_str())
                .args(["-n", "1", "-b", address, "--log-format", "json", "--"])
                .args(command)
                .current_dir(directory.path())
                .stdin(Stdio::null())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap()
        };
        let shell = ["sh", "-c", "\"$@\"; :", "sh"].map(OsString::from).into_iter();
        // The next one looks whether any program listens at the path: a connection without a request.
        let script = "
note('pid', str(os.getpid()))
listener = socket.socket(fileno=3)
while True:
    try: answer(listener, lambda: '')
    except OSError: pass";
        let server = python(script);
        let mut first = start(bind, shell.chain(server).collect());
        let mut lines = BufReader::new(first.stderr.take().unwrap()).lines();
        let address = lines.find_map(|line| {
            let line: serde_json::Value = serde_json::from_str(&line.unwrap()).ok()?;
            (line["message"] == "listening").then(|| line["address"].as_str().map(str::to_owned))?
        });
        let address = address.expect("it does not listen");
        let pid: i32 = eventually("a server", || {
            fs::read_to_string(directory.path().join("pid")).ok()?.trim().parse().ok()
        });
        let _ends = Ends(pid);
        first.kill().unwrap();
        first.wait().unwrap();
        let second = start(&address, vec!["true".into()]).wait_with_output().unwrap();
        let said = String::from_utf8(second.stderr).unwrap();
        assert_eq!(second.status.code(), Some(125), "{said}");
        for part in ["in use", &format!("pid {pid} (python"), "stop it, with kill ", other] {
            assert!(said.contains(part), "no {part:?}: {said}");
        }
        assert_eq!(said.lines().count(), 1, "{said}");
    }
}

/// The listener that was given is known by no option, so the two are not found to collide before.
#[test]
fn two_of_our_own_listeners_at_one_address_are_told_from_a_stranger() {
    const GIVES: &str = "
import os, socket, sys
given = socket.create_server(('127.0.0.1', 0))
os.dup2(given.fileno(), 3)
os.set_inheritable(3, True)
os.environ.update(LISTEN_FDS='1', LISTEN_PID=str(os.getpid()), PREFORK_HEALTH=':%d' % given.getsockname()[1])
os.execv(sys.argv[1], sys.argv[1:])";
    let words = ["-n", "1", "--", "true"];
    let (code, _, log) = launch(words).through(["python3", "-c", GIVES]).finish();
    assert!(
        code == 125 && log.contains("PREFORK_HEALTH") && log.contains("by another listener of ours"),
        "{code} {log}"
    );
}
