//! Init mode, black box: one module a promise.

mod bad_input;
mod command_line;
mod deadline;
mod ending_rules;
mod exit_codes;
mod first_moments;
mod forwarding;
#[cfg(feature = "generate")]
mod generate;
mod graceful_timeout;
mod hostile_surroundings;
mod idle;
mod inheritance;
mod metrics;
mod nobody_is_cut_off;
mod orphans;
mod process;
mod ready_check;
mod reaping;
mod signal_rules;
mod storms;
mod suspended;
mod terminal;

use crate::harness::{Launch, Run, launch};

/// As PID 1 of a namespace, and as an ordinary process (a subreaper, then).
const BOTH_PLACES: [fn(Launch) -> Launch; 2] = [|launch| launch, Launch::not_pid1];

/// A child that a shell waits for. It is ready when it is no longer a copy of the shell: between fork and exec
/// such a copy has the shell's handlers, and a signal that comes then is lost.
const SLEEPER: &str = r#"sh -c 'echo ready; exec sleep 1000' & wait"#;

/// What a shell script run as the command needs.
fn shell(script: &str) -> Launch {
    launch(["--", "sh", "-c", script])
}

/// Waits until a file in the working directory exists and has a whole line, and returns the first.
fn first_line(run: &Run, name: &str) -> String {
    run.wait_lines(name, 1).lines().next().unwrap().to_owned()
}
