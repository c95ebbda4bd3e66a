//! What is wrong for certain is said at the start, once.

use super::{pool, uvicorn, with_apps};
use crate::harness::{Launch, Run, install_script, launch};
use serde_json::Value;
use std::ffi::OsString;

/// A pool of a program of this name that serves nothing, with these arguments; it is found behind `wrapper`.
fn pool_of(options: &[&str], name: &str, command: &[&str]) -> Launch {
    let words = options.iter().chain(&["--"]).chain(command).map(OsString::from);
    let launch = launch(words);
    let bin = launch.dir().join("bin");
    std::fs::create_dir(&bin).unwrap();
    install_script("#!/bin/sh\nexec sleep 1000\n", 0o755, &bin.join(name));
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    launch.env("PATH", &path)
}

const POOL: [&str; 6] = ["-n", "2", "-b", "127.0.0.1:0", "--ready", "delay:10ms"];

fn hints(run: &Run) -> Vec<Value> {
    run.log.wait_count("worker ready", 2);
    run.log.lines().into_iter().filter(|line| line["check"].is_string()).collect()
}

#[test]
fn a_server_that_cannot_serve_the_pools_listener_is_told_of_in_one_line() {
    for (name, command, id, part) in [
        ("uvicorn", &["uvicorn", "app:app", "--port", "8000"][..], "server-socket", "add --fd {fd}"),
        ("gunicorn", &["gunicorn", "-b", ":8000", "app:app"], "server-socket", "leave gunicorn's --bind out"),
        ("hypercorn", &["hypercorn", "--workers", "0", "app:app"], "server-socket", "add -b fd://{fd}"),
        ("gunicorn", &["gunicorn", "-w", "4", "app:app"], "server-workers", "-w 1 for gunicorn"),
        ("gunicorn", &["dash", "-c", "gunicorn app:app"], "server-socket", "LISTEN_PID names it"),
        ("npm", &["npm", "start"], "runner-socket", "passes no descriptors on"),
    ] {
        let mut run = pool_of(&POOL, name, command).start();
        let found = hints(&run);
        let [hint] = &found[..] else { panic!("{command:?}: {found:?}") };
        assert_eq!((hint["check"].as_str(), hint["level"].as_str()), (Some(id), Some("WARN")), "{command:?}");
        assert!(hint["message"].as_str().unwrap().contains(part), "{hint}");
        run.signal(15);
        assert_eq!(run.wait_exit(), 0);
    }
}

#[test]
fn the_variable_that_gives_uvicorn_workers_of_its_own_is_told_of() {
    let command = ["uvicorn", "app:app", "--fd", "{fd}"];
    let run = pool_of(&POOL, "uvicorn", &command).env("UVICORN_WORKERS", "4").start();
    let found = hints(&run);
    let [hint] = &found[..] else { panic!("{found:?}") };
    assert!(hint["message"].as_str().unwrap().contains("unset UVICORN_WORKERS"), "{hint}");
}

#[test]
fn a_limit_of_some_bytes_is_told_of() {
    let run = pool_of(&[&POOL[..], &["--max-memory", "500"]].concat(), "x", &["x"]).start();
    let hint = run.wait_for("--max-memory 500 is 500 bytes");
    assert_eq!(hint["check"], "tiny-memory");
}

#[test]
fn of_a_server_that_serves_nothing_is_said() {
    let run = with_apps(pool(&["-n", "2"], uvicorn(&[]))).start();
    let found = hints(&run);
    assert_eq!(found, Vec::<Value>::new());
    // What `check` says besides is no news at a start: no health endpoint, no limits.
    let run = pool_of(&POOL, "x", &["x"]).start();
    assert_eq!(hints(&run), Vec::<Value>::new());
}

/// The fact behind the hint: node marks what it inherits as close-on-exec.
#[test]
fn what_node_starts_has_no_listener() {
    let script = "const { spawn } = require('child_process');\n\
                  const shell = 'if [ -e /proc/$$/fd/3 ]; then echo some; else echo none; fi >>fds; exec sleep 1000';\n\
                  spawn('sh', ['-c', shell], { stdio: 'inherit' });\n";
    let run = launch(POOL.into_iter().chain(["--", "node", "-e", script])).start();
    assert_eq!(run.wait_lines("fds", 2).lines().collect::<Vec<_>>(), ["none", "none"]);
}

#[test]
fn a_misspelt_variable_is_told_of_in_both_modes() {
    let (code, _, err) = launch(["--", "true"]).env("PREFORK_GRACEFUL_TIMOUT", "5s").finish();
    assert_eq!(code, 0);
    let lines: Vec<&str> = err.lines().filter(|line| line.contains("\"WARN\"")).collect();
    let [line] = &lines[..] else { panic!("{err}") };
    assert!(
        line.contains(
            "PREFORK_GRACEFUL_TIMOUT is no variable of ours: did you mean PREFORK_GRACEFUL_TIMEOUT?"
        ),
        "{line}"
    );

    let run = launch(["-b", "127.0.0.1:0", "--", "sleep", "1000"]).env("PREFORK_WORKER", "4").start();
    run.wait_for("PREFORK_WORKER is no variable of ours: did you mean PREFORK_WORKERS?");

    // As many as they are, and as long: the command waits for it.
    let many = (0..3_000).map(|number| (format!("PREFORK_X{number}"), "1"));
    let many = many.chain([(format!("PREFORK_{}", "WORKERS".repeat(10_000)), "1")]);
    let launched = many.fold(launch(["--", "true"]), |launched, (name, value)| launched.env(&name, value));
    let (code, _, err) = launched.finish();
    let told: Vec<&str> = err.lines().filter(|line| line.contains("is no variable of ours")).collect();
    assert!(code == 0 && told.len() == 16 && err.len() < 10_000, "{code} {}", told.len());

    // It may be why something else is wrong.
    let (code, _, err) = launch(["--", "x", "{fd}"]).env("PREFORK_BND", ":80").finish();
    assert!(code != 0 && err.contains("did you mean PREFORK_BIND?"), "{err}");

    for (name, value) in
        [("PREFORK_WORKER_ID", "0"), ("PREFORK_EVENT", "x"), ("PREFORK_WORKER", ""), ("PREFORKED", "1")]
    {
        let (_, _, err) = launch(["--", "true"]).env(name, value).finish();
        assert!(!err.contains("WARN"), "{name}: {err}");
    }
}

/// A shell at a terminal runs once, as tests/init/terminal.rs shows; where no user types, the image's variables hold.
#[test]
fn without_a_terminal_variables_make_a_pool_of_any_command() {
    let run = launch(["--", "sh", "-c", "exec sleep 1000"])
        .env("PREFORK_WORKERS", "2")
        .env("PREFORK_BIND", "127.0.0.1:0")
        .env("PREFORK_READY", "delay:10ms")
        .start();
    run.log.wait_count("worker ready", 2);
    assert!(!run.log.text().contains("no pool"));
}
