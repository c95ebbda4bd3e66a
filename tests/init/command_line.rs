//! Help, version, and where a setting comes from.

use crate::check::{option_names, variable_of};
use crate::harness::launch;
use crate::harness::watch::Watch;
use std::time::Duration;

#[test]
fn help_is_on_stdout_and_names_every_option_and_variable_in_groups() {
    for flag in ["--help", "-h"] {
        let (code, out, err) = launch([flag]).finish();
        assert_eq!((code, err.as_str()), (0, ""));
        for option in option_names() {
            let shown = [format!("--{option}"), format!("[env: {}=", variable_of(&option))];
            assert!(
                shown.iter().all(|shown| out.contains(shown)),
                "{flag} does not mention {shown:?}\n{out}"
            );
        }
        for group in ["Pool:", "Readiness:", "Recycling:", "Respawn:", "Stopping:", "Endpoint:", "Logging:"] {
            assert!(out.lines().any(|line| line == group), "{flag} has no group {group}\n{out}");
        }
    }
}

#[test]
fn version_is_on_stdout() {
    for flag in ["--version", "-V"] {
        let (code, out, err) = launch([flag]).finish();
        let expected = format!("prefork-init {}\n", env!("CARGO_PKG_VERSION"));
        assert_eq!((code, out, err), (0, expected, String::new()));
    }
}

#[test]
fn a_variable_is_as_good_as_its_option_and_the_option_wins() {
    let deaf = "trap '' TERM; echo ready; while :; do sleep 0.01; done";
    for (flags, variable) in [
        (vec![], "100ms"),
        (vec!["--graceful-timeout", "100ms"], "infinity"),
        (vec!["--graceful-timeout=100ms"], "1h"),
    ] {
        let words = flags.into_iter().chain(["--", "sh", "-c", deaf]);
        let mut run = launch(words).env("PREFORK_GRACEFUL_TIMEOUT", variable).start();
        run.wait_lines("stdout", 1);
        let sent = Watch::start();
        run.signal(15);
        assert_eq!(run.wait_exit(), 137);
        assert!(sent.ran() < Duration::from_secs(5), "{variable}");
    }
}

#[test]
fn a_wrong_variable_is_an_error_as_a_wrong_option_is() {
    for (name, value, option) in [
        ("PREFORK_WORKERS", "0", "PREFORK_WORKERS '0'"),
        ("PREFORK_GRACEFUL_TIMEOUT", "soon", "PREFORK_GRACEFUL_TIMEOUT 'soon'"),
        ("PREFORK_LOG_FORMAT", "yaml", "PREFORK_LOG_FORMAT 'yaml'"),
    ] {
        let (code, _, err) = launch(["--", "true"]).env(name, value).finish();
        assert_eq!(code, 2);
        assert!(err.contains(option) && err.lines().count() == 1, "{name}={value}: {err}");
    }
    // The option wins before the variable is looked at.
    let (code, ..) =
        launch(["--graceful-timeout", "1s", "--", "true"]).env("PREFORK_GRACEFUL_TIMEOUT", "soon").finish();
    assert_eq!(code, 0);
}

#[test]
fn options_end_where_the_command_begins() {
    for (words, expected) in [
        (vec!["sh", "-c", "echo $0 $1", "--help", "--version"], "--help --version\n"),
        (vec!["--", "echo", "--", "-n", "3"], "-- -n 3\n"),
        (vec!["echo", "--graceful-timeout"], "--graceful-timeout\n"),
    ] {
        let (code, out, err) = launch(words).finish();
        assert_eq!((code, out.as_str()), (0, expected), "{err}");
    }
}
