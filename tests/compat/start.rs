//! What we are started with and where.

use super::Original::{DumbInit, Tini};
use super::{run, same};
use crate::harness::{install_script, python};
use std::ffi::OsString;

/// A program that makes what it executes a subreaper.
fn by_a_subreaper() -> [OsString; 4] {
    let script = "import ctypes, os, sys\nctypes.CDLL(None).prctl(36, 1, 0, 0, 0)\nos.execvp(sys.argv[1], sys.argv[1:])";
    [python(), "-IS".into(), "-c".into(), script.into()]
}

#[test]
fn tini_that_was_made_a_subreaper_does_not_warn_that_it_is_none() {
    let warns = |wrapper: Vec<OsString>| {
        Tini.both().map(|program| {
            let launch = run(&program, &["--", "true"], &[]).not_pid1().through(wrapper.clone());
            let (code, _, err) = launch.finish();
            (code, err.contains("zombie reaping won't work") || err.contains("Zombie processes will not be"))
        })
    };
    same("by a subreaper", warns(by_a_subreaper().into()));
    same("not", warns(vec!["env".into()]));
    assert_eq!(warns(vec!["env".into()])[1], (0, true));
    assert_eq!(warns(by_a_subreaper().into())[1], (0, false));
}

/// See differences.md.
#[test]
fn with_too_few_descriptors_to_start_both_names_end_with_125() {
    for original in [DumbInit, Tini] {
        for limit in 5..=8 {
            let limit = format!(r#"ulimit -n {limit}; exec "$@""#);
            let launch = run(&original.ours(), &["--", "true"], &[]).through(["sh", "-c", &limit, "sh"]);
            let (code, _, err) = launch.finish();
            assert_eq!(code, 125, "{} {limit}: {err}", original.name());
        }
    }
}

/// See differences.md: the originals have /bin/sh read it as a script.
#[test]
fn a_program_for_another_machine_is_not_handed_to_the_shell() {
    for (original, code) in [(DumbInit, 2), (Tini, 126)] {
        let launch = run(&original.ours(), &["./program"], &[]);
        // An ELF header of a machine that does not exist.
        install_script(
            "\u{7f}ELF\u{2}\u{1}\u{1}\necho the shell has it >seen\n",
            0o755,
            &launch.dir().join("program"),
        );
        let seen = launch.dir().join("seen");
        let mut started = launch.start();
        assert_eq!(started.wait_exit(), code, "{}", original.name());
        assert!(!seen.exists(), "{}", original.name());
        assert!(started.log.text().contains("Exec format error"), "{}", started.log.text());
    }
}
