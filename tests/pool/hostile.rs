//! Workers that do what they should not, at the worst moment.

use super::python::{app, write_app};
use super::{
    allow, assert_stops, brisk, catch_up, freeze, pool, readiness, reload, serving, wait_serving, who_answers,
};
use crate::harness::load::Load;
use crate::harness::{eventually, example, http, launch};
use serde_json::Value;
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::PermissionsExt;

#[test]
fn who_ignores_the_stop_signal_is_killed_and_the_reload_goes_on() {
    let script = "signal.signal(signal.SIGTERM, signal.SIG_IGN)\nserve()";
    let run = brisk(&["-n", "3", "--graceful-timeout", "300ms"], script);
    let old = wait_serving(&run, 3);
    let load = Load::start(&run.address(0), "/", 2);
    load.wait_ok(20);
    reload(&run);
    let killed: BTreeSet<i64> =
        run.log.with_message("worker killed").iter().map(|line| line["pid"].as_i64().unwrap()).collect();
    assert_eq!(killed, old);
    let (ok, refused, lost, other) = load.stop();
    assert_eq!((refused, lost, other), (0, 0, 0), "{ok} answered\n{}", run.log.text());
    assert_eq!(readiness(&run), (200, 3, 1, 3));
}

/// What is left of the old generation is all that serves. Two new ones may be under way before the first has died.
#[test]
fn a_version_that_dies_after_it_was_ready_does_not_take_the_whole_pool() {
    let gap = ["-n", "4", "--replacement-gap", "1s", "--drain-time", "50ms"];
    let options = ["--ready", "notify", "--backoff", "50ms", "--backoff-max", "100ms"];
    let launch = pool(&[&gap[..], &options].concat(), app());
    write_app(launch.dir(), "say('READY=1')\nserve()");
    let run = launch.start();
    let old = wait_serving(&run, 4);
    let dies = "
say('READY=1')
listener, begun = socket.socket(fileno=3), time.monotonic()
listener.settimeout(0.01)
while time.monotonic() < begun + 0.2:
    try: answer(listener, lambda: 'new')
    except TimeoutError: pass
sys.exit(1)";
    write_app(run.dir(), dies);
    run.signal(libc::SIGHUP);
    let paused = run.wait_for("reload pauses");
    assert_eq!(
        (&paused["gen"], &paused["reason"], &paused["level"]),
        (&2.into(), &"crash".into(), &"WARN".into())
    );
    let died = |line: &&Value| {
        line["gen"] == 2 && line["message"].as_str().is_some_and(|m| m.starts_with("worker exited"))
    };
    run.log.wait_until(|lines| lines.iter().filter(died).count() >= 8);
    let now = serving(&run.log.lines());
    assert!(now.intersection(&old).count() >= 2, "{now:?} of {old:?}\n{}", run.log.text());
    assert_eq!(readiness(&run).0, 200);
    assert_eq!(run.log.with_message("reload pauses").len(), 1);
    write_app(run.dir(), "say('READY=1')\nserve()");
    reload(&run);
    assert_eq!(readiness(&run), (200, 4, 1, 4));
    assert_stops(run);
}

/// They hold the listener, serve on it, and have no parent any more once the worker is gone.
#[test]
fn processes_that_an_old_worker_leaves_behind_get_the_stop_signal_and_serve_nobody() {
    for (stubborn, timeout) in [("", "30s"), ("signal.signal(signal.SIGTERM, signal.SIG_IGN)", "400ms")] {
        let script = format!(
            "
worker = os.getpid()
for _ in range(2):
    if os.fork() == 0:
        {stubborn}
        serve(body=lambda: str(worker))
serve()"
        );
        let run = brisk(&["-n", "2", "--graceful-timeout", timeout], &script);
        let old = wait_serving(&run, 2);
        eventually("all processes", || (run.others().len() == 6).then_some(()));
        reload(&run);
        let new = wait_serving(&run, 2);
        assert!(new.is_disjoint(&old));
        eventually("only the new processes", || (run.others().len() == 6).then_some(()));
        for _ in 0..100 {
            let pid: i64 = http::get(&run.address(0), "/").unwrap().body.parse().unwrap();
            assert!(new.contains(&pid), "{pid} is not of {new:?}");
        }
        assert_stops(run);
    }
}

#[test]
fn garbage_from_a_worker_that_is_replaced_disturbs_nobody() {
    let script = "
def flood():
    name = notify_address()
    out = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    kinds = [b'', b'=', b'READY', b'\\xff' * 4000, b'X_PREFORK_REQUESTS=-1', b'WATCHDOG_USEC=99999999999999999999999',
             b'EXTEND_TIMEOUT_USEC=x', b'READY=1\\n' * 500, b'MAINPID=1', b'STATUS=' + b'x' * 60000, b'\\n\\n\\0=\\n']
    while True:
        for kind in kinds:
            try: out.sendto(kind, name)
            except OSError: pass
if os.environ['PREFORK_GENERATION'] == '1':
    threading.Thread(target=flood, daemon=True).start()
    threading.Thread(target=flood, daemon=True).start()
serve_all()";
    let run = brisk(&["-n", "2"], script);
    wait_serving(&run, 2);
    let probes = Load::start(&run.health(), "/readyz", 1);
    reload(&run);
    assert_eq!(readiness(&run), (200, 2, 1, 2));
    let (ok, refused, lost, other) = probes.stop();
    assert_eq!((refused, lost, other), (0, 0, 0), "{ok} answered");
    assert!(run.log.with_message("worker exited").iter().all(|line| line["reason"] == "reload"));
    assert_stops(run);
}

#[test]
fn who_is_stopped_while_it_drains_is_woken_to_stop() {
    let run = brisk(&["-n", "1"], "serve_all()");
    let old = *wait_serving(&run, 1).first().unwrap();
    freeze(&run, old);
    reload(&run);
    let exit = run.log.wait_for("worker exited", |line| line["pid"] == old);
    assert_eq!((&exit["reason"], &exit["exit_code"]), (&"reload".into(), &0.into()));
    assert!(run.log.with_message("worker killed").is_empty());
    assert_stops(run);
}

/// A connection waits for it, so that it is never empty.
#[test]
fn who_is_stopped_while_connections_wait_for_it_holds_nobody_up_for_ever() {
    let run = brisk(&["-n", "1", "--graceful-timeout", "1s"], "serve_all()");
    let old = *wait_serving(&run, 1).first().unwrap();
    freeze(&run, old);
    let address = run.address(0);
    let waits = http::Pending::get(&address, "/").unwrap();
    run.signal(libc::SIGHUP);
    run.wait_for("connections still wait for the worker");
    run.wait_for("reload finished");
    assert_eq!(http::get(&address, "/").unwrap().status, 200);
    drop(waits);
    assert_stops(run);
}

#[test]
fn workers_of_another_user_are_reloaded_and_lose_nothing() {
    // Where everybody may execute it.
    let copy = tempfile::tempdir().unwrap();
    let worker = copy.path().join("worker");
    crate::harness::install(&example("worker"), &worker);
    fs::set_permissions(copy.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let words = ["-n", "2", "-b", "127.0.0.1:0", "--user", "www-data", "--replacement-gap", "0s", "--"];
    let run = launch(words.map(OsString::from).into_iter().chain([worker.into()])).start();
    let old = wait_serving(&run, 2);
    let load = Load::start(&run.address(0), "/", 2);
    load.wait_ok(20);
    reload(&run);
    let new = wait_serving(&run, 2);
    assert!(new.is_disjoint(&old));
    let (ok, refused, lost, other) = load.stop();
    assert_eq!((refused, lost, other), (0, 0, 0), "{ok} answered\n{}", run.log.text());
    let uid = crate::harness::status_line(run.outer_pid(*new.first().unwrap()), "Uid").unwrap();
    assert!(uid.starts_with("33\t"), "{uid}");
    assert!(run.log.with_message("signal not sent").is_empty());
    assert_stops(run);
}

#[test]
fn many_workers_are_reloaded() {
    let words = [
        "-n",
        "64",
        "--ready",
        "delay:10ms",
        "--replacement-gap",
        "0s",
        "--max-surge",
        "8",
        "--",
        "sleep",
        "1000",
    ];
    let run = launch(words).start();
    let old = wait_serving(&run, 64);
    reload(&run);
    let new = wait_serving(&run, 64);
    assert!(new.is_disjoint(&old));
    eventually("64 processes", || (run.others().len() == 64).then_some(()));
    assert_stops(run);
}

#[test]
fn who_is_never_ready_is_given_up_and_tried_again() {
    let options = ["-n", "2", "--start-timeout", "3s", "--graceful-timeout", "100ms", "--backoff", "10ms"];
    let script = "
signal.signal(signal.SIGTERM, signal.SIG_IGN)
if is_worker(1) and not os.path.exists('go'): sleep_for_ever()
serve()";
    let run = brisk(&options, script);
    let exit = run.wait_for("worker exited");
    assert_eq!(
        (&exit["slot"], &exit["reason"], &exit["signal"]),
        (&1.into(), &"boot-timeout".into(), &"KILL".into())
    );
    assert_eq!(readiness(&run), (200, 1, 1, 2));
    allow(&run, "go");
    wait_serving(&run, 2);
    catch_up(&run);
    assert_eq!(who_answers(&run.address(0), 2), wait_serving(&run, 2));
}
