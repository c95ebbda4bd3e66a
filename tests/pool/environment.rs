//! What a worker finds at its start: environment, descriptors, arguments.

use super::python::python;
use super::{catch_up, pool};
use crate::harness::{Run, eventually, launch};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::ffi::OsString;

/// Notes environment, descriptors and arguments in `seen`, then serves.
const TELL: &str = r#"
def is_open(fd):
    try:
        os.fstat(fd)
        return True
    except OSError:
        return False

def name_of(fd):
    name = socket.socket(fileno=os.dup(fd)).getsockname()
    return name if isinstance(name, str) else "%s:%d" % name[:2]

fds = [fd for fd in range(1024) if is_open(fd)]
note("seen", json.dumps({
    "env": dict(os.environ), "pid": os.getpid(), "fds": fds, "args": sys.argv[1:],
    "listeners": [name_of(fd) for fd in fds if fd > 2],
}))
sleep_for_ever()
"#;

fn seen(run: &Run, workers: usize) -> Vec<Value> {
    // A line that crosses a page of the file can be read by halves.
    eventually("whole lines", || {
        run.wait_lines("seen", workers).lines().map(|line| serde_json::from_str(line).ok()).collect()
    })
}

fn words(words: &[&str]) -> Vec<OsString> {
    words.iter().map(OsString::from).collect()
}

fn with_args(script: &str, args: &[&str]) -> Vec<OsString> {
    python(script).into_iter().chain(words(args)).collect()
}

#[test]
fn workers_are_told_of_their_listener_and_of_themselves() {
    let run = pool(&["-n", "2"], python(TELL)).start();
    let seen = seen(&run, 2);
    let slots: BTreeSet<_> = seen.iter().map(|s| s["env"]["PREFORK_WORKER_ID"].as_str().unwrap()).collect();
    assert_eq!(slots, BTreeSet::from(["0", "1"]));
    let of = |s: &Value| s["env"]["PREFORK_WORKER_NUMBER"].as_str().unwrap().to_owned();
    assert_eq!(seen.iter().map(of).collect::<BTreeSet<_>>(), BTreeSet::from(["0", "1"].map(String::from)));
    for worker in seen {
        let env = &worker["env"];
        assert_eq!(env["LISTEN_FDS"], "1");
        assert_eq!(env["LISTEN_PID"], worker["pid"].to_string());
        assert_eq!(env["LISTEN_FDNAMES"], "listener-0");
        assert_eq!(env["PREFORK_GENERATION"], "1");
        assert!(env["NOTIFY_SOCKET"].as_str().unwrap().contains("/prefork-"), "{env}");
        let slot: u64 = env["PREFORK_WORKER_ID"].as_str().unwrap().parse().unwrap();
        run.log.wait_for("worker spawned", |line| line["pid"] == worker["pid"] && line["slot"] == slot);
    }
}

#[test]
fn what_was_meant_for_the_supervisor_does_not_reach_the_workers() {
    let run = pool(&["--min-ready", "1"], python(TELL))
        .env("WEB_CONCURRENCY", "2")
        .env("PREFORK_DRAIN_DELAY", "1s")
        .env("PREFORK_WORKERS", "2")
        .env("NOTIFY_SOCKET", "/run/systemd/notify")
        .env("WATCHDOG_USEC", "1000000")
        .env("WATCHDOG_PID", "1")
        .env("LISTEN_FDS", "7")
        .env("LISTEN_PID", "2")
        .env("LISTEN_FDNAMES", "ours")
        .env("OF_THE_APPLICATION", "kept")
        .start();
    for worker in seen(&run, 2) {
        let env = worker["env"].as_object().unwrap();
        let is_ours = |name: &&String| name.starts_with("PREFORK_") && *name != "PREFORK_TEST_VENV";
        let ours: BTreeSet<_> = env.keys().filter(is_ours).collect();
        let told = ["PREFORK_GENERATION", "PREFORK_WORKER_ID", "PREFORK_WORKER_NUMBER"];
        assert_eq!(ours.into_iter().collect::<Vec<_>>(), told);
        for gone in ["WEB_CONCURRENCY", "WATCHDOG_USEC", "WATCHDOG_PID"] {
            assert!(!env.contains_key(gone), "{gone}");
        }
        assert_eq!(env["LISTEN_FDS"], "1");
        assert_eq!(env["LISTEN_FDNAMES"], "listener-0");
        assert_ne!(env["NOTIFY_SOCKET"], "/run/systemd/notify");
        assert_eq!(env["OF_THE_APPLICATION"], "kept");
    }
}

#[test]
fn several_listeners_are_descriptors_3_4_5_in_order() {
    let options = ["-b", "127.0.0.1:0,unix:app.sock", "-b", "[::1]:0", "-n", "2", "--"];
    let run = launch(words(&options).into_iter().chain(python(TELL))).start();
    let bound: Vec<String> = (0..3).map(|index| run.address(index)).collect();
    for worker in seen(&run, 2) {
        assert_eq!(worker["env"]["LISTEN_FDS"], "3");
        assert_eq!(worker["env"]["LISTEN_FDNAMES"], "listener-0:listener-1:listener-2");
        assert_eq!(worker["fds"], json!([0, 1, 2, 3, 4, 5]));
        assert_eq!(worker["listeners"], json!([bound[0], "app.sock", bound[2].replace(['[', ']'], "")]));
    }
    assert_eq!(bound[1], "unix:app.sock");
}

#[test]
fn a_worker_has_no_descriptor_but_the_standard_ones_and_the_listeners() {
    let inherit = "exec 3</dev/null 4</dev/null 9</dev/null 200</dev/null; exec \"$@\"";
    let run = pool(&["-n", "2"], python(TELL)).through(["bash", "-c", inherit, "bash"]).start();
    for worker in seen(&run, 2) {
        assert_eq!(worker["fds"], json!([0, 1, 2, 3]));
        assert_eq!(worker["listeners"], json!([run.address(0)]));
    }
}

#[test]
fn placeholders_are_replaced_and_nothing_else_is() {
    let args = [
        "--fd={fd}",
        "{worker_id}",
        "{max_requests}",
        "{worker_number}",
        "{{fd}}",
        "{FD}",
        "{}",
        "{pid}",
        "${fd}",
    ];
    let run = pool(&["--max-requests", "1000", "--max-requests-jitter", "9"], with_args(TELL, &args)).start();
    let worker = &seen(&run, 1)[0];
    let limit = run.wait_for("worker spawned")["max_requests"].to_string();
    assert_eq!(worker["args"], json!(["--fd=3", "0", limit, "0", "{3}", "{FD}", "{}", "{pid}", "$3"]));
    assert!((1000..=1009).contains(&limit.parse().unwrap()), "{limit}");
}

#[test]
fn placeholders_can_be_turned_off() {
    let args = ["{fd}", "{worker_id}", "{max_requests}"];
    let run = pool(&["--no-placeholders"], with_args(TELL, &args)).start();
    assert_eq!(seen(&run, 1)[0]["args"], json!(args));
}

fn spawned(run: &Run, workers: usize) -> usize {
    run.log.wait_count("worker spawned", workers);
    catch_up(run);
    run.log.with_message("worker spawned").len()
}

#[test]
fn web_concurrency_is_the_number_of_workers_unless_one_is_given() {
    let run = pool(&[], python(TELL)).env("WEB_CONCURRENCY", "3").start();
    assert_eq!(spawned(&run, 3), 3);
    let run = pool(&["-n", "2"], python(TELL)).env("WEB_CONCURRENCY", "3").start();
    assert_eq!(spawned(&run, 2), 2);
    assert!(seen(&run, 2).iter().all(|worker| worker["env"].get("WEB_CONCURRENCY").is_none()));
}

#[test]
fn port_is_where_the_pool_listens_unless_an_address_is_given() {
    let run = launch(words(&["-n", "1", "--"]).into_iter().chain(python(TELL))).env("PORT", "0").start();
    assert!(run.address(0).starts_with("0.0.0.0:"), "{}", run.address(0));
    let worker = &seen(&run, 1)[0];
    assert_eq!((&worker["env"]["LISTEN_FDS"], &worker["listeners"]), (&json!("1"), &json!([run.address(0)])));
    let run = pool(&[], python(TELL)).env("PORT", "0").start();
    assert!(run.address(0).starts_with("127.0.0.1:"), "{}", run.address(0));
    assert_eq!(seen(&run, 1)[0]["fds"], json!([0, 1, 2, 3]));
}

#[test]
fn every_option_of_the_pool_can_come_from_the_environment() {
    let run = launch([OsString::from("--")].into_iter().chain(python(TELL)))
        .env("PREFORK_WORKERS", "2")
        .env("PREFORK_BIND", "127.0.0.1:0,127.0.0.1:0")
        .start();
    assert_eq!(spawned(&run, 2), 2);
    assert_eq!(seen(&run, 1)[0]["fds"], json!([0, 1, 2, 3, 4]));
}

#[test]
fn a_pool_below_a_pool_tells_its_workers_of_themselves() {
    let script = "
own = open('/proc/self/environ').read().split('\\0')
note('own', ' '.join(line for line in own if line.startswith(('PREFORK_WORKER_ID', 'PREFORK_GENERATION'))))
sleep_for_ever()";
    let run =
        pool(&[], python(script)).env("PREFORK_WORKER_ID", "99").env("PREFORK_GENERATION", "99").start();
    assert_eq!(run.wait_lines("own", 1).trim(), "PREFORK_WORKER_ID=0 PREFORK_GENERATION=1");
}

#[test]
fn a_placeholder_may_be_in_the_name_of_the_program() {
    let launch = launch(words(&["-n", "2", "--ready", "delay:1ms", "--", "./sleep-{worker_id}", "1000"]));
    for worker in 0..2 {
        std::os::unix::fs::symlink("/bin/sleep", launch.dir().join(format!("sleep-{worker}"))).unwrap();
    }
    let run = launch.start();
    run.log.wait_count("worker ready", 2);
}

#[test]
fn an_empty_variable_is_none_and_a_boolean_is_what_people_write() {
    for yes in ["1", "yes", "true", "on"] {
        let (code, out, err) = launch(words(&["--", "echo", "{fd}"]))
            .env("PREFORK_NO_PLACEHOLDERS", yes)
            .env("PREFORK_HEALTH", "")
            .env("PREFORK_WORKERS", "")
            .env("PREFORK_BIND", "")
            .finish();
        assert_eq!((code, out.trim()), (0, "{fd}"), "{err}");
    }
}
