//! The units of examples/systemd are what systemd takes, and their command line what we take.

use crate::harness::{binary, launch};
use std::fs;
use std::path::Path;
use std::process::Command;

const SERVICE: &str = include_str!("../../examples/systemd/prefork.service");
const SOCKET: &str = include_str!("../../examples/systemd/prefork.socket");

#[test]
fn systemd_has_nothing_to_say_against_them() {
    let dir = tempfile::tempdir().unwrap();
    let service = SERVICE.replace("/usr/local/bin/prefork-init", binary().to_str().unwrap());
    let write = |name: &str, text: &str| fs::write(dir.path().join(name), text).unwrap();
    write("prefork.service", &service);
    write("prefork.socket", SOCKET);
    let verify = |dir: &Path| {
        let mut command = Command::new("systemd-analyze");
        let command = command.args(["verify", "--man=no", "--recursive-errors=no"]);
        let units = ["prefork.service", "prefork.socket"].map(|name| dir.join(name));
        let output = command.args(units).output().expect("systemd-analyze is needed (Debian: systemd)");
        (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    assert_eq!(verify(dir.path()), (true, String::new()));
    // It would say something.
    write("prefork.service", &service.replace("KillMode=mixed", "KillMode=gently"));
    assert!(verify(dir.path()).1.contains("gently"));
}

#[test]
fn their_command_line_is_a_pool_on_the_socket() {
    let command = SERVICE.split_once("ExecStart=").unwrap().1.split_once("\n\n").unwrap().0;
    let words = command.replace("\\\n", " ").replace("/srv/app/bin/uvicorn", "true").replace("/srv/app", "/");
    let words: Vec<&str> = words.split_ascii_whitespace().skip(1).collect();
    let launcher = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/manager/launcher.py");
    let launch = launch(words).env("PREFORK_EXPLAIN", "true");
    let launch = launch.through([crate::harness::python(), launcher.into(), "tcp::::0".into(), "web".into()]);
    let (code, out, log) = launch.finish();
    assert_eq!(code, 0, "{log}");
    assert!(out.contains("pool: 4 workers") && out.contains("(by LISTEN_FDS), descriptor 3"), "{out}");
}
