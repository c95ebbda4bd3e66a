//! A person at the terminal sees how far a reload or the end has come; nobody else gets to see that.

use crate::harness::{binary, plain_command, python};

fn play(scene: &str) {
    let dir = tempfile::tempdir().unwrap();
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/manager/terminal.py");
    let mut command = plain_command(&python());
    let output = command.args(["-IS", file, scene]).arg(binary()).current_dir(dir.path()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert_eq!(said, "as it should be\n", "{scene}: {}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn a_reload_and_the_end_are_shown_below_the_log_and_gone_afterwards() {
    play("whole");
}

#[test]
fn the_line_is_cut_where_the_terminal_ends() {
    play("narrow");
}

#[test]
fn without_a_terminal_for_people_there_is_none() {
    for scene in ["json", "dumb", "pipe"] {
        play(scene);
    }
}
