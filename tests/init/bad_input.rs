//! Whatever is wrong at the start: one line that names option, value and remedy, the right code, and nothing
//! was started.

use crate::harness::{Launch, launch};
use std::ffi::OsString;
use std::fs;
use std::net::TcpListener;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::PermissionsExt;

/// What would show that the command was started.
const COMMAND: [&str; 3] = ["--", "touch", "started"];

/// Checks the one line, the code, and that nothing was started.
fn refuses(launch: Launch, code: i32, parts: &[&str]) {
    let dir = launch.dir().to_owned();
    let mut run = launch.start();
    let ended = run.wait_exit();
    let text = run.log.text();
    assert_eq!(ended, code, "{parts:?}: {text}");
    assert_eq!(text.lines().count(), 1, "{parts:?}: {text}");
    assert!(text.starts_with("prefork-init: "), "{text}");
    for part in parts {
        assert!(text.contains(part), "{part:?} is not in: {text}");
    }
    assert_eq!(run.stdout(), "");
    assert!(!dir.join("started").exists(), "{text}");
}

fn options(line: &[&str]) -> Launch {
    launch(line.iter().copied().chain(COMMAND))
}

#[test]
fn a_wrong_option_or_value() {
    let long = format!("unix:/{}", "x".repeat(299));
    let table: &[(&[&str], &[&str])] = &[
        (&["--wrokers", "2"], &["--wrokers", "no such option", "did you mean --workers?"]),
        (&["--zzz"], &["--zzz", "no such option", "see --help"]),
        (&["-Z"], &["-Z", "no such option", "see --help"]),
        (
            &["--reload"],
            &["--reload", "no such option", "your server's", "works with -n 1", "HUP loads new code"],
        ),
        (&["-n", "2", "-k", "gthread"], &["-k", "gunicorn's", "write it behind gunicorn"]),
        (&["-c", "gunicorn.conf.py"], &["-c", "gunicorn's", "--config FILE"]),
        (&["--timeout", "30"], &["--timeout", "gunicorn's", "--probe, --accept-stall"]),
        (&["--preload"], &["--preload", "gunicorn's", "leave it out"]),
        (&["--port", "8000"], &["--port", "--bind HOST:PORT"]),
        (&["--workers", "0"], &["--workers '0'", "from 1 to 1024"]),
        (&["--workers", "-1"], &["--workers '-1'", "from 1 to 1024"]),
        (&["-n", "two"], &["--workers 'two'", "from 1 to 1024"]),
        (&["-n", "99999999999999999999"], &["--workers '99999999999999999999'", "from 1 to 1024"]),
        (&["-n2", "-n3"], &["--workers", "more than once", "give it once"]),
        (&["--graceful-timeout", "soon"], &["--graceful-timeout 'soon'", "not a duration", "500ms, 30s"]),
        (&["--graceful-timeout", ""], &["--graceful-timeout", "500ms, 30s"]),
        (&["--graceful-timeout=-5s"], &["--graceful-timeout '-5s'", "500ms, 30s"]),
        (&["--drain-delay", "infinity"], &["--drain-delay 'infinity'", "500ms, 30s"]),
        (&["--graceful-timeout", "99999999h"], &["--graceful-timeout '99999999h'", "shorter"]),
        (&["--stop-signal", "FOO"], &["--stop-signal 'FOO'", "TERM, QUIT"]),
        (&["--stop-signal", "65"], &["--stop-signal '65'", "TERM, QUIT"]),
        (&["--stop-signal", "STOP"], &["--stop-signal 'STOP'", "TERM, QUIT"]),
        (&["--log-format", "yaml"], &["--log-format 'yaml'", "text, json"]),
        (&["--log-level", "loud"], &["--log-level 'loud'", "error, warn, info, debug"]),
        (&["--bind", "nonsense"], &["--bind 'nonsense'", "HOST:PORT"]),
        (&["--bind", "127.0.0.1:65536"], &["--bind '127.0.0.1:65536'", "0 to 65535"]),
        (&["--bind", "example.org:80"], &["--bind 'example.org:80'", "not an IP address"]),
        (&["--bind", "unix:"], &["--bind 'unix:'", "unix:/path"]),
        (&["--bind", &long], &["--bind 'unix:/xxx", "107 bytes", "use a shorter path"]),
        (&["--health", "nonsense"], &["--health 'nonsense'", "HOST:PORT"]),
        (&["--backlog", "0", "-n", "1"], &["--backlog '0'", "from 1 to 65535"]),
        (&["-n", "2", "--min-ready", "3"], &["--min-ready '3'", "from 1 to 2"]),
        (&["-n", "2", "--max-requests-jitter", "5"], &["--max-requests-jitter '5'", "add --max-requests"]),
        (&["-n", "2", "--max-age-jitter", "5s"], &["--max-age-jitter '5s'", "add --max-age"]),
        (
            &["-n", "2", "--max-requests", "100"],
            &["--max-requests '100'", "{max_requests}", "--count-requests notify"],
        ),
        (&["-n", "2", "--max-requests", "-1"], &["--max-requests '-1'", "from 0 up"]),
        (&["--max-age", "5s"], &["--max-age", "only a pool", "add --workers"]),
        (&["--drain-delay", "5s"], &["--drain-delay", "only a pool", "add --workers"]),
        (&["--backlog", "10"], &["--backlog", "only a pool", "add --workers"]),
        (&["--graceful-timeout", "-5"], &["--graceful-timeout '-5'", "not a duration"]),
        (&["-n", "2", "--max-age", "-1s"], &["--max-age '-1s'", "not a duration"]),
        (&["-n", "1\n2"], &["--workers '1 2'", "from 1 to 1024"]),
        (&["-n", "2", "--count-requests", "dice"], &["--count-requests 'dice'", "worker, notify"]),
    ];
    for (line, parts) in table {
        refuses(options(line), 2, parts);
    }
    refuses(options(&["--workers", "0"]).not_pid1(), 2, &["--workers '0'", "from 1 to 1024"]);
}

/// Only one of them could be had, or they would share what comes.
#[test]
fn two_addresses_of_which_one_takes_the_other() {
    let table: &[(&[&str], &[&str])] = &[
        (
            &["-b", ":8000", "-b", "127.0.0.1:8000"],
            &["--bind '127.0.0.1:8000'", "collides with --bind '0.0.0.0:8000'"],
        ),
        (
            &["-b", "127.0.0.1:8000, 127.0.0.1:8000"],
            &["--bind '127.0.0.1:8000'", "another port for one of them"],
        ),
        (&["-b", "[::]:8000,:8000"], &["--bind '0.0.0.0:8000'", "collides with --bind '[::]:8000'"]),
        (&["-b", "unix:s", "-b", "unix:./s"], &["--bind 'unix:./s'", "--bind 'unix:s'", "another path"]),
        (
            &["-b", ":8000", "--health", "127.0.0.1:8000"],
            &["--health '127.0.0.1:8000'", "--bind '0.0.0.0:8000'"],
        ),
        (&["-b", "unix:s", "--control", "s"], &["--control 'unix:s'", "--bind 'unix:s'"]),
        (&["--health", "unix:s", "--control", "s"], &["--control 'unix:s'", "--health 'unix:s'"]),
    ];
    for (line, parts) in table {
        refuses(options(line), 2, parts);
    }
    // Each is named as it was given.
    let by_variable = options(&["-n", "1", "--health", ":8000"]).env("PREFORK_BIND", ":8000");
    refuses(by_variable, 2, &["--health '0.0.0.0:8000'", "collides with PREFORK_BIND '0.0.0.0:8000'"]);
    let by_port = options(&["-n", "1", "--health", ":8000"]).env("PORT", "8000");
    refuses(by_port, 2, &["--health '0.0.0.0:8000'", "collides with PORT '0.0.0.0:8000'"]);
}

#[test]
fn a_command_line_in_one_word() {
    for pool in [&[][..], &["-n", "2", "-b", "127.0.0.1:0"]] {
        let with = |command: &str| launch(pool.iter().copied().chain(["--", command]));
        refuses(
            with("touch started"),
            127,
            &["COMMAND 'touch started'", "not found", "one word with blanks", "quotes"],
        );
    }
}

#[test]
fn a_missing_command_or_value() {
    let example = "prefork-init -- myserver";
    for line in [&[][..], &["--"], &["-n", "2"], &["-n", "2", "--"]] {
        refuses(launch(line.iter().copied()), 2, &["COMMAND", "missing", example]);
    }
    refuses(launch(["--workers"]), 2, &["--workers", "value"]);
}

#[test]
fn a_placeholder_that_stands_for_nothing() {
    refuses(launch(["-n", "1", "--", "touch", "started", "{fd}"]), 2, &["COMMAND '{fd}'", "add --bind"]);
    refuses(
        launch(["-n", "1", "--", "touch", "{max_requests}"]),
        2,
        &["COMMAND '{max_requests}'", "add --max-requests"],
    );
}

#[test]
fn a_command_that_cannot_be_run() {
    for pool in [&[][..], &["-n", "2", "-b", "127.0.0.1:0"]] {
        let with = |command: &str| launch(pool.iter().copied().chain(["--", command]));
        refuses(with("no-such-command"), 127, &["COMMAND 'no-such-command'", "not found", "PATH"]);
        refuses(with("/no/such/command"), 127, &["COMMAND '/no/such/command'", "not found", "full path"]);
        refuses(with(""), 127, &["COMMAND ''", "not found"]);
        refuses(with("/proc"), 126, &["COMMAND '/proc'", "directory", "name the program"]);
        refuses(with("./"), 126, &["COMMAND './'", "directory"]);
        let launch = with("./file");
        fs::write(launch.dir().join("file"), "#!/bin/sh\n").unwrap();
        refuses(launch, 126, &["COMMAND './file'", "not executable", "chmod +x"]);
    }
}

#[test]
fn an_address_in_use_and_nothing_is_left_bound() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let in_use = listener.local_addr().unwrap().to_string();
    let named = format!("'{in_use}'");
    refuses(options(&["-n", "1", "--bind", &in_use]), 125, &["--bind", &named, "in use", "use another port"]);
    refuses(options(&["--health", &in_use]), 125, &["--health", &named, "in use", "use another port"]);
    // The first can be bound, the second not: neither is held, and no file is left, afterwards.
    let folder = tempfile::tempdir().unwrap();
    let first = folder.path().join("first");
    let both = format!("unix:{},{in_use}", first.display());
    let launch = options(&["-n", "1", "--bind", &both]).env("PREFORK_LOG_LEVEL", "error");
    refuses(launch, 125, &["--bind", &named, "in use"]);
    assert!(!first.exists());
}

#[test]
fn a_privileged_port_without_the_right() {
    // A fresh network namespace has the kernel's own idea of which ports are privileged.
    let wrapper =
        ["unshare", "--net", "setpriv", "--bounding-set=-net_bind_service", "--inh-caps=-net_bind_service"];
    let remedy = "NET_BIND_SERVICE";
    let launch = options(&["-n", "1", "--bind", "0.0.0.0:80"]).through(wrapper);
    refuses(launch, 125, &["--bind '0.0.0.0:80'", "denied", "from 1024 up", remedy]);
    let launch = options(&["--health", ":81"]).through(wrapper);
    refuses(launch, 125, &["--health '0.0.0.0:81'", "denied", "from 1024 up", remedy]);
}

#[test]
fn an_address_that_is_not_ours() {
    refuses(options(&["-b", "192.0.2.1:8000"]), 125, &["--bind '192.0.2.1:8000'", "address of this machine"]);
}

#[test]
fn a_unix_path_that_cannot_be_had() {
    let launch = options(&["-b", "unix:no/such/directory/s"]);
    refuses(launch, 125, &["--bind 'unix:no/such/directory/s'", "create the directory"]);

    let no_override = "--bounding-set=-dac_override";
    let launch =
        options(&["-b", "unix:locked/s"]).through(["setpriv", no_override, "--inh-caps=-dac_override"]);
    let locked = launch.dir().join("locked");
    fs::create_dir(&locked).unwrap();
    fs::set_permissions(&locked, fs::Permissions::from_mode(0o555)).unwrap();
    refuses(launch, 125, &["--bind 'unix:locked/s'", "denied", "may write to"]);

    let launch = options(&["-b", "unix:file"]);
    let file = launch.dir().join("file");
    fs::write(&file, "precious").unwrap();
    refuses(launch, 125, &["--bind 'unix:file'", "in use", "another path"]);

    let launch = options(&["--health", "unix:no/health"]);
    refuses(launch, 125, &["--health 'unix:no/health'", "create the directory"]);
    let launch = options(&["--control", "no/control"]);
    refuses(launch, 125, &["--control 'unix:no/control'", "create the directory"]);
    refuses(options(&["--control", ""]), 2, &["--control", "the path is missing", "write /path/to/socket"]);
    refuses(
        options(&["--control", &"x".repeat(108)]),
        2,
        &["--control", "longer than 107", "a shorter path"],
    );
}

#[test]
fn words_of_other_programs_in_the_environment() {
    refuses(
        options(&["-b", "127.0.0.1:0"]).env("WEB_CONCURRENCY", "many"),
        2,
        &["WEB_CONCURRENCY 'many'", "--workers"],
    );
    refuses(options(&["-n", "1"]).env("PORT", "http"), 2, &["PORT 'http'", "--bind"]);
}

#[test]
fn what_is_no_text() {
    let raw = || OsString::from_vec(b"\xff".to_vec());
    let words = ["--bind".into(), raw(), "--".into(), "touch".into(), "started".into()];
    refuses(launch::<OsString>(words), 2, &["--bind", "not valid UTF-8"]);
}

#[test]
fn too_few_descriptors() {
    let many = options(&["-b", "127.0.0.1:0", "-b", "127.0.0.1:0", "-b", "127.0.0.1:0"]);
    let few = ["sh", "-c", "ulimit -n 8; exec \"$@\"", "sh"];
    refuses(many.through(few), 125, &["--bind", "Too many open files", "raise the limit on open files"]);
}

#[test]
fn options_of_a_pool_that_do_not_go_together() {
    let with = |more: &[&str]| {
        let pool = ["-n", "2", "-b", "127.0.0.1:0"];
        options(&pool.iter().chain(more).copied().collect::<Vec<_>>())
    };
    let table: &[(&[&str], &[&str])] = &[
        (&["--ready", "probe"], &["--ready 'probe'", "not said what to ask for", "add --probe PATH"]),
        (&["--ready", "delay:"], &["--ready 'delay:'", "not a duration", "500ms, 30s"]),
        (&["--ready", "maybe"], &["--ready 'maybe'", "no such way", "auto, notify, accept, probe"]),
        (&["--probe", "/", "--listener", "shared"], &["--probe '/'", "shared", "--listener per-worker"]),
        (&["--probe", "healthz"], &["--probe 'healthz'", "not a path", "begin with /"]),
        (&["--probe", "/a b"], &["--probe '/a b'", "not a path", "escape"]),
        (&["--probe", ""], &["--probe", "begin with /"]),
        (&["--probe-interval", "1s"], &["--probe-interval", "nothing is probed", "add --probe PATH"]),
        (&["--probe-timeout", "1s"], &["--probe-timeout", "nothing is probed", "add --probe PATH"]),
        (&["--probe-failures", "1"], &["--probe-failures", "nothing is probed", "add --probe PATH"]),
        (&["--drain-signal", "KILL"], &["--drain-signal 'KILL'", "nobody can handle it", "USR2"]),
        (&["--start-timeout", "0"], &["--start-timeout '0'", "ready at once", "infinity"]),
        (&["--memory-samples", "2"], &["--memory-samples", "no limit", "add --max-memory SIZE"]),
        (&["--memory-measure", "pss"], &["--memory-measure", "no limit", "add --max-memory SIZE"]),
        (&["--abort-time", "1s"], &["--abort-time", "nothing finds out", "add --watchdog"]),
        (&["--probe", "/", "--probe-failures", "0"], &["--probe-failures '0'", "from 1 to 1000"]),
        (&["--probe", "/", "--probe-interval", "1ms"], &["--probe-interval '1ms'", "use 10ms or more"]),
        (&["--watchdog", "0"], &["--watchdog '0'", "too short", "use 10ms or more"]),
        (&["--watchdog", "infinity"], &["--watchdog 'infinity'", "not a duration"]),
        (
            &["--accept-stall", "5s", "--listener", "shared"],
            &["--accept-stall '5s'", "no queue of their own", "--listener per-worker"],
        ),
        (&["--listener", "own"], &["--listener 'own'", "per-worker, shared"]),
        (&["--abort-signal", "STOP"], &["--abort-signal 'STOP'", "stops nobody", "TERM, QUIT or INT"]),
        (
            &["--max-surge", "0", "--max-unavailable", "0"],
            &["--max-surge '0'", "--max-unavailable is 0 too", "raise one of them"],
        ),
        (&["--max-surge", "0"], &["--max-surge '0'", "raise one of them"]),
        (
            &["--max-surge", "0%", "--max-unavailable", "30%"],
            &["--max-unavailable '30%'", "that is none", "raise one of them"],
        ),
        (&["--max-surge", "101%"], &["--max-surge '101%'", "from 0 to 100"]),
        (&["--max-unavailable", "1.5"], &["--max-unavailable '1.5'", "a part as in 25%"]),
        (&["--max-unavailable", "-1"], &["--max-unavailable '-1'", "from 0 to 1024"]),
        (&["--drain-signal", "TERM"], &["--drain-signal 'TERM'", "it is the stop signal", "USR2"]),
        (
            &["--drain-signal", "USR2", "--stop-signal", "12"],
            &["--drain-signal 'USR2'", "it is the stop signal", "use one"],
        ),
        (
            &["--max-memory", "1G", "--max-memory-hard", "1024M"],
            &["--max-memory-hard '1073741824'", "not more than --max-memory", "use a larger size"],
        ),
        (
            &["--max-memory", "100", "--max-memory-jitter", "10%", "--max-memory-hard", "110"],
            &["--max-memory-hard '110'", "and its jitter", "use a larger size"],
        ),
        (&["--max-memory-jitter", "10%"], &["--max-memory-jitter '10%'", "no limit", "add --max-memory"]),
        (&["--max-requests-jitter", "5%"], &["--max-requests-jitter '5%'", "add --max-requests"]),
        (&["--max-age", "0", "--max-age-jitter", "5%"], &["--max-age-jitter '5%'", "add --max-age"]),
        (&["--max-memory", "1X"], &["--max-memory '1X'", "not a size", "512M, 1.5G"]),
        (&["--max-memory", "-1M"], &["--max-memory '-1M'", "not a size", "512M, 1.5G"]),
        (&["--max-memory", "99999999T"], &["--max-memory '99999999T'", "use a smaller size"]),
        (&["--max-memory", "1M", "--max-memory-jitter", "101%"], &["'101%'", "from 0 to 100", "10%"]),
        (
            &["--max-memory", "1M", "--max-memory-jitter", "x"],
            &["--max-memory-jitter 'x'", "not a size", "10%"],
        ),
        (&["--memory-samples", "0"], &["--memory-samples '0'", "from 1 to 1000"]),
        (&["--memory-measure", "uss"], &["--memory-measure 'uss'", "rss, pss"]),
    ];
    for (line, parts) in table {
        refuses(with(line), 2, parts);
    }
    refuses(
        options(&["-n", "1", "--ready", "accept"]),
        2,
        &["--ready 'accept'", "no listener", "add --bind"],
    );
    refuses(
        options(&["-n", "1", "--accept-stall", "1s"]),
        2,
        &["--accept-stall '1s'", "no queue of their own", "--bind HOST:PORT"],
    );
    for bind in ["[::1]:0", "unix:s", "unix:s,[::1]:0"] {
        let line = ["-b", bind, "--probe", "/"];
        refuses(options(&line), 2, &["--probe '/'", "over IPv4", "add --bind with an IPv4 address"]);
    }
}
