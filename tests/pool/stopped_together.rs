//! A stop that reaches all processes at once: by a service manager for a whole control group, or kill(2) for a process
//! group.

use super::python::python;
use super::{gunicorn, pool, uvicorn, with_apps};
use crate::harness::{Launch, Run, eventually, http, kill};
use std::ffi::OsString;
use std::fs;
use std::time::{Duration, Instant};

/// Writes what it is told into a file of its own, at once, so that lines cannot mix.
const RECORD: &str = "sh -c 'env | grep ^PREFORK_EVENT > .$$ && mv .$$ event-$PREFORK_EVENT_NUMBER'";

/// A signal for all processes is sent in one go; a test that was held up in the middle of it begins anew.
const IN_ONE_GO: Duration = Duration::from_millis(30);

#[derive(Clone, Copy, Debug)]
enum Order {
    UsFirst,
    UsLast,
}

/// Signals all processes; returns whether that was one moment.
fn signal_all(run: &Run, signal: i32, order: Order) -> bool {
    let others = run.others();
    let begin = Instant::now();
    if matches!(order, Order::UsFirst) {
        run.signal(signal);
    }
    others.iter().for_each(|(pid, _)| kill(*pid, signal));
    if matches!(order, Order::UsLast) {
        run.signal(signal);
    }
    begin.elapsed() < IN_ONE_GO
}

/// Starts a pool, and stops all processes when it is `ready`.
fn stopped(launch: impl Fn() -> Launch, ready: impl Fn(&Run), signal: i32, order: Order) -> Run {
    loop {
        let mut run = launch().start();
        ready(&run);
        if signal_all(&run, signal, order) {
            assert_eq!(run.wait_exit(), 0, "{}", run.log.text());
            return run;
        }
    }
}

fn assert_stopped(run: &Run, workers: usize) {
    let lines = run.log.lines();
    assert!(lines.iter().all(|line| line["level"] != "ERROR"), "{}", run.log.text());
    let exits = run.log.with_message("worker exited");
    assert_eq!(exits.len(), workers, "{}", run.log.text());
    assert!(exits.iter().all(|line| line["reason"] == "stop"), "{exits:?}");
    assert_eq!(run.log.with_message("worker spawned").len(), workers, "{}", run.log.text());
    let recorded = fs::read_dir(run.dir()).unwrap().flatten();
    let recorded = recorded.filter(|entry| entry.file_name().to_string_lossy().starts_with("event-"));
    let events: Vec<String> = recorded.map(|entry| fs::read_to_string(entry.path()).unwrap()).collect();
    assert!(events.iter().any(|event| event.contains("PREFORK_EVENT=worker-ready\n")), "{events:?}");
    assert!(events.iter().all(|event| !event.contains("REASON=crash")), "{events:?}");
}

fn wait_ready(run: &Run) {
    run.log.wait_count("worker ready", 2);
    eventually("the hooks", || {
        let names = fs::read_dir(run.dir()).unwrap().flatten().map(|entry| entry.file_name());
        let is_whole = names.filter(|name| name.to_string_lossy().starts_with("event-")).count() >= 4;
        // Hooks are among all processes.
        (is_whole && run.log.lines().len() > 2).then_some(())
    });
}

fn with_hook(options: &[&str], command: Vec<OsString>) -> Launch {
    let options: Vec<&str> =
        ["-n", "2", "--on-event", RECORD].into_iter().chain(options.iter().copied()).collect();
    with_apps(pool(&options, command))
}

#[test]
fn workers_that_a_stop_for_all_has_ended_did_not_crash() {
    for order in [Order::UsLast, Order::UsFirst] {
        for signal in [libc::SIGTERM, libc::SIGQUIT, libc::SIGABRT] {
            let run = stopped(|| with_hook(&[], python("serve()")), wait_ready, signal, order);
            assert_stopped(&run, 2);
        }
        for command in [uvicorn(&[]), gunicorn(&["apps:wsgi"])] {
            let run = stopped(|| with_hook(&[], command.clone()), wait_ready, libc::SIGTERM, order);
            assert_stopped(&run, 2);
        }
    }
}

#[test]
fn nor_has_one_that_starts_and_nobody_comes_through_the_drain_delay() {
    let script = "
if is_worker(1): sleep_for_ever()
serve()";
    let ready = |run: &Run| {
        run.wait_for("worker ready");
        run.log.wait_count("worker spawned", 2);
    };
    for order in [Order::UsLast, Order::UsFirst] {
        let options = ["--drain-delay", "1h", "--ready", "accept"];
        let run = stopped(|| with_hook(&options, python(script)), ready, libc::SIGTERM, order);
        let exits = run.log.with_message("worker exited");
        assert!(exits.len() == 2 && exits.iter().all(|line| line["reason"] == "stop"), "{exits:?}");
        assert_eq!(run.log.with_message("worker spawned").len(), 2);
    }
}

#[test]
fn what_a_server_has_in_hand_is_its_own_to_finish_and_no_crash_is_counted() {
    for order in [Order::UsLast, Order::UsFirst] {
        loop {
            let mut run = with_apps(pool(&["-n", "2"], uvicorn(&[]))).start();
            run.log.wait_count("worker ready", 2);
            let address = run.address(0);
            let slow = http::Pending::get(&address, "/slow").unwrap();
            // It has been read by a worker when others that came later are answered by both.
            let mut seen = std::collections::BTreeSet::new();
            while seen.len() < 2 {
                seen.insert(http::get(&address, "/").unwrap().body);
            }
            let in_time = signal_all(&run, libc::SIGTERM, order);
            run.wait_for("worker exited");
            let page = http::get(&run.health(), "/metrics");
            let answer = slow.answer();
            assert_eq!(run.wait_exit(), 0);
            let (Ok(page), true) = (page, in_time) else { continue };
            assert_eq!(answer.unwrap().status, 200);
            assert!(page.body.contains("prefork_exits_total{reason=\"crash\"} 0"), "{}", page.body);
            assert!(!page.body.contains("prefork_exits_total{reason=\"stop\"} 0"), "{}", page.body);
            break;
        }
    }
}

/// kill(2) for all spares the init of a container: then we were not asked to stop.
#[test]
fn workers_that_were_ended_and_not_we_are_replaced() {
    let run = pool(&["-n", "2"], python("serve()")).start();
    run.log.wait_count("worker ready", 2);
    run.others().iter().for_each(|(pid, _)| kill(*pid, libc::SIGTERM));
    run.log.wait_count("worker ready", 4);
    let exits = run.log.with_message("worker exited");
    assert!(exits.iter().all(|line| line["reason"] == "crash" && line["signal"] == "TERM"), "{exits:?}");
    assert!(run.log.with_message("respawn delayed").is_empty());
}
