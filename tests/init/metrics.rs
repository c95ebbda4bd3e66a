//! The same page for one command.

use crate::harness::prometheus::{metrics, scrape};
use crate::harness::{eventually, launch};

#[test]
fn the_command_is_the_worker_of_slot_0_and_signals_and_orphans_are_counted() {
    let script = "trap 'echo hup >>hups' HUP
        (sh -c : & ) ; (sh -c : & )
        while :; do sleep 0.01; done";
    let run =
        launch(["--health", "127.0.0.1:0", "--rewrite-signal", "USR2=HUP", "--", "sh", "-c", script]).start();
    let command = run.command();
    let orphans = |page: &crate::harness::prometheus::Page| page.value("prefork_orphans_reaped_total");
    eventually("two orphans", || (orphans(&metrics(&run.health())) >= 2.0).then_some(()));
    run.signal(libc::SIGHUP);
    run.wait_lines("hups", 1);
    run.signal(libc::SIGUSR2);
    run.wait_lines("hups", 2);
    let page = eventually("a page without a cached one before", || {
        let page = metrics(&run.health());
        (page.find("prefork_signals_forwarded_total", ("signal", "HUP")) == Some(2.0)).then_some(page)
    });
    let received = page.by("prefork_signals_received_total", "signal");
    assert_eq!((received["HUP"], received["USR2"]), (1, 1), "{received:?}");
    assert_eq!(page.by("prefork_signals_forwarded_total", "signal")["HUP"], 2);
    assert_eq!(page.of("prefork_workers", "state", "ready"), 1.0);
    assert_eq!((page.value("prefork_workers_desired"), page.value("prefork_workers_ready")), (1.0, 1.0));
    assert_eq!(page.of("prefork_phase", "phase", "running"), 1.0);
    assert!(page.of("prefork_worker_open_fds", "slot", "0") >= 3.0);
    assert!(page.of("prefork_worker_uptime_seconds", "slot", "0") > 0.0);
    assert!(page.of("prefork_worker_resident_memory_bytes", "slot", "0") > 100_000.0);
    for of_pool in ["prefork_spawns_total", "prefork_generation", "prefork_accept_queue_length"] {
        assert!(!page.names().contains(of_pool), "{of_pool}");
    }
    let liveness = scrape(&run.health(), "/metrics/liveness", "");
    assert!(liveness.series().is_subset(&page.series()));
    assert!(crate::harness::status_line(command, "State").is_some());
}

#[test]
fn while_the_command_stops_the_page_says_so() {
    let script = "trap : TERM; echo up >up; until [ -e go ]; do sleep 0.01; done; exit 3";
    let words = ["--health", "127.0.0.1:0", "--", "sh", "-c", script];
    let mut run = launch(words).start();
    run.wait_lines("up", 1);
    let health = run.health();
    run.signal(libc::SIGTERM);
    run.log.wait_for("signal forwarded", |line| line["signal"] == "TERM");
    let page = metrics(&health);
    assert_eq!(page.of("prefork_workers", "state", "stopping"), 1.0);
    assert_eq!(page.of("prefork_phase", "phase", "stopping"), 1.0);
    std::fs::write(run.dir().join("go"), "").unwrap();
    assert_eq!(run.wait_exit(), 3);
}
