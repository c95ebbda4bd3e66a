//! A worker that keeps failing comes back ever later, and in the end not at all.

use super::history::{lives, time};
use super::python::python;
use super::{allow, pool};
use crate::harness::http;
use std::ffi::OsString;
use std::time::Duration;

fn shell(script: &str) -> Vec<OsString> {
    ["sh", "-c", script].map(OsString::from).to_vec()
}

/// Asks something of the network, as for a database that is not up yet, and ends with this code.
fn in_vain(code: u8) -> Vec<OsString> {
    let asks = "s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\ns.sendto(b'?', ('127.0.0.1', 9))";
    python(&format!("{asks}\nos._exit({code})"))
}

#[test]
fn the_delay_doubles_and_then_the_pool_gives_up() {
    let mut run = pool(&["--max-restarts", "4", "--backoff", "100ms"], in_vain(1)).start();
    assert_eq!(run.wait_exit(), 3, "{}", run.log.text());
    let lines = run.log.lines();
    let lives = lives(&lines);
    assert_eq!(lives.len(), 5, "the first and four restarts");
    let exits = run.log.with_message("worker exited");
    assert!(exits.iter().all(|line| line["reason"] == "boot-error" && line["exit_code"] == 1), "{exits:?}");

    let delays: Vec<u64> =
        run.log.with_message("respawn delayed").iter().map(|l| l["delay_ms"].as_u64().unwrap()).collect();
    // The first failure is answered at once. From the second on 100 ms, doubled each time; half of it is chance.
    assert_eq!(delays.len(), 3);
    for (delay, full) in delays.iter().zip([100, 200, 400]) {
        assert!((full / 2..=full).contains(delay), "{delays:?}");
    }
    // They were kept.
    for (index, delay) in delays.iter().enumerate() {
        let (dead, next) = (&lives[index + 1], &lives[index + 2]);
        let waited = time(&next.spawn).saturating_sub(time(dead.exit.as_ref().unwrap()));
        assert!(
            waited + Duration::from_millis(2) >= Duration::from_millis(*delay),
            "{waited:?} of {delay} ms"
        );
    }
    let last = lines.last().unwrap();
    assert!(last["message"].as_str().unwrap().starts_with("crash loop given up"), "{last}");
    assert_eq!((&last["level"], &last["restarts"]), (&"ERROR".into(), &4.into()));
}

#[test]
fn a_worker_that_says_it_cannot_boot_is_retried_at_most_once_a_second() {
    for code in [3, 4] {
        let mut run = pool(&["--max-restarts", "1", "--backoff", "1ms"], in_vain(code)).start();
        assert_eq!(run.wait_exit(), 3);
        let spawns = run.log.with_message("worker spawned");
        assert_eq!(spawns.len(), 2);
        assert!(time(&spawns[1]) - time(&spawns[0]) >= Duration::from_secs(1), "{spawns:?}");
    }
}

/// Worker 0 serves as soon as it may, worker 1 fails at once.
const ONE_FAILS: &str = "if is_worker(1): wait_for_file('fail'); sys.exit(1)\nwait_for_file('go')\nserve()";

#[test]
fn a_crash_loop_is_not_given_up_while_another_worker_serves() {
    let options = ["-n", "2", "--max-restarts", "2", "--backoff", "10ms", "--backoff-max", "20ms"];
    let mut run = pool(&options, python(ONE_FAILS)).start();
    allow(&run, "go");
    run.log.wait_for("worker ready", |line| line["slot"] == 0);
    allow(&run, "fail");
    run.log.wait_count("respawn delayed", 4);
    assert_eq!(http::get(&run.address(0), "/").unwrap().status, 200);
    assert_eq!(http::get(&run.health(), "/readyz").unwrap().status, 200);
    run.signal(libc::SIGTERM);
    assert_eq!(run.wait_exit(), 0);
}

#[test]
fn a_pool_that_gives_up_stops_the_others_first() {
    let options = ["-n", "2", "--max-restarts", "2", "--backoff", "10ms"];
    // Worker 0 is never ready, so that nobody serves.
    let mut run = pool(&options, python(ONE_FAILS)).start();
    allow(&run, "fail");
    assert_eq!(run.wait_exit(), 3, "{}", run.log.text());
    let exit = run.log.wait_for("worker exited", |line| line["slot"] == 0);
    assert_eq!((&exit["reason"], &exit["signal"]), (&"stop".into(), &"TERM".into()));
}

#[test]
fn a_stop_during_the_delay_ends_the_pool_at_once() {
    let mut run = pool(&["--backoff", "1h", "--backoff-max", "1h"], shell("exit 1")).start();
    run.wait_for("respawn delayed");
    run.signal(libc::SIGTERM);
    assert_eq!(run.wait_exit(), 0);
    assert_eq!(run.log.with_message("worker spawned").len(), 2);
}

#[test]
fn the_endpoint_says_that_the_pool_is_given_up_while_the_rest_is_stopped() {
    let options = ["-n", "2", "--max-restarts", "0"];
    let script = "
if is_worker(1):
    wait_for_file('others_wait')
    sys.exit(1)
signal.signal(signal.SIGTERM, lambda *_: note('terms', 'TERM'))
note('others_wait', '')
wait_for_file('go')";
    let mut run = pool(&options, python(script)).start();
    run.wait_lines("terms", 1);
    for path in ["/livez", "/readyz"] {
        let answer = http::get(&run.health(), path).unwrap();
        assert_eq!(answer.status, 503);
        assert!(answer.body.contains("a crash loop was given up"), "{answer:?}");
    }
    allow(&run, "go");
    assert_eq!(run.wait_exit(), 3);
}
