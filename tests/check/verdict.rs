//! What `check` prints, and how it ends. Each single warning is tested beside its rule, in src/check/tests.rs.

use super::{check, file, report, setting, texts};
use serde_json::Value;
use std::fs;

fn ids(report: &Value) -> Vec<&str> {
    report["warnings"].as_array().unwrap().iter().map(|warning| warning["id"].as_str().unwrap()).collect()
}

#[test]
fn it_starts_nothing_and_binds_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (socket, mark) = (dir.path().join("socket"), dir.path().join("mark"));
    let bind = format!("unix:{}", socket.display());
    let output = check(&["-n", "2", "-b", &bind, "--", "touch", mark.to_str().unwrap()], &[]);
    assert_eq!((output.status.code(), texts(&output).1.as_str()), (Some(0), ""));
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn it_prints_settings_in_columns_and_then_warnings_with_remedies() {
    let (_dir, path) = file("workers = 4\nmax-age = \"6h\"\n");
    let words = ["--all", "--config", &path, "--bind", ":8000", "true"];
    let output = check(&words, &[("PREFORK_HEALTH", ":9000")]);
    let (text, _) = texts(&output);
    let line = |name: &str| {
        let found = text.lines().find(|line| line.split_whitespace().next() == Some(name));
        found
            .unwrap_or_else(|| panic!("no {name} in\n{text}"))
            .split_whitespace()
            .collect::<Vec<_>>()
            .join(" ")
    };
    assert_eq!(line("command"), "command true flag");
    assert_eq!(line("workers"), format!("workers 4 file {path}"));
    assert_eq!(line("bind"), "bind :8000 flag");
    assert_eq!(line("health"), "health :9000 environment PREFORK_HEALTH");
    assert_eq!(line("backlog"), "backlog 2048 default");
    assert!(text.starts_with("mode: pool\n") && !text.contains("signal-scope"), "{text}");
    let at =
        text.lines().position(|line| line.starts_with("warning: no-jitter: 4 workers reach --max-age 6h"));
    let remedy = text.lines().nth(at.unwrap() + 1).unwrap();
    assert_eq!(remedy, "  --max-age-jitter 10%");
    // Values begin in one column, and layers in another.
    let column =
        |word: &str| text.lines().find_map(|line| line.starts_with("  ").then(|| line.find(word)).flatten());
    assert_eq!((column("2048"), column("default")), (column(":8000"), column("flag")), "{text}");
}

#[test]
fn a_denied_warning_is_an_error_and_others_are_not() {
    let base = ["-n", "2", "--max-age", "6h"];
    for (deny, code) in [
        (&[][..], 0),
        (&["--deny", "no-jitter"], 1),
        (&["--deny", "all"], 1),
        (&["--deny", "no-worker-left"], 0),
        (&["--deny", "no-worker-left,no-jitter"], 1),
        (&["--deny", "no-worker-left", "--deny", "no-health"], 1),
    ] {
        let words: Vec<&str> = base.iter().chain(deny).chain(&["--", "true"]).copied().collect();
        let output = check(&words, &[]);
        assert_eq!(output.status.code(), Some(code), "{deny:?}: {:?}", texts(&output));
        let denied = texts(&output).0.contains("\ndenied: ");
        assert_eq!(denied, code == 1, "{deny:?}");
    }
    let output = check(&["--json", "-n", "2", "--deny", "no-health", "true"], &[]);
    assert_eq!(output.status.code(), Some(1));
    let found: Value = serde_json::from_str(&texts(&output).0).unwrap();
    let denied = found["warnings"].as_array().unwrap().iter().filter(|warning| warning["denied"] == true);
    assert_eq!(denied.map(|warning| warning["id"].as_str().unwrap()).collect::<Vec<_>>(), ["no-health"]);
}

#[test]
fn an_unknown_id_is_an_error_that_lists_them() {
    let output = check(&["--deny", "no-helth", "true"], &[]);
    let (_, err) = texts(&output);
    assert_eq!((output.status.code(), err.lines().count()), (Some(2), 1), "{err}");
    assert!(err.contains("--deny 'no-helth'") && err.contains("no-health") && err.contains("all"), "{err}");
    let (list, _) = texts(&check(&["--list"], &[]));
    for line in list.lines() {
        let id = line.split_whitespace().next().unwrap();
        assert!(err.contains(id) && line.len() > id.len() + 5, "{line}");
    }
    assert!(list.lines().count() > 20);
}

#[test]
fn what_the_start_would_refuse_it_refuses_with_the_same_line_and_code() {
    for (words, code, part) in [
        (&["--workers", "0", "true"][..], 2, "--workers '0'"),
        (&["--wrokers", "0", "true"], 2, "did you mean --workers?"),
        (&["-n", "2", "--min-ready", "3", "true"], 2, "--min-ready '3'"),
        (&["--max-age", "1h", "true"], 2, "only a pool"),
        (&[], 2, "COMMAND: missing"),
        (&["no-such-command"], 127, "not found"),
        (&["/proc"], 126, "directory"),
        (&["--user", "nobody-here", "true"], 125, "--user 'nobody-here'"),
        (&["--chdir", "/nowhere", "true"], 125, "--chdir '/nowhere'"),
    ] {
        let output = check(words, &[]);
        let (out, err) = texts(&output);
        assert_eq!(
            (output.status.code(), out.as_str(), err.lines().count()),
            (Some(code), "", 1),
            "{words:?}: {err}"
        );
        assert!(err.contains(part), "{words:?}: {err}");
        let started = crate::harness::launch(words.iter().copied()).finish();
        assert_eq!((started.0, started.2), (code, err), "{words:?}");
    }
    let output = check(&["true"], &[("PREFORK_WORKERS", "0")]);
    assert!(texts(&output).1.starts_with("prefork-init: PREFORK_WORKERS '0'"));
    let output = check(&["-n", "2", "true"], &[("PREFORK_MIN_READY", "3")]);
    assert!(texts(&output).1.starts_with("prefork-init: PREFORK_MIN_READY '3'"));
}

#[test]
fn only_the_first_word_asks_for_it() {
    for words in [&["--", "check"][..], &["--graceful-timeout", "1s", "check"]] {
        let (code, _, err) = crate::harness::launch(words.iter().copied()).finish();
        assert_eq!(code, 127, "{err}");
    }
}

#[test]
fn its_help_tells_what_is_its_own() {
    for flag in ["--help", "-h"] {
        let output = check(&[flag], &[]);
        let (out, _) = texts(&output);
        assert_eq!(output.status.code(), Some(0));
        for word in
            ["prefork-init check", "--json", "--deny <ID>", "--all", "--list", "--workers <N>", "Exit codes"]
        {
            assert!(out.contains(word), "{word} is not in\n{out}");
        }
    }
    let (out, _) = texts(&check(&["--help"], &[]));
    assert!(!out.contains("possible values: memory"), "{out}");
}

#[test]
fn the_machine_and_the_user_are_looked_at() {
    let as_root = report(&["true"], &[]);
    assert!(ids(&as_root).contains(&"runs-as-root"), "{as_root}");
    let as_other = report(&["--user", "daemon", "true"], &[]);
    assert!(!ids(&as_other).contains(&"runs-as-root"), "{as_other}");
    assert!(ids(&report(&["-n", "1024", "true"], &[])).contains(&"too-many-workers"));
    let inherited = report(&["-b", ":8000", "true"], &[("WEB_CONCURRENCY", "2")]);
    assert!(ids(&inherited).contains(&"web-concurrency"));
    let ignored = report(&["true"], &[("PREFORK_MAX_AGE", "1h")]);
    assert!(ids(&ignored).contains(&"setting-ignored"));
    assert_eq!(setting(&ignored, "max-age").2.as_deref(), Some("PREFORK_MAX_AGE"));
}

/// A directory with programs of these names: those of examples need not be installed, nor be run.
fn programs(names: &[&str]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for name in names {
        let program = dir.path().join(name);
        crate::harness::install_script("#!/bin/sh\n", 0o755, &program);
    }
    dir
}

/// The settings in examples/kubernetes.yaml, whose pod runs as a user of its own.
#[test]
fn the_settings_of_the_kubernetes_example_are_valid_and_nothing_is_said_of_them() {
    let manifest = include_str!("../../examples/kubernetes.yaml");
    let (_, text) = manifest.split_once("  prefork.toml: |\n").unwrap();
    let lines = text.lines().take_while(|line| line.is_empty() || line.starts_with("    "));
    let plain: String = lines.map(|line| format!("{}\n", line.trim())).collect();
    // What only some applications have is a comment, which must be right too when it is taken in.
    let whole = plain.lines().map(|line| match line.strip_prefix("# ") {
        Some(more) if more.contains(" = ") => format!("{more}\n"),
        _ => format!("{line}\n"),
    });
    let (whole, dir) = (whole.collect::<String>(), programs(&["uvicorn", "python"]));
    assert_ne!(plain, whole);
    let path = dir.path().join("prefork.toml");
    let variables = [("PATH", dir.path().to_str().unwrap())];
    let words = ["--deny", "all", "--user", "1001:1001", "--config", path.to_str().unwrap()];
    for text in [&plain, &whole] {
        fs::write(&path, text).unwrap();
        let found = report(&words, &variables);
        assert_eq!(ids(&found), Vec::<&str>::new(), "{found}");
        for line in text.lines().filter(|line| line.contains(" = ") && !line.starts_with('#')) {
            let name = line.split(" = ").next().unwrap();
            assert_eq!(setting(&found, name).1, "file", "{name}");
        }
    }
    // What the file says of the pod, the pod says too.
    assert!(
        plain.contains("termination-grace = \"30s\"")
            && manifest.contains("terminationGracePeriodSeconds: 30")
    );
}

#[test]
fn the_example_is_valid_and_nothing_is_said_of_it() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/prefork.toml");
    let dir = programs(&["uvicorn"]);
    let variables = [("PATH", dir.path().to_str().unwrap())];
    let found = report(&["--deny", "all", "--config", path], &variables);
    assert_eq!(ids(&found), Vec::<&str>::new(), "{found}");
    let text = fs::read_to_string(path).unwrap();
    for line in text.lines().filter(|line| line.contains(" = ") && !line.starts_with('#')) {
        let name = line.split(" = ").next().unwrap();
        assert_eq!(setting(&found, name).1, "file", "{name}");
    }
    let (text, _) = texts(&check(&["--config", path], &variables));
    assert!(text.ends_with("\nvalid, no warnings\n"), "{text}");
}
