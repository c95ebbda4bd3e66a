//! `status` and `healthcheck`: what they show is what is, and they find it by themselves.

use super::python::python;
use super::{BRISK, allow, example_worker, pool, wait_serving};
use crate::harness::watch::Watch;
use crate::harness::{Run, binary, eventually, http, kill, launch, plain_command};
use serde_json::Value;
use std::net::TcpListener;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

/// Asks where the pool's health endpoint is.
fn client(run: &Run, words: &[&str]) -> Command {
    let mut command = Command::new(binary());
    command.args(words).env("PREFORK_HEALTH", run.health()).env("PREFORK_MAX_AGE", "nonsense");
    command.stdin(Stdio::null());
    command
}

fn ask(run: &Run, words: &[&str]) -> (i32, String, String) {
    let Output { status, stdout, stderr } = client(run, words).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code().unwrap_or(-1), text(stdout), text(stderr))
}

fn status(run: &Run) -> Value {
    serde_json::from_str(&http::get(&run.health(), "/status").unwrap().body).unwrap()
}

/// The rows of the table, by column.
fn rows(table: &str) -> Vec<Vec<String>> {
    let (_, table) = table.split_once("\n\n").unwrap();
    let words =
        |line: &str| line.split("   ").map(|word| word.trim().to_owned()).filter(|w| !w.is_empty()).collect();
    table.lines().map(words).collect()
}

#[test]
fn it_shows_who_runs_to_people_and_to_programs() {
    let options = ["-n", "2", "--max-requests", "1000", "--count-requests", "notify", "--max-age", "1h"];
    let script = "say('X_PREFORK_REQUESTS=17')\nserve()";
    let run = pool(&[&options[..], &["--max-memory", "4G"]].concat(), python(script)).start();
    let pids = wait_serving(&run, 2);
    let seen = eventually("the requests", || {
        let seen = status(&run);
        seen["workers"].as_array()?.iter().all(|worker| worker["requests"] == 17).then_some(seen)
    });
    assert_eq!((&seen["version"], &seen["pid"]), (&env!("CARGO_PKG_VERSION").into(), &1.into()));
    assert_eq!((&seen["mode"], &seen["phase"]), (&"pool".into(), &"running".into()));
    assert_eq!((&seen["wanted"], &seen["ready"], &seen["min_ready"]), (&2.into(), &2.into(), &1.into()));
    assert_eq!((&seen["started"], &seen["gen"], &seen["reload"]), (&true.into(), &1.into(), &Value::Null));
    assert_eq!(seen["slots"].as_array().unwrap().len(), 2);
    for (slot, worker) in (0..).zip(seen["workers"].as_array().unwrap()) {
        assert_eq!(
            (&worker["slot"], &worker["gen"], &worker["state"]),
            (&slot.into(), &1.into(), &"ready".into())
        );
        assert!(pids.contains(&worker["pid"].as_i64().unwrap()), "{worker}");
        assert_eq!((&worker["max_requests"], &worker["max_age_ms"]), (&1000.into(), &3_600_000.into()));
        assert_eq!((&worker["max_memory"], &worker["reason"]), (&(4u64 << 30).into(), &Value::Null));
        // A Python takes some megabytes.
        assert!((2_000_000..100_000_000).contains(&worker["rss"].as_u64().unwrap()), "{worker}");
        assert!(worker["uptime_ms"].as_u64().unwrap() < 60_000);
    }
    let (code, json, _) = ask(&run, &["status", "--json"]);
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!((code, &json["wanted"]), (0, &2.into()));
    let (code, out, _) = ask(&run, &["status"]);
    assert!(
        code == 0 && out.starts_with("pool running: 2 of 2 ready (1 needed), generation 1, pid 1, up "),
        "{out}"
    );
    let rows = rows(&out);
    assert_eq!(rows[0], ["SLOT", "GEN", "PID", "STATE", "UPTIME", "REQUESTS", "RSS", "REASON"]);
    assert_eq!((rows.len(), rows[2][3].as_str(), rows[2][5].as_str()), (3, "ready", "17/1000"));
    assert_eq!(rows[1][2], json["workers"][0]["pid"].to_string());
}

#[test]
fn it_shows_a_reload_a_vacant_slot_and_the_end() {
    let script = "
if os.environ['PREFORK_GENERATION'] != '1': wait_for_file('go')
signal.signal(signal.SIGTERM, lambda *_: wait_for_file('end') or os._exit(0))
serve()";
    let options = ["-n", "2", "--backoff", "60s", "--backoff-max", "60s"];
    let mut run = pool(&[&options[..], &BRISK].concat(), python(script)).start();
    wait_serving(&run, 2);
    for ready in 2.. {
        let seen = status(&run);
        if seen["slots"][1]["respawn_in_ms"].as_u64().is_some_and(|wait| wait > 1_000) {
            break;
        }
        let in_slot = |worker: &&Value| worker["slot"] == 1 && worker["state"] == "ready";
        let pid =
            seen["workers"].as_array().unwrap().iter().find(in_slot).map(|worker| worker["pid"].clone());
        let Some(pid) = pid.and_then(|pid| pid.as_i64()) else { continue };
        kill(run.outer_pid(pid), libc::SIGKILL);
        run.log.wait_until(|lines| {
            let has = |text: &str| lines.iter().filter(|line| line["message"] == text).count();
            has("worker ready") > ready || has("respawn delayed") > 0
        });
    }
    let (_, out, _) = ask(&run, &["status"]);
    assert!(out.contains("1 of 2 ready") && out.contains("vacant"), "{out}");
    assert!(out.contains("respawn in ") && out.contains("failures in a row"), "{out}");
    run.signal(libc::SIGHUP);
    run.wait_for("reload started");
    let (_, out, _) = ask(&run, &["status"]);
    assert!(out.contains("reload to generation 2 under way"), "{out}");
    run.signal(libc::SIGTERM);
    run.wait_for("worker stopping");
    let seen = eventually("the end", || Some(status(&run)).filter(|seen| seen["phase"] == "stopping"));
    assert!(seen["workers"].as_array().unwrap().iter().all(|worker| worker["state"] == "stopping"), "{seen}");
    allow(&run, "go");
    allow(&run, "end");
    assert_eq!(run.wait_exit(), 0);
}

#[test]
fn a_healthcheck_ends_with_0_or_1() {
    let script = "wait_for_file('go')\nserve()";
    let run = pool(&["--bind", "127.0.0.1:0", "--min-ready", "1"], python(script)).start();
    assert_eq!(ask(&run, &["healthcheck"]).0, 0);
    assert_eq!(ask(&run, &["healthcheck", "--live"]).0, 0);
    let (code, out, _) = ask(&run, &["healthcheck", "--ready"]);
    assert_eq!(
        (code, out.as_str()),
        (1, "[+]phase ok\n[-]workers failed: 0 of 1 ready\nreadyz check failed\n")
    );
    let (code, out, _) = ask(&run, &["healthcheck", "--startup"]);
    assert!(code == 1 && out.ends_with("startupz check failed\n"), "{out}");
    allow(&run, "go");
    run.wait_for("worker ready");
    for how in ["--ready", "--startup", "--live"] {
        assert_eq!(ask(&run, &["healthcheck", how]).0, 0, "{how}");
    }
    // However the one that runs was told where to listen.
    let port = run.health().rsplit_once(':').unwrap().1.to_owned();
    for address in
        [format!(":{port}"), format!("0.0.0.0:{port}"), format!("[::]:{port}"), format!("localhost:{port}")]
    {
        let mut command = client(&run, &["healthcheck", "--ready"]);
        assert!(command.env("PREFORK_HEALTH", &address).status().unwrap().success(), "{address}");
        let mut command = client(&run, &["healthcheck", "--ready", "--health", &address]);
        assert!(command.env("PREFORK_HEALTH", "127.0.0.1:1").status().unwrap().success(), "{address}");
    }
}

/// What else is wrong in the file is not the healthcheck's business: a pool whose reload refused it goes on.
#[test]
fn the_address_is_found_in_the_file_too() {
    let run = pool(&[], example_worker(&[])).start();
    let file = run.dir().join("pool.toml");
    let check = || {
        let mut command = client(&run, &["healthcheck"]);
        command.env("PREFORK_CONFIG", &file).env_remove("PREFORK_HEALTH").output().unwrap()
    };
    std::fs::write(&file, format!("wokers = 7\nhealth = \"{}\"\n", run.health())).unwrap();
    assert!(check().status.success());
    for (text, said) in
        [("workers = 2\n", "set PREFORK_HEALTH"), ("health = \"x\"\n", "not an address"), ("=", "check")]
    {
        std::fs::write(&file, text).unwrap();
        let output = check();
        let err = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.code() == Some(1) && err.contains(said), "{text}: {err}");
    }
}

#[test]
fn a_healthcheck_that_cannot_ask_fails_in_its_time() {
    let deaf = TcpListener::bind("127.0.0.1:0").unwrap();
    let deaf = deaf.local_addr().unwrap().to_string();
    let check = |address: &str| {
        let mut command = Command::new(binary());
        command.args(["healthcheck", "--timeout", "300ms"]).env_remove("PREFORK_CONTROL");
        let begun = Watch::start();
        let output = command.env("PREFORK_HEALTH", address).output().unwrap();
        assert!(begun.ran() < Duration::from_secs(3), "{address}: {:?}", begun.elapsed());
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    for (address, said) in [
        (deaf.as_str(), "no answer in time"),
        ("127.0.0.1:1", "refused"),
        ("unix:/no/such/socket", "No such file"),
        ("", "set PREFORK_HEALTH"),
        ("nonsense", "not an address"),
        ("127.0.0.1:0", "the kernel chose the port"),
    ] {
        let (code, err) = check(address);
        assert!(
            code == Some(1) && err.contains(said) && err.lines().count() == 1,
            "{address}: {code:?} {err}"
        );
    }
}

#[test]
fn behind_two_dashes_and_behind_an_option_they_are_commands() {
    for words in [&["--", "status"][..], &["--log-level", "info", "ctl"], &["--", "healthcheck"]] {
        let (code, _, err) = launch(words.iter().copied()).finish();
        assert!(code == 127 && err.contains("not found"), "{words:?}: {code} {err}");
    }
    for command in ["status", "ctl", "healthcheck"] {
        let output = Command::new(binary()).args([command, "--help"]).output().unwrap();
        let help = String::from_utf8(output.stdout).unwrap();
        assert!(
            output.status.success() && help.contains(&format!("prefork-init {command} [OPTIONS]")),
            "{help}"
        );
    }
}

/// What is written while it watches, on a terminal.
#[test]
fn a_watched_status_is_shown_in_place_until_ctrl_c_and_leaves_the_terminal_as_it_was() {
    let run = pool(&[], example_worker(&[])).start();
    run.wait_for("worker ready");
    let script = r#"
import fcntl, os, pty, signal, struct, sys, termios, time
pid, fd = pty.fork()
if pid == 0:
    # The leader of the session lives on: what is in a terminal when its session ends, the kernel throws away.
    signal.signal(signal.SIGINT, lambda *_: None)
    code = os.spawnv(os.P_WAIT, sys.argv[1], [sys.argv[1], "status", "--watch"])
    os.write(1, b"ended %d." % code)
    while True: time.sleep(1)
fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", 10, 60, 0, 0))
before = termios.tcgetattr(fd)
seen = b""
while seen.count(b"\x1b[J") < 3:
    seen += os.read(fd, 65536)
os.write(fd, b"\x03")
while not seen.endswith(b"."):
    seen += os.read(fd, 65536)
seen, code = seen[:-1].split(b"ended ")
assert code == b"0" and termios.tcgetattr(fd) == before, (code, before)
os.kill(pid, signal.SIGKILL)
os.waitpid(pid, 0)
assert seen.startswith(b"\x1b[?1049h\x1b[?25l"), seen
assert seen.endswith(b"\x1b[?25h\x1b[?1049l"), seen
last = seen.split(b"\x1b[H")[3].split(b"\x1b[J")[0]
lines = last.replace(b"\x1b[K", b"").split(b"\r\n")
assert all(len(line) <= 60 for line in lines), lines
assert lines[2].startswith(b"SLOT") and b"ready" in lines[3], lines
"#;
    let mut command = plain_command(&crate::harness::python());
    command.args(["-I", "-S", "-c", script]).arg(binary()).env("PREFORK_HEALTH", run.health());
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn a_watched_status_in_a_pipe_goes_on_though_nobody_answers() {
    let mut run = pool(&[], example_worker(&[])).start();
    run.wait_for("worker ready");
    let file = run.dir().join("watched");
    let mut command = client(&run, &["status", "--watch"]);
    let mut watching = command.stdout(std::fs::File::create(&file).unwrap()).spawn().unwrap();
    let text = || std::fs::read_to_string(&file).unwrap();
    eventually("a second look", || (text().matches("SLOT").count() >= 2).then_some(()));
    run.signal(libc::SIGTERM);
    assert_eq!(run.wait_exit(), 0);
    eventually("a look at nobody", || text().contains("refused").then_some(()));
    kill(i32::try_from(watching.id()).unwrap(), libc::SIGINT);
    assert_eq!(watching.wait().unwrap().code(), Some(0));
    assert!(!text().contains('\u{1b}'), "control sequences in a file");
}
