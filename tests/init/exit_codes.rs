//! We end as the command ended: with its code, or 128 + the signal that killed it.

use super::{BOTH_PLACES, shell};
use crate::harness::{install_script, launch};
use std::fs;

#[test]
fn every_code_of_the_command_is_ours() {
    for code in 0..=255 {
        assert_eq!(shell(&format!("exit {code}")).finish().0, code);
    }
    for code in [0, 1, 2, 77, 125, 128, 137, 255] {
        assert_eq!(shell(&format!("exit {code}")).not_pid1().finish().0, code, "not PID 1");
    }
}

#[test]
fn a_command_killed_by_a_signal_gives_128_and_its_number() {
    // Not those that do nothing or only stop: CHLD, CONT, STOP, TSTP, TTIN, TTOU, URG, WINCH.
    let killing = |signal: &i32| ![17, 18, 19, 20, 21, 22, 23, 28].contains(signal);
    for signal in (1..=64).filter(killing) {
        let (code, _, log) = shell(&format!("ulimit -c 0; kill -{signal} $$; exit 99")).finish();
        assert_eq!(code, 128 + signal, "signal {signal}:\n{log}");
    }
    for signal in [9, 11, 15, 34, 64] {
        let (code, ..) = shell(&format!("ulimit -c 0; kill -{signal} $$; exit 99")).not_pid1().finish();
        assert_eq!(code, 128 + signal, "signal {signal}, not PID 1");
    }
}

#[test]
fn a_killed_command_leaves_one_line_that_says_why() {
    let (code, _, log) = shell("kill -SEGV $$").env("PREFORK_LOG_LEVEL", "info").finish();
    assert_eq!(code, 139);
    let lines: Vec<&str> = log.lines().collect();
    assert_eq!(lines.len(), 1, "{log}");
    let line: serde_json::Value = serde_json::from_str(lines[0]).unwrap();
    assert_eq!(line["signal"], "SEGV");
    assert!(line["message"].as_str().unwrap().contains("signal 11 (SEGV)"), "{log}");
    assert!(line["uptime_ms"].is_u64() && line["pid"].is_u64(), "{log}");
}

#[test]
fn a_command_that_ends_well_leaves_no_line() {
    let (code, out, log) = shell("echo hello").env("PREFORK_LOG_LEVEL", "info").finish();
    assert_eq!((code, out.as_str(), log.as_str()), (0, "hello\n", ""));
}

#[test]
fn a_command_that_cannot_be_executed_gives_126_or_127() {
    for place in BOTH_PLACES {
        for (name, content, mode, code) in [
            ("no-interpreter", "#!/no/such/interpreter\n", 0o755, 127),
            ("not-executable", "#!/bin/sh\n", 0o644, 126),
            ("interpreter-is-a-directory", "#!/proc\n", 0o755, 126),
        ] {
            let launch = place(launch(["--", &format!("./{name}")]));
            let path = launch.dir().join(name);
            install_script(content, mode, &path);
            let (ended, _, log) = launch.finish();
            assert_eq!(ended, code, "{name}:\n{log}");
            assert_eq!(log.lines().count(), 1, "{name}:\n{log}");
        }
    }
}

#[test]
fn a_script_without_an_interpreter_line_runs_as_in_a_shell() {
    let launch = launch(["--", "./script", "a", "b"]);
    let path = launch.dir().join("script");
    install_script("exit $#\n", 0o755, &path);
    assert_eq!(launch.finish().0, 2);
}

#[test]
fn a_command_found_through_path_only_where_it_is_executable() {
    let launch = launch(["--", "thing"]);
    let dir = launch.dir().to_owned();
    for (folder, content, mode) in [("one", "exit 1\n", 0o644), ("two", "#!/bin/sh\nexit 42\n", 0o755)] {
        fs::create_dir(dir.join(folder)).unwrap();
        let path = dir.join(folder).join("thing");
        install_script(content, mode, &path);
    }
    let path = format!("{0}/nowhere:{0}/one:{0}/two:{1}", dir.display(), std::env::var("PATH").unwrap());
    assert_eq!(launch.env("PATH", &path).finish().0, 42);
}

/// As execvp(3): what may not be executed is remembered, wherever the search has begun.
#[test]
fn what_is_denied_first_and_lacks_its_interpreter_then_is_denied() {
    let launch = launch(["--", "thing"]);
    let dir = launch.dir().to_owned();
    for (folder, content, mode) in [("one", "exit 1\n", 0o644), ("two", "#!/nowhere/sh\n", 0o755)] {
        fs::create_dir(dir.join(folder)).unwrap();
        install_script(content, mode, &dir.join(folder).join("thing"));
    }
    let path = format!("{0}/nowhere:{0}/one:{0}/two:{1}", dir.display(), std::env::var("PATH").unwrap());
    let (code, _, log) = launch.env("PATH", &path).finish();
    assert_eq!(code, 126, "{log}");
    assert!(log.contains("Permission denied"), "{log}");
}

/// A shell would try to read it as a script.
#[test]
fn a_program_for_another_machine_is_called_that() {
    for place in BOTH_PLACES {
        let launch = place(launch(["--", "./program"]));
        let text = "\u{7f}ELF\u{2}\u{1}\u{1}\necho the shell has it\n";
        install_script(text, 0o755, &launch.dir().join("program"));
        let (code, out, log) = launch.finish();
        assert_eq!((code, out.as_str()), (126, ""), "{log}");
        assert!(log.contains("it was built for another machine"), "{log}");
    }
}
