//! What a plain user of a real server gets wrong, or cannot know.

use super::{check, report, texts};
use crate::harness::servers::server;
use serde_json::Value;
use std::fs;
use std::process::Command;

/// What is said under an id: the reason and the remedy.
fn said(report: &Value, id: &str) -> Option<(String, String)> {
    let warnings = report["warnings"].as_array().unwrap();
    let found = warnings.iter().find(|warning| warning["id"] == id)?;
    let text = |name: &str| found[name].as_str().unwrap().to_owned();
    Some((text("reason"), text("remedy")))
}

const POOL: [&str; 4] = ["-n", "2", "-b", ":8000"];

/// `check` of a pool of a real server, with these arguments.
fn of_server(options: &[&str], name: &str, args: &[&str], variables: &[(&str, &str)]) -> Value {
    let program = server(name);
    let command = ["--", program.to_str().unwrap()];
    let words: Vec<&str> = POOL.iter().chain(options).chain(&command).chain(args).copied().collect();
    report(&words, variables)
}

#[test]
fn a_misspelt_variable_is_a_finding_and_an_error_if_it_is_denied() {
    let variables = [("PREFORK_WORKER", "4"), ("PREFORK_GRACEFUL_TIMOUT", "5s")];
    let (reason, _) = said(&report(&["true"], &variables), "unknown-variable").unwrap();
    for part in [
        "PREFORK_WORKER is no",
        "mean PREFORK_WORKERS?",
        "PREFORK_GRACEFUL_TIMOUT is",
        "PREFORK_GRACEFUL_TIMEOUT?",
    ] {
        assert!(reason.contains(part), "{part}: {reason}");
    }
    for (deny, code) in
        [("unknown-variable", 1), ("all", 1), ("no-health", 0), ("no-health, unknown-variable", 1)]
    {
        let output = check(&["--deny", deny, "true"], &variables);
        assert_eq!(output.status.code(), Some(code), "{deny}: {:?}", texts(&output));
    }
    // What one of ours tells those below it, and what Kubernetes tells all programs, is not meant for us.
    let inherited = [
        ("PREFORK_WORKER_ID", "0"),
        ("PREFORK_GENERATION", "1"),
        ("PREFORK_EVENT_SLOT", "0"),
        ("PREFORK_PORT", "tcp://10.0.0.1:80"),
        ("PREFORK_SERVICE_HOST", "10.0.0.1"),
        ("PREFORK_ZZZ", ""),
    ];
    assert_eq!(said(&report(&["true"], &inherited), "unknown-variable"), None);
    // They are for the innermost of us, which tells.
    let us = crate::harness::binary();
    assert_eq!(said(&report(&["--", us.to_str().unwrap()], &variables), "unknown-variable"), None);
}

/// What `check` knows is what the servers that are installed say of themselves.
#[test]
fn the_servers_own_grace_defaults_are_those_that_are_known() {
    let ask = "import inspect, gunicorn.config, hypercorn.config, uvicorn.config\n\
               print(gunicorn.config.Config().graceful_timeout, hypercorn.config.Config().graceful_timeout,\n\
               inspect.signature(uvicorn.config.Config).parameters['timeout_graceful_shutdown'].default)";
    let output = Command::new(server("python")).args(["-c", ask]).output().unwrap();
    let told = String::from_utf8(output.stdout).unwrap();
    assert_eq!(told.split_whitespace().collect::<Vec<_>>(), ["30", "3.0", "None"], "{:?}", output.stderr);

    const GRACE: &str = "server-graceful-timeout";
    let hypercorn = |args: &[&str]| of_server(&[], "hypercorn", args, &[]);
    let (reason, remedy) =
        said(&hypercorn(&["--workers", "0", "-b", "fd://{fd}", "app:app"]), GRACE).unwrap();
    assert!(
        reason.contains("hypercorn breaks off by itself what is in hand 3s after the stop signal"),
        "{reason}"
    );
    assert_eq!(remedy, "hypercorn --graceful-timeout 30");
    assert_eq!(said(&hypercorn(&["--graceful-timeout", "30", "app:app"]), GRACE), None);
    assert_eq!(said(&hypercorn(&["-c", "hypercorn.toml", "app:app"]), GRACE), None);

    let gunicorn = |options: &[&str], args: &[&str]| of_server(options, "gunicorn", args, &[]);
    assert_eq!(said(&gunicorn(&[], &["app:app"]), GRACE), None);
    let (reason, _) = said(&gunicorn(&["--graceful-timeout", "8s"], &["app:app"]), GRACE).unwrap();
    assert!(reason.contains("gunicorn waits 30s for its requests, and is killed after our 8s"), "{reason}");
    let (reason, _) = said(&gunicorn(&["--graceful-timeout", "60s"], &["app:app"]), GRACE).unwrap();
    assert!(reason.contains("gunicorn breaks off by itself what is in hand 30s"), "{reason}");
    assert_eq!(said(&gunicorn(&["--graceful-timeout", "8s"], &["-c", "conf.py", "app:app"]), GRACE), None);
    // The file that it reads where it is started may say anything.
    let dir = tempfile::tempdir().unwrap();
    let here = ["--graceful-timeout", "8s", "--chdir", dir.path().to_str().unwrap()];
    assert!(said(&gunicorn(&here, &["app:app"]), GRACE).is_some());
    fs::write(dir.path().join("gunicorn.conf.py"), "graceful_timeout = 5\n").unwrap();
    assert_eq!(said(&gunicorn(&here, &["app:app"]), GRACE), None);

    let uvicorn = |args: &[&str]| of_server(&[], "uvicorn", args, &[]);
    assert_eq!(said(&uvicorn(&["--fd", "{fd}", "app:app"]), GRACE), None);
    assert!(
        said(&uvicorn(&["--fd", "{fd}", "--timeout-graceful-shutdown", "40", "app:app"]), GRACE).is_some()
    );
}

#[test]
fn gunicorns_control_socket_is_told_of_where_the_one_that_runs_has_one() {
    const ID: &str = "server-control-socket";
    let ask = "import gunicorn; print(*gunicorn.version_info[:2])";
    let output = Command::new(server("python")).args(["-c", ask]).output().unwrap();
    let version = String::from_utf8(output.stdout).unwrap();
    let version: Vec<u32> = version.split_whitespace().map(|part| part.parse().unwrap()).collect();
    let (reason, remedy) = said(&of_server(&[], "gunicorn", &["app:app"], &[]), ID).unwrap();
    assert!(version >= vec![25, 1] && reason.contains("gunicorn.ctl"), "{version:?}: {reason}");
    assert!(remedy.contains("--no-control-socket"), "{remedy}");
    assert_eq!(said(&of_server(&[], "gunicorn", &["--no-control-socket", "app:app"], &[]), ID), None);
    assert_eq!(said(&of_server(&[], "uvicorn", &["--fd", "{fd}", "app:app"], &[]), ID), None);
    // One that is older does not know the option, and has no such socket.
    let root = tempfile::tempdir().unwrap();
    fs::create_dir_all(root.path().join("lib/python3.11/site-packages/gunicorn-23.0.0.dist-info")).unwrap();
    fs::create_dir(root.path().join("bin")).unwrap();
    let old = root.path().join("bin/gunicorn");
    crate::harness::install_script("#!/bin/sh\n", 0o755, &old);
    let words = [&POOL[..], &["--", old.to_str().unwrap(), "app:app"]].concat();
    assert_eq!(said(&report(&words, &[]), ID), None);
}

#[test]
fn the_variables_of_uvicorn_are_looked_at() {
    const ID: &str = "server-workers";
    let with = |variables| said(&of_server(&[], "uvicorn", &["--fd", "{fd}", "app:app"], variables), ID);
    assert_eq!(with(&[]), None);
    let (reason, remedy) = with(&[("UVICORN_WORKERS", "4")]).unwrap();
    assert!(reason.contains("starts 4 of its own in each of the 2 workers"), "{reason}");
    assert!(remedy.contains("unset UVICORN_WORKERS"), "{remedy}");
    // It takes the listener by a variable as well.
    let by_variable = of_server(&[], "uvicorn", &["app:app"], &[("UVICORN_FD", "3")]);
    assert_eq!(said(&by_variable, "server-socket"), None);
    assert!(said(&of_server(&[], "uvicorn", &["app:app"], &[]), "server-socket").is_some());
}

#[test]
fn a_size_in_bytes_that_was_meant_in_megabytes_is_told() {
    let (reason, remedy) =
        said(&report(&["-n", "2", "--max-memory", "500", "true"], &[]), "tiny-memory").unwrap();
    assert!(reason.contains("--max-memory 500 is 500 bytes"), "{reason}");
    assert_eq!(remedy, "a unit, as in --max-memory 500M");
    assert_eq!(said(&report(&["-n", "2", "--max-memory", "500M", "true"], &[]), "tiny-memory"), None);
}

#[test]
fn what_is_set_is_shown_and_with_all_what_is_not_too() {
    let words = ["-w", "2", "--bind", ":8000, unix:/s", "true"];
    let (some, _) = texts(&check(&words, &[("PREFORK_SUCCESS_CODES", "143, 3")]));
    let shown = |text: &str, name: &str| {
        let line = text.lines().find(|line| line.split_whitespace().next() == Some(name));
        line.map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
    };
    assert_eq!(shown(&some, "workers").as_deref(), Some("workers 2 flag"));
    assert_eq!(
        shown(&some, "success-codes").as_deref(),
        Some("success-codes 143 3 environment PREFORK_SUCCESS_CODES")
    );
    assert_eq!(shown(&some, "backlog"), None);
    assert!(some.contains("--all shows"), "{some}");
    let (all, _) = texts(&check(&[&["--all"][..], &words].concat(), &[]));
    assert_eq!(shown(&all, "backlog").as_deref(), Some("backlog 2048 default"));
    assert!(!all.contains("--all shows"), "{all}");
    // A program gets everything.
    assert!(report(&words, &[])["settings"].as_array().unwrap().len() > 50);
}
