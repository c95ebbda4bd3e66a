//! What the manager is told, from the start to the end.

use super::fake::Manager;
use super::pool;
use crate::harness::{Run, kill, launch, python};
use std::ffi::OsString;

const BRISK: [&str; 4] = ["--replacement-gap", "0s", "--drain-time", "0s"];
const AT_THE_END: &str = "STOPPING=1 EXTEND_TIMEOUT_USEC=40000000 STATUS=stopping:";

fn brisk(options: &[&str], script: &str) -> crate::harness::Launch {
    pool(&[&BRISK[..], options].concat(), script)
}

/// The clock of MONOTONIC_USEC.
fn clock() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: there is room for the answer.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) };
    time.tv_sec as u64 * 1_000_000 + time.tv_nsec as u64 / 1_000
}

fn stops(mut run: Run, manager: &Manager) {
    run.signal(libc::SIGTERM);
    manager.expect(&[
        &format!("{AT_THE_END} 2 of 2 workers left"),
        "STATUS=stopping: 1 of 2 workers left",
        "STATUS=stopping: 0 of 2 workers left",
    ]);
    assert_eq!(run.wait_exit(), 0);
    manager.expect_nothing();
}

#[test]
fn a_start_a_reload_and_a_stop() {
    let dir = tempfile::tempdir().unwrap();
    for manager in [Manager::at_path(dir.path()), Manager::abstractly()] {
        let run = manager.of(brisk(&["-n", "2", "--min-ready", "2"], "live()")).start();
        manager.expect(&[
            "STATUS=starting: 0 of 2 workers ready",
            "STATUS=starting: 1 of 2 workers ready",
            "READY=1 STATUS=2 of 2 workers ready",
        ]);
        let before = clock();
        run.signal(libc::SIGHUP);
        let (told, at) = manager.next_with_clock();
        assert_eq!(told, "RELOADING=1 MONOTONIC_USEC STATUS=reloading to generation 2: 0 of 2");
        assert!((before..=clock()).contains(&at.unwrap()), "{before} {at:?}");
        manager.expect(&[
            "STATUS=reloading to generation 2: 1 of 2",
            "STATUS=reloading to generation 2: 2 of 2",
            "READY=1 STATUS=2 of 2 workers ready",
        ]);
        run.wait_for("reload finished");
        stops(run, &manager);
    }
}

#[test]
fn a_crash_and_another_number_of_workers_are_changes_of_the_status_only() {
    let manager = Manager::abstractly();
    let run = manager.of(brisk(&["-n", "2", "--min-ready", "2"], "live()")).start();
    manager.expect(&[
        "STATUS=starting: 0 of 2 workers ready",
        "STATUS=starting: 1 of 2 workers ready",
        "READY=1 STATUS=2 of 2 workers ready",
    ]);
    let pid = run.wait_for("worker ready")["pid"].as_i64().unwrap();
    kill(run.outer_pid(pid), libc::SIGKILL);
    manager.expect(&["STATUS=1 of 2 workers ready", "STATUS=2 of 2 workers ready"]);
    run.signal(libc::SIGTTIN);
    manager.expect(&["STATUS=2 of 3 workers ready", "STATUS=3 of 3 workers ready"]);
    run.signal(libc::SIGTTOU);
    manager.expect(&["STATUS=2 of 2 workers ready"]);
    // The one that is not wanted any more has to be gone.
    run.log.wait_count("worker exited: signal 15 (TERM)", 1);
    stops(run, &manager);
}

#[test]
fn a_reload_that_fails_ends_with_ready_and_the_next_one_mends_it() {
    let script = "
if os.environ['PREFORK_GENERATION'] == '2': sys.exit(1)
live()";
    let manager = Manager::abstractly();
    let run = manager.of(brisk(&["-n", "2", "--min-ready", "2"], script)).start();
    manager.expect(&[
        "STATUS=starting: 0 of 2 workers ready",
        "STATUS=starting: 1 of 2 workers ready",
        "READY=1 STATUS=2 of 2 workers ready",
    ]);
    run.signal(libc::SIGHUP);
    manager.expect(&[
        "RELOADING=1 MONOTONIC_USEC STATUS=reloading to generation 2: 0 of 2",
        "READY=1 STATUS=2 of 2 workers ready; the reload to generation 2 failed",
    ]);
    run.signal(libc::SIGHUP);
    manager.expect(&[
        "RELOADING=1 MONOTONIC_USEC STATUS=reloading to generation 3: 0 of 2",
        "STATUS=reloading to generation 3: 1 of 2",
        "STATUS=reloading to generation 3: 2 of 2",
        "READY=1 STATUS=2 of 2 workers ready",
    ]);
    stops(run, &manager);
}

#[test]
fn the_drain_delay_belongs_to_the_end_and_so_does_its_time() {
    let manager = Manager::abstractly();
    let options = ["-n", "1", "--drain-delay", "300ms", "--graceful-timeout", "5s"];
    let mut run = manager.of(brisk(&options, "live()")).start();
    manager.expect(&["STATUS=starting: 0 of 1 workers ready", "READY=1 STATUS=1 of 1 workers ready"]);
    run.signal(libc::SIGTERM);
    manager.expect(&[
        "STOPPING=1 EXTEND_TIMEOUT_USEC=15300000 STATUS=draining: 1 of 1 workers ready",
        "STATUS=stopping: 1 of 1 workers left",
        "STATUS=stopping: 0 of 1 workers left",
    ]);
    assert_eq!(run.wait_exit(), 0);
}

/// What a reload has read holds, once it has proved itself.
#[test]
fn the_time_of_the_end_is_that_of_the_configuration_in_force() {
    let manager = Manager::abstractly();
    let launch = brisk(&["-n", "1", "--config", "prefork.toml"], "live()");
    let write = |dir: &std::path::Path, grace: &str| {
        std::fs::write(dir.join("prefork.toml"), format!("graceful-timeout = {grace:?}")).unwrap();
    };
    write(launch.dir(), "5s");
    let mut run = manager.of(launch).start();
    run.wait_for("pool ready");
    write(run.dir(), "20s");
    run.signal(libc::SIGHUP);
    run.wait_for("reload finished");
    run.signal(libc::SIGTERM);
    manager.expect_at_last("STOPPING=1 EXTEND_TIMEOUT_USEC=30000000 ");
    assert_eq!(run.wait_exit(), 0);
}

#[test]
fn a_crash_loop_that_is_given_up_is_an_end_too() {
    let manager = Manager::abstractly();
    let options = ["-n", "1", "--max-restarts", "0", "--graceful-timeout", "infinity"];
    let mut run = manager.of(brisk(&options, "sys.exit(1)")).start();
    manager.expect(&["STATUS=starting: 0 of 1 workers ready"]);
    // With patience without end, the manager's own is what counts.
    assert!(manager.next().starts_with("STOPPING=1 STATUS=crash loop given up: "));
    assert_eq!(run.wait_exit(), 3);
}

#[test]
fn after_an_exchange_of_the_program_the_new_one_says_that_it_is_ready() {
    let manager = Manager::abstractly();
    let launch = brisk(&["-n", "2", "--min-ready", "2"], "live()");
    let run = manager.of(launch.of_a_copy()).env("WATCHDOG_USEC", "3600000000").start();
    manager.expect(&["STATUS=starting: 0 of 2 workers ready", "WATCHDOG=1"]);
    manager.expect(&["STATUS=starting: 1 of 2 workers ready", "READY=1 STATUS=2 of 2 workers ready"]);
    run.signal(libc::SIGUSR2);
    run.wait_for("upgraded");
    manager.expect(&["READY=1 STATUS=2 of 2 workers ready", "WATCHDOG=1"]);
    stops(run, &manager);
}

#[test]
fn a_manager_whose_queue_is_full_hears_it_in_order_when_there_is_room() {
    let manager = Manager::abstractly();
    let full = manager.fill();
    assert!(full > 0);
    let run = manager.of(brisk(&["-n", "2", "--min-ready", "2"], "live()")).start();
    run.wait_for("pool ready");
    for _ in 0..full {
        assert_eq!(manager.next(), "full");
    }
    manager.expect(&[
        "STATUS=starting: 0 of 2 workers ready",
        "STATUS=starting: 1 of 2 workers ready",
        "READY=1 STATUS=2 of 2 workers ready",
    ]);
    stops(run, &manager);
}

#[test]
fn a_manager_that_is_gone_or_never_was_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let gone = Manager::at_path(dir.path());
    let name = gone.name.clone();
    drop(gone);
    for name in [name.as_str(), "/nowhere/at/all", "@nobody's name", "relative", "vsock:2:1"] {
        let mut run = brisk(&["-n", "1"], "live()").env("NOTIFY_SOCKET", name).start();
        run.wait_for("pool ready");
        run.signal(libc::SIGTERM);
        assert_eq!(run.wait_exit(), 0);
        let told = run.log.with_message("NOTIFY_SOCKET is ignored").len();
        assert_eq!(told, usize::from(!name.starts_with(['/', '@'])), "{name}");
    }
}

#[test]
fn in_init_mode_the_command_speaks_for_itself() {
    let script = "
import os, socket
socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).sendto(b'STATUS=the command', '\\0' + os.environ['NOTIFY_SOCKET'][1:])
print(os.environ['WATCHDOG_USEC'])";
    let manager = Manager::abstractly();
    let words: [OsString; 5] = ["--".into(), python(), "-IS".into(), "-c".into(), script.into()];
    let (code, out, log) = manager.of(launch(words)).env("WATCHDOG_USEC", "1000").finish();
    assert_eq!((code, out.as_str()), (0, "1000\n"), "{log}");
    manager.expect(&["STATUS=the command"]);
    manager.expect_nothing();
}
