//! On a real terminal: job control inside, as a job of a shell, and where nobody is there to continue anything.

use crate::harness::{binary, plain_command, python, seccomp};

fn play(scene: &str) {
    let dir = tempfile::tempdir().unwrap();
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/init/terminal.py");
    let mut command = plain_command(&python());
    command.args(["-IS", file, scene]).arg(binary()).current_dir(dir.path()).env("SECCOMP", seccomp::SCRIPT);
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert_eq!(said, "as it should be\n", "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn a_shell_inside_has_job_control() {
    play("shell inside");
}

/// `docker run -it IMAGE bash`.
#[test]
fn where_only_variables_ask_for_a_pool_a_shell_runs_once() {
    play("variables of a pool");
}

#[test]
fn what_takes_a_listener_or_is_asked_for_by_flag_is_a_pool_on_a_terminal_too() {
    play("pool at a terminal");
}

#[test]
fn ctrl_z_does_nothing_where_no_shell_could_continue_the_command() {
    play("nobody to continue it");
}

#[test]
fn as_a_job_it_stops_and_goes_on_with_its_command() {
    play("job");
}

#[test]
fn in_the_background_it_leaves_the_shell_its_terminal() {
    play("background");
}

#[test]
fn a_shell_below_a_shell_can_be_suspended() {
    play("shell below shell");
}

#[test]
fn in_a_pipeline_the_others_keep_the_terminal() {
    play("pipeline");
}

#[test]
fn a_script_gets_its_terminal_back() {
    play("script");
}

#[test]
fn a_hang_up_reaches_the_command() {
    play("hang-up");
}

#[test]
fn a_command_with_its_output_elsewhere_still_reads_the_terminal() {
    play("output elsewhere");
    play("leader, output elsewhere");
}

/// The shell has its terminal then, and would end if it were taken away.
#[test]
fn a_command_that_ends_in_the_background_leaves_the_shell_its_terminal() {
    play("ends in the background");
}

#[test]
fn ctrl_z_does_nothing_where_the_leader_of_the_session_is_no_shell() {
    play("no shell above");
}

#[test]
fn as_the_init_of_a_new_namespace_it_is_a_job_of_the_shell_outside() {
    play("new namespace");
}

#[test]
fn brought_to_the_foreground_while_it_runs_it_reads_the_terminal() {
    play("brought to the foreground");
}

#[test]
fn the_terminal_comes_back_from_what_could_not_be_executed() {
    play("cannot be executed");
}

#[test]
fn a_command_that_somebody_stops_and_continues_alone_stops_no_script() {
    play("stopped alone");
}

/// Docker's `--init`, with `-it`.
#[test]
fn ctrl_z_does_nothing_below_another_init() {
    play("below another init");
}

#[test]
fn every_shell_with_job_control_is_known_to_be_one() {
    play("other shells");
}

/// As under gVisor, and worse.
#[test]
fn where_calls_for_the_terminal_are_refused_the_command_still_has_it() {
    play("sandbox");
    play("log in a sandbox");
}

#[test]
fn a_command_whose_job_has_left_it_without_the_terminal_gets_it_back() {
    play("lost to nobody");
}

#[test]
fn on_a_terminal_of_a_session_outside_of_our_pid_namespace_the_command_has_a_group_of_its_own() {
    play("session outside");
}
