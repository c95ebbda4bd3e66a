//! `--deadline` of one command.

use super::BOTH_PLACES;
use crate::harness::launch;

#[test]
fn a_command_that_runs_too_long_is_stopped_as_at_term_and_the_code_is_124() {
    for (script, asked, grace) in [
        ("trap 'echo asked; exit 0' TERM; while :; do sleep 0.01; done", true, "30s"),
        ("trap '' TERM; while :; do sleep 0.01; done", false, "300ms"),
        ("exec sleep 1000", false, "30s"),
    ] {
        for place in BOTH_PLACES {
            let options = ["--deadline", "2s", "--graceful-timeout", grace, "--", "sh", "-c", script];
            let mut run = place(launch(options)).start();
            assert_eq!(run.wait_exit(), 124, "{script}: {}", run.log.text());
            run.wait_for("deadline passed");
            assert_eq!(run.stdout(), if asked { "asked\n" } else { "" });
        }
    }
}

#[test]
fn it_gets_what_term_is_rewritten_to_and_the_code_can_be_remapped() {
    let script = "trap 'exit 0' QUIT; trap 'exit 1' TERM; while :; do sleep 0.01; done";
    let options = ["--deadline", "2s", "--rewrite-signal", "TERM=QUIT", "--remap-exit-code", "124=0"];
    let mut run = launch(options.into_iter().chain(["--", "sh", "-c", script])).start();
    assert_eq!(run.wait_exit(), 0, "{}", run.log.text());
    assert_eq!(run.wait_for("command exited")["exit_code"], 0);
}

#[test]
fn a_pause_ends_too() {
    let mut run = launch(["--pause", "--deadline", "200ms"]).start();
    assert_eq!(run.wait_exit(), 124);
}
