//! The file at work: its command runs, its errors are one line with its name.

use super::file;
use crate::harness::servers::server;
use crate::harness::{Launch, binary, http, launch};
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

/// Ends at once with this line, and nothing was started.
fn refuses(launch: Launch, parts: &[&str]) {
    let dir = launch.dir().to_owned();
    let mut run = launch.start();
    let code = run.wait_exit();
    let text = run.log.text();
    assert_eq!(code, 2, "{parts:?}: {text}");
    assert_eq!(text.lines().count(), 1, "{parts:?}: {text}");
    for part in parts {
        assert!(text.contains(part), "{part:?} is not in: {text}");
    }
    assert!(!dir.join("started").exists(), "{text}");
}

const COMMAND: [&str; 3] = ["--", "touch", "started"];

fn with(path: &str) -> Launch {
    launch(["--config", path].into_iter().chain(COMMAND))
}

#[test]
fn what_is_wrong_in_it_is_told_with_its_name_and_key() {
    for (text, parts) in [
        ("wrokers = 4", &["wrokers: no such option", "did you mean workers?"][..]),
        ("workers = 0", &["workers '0'", "from 1 to 1024"]),
        ("workers = true", &["workers: its value is missing"]),
        ("workers = [4]", &["workers: a list", "one value"]),
        ("graceful-timeout = \"soon\"", &["graceful-timeout 'soon'", "500ms, 30s"]),
        ("bind = [\":8000\", \"nonsense\"]", &["bind 'nonsense'", "HOST:PORT"]),
        ("listener = \"yaml\"", &["listener 'yaml'", "per-worker, shared"]),
        ("no-placeholders = \"yes\"", &["no-placeholders: neither on nor off"]),
        ("workers = 2\nmin-ready = 3", &["min-ready '3'", "from 1 to 2"]),
        ("workers = 2\nmax-age-jitter = \"1h\"", &["max-age-jitter '1h'", "add --max-age"]),
        ("config = \"other\"", &["config: a file cannot name another"]),
        ("json = true", &["json: only for the command line of check"]),
        ("workers = 4\n\nbind = :8000\n", &["line 3: "]),
        ("[pool]\nworkers = 4", &["pool: a section"]),
    ] {
        let (_dir, path) = file(text);
        let parts: Vec<&str> = [&["prefork-init: ", path.as_str()][..], parts].concat();
        refuses(with(&path), &parts);
        refuses(launch(COMMAND).env("PREFORK_CONFIG", &path), &parts);
    }
}

#[test]
fn what_another_layer_says_is_not_looked_at_in_it() {
    let (_dir, path) = file("graceful-timeout = \"soon\"\n");
    let (code, _, err) = launch(["--config", &path, "--graceful-timeout", "1s", "true"]).finish();
    assert_eq!(code, 0, "{err}");
}

#[test]
fn a_file_that_cannot_be_read_is_told_by_who_named_it() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    fs::write(path("latin"), b"user = \"caf\xe9\"\n").unwrap();
    fs::write(path("large"), "#".repeat((1 << 20) + 1)).unwrap();
    symlink(path("nowhere"), path("dangling")).unwrap();
    for (name, parts) in [
        ("missing", &["not found", "mounted"][..]),
        ("dangling", &["not found"]),
        ("latin/below", &["Not a directory"]),
        ("latin", &["not valid UTF-8"]),
        ("large", &["larger than 1 MiB"]),
        (".", &["it is a directory"]),
    ] {
        let path = path(name);
        let by_flag = format!("prefork-init: --config '{path}': ");
        refuses(with(&path), &[&[by_flag.as_str()], parts].concat());
        let by_variable = format!("prefork-init: PREFORK_CONFIG '{path}': ");
        refuses(launch(COMMAND).env("PREFORK_CONFIG", &path), &[&[by_variable.as_str()], parts].concat());
    }
    // To open a pipe waits for a writer, for ever.
    let made = std::process::Command::new("mkfifo").arg(path("pipe")).status().unwrap();
    assert!(made.success());
    refuses(with(&path("pipe")), &["it is not a file"]);
    refuses(with("/dev/null"), &["it is not a file"]);
    refuses(with(""), &["--config"]);
}

#[test]
fn a_file_that_may_not_be_read() {
    let (dir, path) = file("workers = 2\n");
    std::os::unix::fs::chown(&path, Some(65534), Some(65534)).unwrap();
    let without_rights = ["setpriv", "--bounding-set=-all", "--inh-caps=-all"];
    fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o400)).unwrap();
    refuses(with(&path).through(without_rights), &["it may not be read", "readable for our user"]);
    drop(dir);
}

#[test]
fn its_command_and_settings_run_for_real() {
    let (_dir, path) = file(
        "workers = 2\nmax-surge = 2\nsuccess-codes = [3]\nready = \"delay:10ms\"\n\
         command = [\"sh\", \"-c\", \"echo slot {worker_id} of $0; exec sleep 1000\", \"the file\"]\n",
    );
    let mut run = launch(["--config", &path]).start();
    run.log.wait_count("worker ready", 2);
    let ignored = run.wait_for("setting ignored");
    assert_eq!(
        (ignored["file"].as_str(), ignored["key"].as_str()),
        (Some(path.as_str()), Some("success-codes"))
    );
    // They are old enough before they have said anything, perhaps.
    run.wait_lines("stdout", 2);
    run.signal(15);
    assert_eq!(run.wait_exit(), 0);
    let mut lines: Vec<String> = run.stdout().lines().map(str::to_owned).collect();
    lines.sort();
    assert_eq!(lines, ["slot 0 of the file", "slot 1 of the file"]);
    // The workers are not told of a file that is ours.
    let mut run = launch([
        "-n",
        "1",
        "--ready",
        "delay:10ms",
        "--",
        "sh",
        "-c",
        "echo \"[$PREFORK_CONFIG]\"; exec sleep 1000",
    ])
    .env("PREFORK_CONFIG", &path)
    .start();
    run.wait_lines("stdout", 1);
    run.signal(15);
    assert_eq!((run.wait_exit(), run.stdout().as_str()), (0, "[]\n"));
}

#[test]
fn it_is_read_again_at_an_upgrade_and_a_broken_one_changes_nothing() {
    let text = "workers = 1\nready = \"delay:10ms\"\ncommand = [\"sleep\", \"1000\"]\n";
    let (_dir, path) = file(text);
    let mut run = launch(["--config", &path]).start();
    run.log.wait_count("worker ready", 1);
    fs::write(&path, "workers = \"many\"\n").unwrap();
    run.signal(12);
    run.wait_for("upgrade failed");
    fs::write(&path, format!("{text}max-age = \"1h\"\n")).unwrap();
    run.signal(12);
    run.wait_for("upgraded");
    run.signal(1);
    let spawned = run.log.wait_for("worker spawned", |line| line["gen"] == 2);
    assert_eq!(spawned["max_age_ms"], 3_600_000);
    run.log.wait_count("reload finished", 1);
    run.signal(15);
    assert_eq!(run.wait_exit(), 0);
}

#[test]
fn the_example_serves_with_a_real_server() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let example = root.join("examples/prefork.toml");
    let app = root.join("examples/fastapi_app");
    let path = std::env::join_paths(
        [server("uvicorn").parent().unwrap().to_owned()]
            .into_iter()
            .chain(std::env::split_paths(&std::env::var_os("PATH").unwrap())),
    );
    let flags = ["--bind", "127.0.0.1:0", "--health", "127.0.0.1:0", "--user", "root", "--drain-delay", "0s"];
    let words = flags.map(OsString::from).into_iter().chain(["--chdir".into(), app.into()]);
    let mut run = launch(words)
        .env("PREFORK_CONFIG", example.to_str().unwrap())
        .env("PATH", path.unwrap().to_str().unwrap())
        .start();
    run.log.wait_count("worker ready", 2);
    assert_eq!(http::get(&run.address(0), "/").unwrap().status, 200);
    run.signal(15);
    assert_eq!(run.wait_exit(), 0);
}

#[test]
fn a_command_that_is_not_found_is_told_by_its_key() {
    let (_dir, path) = file("command = [\"no-such-command\"]\n");
    let (code, _, err) = launch(["--config", &path]).finish();
    assert_eq!((code, err.lines().count()), (127, 1), "{err}");
    assert!(err.contains(&format!("{path}: command 'no-such-command': not found")), "{err}");
}

#[test]
fn a_file_that_would_start_us_without_end_is_refused() {
    let us = binary();
    let (_dir, path) = file(&format!("command = [{:?}]\n", us.to_str().unwrap()));
    refuses(
        launch(Vec::<&str>::new()).env("PREFORK_CONFIG", &path),
        &[&format!("{path}: command"), "without end"],
    );
}

#[test]
fn by_the_names_of_the_others_the_variable_names_a_file_too() {
    let (_dir, path) = file("graceful-timeout = \"100ms\"\nsuccess-codes = [7]\ncommand = [\"false\"]\n");
    for name in ["dumb-init", "tini"] {
        let by_name = |words: &[&str]| {
            let launch = launch(words.iter().copied());
            let link = launch.dir().join(name);
            symlink(binary(), &link).unwrap();
            launch.program(Path::new(&link))
        };
        let (code, _, err) = by_name(&["sh", "-c", "exit 7"]).env("PREFORK_CONFIG", &path).finish();
        assert_eq!(code, 0, "{name}: {err}");
        // Its command is for our own name: the others never had a default.
        let (code, _, err) = by_name(&[]).env("PREFORK_CONFIG", &path).finish();
        assert_eq!(code, 1, "{name}: {err}");
        let (code, _, err) = by_name(&["true"]).env("PREFORK_CONFIG", "/nowhere").finish();
        assert_eq!(code, 2, "{name}: {err}");
        assert!(err.contains("PREFORK_CONFIG '/nowhere': not found"), "{name}: {err}");
    }
}
