//! Orders over the control socket: carried out, waited for, and refused to strangers.

use super::python::{SERVER, app, python, write_app};
use super::{BRISK, allow, example_worker, pool, wait_serving};
use crate::harness::watch::Watch;
use crate::harness::{Launch, Run, binary, eventually, kill, launch};
use serde_json::Value;
use std::ffi::OsString;
use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// A pool that takes orders.
fn ordered(options: &[&str], command: Vec<OsString>) -> Launch {
    pool(&[&["--control", "control"], &BRISK[..], options].concat(), command)
}

fn socket(run: &Run) -> PathBuf {
    run.dir().join("control")
}

/// Our own client, with an environment that would be wrong for a pool.
fn client(run: &Run, words: &[&str]) -> Command {
    let mut command = Command::new(binary());
    command.args(words).env("PREFORK_CONTROL", socket(run)).env("PREFORK_WORKERS", "nonsense");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// The exit code, and what it says on stdout and stderr.
fn ended(child: Child) -> (i32, String, String) {
    let output = child.wait_with_output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap_or(-1), text(output.stdout), text(output.stderr))
}

fn ctl(run: &Run, words: &[&str]) -> (i32, String, String) {
    ended(client(run, &[&["ctl"], words].concat()).spawn().unwrap())
}

/// What it answers in JSON.
fn ctl_json(run: &Run, words: &[&str]) -> (i32, Value) {
    let (code, out, err) = ctl(run, &[words, &["--json"]].concat());
    (code, serde_json::from_str(&out).unwrap_or_else(|error| panic!("{error}: {out:?} {err:?}")))
}

/// As curl does it: the head, and the body.
fn curl(run: &Run, method: &str, path: &str) -> (u16, Value) {
    let answer = send(run, method, path);
    let (head, body) = read(answer);
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok());
    (status.unwrap_or_else(|| panic!("{head}")), serde_json::from_str(&body).unwrap_or(Value::Null))
}

fn send(run: &Run, method: &str, path: &str) -> UnixStream {
    let mut stream = UnixStream::connect(socket(run)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let head = format!("{method} {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    stream.write_all(head.as_bytes()).unwrap();
    stream
}

fn read(mut stream: UnixStream) -> (String, String) {
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    (head.to_owned(), body.to_owned())
}

fn status(run: &Run) -> Value {
    curl(run, "GET", "/status").1
}

/// The pid in the seat of a slot.
fn pid_of(run: &Run, slot: u64) -> i64 {
    let status = status(run);
    let workers = status["workers"].as_array().unwrap();
    workers.iter().find(|worker| worker["slot"] == slot).unwrap()["pid"].as_i64().unwrap()
}

/// Waits from its second generation on.
const SECOND_WAITS: &str = "
if os.environ['PREFORK_GENERATION'] != '1': wait_for_file('go')
serve()";

#[test]
fn every_order_is_waited_for_and_what_came_of_it_is_told() {
    let script = "signal.signal(signal.SIGUSR1, lambda *_: note('signals', str(os.getpid())))\nserve()";
    let run = ordered(&["-n", "2"], python(script)).start();
    let first = wait_serving(&run, 2);

    let (code, out, _) = ctl(&run, &["reload"]);
    assert_eq!((code, out.as_str()), (0, "reload finished: generation 2\n"));
    let second = wait_serving(&run, 2);
    assert!(second.is_disjoint(&first));

    let old = pid_of(&run, 1);
    let (code, told) = ctl_json(&run, &["recycle", "1"]);
    assert_eq!((code, &told["outcome"], &told["slot"]), (0, &"finished".into(), &1.into()), "{told}");
    assert_eq!((&told["old_pid"], &told["pid"]), (&old.into(), &pid_of(&run, 1).into()));
    assert_ne!(pid_of(&run, 1), old);
    let due =
        run.log.wait_for("worker due for recycling", |line| line["reason"] == "asked" && line["pid"] == old);
    assert!(due.get("requests").is_none(), "nobody counts: {due}");

    assert_eq!(ctl(&run, &["scale", "5"]), (0, "scaled: 5 ready\n".into(), String::new()));
    assert_eq!((&status(&run)["wanted"], &status(&run)["ready"]), (&5.into(), &5.into()));
    // And fewer: not before they are gone.
    assert_eq!(ctl(&run, &["scale", "2"]), (0, "scaled: 2 ready\n".into(), String::new()));
    assert_eq!(status(&run)["workers"].as_array().unwrap().len(), 2);
    assert_eq!(ctl(&run, &["scale", "2"]).0, 0, "as many as there are");

    let pid = pid_of(&run, 0);
    let (code, told) = ctl_json(&run, &["signal", "0", "usr1"]);
    assert_eq!((code, &told["outcome"], &told["pid"]), (0, &"sent".into(), &pid.into()));
    // That is when Python sees it, if it came just before the system call; and another may answer.
    eventually("the signal", || {
        let _seen = crate::harness::http::get(&run.address(0), "/");
        run.dir().join("signals").exists().then_some(())
    });
    assert_eq!(run.wait_lines("signals", 1), format!("{pid}\n"));

    run.log.wait_for("order received", |line| line["order"] == "scale 5" && line["uid"].is_u64());
    let (code, out, _) = ctl(&run, &["stop"]);
    assert_eq!((code, out.as_str()), (0, "stopping\n"));
    let mut run = run;
    assert_eq!(run.wait_exit(), 0);
    assert!(!socket(&run).exists(), "the socket is left");
    let (code, _, err) = ctl(&run, &["stop"]);
    assert!(code == 69 && err.contains("control") && err.lines().count() == 1, "{code} {err}");
}

#[test]
fn a_reload_and_a_replacement_that_fail_are_told() {
    let launch = ordered(&["-n", "2", "--backoff", "20ms"], app());
    write_app(launch.dir(), "serve()");
    let run = launch.start();
    let before = wait_serving(&run, 2);
    write_app(run.dir(), "sys.exit(3)");
    let (code, out, err) = ctl(&run, &["reload"]);
    assert_eq!((code, out.as_str()), (1, ""));
    assert!(err.starts_with("prefork-init: reload failed") && err.contains("boot-error"), "{err}");
    let (status, told) = curl(&run, "POST", "/reload");
    assert_eq!((status, &told["outcome"], &told["reason"]), (500, &"failed".into(), &"boot-error".into()));
    assert_eq!(told["gen"], 3);
    let (code, told) = ctl_json(&run, &["recycle", "0"]);
    assert_eq!((code, &told["outcome"], &told["slot"]), (1, &"failed".into(), &0.into()), "{told}");
    let (code, told) = ctl_json(&run, &["scale", "3"]);
    assert_eq!((code, &told["outcome"], &told["slot"]), (1, &"failed".into(), &2.into()), "{told}");
    assert_eq!(super::serving(&run.log.lines()), before, "the old ones go on");
    write_app(run.dir(), "serve()");
    assert_eq!(ctl(&run, &["scale", "3"]).0, 0);
    assert_eq!(ctl(&run, &["recycle", "0"]).0, 0);
}

#[test]
fn an_order_that_takes_too_long_is_said_to_be_under_way() {
    let run = ordered(&[], python(SECOND_WAITS)).start();
    run.wait_for("worker ready");
    let (code, out, _) = ctl(&run, &["reload", "--timeout", "50ms"]);
    assert_eq!((code, out.as_str()), (4, "reload: still under way\n"));
    let (status_code, told) = curl(&run, "POST", "/recycle/0?wait=0");
    assert_eq!((status_code, &told["outcome"]), (202, &"running".into()));
    assert_eq!(status(&run)["reload"]["state"], "running");
    allow(&run, "go");
    eventually("the end of the reload", || (status(&run)["reload"]["state"] == "finished").then_some(()));
}

#[test]
fn of_two_reloads_at_once_one_is_overtaken() {
    let run = ordered(&[], python(SECOND_WAITS)).start();
    run.wait_for("worker ready");
    let first = client(&run, &["ctl", "reload"]).spawn().unwrap();
    run.wait_for("reload started");
    let second = client(&run, &["ctl", "reload", "--json"]).spawn().unwrap();
    let (code, _, err) = ended(first);
    assert!(code == 1 && err.contains("overtaken"), "{err}");
    allow(&run, "go");
    let (code, out, _) = ended(second);
    assert_eq!((code, out.contains("\"gen\":3")), (0, true), "{out}");
}

#[test]
fn a_stop_ends_every_other_order_and_nothing_is_begun_after_it() {
    let script = format!(
        "signal.signal(signal.SIGTERM, lambda *_: wait_for_file('end') or os._exit(0))\n{SECOND_WAITS}"
    );
    let mut run = ordered(&["-n", "2"], python(&script)).start();
    wait_serving(&run, 2);
    let reload = client(&run, &["ctl", "reload", "--json"]).spawn().unwrap();
    run.wait_for("reload started");
    assert_eq!(ctl(&run, &["stop"]).0, 0);
    let (code, out, _) = ended(reload);
    assert!(code == 1 && out.contains("interrupted"), "{code} {out}");
    for words in [&["reload"][..], &["recycle", "0"], &["scale", "9"]] {
        let (code, told) = ctl_json(&run, words);
        assert_eq!((code, &told["outcome"]), (1, &"refused".into()), "{told}");
        assert!(told["message"].as_str().unwrap().contains("stopping"), "{told}");
    }
    assert_eq!(curl(&run, "POST", "/reload").0, 409);
    // The same order again asks for no haste.
    assert_eq!(ctl(&run, &["stop"]).0, 0);
    assert!(run.log.with_message("shutdown hurried").is_empty());
    assert_eq!(status(&run)["phase"], "stopping");
    allow(&run, "end");
    assert_eq!(run.wait_exit(), 0);
}

#[test]
fn a_stop_is_answered_though_nobody_is_left_to_be_stopped() {
    for _ in 0..5 {
        let mut run = ordered(&["--backoff", "60s", "--backoff-max", "60s"], python("serve()")).start();
        let pid = run.wait_for("worker ready")["pid"].as_i64().unwrap();
        for _ in 0..2 {
            let Some(pid) = super::serving(&run.log.lines()).first().copied().or(Some(pid)) else { break };
            if run.log.with_message("respawn delayed").is_empty() {
                let ready = run.log.with_message("worker ready").len();
                kill(run.outer_pid(pid), libc::SIGKILL);
                run.log.wait_until(|lines| {
                    let has = |text: &str| lines.iter().filter(|line| line["message"] == text).count();
                    has("worker ready") > ready || has("respawn delayed") > 0
                });
            }
        }
        run.wait_for("respawn delayed");
        assert_eq!(ctl(&run, &["stop"]), (0, "stopping\n".into(), String::new()));
        assert_eq!(run.wait_exit(), 0);
    }
}

#[test]
fn what_cannot_be_is_refused_with_a_reason() {
    let run = ordered(&["-n", "2"], example_worker(&[])).start();
    wait_serving(&run, 2);
    for (path, code, reason) in [
        ("/recycle/2", 404, "slots 0 to 1"),
        ("/signal/7/TERM", 404, "slots 0 to 1"),
        ("/recycle/x", 400, "not a number"),
        ("/scale/0", 400, "from 1 to 1024"),
        ("/scale/2000", 400, "from 1 to 1024"),
        ("/signal/0/NOTHING", 400, "no such signal"),
        ("/log-level/loud", 400, "no such level"),
        ("/reload?wait=soon", 400, "wait is not a duration"),
        ("/restart", 404, "/recycle/SLOT"),
        ("/", 404, "/recycle/SLOT"),
        ("/livez", 405, "only GET"),
    ] {
        let (status, told) = curl(&run, "POST", path);
        let said = told["message"].as_str().or(told["reason"].as_str()).unwrap_or_default();
        assert!(status == code && said.contains(reason), "{path}: {status} {told}");
    }
    for method in ["GET", "HEAD", "PUT", "DELETE", "BREW"] {
        for path in ["/reload", "/stop", "/scale/7"] {
            assert_eq!(curl(&run, method, path).0, 405, "{method} {path}");
        }
    }
    // What the health endpoint has is here too, and orders are not there.
    assert_eq!(curl(&run, "GET", "/readyz").0, 200);
    assert_eq!(curl(&run, "GET", "/nothing").0, 404);
    let there = crate::harness::http::request(&run.health(), "POST", "/stop").unwrap();
    assert_eq!(there.status, 404);
    // The client says it before it asks.
    for (words, said) in [
        (&["ctl", "scale", "0"][..], "not a whole number from 1 to 1024"),
        (&["ctl", "recycle"], "SLOT"),
        (&["ctl", "signal", "0", "NONE"], "no such signal"),
        (&["ctl", "log-level", "loud"], "use one of error, warn, info, debug"),
        (&["ctl", "restart"], "restart"),
        (&["ctl", "reload", "--timeout", "soon"], "not a duration"),
        (&["status", "--verbose"], "no such option"),
        (&["healthcheck", "--ready", "--live"], "--"),
    ] {
        let (code, _, err) = ended(client(&run, words).spawn().unwrap());
        assert!(code == 2 && err.contains(said) && err.lines().count() == 1, "{words:?}: {code} {err}");
    }
    assert_eq!(status(&run)["wanted"], 2);
    assert!(run.log.with_message("worker exited").is_empty());
}

#[test]
fn the_log_level_changes_while_it_runs() {
    let run = ordered(&["--log-level", "warn"], example_worker(&[])).start();
    let _up = eventually("the socket", || UnixStream::connect(socket(&run)).ok());
    assert_eq!(ctl(&run, &["log-level", "debug"]).0, 0);
    run.signal(libc::SIGWINCH);
    run.wait_for("signal received");
    assert_eq!(ctl(&run, &["log-level", "error"]).0, 0);
    assert_eq!(ctl(&run, &["recycle", "0"]).0, 0);
    assert_eq!(ctl(&run, &["log-level", "info"]).0, 0);
    run.log.wait_for("log level set", |line| line["log_level"] == "info");
    assert!(run.log.with_message("worker due").is_empty());
}

#[test]
fn another_user_is_refused() {
    let run = ordered(&[], example_worker(&[])).start();
    run.wait_for("worker ready");
    let mode = fs::metadata(socket(&run)).unwrap().mode();
    assert_eq!(mode & 0o777, 0o600);
    let copy = run.dir().join("client");
    crate::harness::install(&binary(), &copy);
    fs::set_permissions(run.dir(), fs::Permissions::from_mode(0o755)).unwrap();
    let as_nobody = || {
        let mut command = Command::new("setpriv");
        command.args(["--reuid", "65534", "--regid", "65534", "--clear-groups"]).arg(&copy);
        command.args(["ctl", "stop"]).env("PREFORK_CONTROL", socket(&run));
        let output = command.output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    // By the file's permissions, and were these others by who it is.
    let (code, err) = as_nobody();
    assert!(code == Some(69) && err.contains("denied") && err.contains("as its own user"), "{code:?} {err}");
    fs::set_permissions(socket(&run), fs::Permissions::from_mode(0o666)).unwrap();
    let (code, err) = as_nobody();
    assert!(code == Some(1) && err.contains("only root and its own user"), "{code:?} {err}");
    let told = run.wait_for("control socket: refused");
    assert_eq!(told["uid"], 65534);
    // Strangers that stay lock nobody out.
    let script = "import socket, sys, time
held = []
for _ in range(200):
    one = socket.socket(socket.AF_UNIX); one.connect(sys.argv[1]); held.append(one)
print('held', flush=True)
time.sleep(1000)";
    let mut strangers = Command::new("setpriv")
        .args(["--reuid", "65534", "--regid", "65534", "--clear-groups"])
        .arg(crate::harness::python())
        .args(["-I", "-S", "-c", script])
        .arg(socket(&run))
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = [0; 4];
    strangers.stdout.take().unwrap().read_exact(&mut said).unwrap();
    assert_eq!(ctl(&run, &["scale", "2"]).0, 0);
    strangers.kill().unwrap();
    strangers.wait().unwrap();
}

#[test]
fn who_hangs_up_is_forgotten_and_those_who_wait_are_few() {
    let run = ordered(&[], python(SECOND_WAITS)).start();
    run.wait_for("worker ready");
    assert_eq!(curl(&run, "POST", "/reload?wait=0").0, 202);
    for _ in 0..3 {
        let waiting: Vec<_> = (0..40).map(|_| send(&run, "POST", "/recycle/0")).collect();
        run.log.wait_until(|_| status(&run)["phase"] == "running");
        drop(waiting);
        eventually("room for another", || (curl(&run, "POST", "/recycle/0?wait=0").0 == 202).then_some(()));
    }
    let waiting: Vec<_> = (0..32).map(|_| send(&run, "POST", "/recycle/0")).collect();
    eventually("no room", || (curl(&run, "POST", "/recycle/0?wait=0").0 == 503).then_some(()));
    allow(&run, "go");
    for waiting in waiting {
        let (head, body) = read(waiting);
        assert!(head.starts_with("HTTP/1.1 200") || head.starts_with("HTTP/1.1 503"), "{head} {body}");
    }
}

/// Connections that ask again and again, and are never idle.
fn crowd(run: &Run, size: usize, stop: &AtomicBool) {
    let mut held: Vec<UnixStream> = Vec::new();
    while !stop.load(Ordering::Relaxed) {
        while held.len() < size {
            let stream = UnixStream::connect(socket(run)).unwrap();
            stream.set_nonblocking(true).unwrap();
            held.push(stream);
        }
        held.retain_mut(|stream| {
            // Where it is busy, it has not read yet what it was asked before.
            let waits = |error: &std::io::Error| error.kind() == std::io::ErrorKind::WouldBlock;
            let asked = stream.write(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n");
            let heard = stream.read(&mut [0; 4096]);
            asked.map_or_else(|error| waits(&error), |_| true)
                && heard.map_or_else(|error| waits(&error), |length| length > 0)
        });
    }
}

#[test]
fn a_crowd_of_our_own_user_locks_nobody_out() {
    let run = ordered(&[], python("serve()")).start();
    run.wait_for("worker ready");
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| crowd(&run, 70, &stop));
        let codes: Vec<i32> = (0..10).map(|_| ctl(&run, &["log-level", "info"]).0).collect();
        let (status, ..) = ended(client(&run, &["status"]).spawn().unwrap());
        stop.store(true, Ordering::Relaxed);
        assert_eq!((codes, status), (vec![0; 10], 0));
    });
}

#[test]
fn orders_that_wait_lock_nobody_out_and_live_longer_than_who_only_asks() {
    let run = ordered(&[], python(SECOND_WAITS)).start();
    run.wait_for("worker ready");
    assert_eq!(curl(&run, "POST", "/reload?wait=0").0, 202);
    let first = send(&run, "POST", "/recycle/0");
    let mut waiting: Vec<_> = (0..63).map(|_| send(&run, "POST", "/recycle/0")).collect();
    // It has no room for more.
    eventually("no room", || (curl(&run, "POST", "/recycle/0?wait=0").0 == 503).then_some(()));
    let (code, _, said) = ctl(&run, &["recycle", "0"]);
    assert_eq!((code, said.contains("too many wait")), (1, true), "{said}");
    assert_eq!(ctl(&run, &["log-level", "debug"]).0, 0);
    assert_eq!(ended(client(&run, &["status"]).spawn().unwrap()).0, 0);
    // One that only asks, and never stops asking, is hung up on. The other has waited for longer then.
    let mut asks = UnixStream::connect(socket(&run)).unwrap();
    asks.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let begun = Instant::now();
    while asks.write_all(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n").is_ok()
        && asks.read(&mut [0; 4096]).is_ok_and(|length| length > 0)
    {
        assert!(begun.elapsed() < Duration::from_secs(60), "it lives for ever");
    }
    allow(&run, "go");
    let (head, body) = read(first);
    assert!(head.starts_with("HTTP/1.1 200"), "{head} {body}");
    let refused = waiting.drain(..).map(read).filter(|(head, _)| head.starts_with("HTTP/1.1 503")).count();
    assert!(refused >= 31, "{refused}");
}

#[test]
fn it_answers_while_every_worker_is_stopped() {
    let run =
        ordered(&["-n", "2", "--graceful-timeout", "200ms"], python(&format!("{SERVER}\nserver()"))).start();
    for pid in wait_serving(&run, 2) {
        super::freeze(&run, pid);
    }
    let begun = Watch::start();
    assert_eq!(ended(client(&run, &["status"]).spawn().unwrap()).0, 0);
    assert!(begun.ran() < Duration::from_secs(4), "{:?}", begun.elapsed());
    assert_eq!(ctl(&run, &["recycle", "0"]).0, 0);
}

#[test]
fn init_mode_has_a_status_takes_a_stop_and_signals_its_command() {
    let script = "trap 'echo usr1' USR1; trap 'exit 7' TERM; echo up; while :; do sleep 0.01; done";
    let mut run = launch(["--control", "control", "--", "sh", "-c", script]).start();
    run.wait_lines("stdout", 1);
    let seen = status(&run);
    assert_eq!((&seen["mode"], &seen["phase"], &seen["pid"]), (&"init".into(), &"running".into(), &1.into()));
    assert_eq!(seen["workers"][0]["pid"], run.wait_for("command started")["pid"]);
    assert_eq!(ctl(&run, &["signal", "0", "USR1"]).0, 0);
    assert_eq!(run.wait_lines("stdout", 2), "up\nusr1\n");
    for words in [&["reload"][..], &["recycle", "0"], &["scale", "2"]] {
        let (code, _, err) = ctl(&run, words);
        assert!(code == 1 && err.contains("no pool"), "{err}");
    }
    assert_eq!(curl(&run, "POST", "/signal/1/TERM").0, 404);
    let (_, out, _) = ended(client(&run, &["status"]).spawn().unwrap());
    assert!(out.starts_with("init running, pid 1,"), "{out}");
    assert_eq!(ctl(&run, &["stop"]).0, 0);
    assert_eq!(run.wait_exit(), 7);
    assert!(!socket(&run).exists());

    let mut run = launch(["--control", "control", "--pause"]).start();
    let _up = eventually("the socket", || UnixStream::connect(socket(&run)).ok());
    assert_eq!(ctl(&run, &["signal", "0", "USR1"]).0, 1);
    assert_eq!(ctl(&run, &["stop"]).0, 0);
    assert_eq!(run.wait_exit(), 0);
}

#[test]
fn a_stale_socket_is_replaced_and_anything_else_is_not() {
    let launch = ordered(&[], example_worker(&[]));
    drop(std::os::unix::net::UnixListener::bind(launch.dir().join("control")).unwrap());
    let run = launch.start();
    run.wait_for("worker ready");
    assert_eq!(ctl(&run, &["reload"]).0, 0);

    let launch = ordered(&[], example_worker(&[]));
    fs::write(launch.dir().join("control"), "precious").unwrap();
    let dir = launch.dir().to_owned();
    let mut run = launch.start();
    assert_eq!(run.wait_exit(), 125);
    assert!(run.log.text().contains("--control 'unix:control'"), "{}", run.log.text());
    assert_eq!(fs::read_to_string(dir.join("control")).unwrap(), "precious");
}

#[test]
fn both_sockets_live_through_an_exchange_of_the_program() {
    let words = [
        "-b",
        "127.0.0.1:0",
        "--health",
        "unix:health",
        "--control",
        "control",
        "--drain-time",
        "10ms",
        "--",
    ];
    let launch = launch(words.iter().map(OsString::from).chain(example_worker(&[])));
    let mut run = launch.of_a_copy().start();
    run.wait_for("worker ready");
    let inode = |name: &str| fs::symlink_metadata(run.dir().join(name)).unwrap().ino();
    let before = (inode("control"), inode("health"));
    for round in 1..=2 {
        run.signal(libc::SIGUSR2);
        run.log.wait_count("upgraded", round);
        eventually("an answer", || (curl(&run, "GET", "/readyz").0 == 200).then_some(()));
        assert_eq!(ctl(&run, &["recycle", "0"]).0, 0);
        let mut health = client(&run, &["healthcheck", "--ready"]);
        health.env("PREFORK_HEALTH", format!("unix:{}/health", run.dir().display()));
        assert_eq!(ended(health.spawn().unwrap()).0, 0);
    }
    assert_eq!((inode("control"), inode("health")), before);
    assert!(fs::symlink_metadata(socket(&run)).unwrap().file_type().is_socket());
    assert_eq!(ctl(&run, &["stop"]).0, 0);
    assert_eq!(run.wait_exit(), 0);
    assert!(!run.dir().join("control").exists() && !run.dir().join("health").exists());
}

#[test]
fn a_reload_with_a_wrong_configuration_is_refused() {
    let launch = ordered(&["--config", "pool.toml"], example_worker(&[]));
    fs::write(launch.dir().join("pool.toml"), "workers = 2\n").unwrap();
    let run = launch.start();
    wait_serving(&run, 2);
    assert_eq!(ctl(&run, &["reload"]).0, 0);
    fs::write(run.dir().join("pool.toml"), "wokers = 2\n").unwrap();
    let (code, told) = ctl_json(&run, &["reload"]);
    assert_eq!((code, &told["outcome"]), (1, &"failed".into()), "{told}");
    assert!(told["message"].as_str().unwrap().contains("the configuration is wrong"), "{told}");
    assert_eq!((&status(&run)["reload"]["state"], &status(&run)["gen"]), (&"refused".into(), &2.into()));
    fs::write(run.dir().join("pool.toml"), "workers = 3\n").unwrap();
    assert_eq!(ctl(&run, &["reload"]).0, 0);
    assert_eq!(status(&run)["ready"], 3);
}

#[test]
fn while_the_command_of_before_runs_a_stop_is_all_that_is_heard() {
    let before = "sh -c 'echo before; while :; do sleep 0.01; done'";
    let mut run = ordered(&["--before", before], example_worker(&[])).start();
    run.wait_lines("stdout", 1);
    assert_eq!(status(&run)["started"], false);
    for words in [&["reload"][..], &["recycle", "0"], &["scale", "3"]] {
        let (code, told) = ctl_json(&run, words);
        assert_eq!((code, &told["outcome"]), (1, &"refused".into()), "{told}");
        assert!(told["message"].as_str().unwrap().contains("--before"), "{told}");
    }
    assert_eq!(ctl(&run, &["signal", "0", "TERM"]).0, 1);
    let verbose = crate::harness::http::get(&run.health(), "/readyz?verbose").unwrap();
    assert!(verbose.status == 503 && verbose.body.starts_with("[-]before failed: "), "{verbose:?}");
    assert_eq!(ctl(&run, &["stop"]).0, 0);
    assert_eq!(run.wait_exit(), 143);
    assert!(!socket(&run).exists());
}
