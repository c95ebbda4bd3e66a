//! Signals that end most servers stay with the supervisor.

use super::python::python;
use super::{pool, uvicorn, with_apps};
use crate::harness::http;

#[test]
fn usr1_and_alrm_do_not_reach_uvicorn() {
    let run = with_apps(pool(&[], uvicorn(&[]))).start();
    let pid = run.wait_for("worker ready")["pid"].to_string();
    for (signal, name) in [(libc::SIGUSR1, "USR1"), (libc::SIGALRM, "ALRM")] {
        run.signal(signal);
        run.log.wait_for("signal ignored", |line| line["signal"] == name);
        assert_eq!(http::get(&run.address(0), "/").unwrap().body, pid);
    }
    assert!(run.log.with_message("worker exited").is_empty());
}

#[test]
fn no_signal_but_the_stop_signal_reaches_a_worker() {
    let script = "
for number in set(range(1, 65)) - {signal.SIGKILL, signal.SIGSTOP, signal.SIGCHLD, 32, 33}:
    signal.signal(number, lambda number, _: note('signals', str(number)) or sys.exit())
serve()";
    let mut run = pool(&[], python(script)).start();
    run.wait_for("worker ready");
    for signal in [libc::SIGHUP, libc::SIGUSR1, libc::SIGALRM, libc::SIGTTIN, libc::SIGRTMIN() + 3] {
        run.signal(signal);
    }
    super::catch_up(&run);
    run.signal(libc::SIGTERM);
    assert_eq!(run.wait_exit(), 0);
    let seen = std::fs::read_to_string(run.dir().join("signals")).unwrap();
    assert_eq!(seen.lines().next(), Some("15"), "{seen}");
    // SIGCONT follows each stop signal, for the stopped.
    assert!(seen.lines().all(|line| ["15", "18"].contains(&line)), "{seen}");
}
