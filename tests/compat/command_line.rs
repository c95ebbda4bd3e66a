//! Options, variables, messages and exit codes.

use super::Original::{self, DumbInit, Tini};
use super::{run, same};
use std::process::Command;

/// What is compared of the messages.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Words {
    /// All of them, but for pids and the program's path.
    Same,
    /// Nothing: the texts are our own.
    Ours,
}

use Words::{Ours, Same};

type Case = (Original, &'static [(&'static str, &'static str)], &'static [&'static str], Words);

/// What happens at once: who, with which variables and arguments, and whether stderr is the same.
const CASES: &[Case] = &[
    // No command.
    (DumbInit, &[], &[], Same),
    (DumbInit, &[], &["--"], Same),
    (DumbInit, &[], &["-c"], Same),
    (Tini, &[], &[], Ours),
    (Tini, &[], &["--"], Ours),
    (Tini, &[], &["-s"], Ours),
    // Help and version.
    (DumbInit, &[], &["-V"], Same),
    (DumbInit, &[], &["--version"], Same),
    (DumbInit, &[], &["--vers"], Same),
    (DumbInit, &[], &["-cV", "sh"], Same),
    (DumbInit, &[], &["-h"], Ours),
    (DumbInit, &[], &["--help"], Ours),
    (DumbInit, &[], &["-V", "-r", "bad"], Same),
    (DumbInit, &[], &["-r", "bad", "-V"], Same),
    (Tini, &[], &["--version", "x"], Ours),
    (Tini, &[], &["-v", "--version"], Ours),
    // Wrong options.
    (DumbInit, &[], &["--yolo"], Same),
    (DumbInit, &[], &["--yolo", "sh"], Same),
    (DumbInit, &[], &["-x"], Same),
    (DumbInit, &[], &["-cx", "true"], Same),
    (DumbInit, &[], &["--ver"], Same),
    (DumbInit, &[], &["--single-child=1", "true"], Same),
    (DumbInit, &[], &["-r"], Same),
    (DumbInit, &[], &["--rewrite"], Same),
    (DumbInit, &[], &["-r", "15"], Same),
    (DumbInit, &[], &["-r", "TERM:INT", "true"], Same),
    (DumbInit, &[], &["-r", "0:15", "true"], Same),
    (DumbInit, &[], &["-r", "32:15", "true"], Same),
    (DumbInit, &[], &["-r", "15:32", "true"], Same),
    (DumbInit, &[], &["-r", "15:-1", "true"], Same),
    (DumbInit, &[], &["-r", "", "true"], Same),
    (DumbInit, &[], &["--rewrite=15", "true"], Same),
    (Tini, &[], &["-z"], Ours),
    (Tini, &[], &["--yolo"], Ours),
    (Tini, &[], &["-p"], Ours),
    (Tini, &[], &["-p", "TERM", "true"], Same),
    (Tini, &[], &["-p", "15", "true"], Same),
    (Tini, &[], &["-p", "SIGFOO", "true"], Same),
    (Tini, &[], &["-p", "SIGRTMIN", "true"], Same),
    (Tini, &[], &["-e", "256", "true"], Same),
    (Tini, &[], &["-e", "-1", "true"], Same),
    (Tini, &[], &["-e", "x", "true"], Same),
    (Tini, &[], &["-e", "", "false"], Same),
    // Right ones.
    (DumbInit, &[], &["true"], Same),
    (DumbInit, &[], &["--", "sh", "-c", "exit 3"], Same),
    (DumbInit, &[], &["sh", "-c", "exit 3"], Same),
    (DumbInit, &[], &["-c", "sh", "-c", "exit 3"], Same),
    (DumbInit, &[], &["--single-child", "--rewrite", "15:2", "sh", "-c", "exit 4"], Same),
    (DumbInit, &[], &["--sing", "--rew=15:2", "sh", "-c", "exit 4"], Same),
    (DumbInit, &[], &["-cr15:2", "sh", "-c", "exit 5"], Same),
    (DumbInit, &[], &["-r", "15:2x", "-r", " 1:0", "-r", "+9:+9", "-r", "19:1", "-r", "17:1", "true"], Same),
    (DumbInit, &[], &["echo", "-v", "{fd}", "--", "-c"], Same),
    (Tini, &[], &["true"], Same),
    (Tini, &[], &["--", "sh", "-c", "exit 3"], Same),
    (Tini, &[], &["-sgw", "--", "sh", "-c", "exit 3"], Same),
    (Tini, &[], &["-p", "SIGTERM", "--", "true"], Same),
    (Tini, &[], &["-pSIGUSR1", "-e3", "--", "sh", "-c", "exit 3"], Same),
    (Tini, &[], &["-s", "-s", "-w", "-w", "--", "echo", "-v", "{fd}"], Same),
    (Tini, &[], &["-e", "3", "-e", "143", "--", "sh", "-c", "exit 3"], Same),
    (Tini, &[], &["-e", "3", "-e", "143", "--", "sh", "-c", "kill $$"], Same),
    (Tini, &[], &["-e", "0", "-e", "255", "--", "sh", "-c", "exit 1"], Same),
    (Tini, &[("TINI_SUBREAPER", "")], &["--", "sh", "-c", "exit 3"], Same),
    (Tini, &[("TINI_VERBOSITY", "0")], &["nothing-of-that-name"], Same),
    (Tini, &[("TINI_VERBOSITY", "junk")], &["-vvv", "--", "sh", "-c", "exit 3"], Same),
    // What cannot be executed.
    (DumbInit, &[], &["nothing-of-that-name"], Same),
    (DumbInit, &[], &["/etc/passwd"], Same),
    (DumbInit, &[], &["/"], Same),
    (DumbInit, &[], &[""], Same),
    (DumbInit, &[], &["-c", "nothing-of-that-name"], Same),
    (Tini, &[], &["nothing-of-that-name"], Same),
    (Tini, &[], &["/etc/passwd"], Same),
    (Tini, &[], &["/"], Same),
    (Tini, &[], &[""], Same),
    (Tini, &[], &["/etc/passwd/x"], Same),
    (Tini, &[], &["-e", "127", "--", "nothing-of-that-name"], Same),
    // Variables of dumb-init's: only these values count, and the command gets them all the same.
    (DumbInit, &[("DUMB_INIT_SETSID", "0")], &["sh", "-c", "echo $DUMB_INIT_SETSID"], Same),
    (DumbInit, &[("DUMB_INIT_DEBUG", "true")], &["sh", "-c", "echo $DUMB_INIT_DEBUG"], Same),
    (DumbInit, &[("DUMB_INIT_DEBUG", "0")], &["true"], Same),
    (Tini, &[("TINI_KILL_PROCESS_GROUP", "x")], &["--", "sh", "-c", "echo $TINI_KILL_PROCESS_GROUP"], Same),
];

#[test]
fn options_variables_messages_and_codes_are_the_originals() {
    for (original, env, args, words) in CASES {
        for pid1 in [true, false] {
            let seen = original.both().map(|program| {
                let launch = run(&program, args, env);
                let launch = if pid1 { launch } else { launch.not_pid1() };
                let (code, out, err) = launch.finish();
                let err = if *words == Same { without_names(&err, &program) } else { String::new() };
                (code, out, err)
            });
            same(&format!("{} {args:?} {env:?}, PID 1: {pid1}", original.name()), seen);
        }
    }
}

/// Messages without the program's path and without pids; a warning only by what it warns of.
fn without_names(text: &str, program: &std::path::Path) -> String {
    let text = text.replace(&*program.to_string_lossy(), "NAME");
    let lines = text.lines().filter(|line| !line.is_empty()).filter_map(|line| {
        if line.contains("WARN") {
            return Some("a warning".to_owned());
        }
        // The other two lines of tini's warning.
        if line.starts_with("Zombie processes") || line.starts_with("To fix the problem") {
            return None;
        }
        let digits = |c: char| c.is_ascii_digit();
        Some(match line.split_once(" tini (") {
            Some((level, rest)) => format!("{level} tini ({}", rest.trim_start_matches(digits)),
            None => line.to_owned(),
        })
    });
    lines.collect::<Vec<_>>().join("\n")
}

#[test]
fn every_exit_code_passes_through() {
    let script = r#"for code in $(seq 0 255); do "$@" sh -c "exit $code"; echo $?; done"#;
    for (original, options) in [(DumbInit, "-c"), (DumbInit, "-v"), (Tini, "-s"), (Tini, "-e7")] {
        let seen = original.both().map(|program| {
            let mut command = Command::new("sh");
            command.args(["-c", script, "sh"]).arg(program).args([options, "--"]);
            String::from_utf8(command.output().unwrap().stdout).unwrap()
        });
        assert_eq!(seen[0].lines().count(), 256);
        same(&format!("{} {options}", original.name()), seen);
    }
}

#[test]
fn docker_finds_the_version_it_looks_for() {
    let output = Command::new(Tini.ours()).arg("--version").output().unwrap();
    let out = String::from_utf8(output.stdout).unwrap();
    assert!(out.starts_with("tini version 0.19.0 - ") && output.status.success(), "{out}");
    for flag in ["-h", "-l"] {
        let output = Command::new(Tini.ours()).arg(flag).output().unwrap();
        assert!(output.status.success() && output.stderr.is_empty() && !output.stdout.is_empty(), "{flag}");
    }
}

#[test]
fn the_debug_lines_that_dumb_inits_own_suite_looks_for_are_there() {
    let script = "trap '' HUP INT; kill -HUP $PPID; kill -TERM $PPID; sleep 1; kill -9 $$";
    let numbers_of_pids = |text: &str| {
        let mut words: Vec<&str> = text.split(' ').collect();
        for at in 1..words.len() {
            if words[at - 1] == "PID" {
                words[at] = "N";
            }
        }
        words.join(" ")
    };
    for (env, args) in [
        (&[][..], &["-v", "-r", "15:0", "-r", "1:2", "sh", "-c", script][..]),
        (&[], &["-v", "true"]),
        (&[], &["-v", "-c", "true"]),
        (&[], &["-v", "-r", "15:0", "true"]),
        (&[], &["-v", "-r", "15:2", "sh", "-c", "exit 3"]),
        (&[("DUMB_INIT_DEBUG", "1"), ("DUMB_INIT_SETSID", "0")], &["true"]),
    ] {
        let seen = DumbInit.both().map(|program| {
            let (code, _, err) = run(&program, args, env).finish();
            // The child's own lines race with its parent's; what was received when does so too.
            let lines = err.lines().filter(|line| !line.contains("controlling tty"));
            let mut lines: Vec<String> = lines.map(numbers_of_pids).collect();
            lines.sort();
            lines.dedup();
            (code, lines)
        });
        assert!(seen[0].1.len() >= 5, "{:?}", seen[0].1);
        same(&format!("dumb-init {args:?} {env:?}"), seen);
    }
}

#[test]
fn the_lines_of_tinis_verbosity_are_there() {
    for (verbosity, wanted, unwanted) in [
        ("-v", vec!["Spawned child process 'sh'", "Main child exited normally (with status '3')"], "DEBUG"),
        (
            "-vv",
            vec!["Reaped child with pid", "Passing signal: 'User defined signal 1'", "Received SIGCHLD"],
            "TRACE",
        ),
    ] {
        let script = "trap 'exit 3' USR1; kill -USR1 $PPID; while :; do sleep 0.01; done";
        for program in Tini.both() {
            let (code, out, err) = run(&program, &[verbosity, "--", "sh", "-c", script], &[]).finish();
            let all = out + &err;
            assert_eq!(code, 3, "{all}");
            for line in &wanted {
                assert!(all.contains(line), "{line} of {}: {all}", program.display());
            }
            assert!(!all.contains(unwanted), "{} {verbosity}: {all}", program.display());
        }
    }
}

/// How often a line comes depends on who is scheduled when; which lines there are does not.
#[test]
fn the_debug_lines_of_tini_are_the_originals() {
    let without_digits = |line: &str| line.replace(|c: char| c.is_ascii_digit(), "");
    for script in
        ["kill -USR1 $PPID; sleep 1000", "trap 'exit 3' USR1; kill -USR1 $PPID; while :; do sleep 0.01; done"]
    {
        let seen = Tini.both().map(|program| {
            let (code, out, err) = run(&program, &["-vv", "--", "sh", "-c", script], &[]).finish();
            let mut lines: Vec<String> = (out + &err).lines().map(without_digits).collect();
            lines.sort();
            lines.dedup();
            (code, lines)
        });
        assert!(seen[0].1.len() >= 4, "{:?}", seen[0].1);
        same(script, seen);
    }
}
