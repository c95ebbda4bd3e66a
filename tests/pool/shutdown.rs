//! The pool stops in order: not ready, drained, asked, killed; and nobody stays behind.

use super::history::time;
use super::python::python;
use super::{allow, example_worker, gunicorn, pool, uvicorn, with_apps};
use crate::harness::load::Load;
use crate::harness::watch::Watch;
use crate::harness::{Run, binary, http, kill, plain_command};
use std::io::Read;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

fn position(run: &Run, message: &str) -> usize {
    let is_it = |line: &serde_json::Value| line["message"].as_str().is_some_and(|m| m.starts_with(message));
    run.log.lines().iter().position(is_it).unwrap_or_else(|| panic!("no {message:?}:\n{}", run.log.text()))
}

fn assert_no(run: &Run, message: &str) {
    assert!(run.log.with_message(message).is_empty(), "{message:?}:\n{}", run.log.text());
}

/// Ends the run, which must end with 0, and returns how long that took.
fn stop(run: &mut Run, signal: i32) -> Duration {
    let start = Instant::now();
    run.signal(signal);
    assert_eq!(run.wait_exit(), 0, "{}", run.log.text());
    assert_eq!(run.log.lines().last().unwrap()["message"], "pool stopped");
    start.elapsed()
}

#[test]
fn term_says_not_ready_and_serves_on_through_the_drain_delay() {
    let mut run = pool(&["-n", "2", "--drain-delay", "4s"], example_worker(&[])).start();
    run.log.wait_count("worker ready", 2);
    assert_eq!(http::get(&run.health(), "/readyz").unwrap().status, 200);
    run.signal(libc::SIGTERM);
    let started = run.wait_for("shutdown started");
    assert_eq!((&started["signal"], &started["drain_delay_ms"]), (&"TERM".into(), &4000.into()));

    let not_ready = http::get(&run.health(), "/readyz").unwrap();
    let alive = http::get(&run.health(), "/livez").unwrap();
    let served = http::get(&run.address(0), "/").unwrap();
    // What follows says something only if all three came within the delay.
    assert_no(&run, "worker stopping");
    assert_eq!((not_ready.status, alive.status, served.status), (503, 200, 200));
    assert!(not_ready.body.contains("draining before the stop"), "{not_ready:?}");

    assert_eq!(run.wait_exit(), 0);
    let stopping = run.log.with_message("worker stopping");
    assert_eq!(stopping.len(), 2);
    for line in stopping {
        assert_eq!((&line["reason"], &line["signal"]), (&"stop".into(), &"TERM".into()));
        assert!(time(&line) - time(&started) >= Duration::from_millis(3_999), "{line}");
    }
}

#[test]
fn int_and_quit_skip_the_drain_delay() {
    for signal in [libc::SIGINT, libc::SIGQUIT] {
        let mut run = pool(&["--drain-delay", "1h"], example_worker(&[])).start();
        run.wait_for("worker ready");
        stop(&mut run, signal);
        // The workers are asked with the stop signal all the same.
        assert_eq!(run.wait_for("worker stopping")["signal"], "TERM");
    }
}

#[test]
fn the_stop_signal_can_be_chosen() {
    let script = "
def seen(number, frame):
    note('signals', signal.Signals(number).name)
    sys.exit(0)
for name in ['SIGTERM', 'SIGINT', 'SIGQUIT', 'SIGHUP']: signal.signal(getattr(signal, name), seen)
serve()";
    let mut run = pool(&["--stop-signal", "QUIT"], python(script)).start();
    run.wait_for("worker ready");
    stop(&mut run, libc::SIGTERM);
    assert_eq!(run.wait_lines("signals", 1), "SIGQUIT\n");
    assert_eq!(run.wait_for("worker stopping")["signal"], "QUIT");
}

#[test]
fn a_worker_that_ignores_term_is_killed_after_the_graceful_timeout() {
    let script = "if is_worker(1): signal.signal(signal.SIGTERM, signal.SIG_IGN)\nserve()";
    let mut run = pool(&["-n", "2", "--graceful-timeout", "2s"], python(script)).start();
    run.log.wait_count("worker ready", 2);
    let took = stop(&mut run, libc::SIGTERM);
    assert!(took >= Duration::from_secs(2), "{took:?}");
    let exits = run.log.with_message("worker exited");
    let signal_of = |slot: u64| &exits.iter().find(|line| line["slot"] == slot).unwrap()["signal"];
    assert_eq!((signal_of(0), signal_of(1)), (&"TERM".into(), &"KILL".into()));
    assert!(position(&run, "worker stopping") < position(&run, "worker killed"));
    assert!(exits.iter().all(|line| line["reason"] == "stop"), "{exits:?}");
}

#[test]
fn a_graceful_timeout_of_zero_kills_at_once() {
    let script = "signal.signal(signal.SIGTERM, signal.SIG_IGN)\nserve()";
    let mut run = pool(&["--graceful-timeout", "0"], python(script)).start();
    run.wait_for("worker ready");
    stop(&mut run, libc::SIGTERM);
    assert_eq!(run.wait_for("worker exited")["signal"], "KILL");
}

#[test]
fn a_stopped_process_sees_the_stop_signal_too() {
    let mut run = pool(&[], python("serve()")).start();
    let pid = run.wait_for("worker ready")["pid"].as_i64().unwrap();
    kill(run.outer_pid(pid), libc::SIGSTOP);
    stop(&mut run, libc::SIGTERM);
    assert_eq!(run.wait_for("worker exited")["signal"], "TERM");
}

#[test]
fn a_request_in_hand_is_answered() {
    let mut run = pool(&[], example_worker(&[])).start();
    let address = run.address(0);
    let slow = http::Pending::get(&address, "/slow?ms=1000").unwrap();
    // Taken in the order in which they came: when this one is answered, the worker has the slow one in hand.
    assert_eq!(http::get(&address, "/").unwrap().status, 200);
    stop(&mut run, libc::SIGTERM);
    assert_eq!(slow.answer().unwrap().status, 200);
}

#[test]
fn a_request_in_hand_of_uvicorn_is_answered() {
    let mut run = with_apps(pool(&[], uvicorn(&[]))).start();
    let address = run.address(0);
    let slow = http::Pending::get(&address, "/slow").unwrap();
    assert_eq!(http::get(&address, "/").unwrap().status, 200);
    stop(&mut run, libc::SIGTERM);
    assert_eq!(slow.answer().unwrap().status, 200);
}

#[test]
fn a_worker_that_is_still_starting_is_stopped() {
    let mut run = pool(&["-n", "2"], python("sleep_for_ever()")).start();
    run.log.wait_count("worker spawned", 2);
    stop(&mut run, libc::SIGTERM);
    assert_no(&run, "worker ready");
    assert_no(&run, "worker killed");
    assert_eq!(run.log.with_message("worker spawned").len(), 2, "nobody is started any more");
}

#[test]
fn orphans_are_asked_to_stop_when_the_workers_have() {
    let script = "
def act():
    signal.signal(signal.SIGTERM, lambda *_: note('asked', '') or os._exit(0))
    note('daemons', '')
    sleep_for_ever()
daemon(act)
serve()";
    let mut run = pool(&["--graceful-timeout", "1h"], python(script)).start();
    run.wait_for("worker ready");
    run.wait_lines("daemons", 1);
    stop(&mut run, libc::SIGTERM);
    run.wait_lines("asked", 1);
    assert!(position(&run, "worker exited") < position(&run, "stopping the processes that were left"));
    assert_no(&run, "graceful timeout over");
}

#[test]
fn orphans_that_do_not_stop_are_killed_within_the_same_deadline() {
    // Worker and daemon use up the time together.
    let script = "
def act():
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    note('daemons', '')
    sleep_for_ever()
daemon(act)
signal.signal(signal.SIGTERM, lambda *_: time.sleep(2.5) or os._exit(0))
serve()";
    let mut run = pool(&["--graceful-timeout", "4s", "--drain-time", "0"], python(script)).start();
    run.wait_for("worker ready");
    run.wait_lines("daemons", 1);
    stop(&mut run, libc::SIGTERM);
    let (started, killing) = (run.wait_for("shutdown started"), run.wait_for("graceful timeout over"));
    let took = time(&killing) - time(&started);
    assert!(took >= Duration::from_millis(3_999), "{took:?}");
    // The deadline leaves out what a busy machine keeps from us.
    let lost = run.lost();
    assert!(took < Duration::from_millis(6_300) + lost, "the deadline began anew: {took:?}, {lost:?} lost");
    assert_eq!(run.wait_for("worker exited")["exit_code"], 0);
}

#[test]
fn a_second_term_hurries() {
    let mut run = pool(&["--drain-delay", "1h"], example_worker(&[])).start();
    run.wait_for("worker ready");
    run.signal(libc::SIGTERM);
    run.wait_for("shutdown started");
    assert_no(&run, "worker stopping");
    stop(&mut run, libc::SIGTERM);
    run.wait_for("shutdown hurried");
    assert_eq!(run.wait_for("worker exited")["exit_code"], 0);
}

const STUBBORN: &str = "
signal.signal(signal.SIGTERM, signal.SIG_IGN)
serve()";

#[test]
fn a_second_int_cuts_the_graceful_timeout_to_five_seconds() {
    let mut run = pool(&["--graceful-timeout", "1h"], python(STUBBORN)).start();
    run.wait_for("worker ready");
    run.signal(libc::SIGTERM);
    run.wait_for("worker stopping");
    let took = stop(&mut run, libc::SIGINT);
    assert!(took >= Duration::from_secs(5), "{took:?}");
    assert_eq!(run.wait_for("worker exited")["signal"], "KILL");
}

#[test]
fn a_third_term_kills() {
    let mut run = pool(&["--graceful-timeout", "1h"], python(STUBBORN)).start();
    run.wait_for("worker ready");
    run.signal(libc::SIGTERM);
    run.wait_for("worker stopping");
    run.signal(libc::SIGTERM);
    run.wait_for("shutdown hurried");
    let watch = Watch::start();
    stop(&mut run, libc::SIGTERM);
    assert!(watch.ran() < Duration::from_secs(4), "{:?}", watch.elapsed());
    assert_eq!(run.wait_for("worker exited")["signal"], "KILL");
}

#[test]
fn nobody_outlives_the_pool() {
    let script = "
for _ in range(5): daemon(sleep_for_ever)
if os.fork() == 0: sleep_for_ever()
note('started', '')
serve()";
    // Where we are not PID 1, the kernel does not clean up behind us.
    let count_what_is_left = r#""$@"; code=$?; cat /proc/[0-9]*/comm > left; exit $code"#;
    let launch = pool(&["-n", "2"], python(script)).not_pid1();
    let mut run = launch.through(["sh", "-c", count_what_is_left, "sh"]).start();
    run.wait_lines("started", 2);
    run.log.wait_count("worker ready", 2);
    stop(&mut run, libc::SIGTERM);
    let left = std::fs::read_to_string(run.dir().join("left")).unwrap();
    assert_eq!(left.lines().collect::<Vec<_>>(), ["sh", "sh"]);
}

/// Stops a pool under load: clients may be refused.
fn stop_under_load(mut run: Run, path: &str) {
    const CLIENTS: usize = 4;
    run.log.wait_count("worker ready", 2);
    let load = Load::start(&run.address(0), path, CLIENTS);
    load.wait_ok(200);
    stop(&mut run, libc::SIGTERM);
    let (ok, refused, lost, other) = load.stop();
    println!("stopped under load: {ok} answered, {refused} refused, {lost} lost, {other} other");
    assert_eq!((lost, other), (0, 0));
}

#[test]
fn term_under_load_loses_nothing() {
    stop_under_load(pool(&["-n", "2"], example_worker(&[])).start(), "/");
}

#[test]
fn term_under_load_of_uvicorn_loses_nothing() {
    stop_under_load(with_apps(pool(&["-n", "2"], uvicorn(&[]))).start(), "/");
}

#[test]
fn term_under_load_of_gunicorn_loses_nothing() {
    for options in [&["apps:wsgi"][..], &["-k", "gthread", "apps:wsgi"], &["-k", "asgi", "apps:asgi"]] {
        let run = with_apps(pool(&["-n", "2"], gunicorn(options))).start();
        let log = run.log.clone();
        stop_under_load(run, "/");
        let exits = log.with_message("worker exited");
        let as_asked = |line: &serde_json::Value| line["exit_code"] == 0 && line["reason"] == "stop";
        assert!(exits.len() == 2 && exits.iter().all(as_asked), "{exits:?}");
        assert!(log.with_message("worker killed").is_empty(), "{}", log.text());
    }
}

#[test]
fn the_pool_ends_although_a_worker_was_being_replaced() {
    // The replacement is not ready until it is too late.
    let script = "
if os.path.exists('first'):
    note('second', '')
    wait_for_file('never')
note('first', '')
serve()";
    let mut run = pool(&["--max-age", "100ms"], python(script)).start();
    run.wait_lines("second", 1);
    stop(&mut run, libc::SIGTERM);
    assert_eq!(run.log.with_message("worker exited").len(), 2);
    assert_eq!(run.log.with_message("worker stopping").len(), 2);
}

#[test]
fn a_worker_lost_during_the_drain_delay_is_replaced() {
    let mut run = pool(&["--drain-delay", "1h"], python("serve()")).start();
    let first = run.wait_for("worker ready")["pid"].as_i64().unwrap();
    run.signal(libc::SIGTERM);
    run.wait_for("shutdown started");
    kill(run.outer_pid(first), libc::SIGKILL);
    run.log.wait_count("worker ready", 2);
    assert_eq!(http::get(&run.address(0), "/").unwrap().status, 200);
    assert_eq!(http::get(&run.health(), "/readyz").unwrap().status, 503);
    stop(&mut run, libc::SIGTERM);
}

/// Worker 0 leaves somebody behind at once; worker 1 takes its time.
const ONE_IS_SLOW: &str = "
def left_behind():
    signal.signal(signal.SIGTERM, lambda *_: (note('asked', ''), os._exit(0)))
    note('up', '')
    sleep_for_ever()
if is_worker(1):
    signal.signal(signal.SIGTERM, lambda *_: (wait_for_file('go'), os._exit(0)))
else:
    leave(left_behind)
wait_for_file('up')
serve()";

#[test]
fn what_a_dead_worker_left_in_its_group_is_asked_at_once_while_another_takes_its_time() {
    let leave = "
def leave(act):
    if os.fork() == 0: act()";
    let options = ["-n", "2", "--graceful-timeout", "1h"];
    let mut run = pool(&options, python(&format!("{leave}{ONE_IS_SLOW}"))).start();
    run.log.wait_count("worker ready", 2);
    run.signal(libc::SIGTERM);
    run.wait_lines("asked", 1);
    run.wait_for("worker exited");
    assert_eq!(run.log.with_message("worker exited").len(), 1);
    std::fs::write(run.dir().join("go"), "").unwrap();
    assert_eq!(run.wait_exit(), 0);
}

#[test]
fn a_daemon_is_asked_halfway_through_the_graceful_timeout_though_a_worker_takes_all_of_it() {
    let options = ["-n", "2", "--graceful-timeout", "4s"];
    let mut run = pool(&options, python(&format!("leave = daemon{ONE_IS_SLOW}"))).start();
    run.log.wait_count("worker ready", 2);
    run.signal(libc::SIGTERM);
    run.wait_lines("asked", 1);
    assert_no(&run, "worker killed");
    run.wait_for("worker exited");
    assert_eq!(run.log.with_message("worker exited").len(), 1);
    std::fs::write(run.dir().join("go"), "").unwrap();
    assert_eq!(run.wait_exit(), 0);
}

/// Outside any PID namespace of its own, where nobody else would end them.
#[test]
fn the_workers_end_with_a_supervisor_that_is_killed() {
    let script = "
signal.signal(signal.SIGTERM, lambda *_: (os.write(1, b'asked'), os._exit(0)))
os.write(1, b'up')
sleep_for_ever()";
    let mut supervisor = plain_command(binary().as_os_str())
        .args(["-n", "2", "--"])
        .args(python(script))
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut out = supervisor.stdout.take().unwrap();
    let mut up = [0; 4];
    out.read_exact(&mut up).unwrap();
    supervisor.kill().unwrap();
    supervisor.wait().unwrap();
    // Ends when nobody is left who could write.
    let mut rest = String::new();
    out.read_to_string(&mut rest).unwrap();
    assert_eq!((up, rest.as_str()), (*b"upup", "askedasked"));
}

/// As a server whose handler acts once: the second TERM would end it in the middle of its work. One is asked when its
/// worker dies, the other halfway through the timeout, and everybody who was not asked yet when the last worker goes.
#[test]
fn what_workers_leave_behind_is_asked_once() {
    let script = "
def drain(*_):
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    note('asked', '')
    wait_for_file('go')
    note('drained', '')
    os._exit(0)
def left_behind():
    signal.signal(signal.SIGTERM, drain)
    note('up', '')
    sleep_for_ever()
if is_worker(1):
    signal.signal(signal.SIGTERM, lambda *_: (wait_for_file('leave'), os._exit(0)))
else:
    if os.fork() == 0: left_behind()
    daemon(left_behind)
serve()";
    let mut run = pool(&["-n", "2", "--graceful-timeout", "6s"], python(script)).start();
    run.log.wait_count("worker ready", 2);
    run.wait_lines("up", 2);
    run.signal(libc::SIGTERM);
    run.wait_lines("asked", 2);
    allow(&run, "leave");
    run.wait_for("stopping the processes that were left behind");
    allow(&run, "go");
    assert_eq!(run.wait_exit(), 0);
    assert_eq!(run.wait_lines("drained", 2).lines().count(), 2);
    assert_no(&run, "graceful timeout over");
}

#[test]
fn a_hurried_stop_asks_daemons_too_where_there_was_no_timeout() {
    let options = ["-n", "2", "--graceful-timeout", "infinity"];
    let mut run = pool(&options, python(&format!("leave = daemon{ONE_IS_SLOW}"))).start();
    run.log.wait_count("worker ready", 2);
    run.signal(libc::SIGTERM);
    run.wait_for("worker exited");
    run.signal(libc::SIGTERM);
    run.wait_lines("asked", 1);
    allow(&run, "go");
    assert_eq!(run.wait_exit(), 0);
}

/// What is needed at the end was put aside at the start.
#[test]
fn term_loses_nothing_although_no_descriptor_is_left() {
    let mut run = with_apps(pool(&["-n", "2"], uvicorn(&[]))).start();
    run.log.wait_count("worker ready", 2);
    let load = Load::start(&run.address(0), "/", 4);
    load.wait_ok(100);
    let open = std::fs::read_dir(format!("/proc/{}/fd", run.pid)).unwrap().flatten();
    let open = open.filter_map(|fd| fd.file_name().to_str()?.parse::<u32>().ok());
    let limit = format!("--nofile={0}:{0}", open.max().unwrap() + 1);
    let status = Command::new("prlimit").args(["--pid", &run.pid.to_string(), &limit]).status();
    assert!(status.unwrap().success());
    stop(&mut run, libc::SIGTERM);
    let (_, _, lost, other) = load.stop();
    assert_eq!((lost, other), (0, 0), "{}", run.log.text());
    assert_no(&run, "connections cannot be held off");
}
