//! On a terminal: whose group is in the foreground, and what the keys do.

use super::Original::{DumbInit, Tini};
use crate::harness::{binary, plain_command, python};
use std::path::Path;

const TERMINAL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/compat/terminal.py");

/// What the command saw and got.
fn on_terminal(how: &str, program: &Path, args: &[&str]) -> String {
    let dir = tempfile::tempdir().unwrap();
    let mut command = plain_command(&python());
    command.args(["-IS", TERMINAL, how]).arg(program).args(args).current_dir(dir.path());
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{} {args:?}: {output:?}", program.display());
    said
}

/// What each key did: once.
const ONCE: &str = "ready\ngot 2\ngot 3\ngot 28\ngot 1\ngot 1\ngot 10\ncode 5\n";

#[test]
fn the_commands_place_is_the_originals_and_every_key_arrives_once() {
    for (original, args, how) in [
        (DumbInit, &[][..], "leader"),
        (DumbInit, &[], "job"),
        (Tini, &["-s", "--"], "leader"),
        (Tini, &["-s", "--"], "job"),
        (Tini, &["-g", "--"], "leader"),
    ] {
        let seen = original.both().map(|program| on_terminal(how, &program, args));
        let [theirs, ours] = seen.map(|said| said.replace("terminal is the job's again True\n", ""));
        let theirs = theirs.replace("terminal is the job's again False\n", "");
        assert_eq!(theirs, ours, "{} {args:?} {how}", original.name());
        assert!(ours.contains(ONCE), "{ours}");
    }
}

/// The original sends what the terminal has sent once more: see differences.md.
#[test]
fn in_single_child_mode_no_key_arrives_twice() {
    for how in ["leader", "job"] {
        let said = on_terminal(how, &DumbInit.ours(), &["-c"]);
        assert!(
            said.starts_with("group of its own False\nsession of its own False\nin the foreground True\n")
        );
        assert!(said.contains(ONCE), "{said}");
    }
}

#[test]
fn by_our_own_name_the_command_is_the_foreground_group_and_the_terminal_comes_back() {
    let said = on_terminal("leader", &binary(), &["--"]);
    let place = "group of its own True\nsession of its own False\nin the foreground True\n";
    assert_eq!(said, format!("{place}{ONCE}"));
    let said = on_terminal("job", &binary(), &["--"]);
    assert_eq!(said, format!("{place}{ONCE}terminal is the job's again True\n"));
}

#[test]
fn other_places_can_be_asked_for() {
    for (wanted, place) in [
        ("none", "group of its own False\nsession of its own False\nin the foreground True\n"),
        ("group", "group of its own True\nsession of its own False\nin the foreground True\n"),
    ] {
        let said = on_terminal("job", &binary(), &["--process-group", wanted, "--"]);
        assert_eq!(said, format!("{place}{ONCE}terminal is the job's again True\n"), "{wanted}");
    }
    // In a session of its own it has no terminal: the keys are passed on by us, to whom they come.
    let said = on_terminal("job", &binary(), &["--process-group", "session", "--"]);
    assert!(said.starts_with("group of its own True\nsession of its own True\nno terminal 25\n"), "{said}");
    assert!(said.contains(ONCE), "{said}");
}
