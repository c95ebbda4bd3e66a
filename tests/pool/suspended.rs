//! A container that is paused, a machine that sleeps: workers that were not running had no time.

use super::pool;
use super::python::{SERVER, python};
use crate::harness::suspend::suspend;
use std::time::Duration;

/// Over before the deadline of ten seconds, with little left to it then; and after it.
const PAUSES: [Duration; 2] = [Duration::from_secs(9), Duration::from_secs(11)];

#[test]
fn a_pause_takes_nothing_of_the_start_timeout() {
    let script = "
for _ in range(30):
    note('alive', '')
    time.sleep(0.05)
serve()";
    for pause in PAUSES {
        let run = pool(&["--start-timeout", "10s"], python(script)).start();
        run.wait_lines("alive", 10);
        suspend(&run, pause);
        run.wait_for("worker ready");
        assert!(run.log.with_message("worker stopping").is_empty(), "{}", run.log.text());
    }
}

#[test]
fn a_pause_takes_nothing_of_the_graceful_timeout() {
    let script = "
def slowly(*_):
    for _ in range(30):
        note('alive', '')
        time.sleep(0.05)
    os._exit(0)
signal.signal(signal.SIGTERM, slowly)
serve()";
    for pause in PAUSES {
        let mut run = pool(&["--graceful-timeout", "10s"], python(script)).start();
        run.wait_for("worker ready");
        run.signal(libc::SIGTERM);
        run.wait_lines("alive", 10);
        suspend(&run, pause);
        assert_eq!(run.wait_exit(), 0);
        assert!(run.log.with_message("worker killed").is_empty(), "{}", run.log.text());
        assert_eq!(run.wait_for("worker exited")["exit_code"], 0);
    }
}

#[test]
fn a_pause_makes_no_worker_hang() {
    let script = "
def pings():
    while True:
        say('WATCHDOG=1')
        time.sleep(0.3)
serve_beside()
threading.Thread(target=pings, daemon=True).start()
while True:
    note('alive', '')
    time.sleep(0.05)";
    let options = ["--watchdog", "5s", "--probe", "/", "--probe-interval", "500ms", "--probe-timeout", "5s"];
    let run = pool(&options, python(&format!("{SERVER}\n{script}"))).start();
    run.wait_for("worker ready");
    for pause in PAUSES {
        let before = run.wait_lines("alive", 1).lines().count();
        run.wait_lines("alive", before + 20);
        suspend(&run, pause);
        let before = run.wait_lines("alive", 1).lines().count();
        run.wait_lines("alive", before + 40);
        assert!(run.log.with_message("worker hung").is_empty(), "{}", run.log.text());
    }
}

#[test]
fn a_pause_takes_nothing_of_the_time_for_what_comes_before() {
    let script = "for _ in $(seq 30); do echo alive >> steps; sleep 0.05; done; echo over >> steps";
    for pause in PAUSES {
        let before = format!("sh -c '{script}'");
        let run = pool(&["--before", &before, "--before-timeout", "10s"], python("serve()")).start();
        run.wait_lines("steps", 10);
        suspend(&run, pause);
        run.wait_for("worker ready");
        assert!(run.wait_lines("steps", 31).ends_with("over\n"), "{}", run.log.text());
    }
}
