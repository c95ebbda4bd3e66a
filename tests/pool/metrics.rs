//! Metrics that Prometheus reads, that agree with the log, and that cost little.

use super::python::{SERVER, app, python, write_app};
use super::{BRISK, allow, catch_up, freeze, pool, uvicorn, with_apps};
use crate::harness::prometheus::{Page, metrics, scrape};
use crate::harness::strace::Trace;
use crate::harness::watch::Watch;
use crate::harness::{Run, eventually, http, kill, launch, status_line};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs;
use std::net::TcpStream;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const PLAIN: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Scrapes until the page is as it should be: one may be as old as its cache.
fn wait_page(run: &Run, what: &str, is_right: impl Fn(&Page) -> bool) -> Page {
    eventually(what, || Some(metrics(&run.health())).filter(&is_right))
}

fn slot_pid(run: &Run, slot: u64) -> i32 {
    let ready = run.log.wait_for("worker ready", |line| line["slot"] == slot);
    run.outer_pid(ready["pid"].as_i64().unwrap())
}

#[test]
fn both_formats_are_read_by_prometheus_own_parsers_and_say_the_same() {
    let run = pool(&["-n", "2"], python("serve()")).start();
    run.log.wait_count("worker ready", 2);
    let health = run.health();
    let open = metrics(&health);
    assert_eq!(open.content_type, OPEN_METRICS);
    assert!(open.text.ends_with("# EOF\n"));
    // What Prometheus 2 and 3 send.
    let accept = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,\
                  application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=0.0.4;q=0.2,*/*;q=0.1";
    assert_eq!(scrape(&health, "/metrics", accept).content_type, OPEN_METRICS);
    // `curl`, alone and with the header that it sends by itself.
    for no_wish in ["", "*/*"] {
        let page = scrape(&health, "/metrics", no_wish);
        assert_eq!(page.content_type, PLAIN, "{no_wish}");
        assert!(!page.text.contains("# UNIT") && !page.text.contains("# EOF"), "{}", page.text);
    }
    let plain = scrape(&health, "/metrics", "text/plain;version=0.0.4");
    assert_eq!(plain.content_type, PLAIN);
    assert_eq!(plain.series(), open.series());
    for family in &open.families {
        let name = family["name"].as_str().unwrap();
        let of_plain = |other: &&Value| {
            let other = other["name"].as_str().unwrap();
            // There the suffix of an info is a part of the name.
            other == name || other == format!("{name}_info")
        };
        let same = plain.families.iter().find(of_plain).unwrap_or_else(|| panic!("no {name}"));
        let kind = family["type"].as_str().unwrap();
        assert_eq!(same["type"], if kind == "info" { "gauge" } else { kind }, "{name}");
        assert_eq!(same["help"], family["help"], "{name}");
        // By the conventions a unit is a base unit and a part of the name.
        let unit = family["unit"].as_str().unwrap();
        assert!(["", "seconds", "bytes"].contains(&unit) && name.ends_with(unit), "{name} {unit}");
        assert!(unit == "seconds" || !name.ends_with("_seconds"), "{name} has no unit");
        assert!(unit == "bytes" || !name.ends_with("_bytes"), "{name} has no unit");
        let help = family["help"].as_str().unwrap();
        assert!(help.ends_with('.') && help.len() > 10, "{name}: {help}");
        assert!(name.starts_with("prefork_") || name.starts_with("process_"), "{name}");
    }
    let refused = http::request(&health, "POST", "/metrics").unwrap();
    assert_eq!((refused.status, refused.header("allow")), (405, "GET, HEAD"));
    let head = http::request(&health, "HEAD", "/metrics/liveness").unwrap();
    assert_eq!((head.status, head.body.as_str(), head.header("content-type")), (200, "", PLAIN));
    assert_eq!(http::get(&health, "/metrics/").unwrap().status, 404);
}

/// Does what files tell it to: ends, hangs, counts, leaves an orphan behind, takes no notice of TERM.
const MOODY: &str = r#"
signal.signal(signal.SIGTERM, lambda *_: os.path.exists("stubborn") or os._exit(0))
serve_beside()
def told(what):
    try:
        os.remove(what + me)
        return True
    except OSError:
        return False
while True:
    say("WATCHDOG=1")
    if told("crash"): os._exit(9)
    if told("hang"): wait_for_signals()
    if told("due"): say("X_PREFORK_REQUESTS=100")
    if told("orphan"): daemon(lambda: None)
    time.sleep(0.02)
"#;

/// How often each of the lines with this message has this field.
fn in_log(lines: &[Value], message: &str, field: &str) -> BTreeMap<String, u64> {
    let mut found = BTreeMap::new();
    let fits = |line: &&Value| line["message"].as_str().is_some_and(|m| m.starts_with(message));
    for line in lines.iter().filter(fits) {
        *found.entry(line[field].as_str().unwrap().to_owned()).or_default() += 1;
    }
    found
}

#[test]
fn after_a_chaotic_run_every_counter_equals_the_log() {
    let options =
        ["-n", "3", "--max-requests", "100", "--watchdog", "3s", "--abort-time", "2s", "--backoff", "10ms"];
    let more = [
        "--count-requests",
        "notify",
        "--graceful-timeout",
        "2s",
        "--warn-on-reap",
        "--max-restarts",
        "infinity",
    ];
    let options: Vec<&str> = options.iter().chain(&more).chain(&BRISK).copied().collect();
    let launch = pool(&options, app());
    write_app(launch.dir(), &format!("{SERVER}\n{MOODY}"));
    let run = launch.start();
    run.log.wait_count("worker ready", 3);
    let mut ready = 3;
    let mut wait_ready = |more: usize| {
        ready += more;
        run.log.wait_count("worker ready", ready);
    };
    kill(slot_pid(&run, 0), libc::SIGKILL);
    wait_ready(1);
    allow(&run, "crash1");
    wait_ready(1);
    allow(&run, "hang2");
    wait_ready(1);
    allow(&run, "due0");
    wait_ready(1);
    run.log.wait_for("worker exited", |line| line["reason"] == "max-requests");
    allow(&run, "orphan1");
    run.wait_for("orphan reaped");
    // Nobody of the first generation takes notice of TERM: each is killed.
    allow(&run, "stubborn");
    run.signal(libc::SIGHUP);
    wait_ready(3);
    run.wait_for("reload finished");
    fs::remove_file(run.dir().join("stubborn")).unwrap();
    run.signal(libc::SIGTTIN);
    wait_ready(1);
    run.signal(libc::SIGTTOU);
    run.log.wait_for("worker exited", |line| line["reason"] == "scale");
    // One that is overtaken, and the one that overtakes it fails.
    write_app(run.dir(), "wait_for_file('never')");
    run.signal(libc::SIGHUP);
    run.log.wait_for("worker spawned", |line| line["gen"] == 3);
    write_app(run.dir(), "sys.exit(3)");
    run.signal(libc::SIGHUP);
    run.wait_for("reload failed");
    run.log.wait_for("worker exited", |line| line["gen"] == 3);

    // Between two looks at the log that are the same, the page has to be the same.
    let (page, lines) = eventually("a quiet moment", || {
        catch_up(&run);
        // A page from before the end would be as old as its cache.
        let page = wait_page(&run, "that all are ready", |page| {
            page.by("prefork_workers", "state") == BTreeMap::from([("ready".to_owned(), 3)])
                && page.find("prefork_exits_total", ("reason", "boot-error")) == Some(1.0)
                && page.find("prefork_exits_total", ("reason", "reload")) == Some(4.0)
        });
        let before = run.log.with_message("worker").len();
        catch_up(&run);
        (run.log.with_message("worker").len() == before).then(|| (page, run.log.lines()))
    });
    let count = |message: &str| in_log(&lines, message, "message").values().sum::<u64>();
    assert_eq!(page.value("prefork_spawns_total"), count("worker spawned") as f64);
    let exits = in_log(&lines, "worker exited", "reason");
    assert_eq!(page.by("prefork_exits_total", "reason"), exits);
    let expected =
        [("crash", 2), ("hung", 1), ("max-requests", 1), ("reload", 4), ("scale", 1), ("boot-error", 1)];
    assert_eq!(exits, expected.map(|(reason, count)| (reason.to_owned(), count)).into());
    let recycles = [("max-requests", 1), ("reload", 4)].map(|(reason, count)| (reason.to_owned(), count));
    assert_eq!(page.by("prefork_recycles_total", "reason"), recycles.into());
    let kills = in_log(&lines, "worker killed", "reason");
    assert_eq!(page.by("prefork_kills_total", "reason"), kills);
    assert_eq!(kills["reload"], 3, "{kills:?}");
    assert_eq!(page.by("prefork_hung_total", "sign"), in_log(&lines, "worker hung", "sign"));
    assert_eq!(page.of("prefork_hung_total", "sign", "watchdog"), 1.0);
    assert_eq!(page.value("prefork_restarts_total"), 3.0, "after two crashes and a hang");
    for (result, message) in [("finished", "reload finished"), ("failed", "reload failed")] {
        assert_eq!(page.of("prefork_reloads_total", "result", result), count(message) as f64);
    }
    assert_eq!(page.of("prefork_reloads_total", "result", "overtaken"), 1.0);
    assert_eq!((page.value("prefork_reload_in_progress"), page.value("prefork_generation")), (0.0, 2.0));
    let mut received = in_log(&lines, "signal received", "signal");
    let mut counted = page.by("prefork_signals_received_total", "signal");
    // The test itself goes on sending this one.
    received.remove("WINCH");
    counted.remove("WINCH");
    assert_eq!(counted, received);
    assert_eq!(page.value("prefork_orphans_reaped_total"), count("orphan reaped") as f64);

    let ready = run.log.with_message("worker ready");
    let millis: u64 = ready.iter().map(|line| line["after_ms"].as_u64().unwrap()).sum();
    assert_eq!(page.value("prefork_ready_seconds_count"), ready.len() as f64);
    let short = page.value("prefork_ready_seconds_sum") - millis as f64 / 1000.0;
    assert!((0.0..0.001 * ready.len() as f64).contains(&short), "{short}");
    let of = |message: &str| -> BTreeSet<i64> {
        run.log.with_message(message).iter().map(|line| line["pid"].as_i64().unwrap()).collect()
    };
    let drained = of("worker draining").intersection(&of("worker stopping")).count();
    assert_eq!(page.value("prefork_drain_seconds_count"), drained as f64);
    let stopped = of("worker exited").intersection(&of("worker stopping")).count();
    assert_eq!(page.value("prefork_stop_seconds_count"), stopped as f64);
    // The three stubborn ones took the graceful timeout.
    let seconds = page.value("prefork_stop_seconds_sum");
    assert!(seconds > 3.0 * 2.0, "{seconds}");
    assert_eq!(page.value("prefork_workers_desired"), 3.0);
}

#[test]
fn gauges_are_right_and_come_at_once_while_every_worker_is_stopped() {
    let run = pool(&["-n", "2"], python("kept = b'x' * (40 << 20)\nserve()")).start();
    run.log.wait_count("worker ready", 2);
    let pids: Vec<i32> = (0..2).map(|slot| slot_pid(&run, slot)).collect();
    for worker in run.log.with_message("worker ready") {
        freeze(&run, worker["pid"].as_i64().unwrap());
    }
    let clients: Vec<_> = (0..5).map(|_| TcpStream::connect(run.address(0)).unwrap()).collect();
    let begin = Watch::start();
    let page = wait_page(&run, "five that wait", |page| {
        let waiting = page.by("prefork_accept_queue_length", "slot");
        waiting.values().sum::<u64>() == 5
    });
    assert!(begin.ran() < Duration::from_secs(5), "{:?}", begin.elapsed());
    assert_eq!(page.of("prefork_accept_queue_limit", "slot", "0"), 2048.0);
    assert_eq!(page.by("prefork_workers", "state"), BTreeMap::from([("ready".to_owned(), 2)]));
    assert_eq!(page.value("prefork_workers_ready"), 2.0);
    for (slot, pid) in ["0", "1"].into_iter().zip(pids) {
        let of = |name: &str| page.of(name, "slot", slot);
        let line = status_line(pid, "VmRSS").unwrap();
        let bytes = line.trim_end_matches(" kB").trim().parse::<f64>().unwrap() * 1024.0;
        let resident = of("prefork_worker_resident_memory_bytes");
        assert!(resident > 40e6 && (resident / bytes - 1.0).abs() < 0.05, "{resident}, not {bytes}");
        let fds = fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count();
        assert_eq!(of("prefork_worker_open_fds"), fds as f64);
        assert_eq!(of("prefork_worker_processes"), 1.0);
        assert!(of("prefork_worker_uptime_seconds") > 0.0 && of("prefork_worker_uptime_seconds") < 300.0);
        let cpu = of("prefork_worker_cpu_seconds_total");
        assert!(cpu > 0.0 && cpu < 30.0, "{cpu}");
    }
    assert!(page.value("process_resident_memory_bytes") > 500_000.0);
    assert!(
        page.value("process_open_fds") > 5.0
            && page.value("process_open_fds") < page.value("process_max_fds")
    );
    let started = page.value("process_start_time_seconds");
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs_f64();
    assert!((now - started) > 0.0 && (now - started) < 300.0, "{started}");
    drop(clients);
}

#[test]
fn a_hundred_respawns_add_no_series_and_no_pid_is_a_label() {
    let options = ["-n", "2", "--backoff", "1ms", "--backoff-max", "1ms", "--max-restarts", "infinity"];
    // The shell is quicker at failing a hundred times.
    let fails = "test $PREFORK_WORKER_ID = 0 || test -e calm || exit 1; exec \"$@\"";
    let command = ["sh", "-c", fails, "sh"].map(Into::into).into_iter().chain(python("serve()")).collect();
    let launch = pool(&options, command);
    fs::write(launch.dir().join("calm"), "").unwrap();
    let run = launch.start();
    run.log.wait_count("worker ready", 2);
    let before = metrics(&run.health());
    fs::remove_file(run.dir().join("calm")).unwrap();
    kill(slot_pid(&run, 1), libc::SIGKILL);
    run.log.wait_count("worker spawned", 102);
    allow(&run, "calm");
    run.log.wait_count("worker ready", 3);
    let after = wait_page(&run, "that all are ready", |page| {
        page.by("prefork_workers", "state") == BTreeMap::from([("ready".to_owned(), 2)])
            && page.value("prefork_restarts_total") >= 100.0
    });
    assert_eq!(after.series(), before.series());
    assert_eq!(after.value("prefork_restarts_total"), after.value("prefork_spawns_total") - 2.0);
    let known = ["phase", "state", "reason", "sign", "result", "slot", "signal", "version", "le"];
    for (name, labels, _) in after.samples() {
        assert!(
            labels.len() <= 1 && labels.keys().all(|label| known.contains(&label.as_str())),
            "{name} {labels:?}"
        );
        assert!(
            labels.get("slot").is_none_or(|slot| ["0", "1"].contains(&slot.as_str())),
            "{name} {labels:?}"
        );
    }
}

#[test]
fn slots_that_are_gone_disappear() {
    let run = pool(&[&["-n", "1"], &BRISK[..]].concat(), python("serve()")).start();
    run.wait_for("worker ready");
    let has = |page: &Page, slot: &str| page.find("prefork_slot_failures", ("slot", slot)).is_some();
    let before = wait_page(&run, "one slot", |page| page.value("prefork_workers_ready") == 1.0);
    assert!(has(&before, "0") && !has(&before, "1"));
    run.signal(libc::SIGTTIN);
    run.log.wait_count("worker ready", 2);
    let more = wait_page(&run, "two slots", |page| page.value("prefork_workers_ready") == 2.0);
    assert!(more.find("prefork_worker_uptime_seconds", ("slot", "1")).is_some());
    run.signal(libc::SIGTTOU);
    run.wait_for("worker exited");
    let after = wait_page(&run, "one slot again", |page| !has(page, "1"));
    // The signals are series now; nothing else has come, and nothing has stayed.
    assert_eq!(after.series(), before.series());
}

#[test]
fn a_slot_that_waits_out_its_backoff_says_so_and_who_waits_in_its_queue_is_seen() {
    let options = ["--backoff", "1m", "--max-restarts", "infinity"];
    let run = pool(&options, python("if os.path.exists('ill'): sys.exit(9)\nserve()")).start();
    let pid = slot_pid(&run, 0);
    allow(&run, "ill");
    kill(pid, libc::SIGKILL);
    run.wait_for("respawn delayed");
    let client = TcpStream::connect(run.address(0)).unwrap();
    let page = wait_page(&run, "one that waits", |page| {
        page.find("prefork_accept_queue_length", ("slot", "0")) == Some(1.0)
    });
    assert_eq!(page.of("prefork_slot_failures", "slot", "0"), 2.0);
    let delay = page.of("prefork_slot_respawn_delay_seconds", "slot", "0");
    assert!((10.0..=60.0).contains(&delay), "{delay}");
    assert_eq!((page.value("prefork_workers_ready"), page.value("prefork_workers_desired")), (0.0, 1.0));
    assert_eq!(page.find("prefork_worker_uptime_seconds", ("slot", "0")), None);
    assert_eq!(
        page.by("prefork_exits_total", "reason").into_iter().collect::<Vec<_>>(),
        [("boot-error".to_owned(), 1), ("crash".to_owned(), 1)]
    );
    drop(client);
}

#[test]
fn one_queue_for_all_is_told_once() {
    let words = ["-n", "2", "-b", "unix:app.sock", "-b", "127.0.0.1:0", "--health", "127.0.0.1:0", "--"];
    let run =
        launch(words.map(OsString::from).into_iter().chain(python("serve(socket.socket(fileno=4))"))).start();
    run.log.wait_count("worker spawned", 2);
    let socket = run.dir().join("app.sock");
    let client = std::os::unix::net::UnixStream::connect(socket).unwrap();
    let page = wait_page(&run, "one that waits", |page| {
        page.find("prefork_accept_queue_length", ("slot", "shared")) == Some(1.0)
    });
    let limits = page.by("prefork_accept_queue_limit", "slot");
    assert_eq!(limits, ["0", "1", "shared"].map(|slot| (slot.to_owned(), 2048)).into());
    drop(client);
}

#[test]
fn queues_that_overflow_are_counted() {
    let run = pool(&["--backlog", "1"], python("serve()")).start();
    run.wait_for("worker ready");
    freeze(&run, run.wait_for("worker ready")["pid"].as_i64().unwrap());
    let before = metrics(&run.health());
    let address = run.address(0).parse().unwrap();
    let clients: Vec<_> = (0..4)
        .map(|_| thread::spawn(move || TcpStream::connect_timeout(&address, Duration::from_secs(2))))
        .collect();
    wait_page(&run, "overflows", |page| {
        ["prefork_listen_overflows_total", "prefork_listen_drops_total"]
            .iter()
            .all(|name| page.value(name) > before.value(name))
    });
    let _refused: Vec<_> = clients.into_iter().map(|client| client.join().unwrap()).collect();
}

#[test]
fn liveness_metrics_look_at_nobody_but_the_supervisor() {
    let run = pool(&["-n", "2"], python("serve()")).start();
    run.log.wait_count("worker ready", 2);
    let whole = metrics(&run.health());
    let trace = Trace::attach(run.pid);
    let page = scrape(&run.health(), "/metrics/liveness", "");
    let calls = trace.detach();
    let files: Vec<&String> = calls.iter().filter(|call| call.contains("/proc/")).collect();
    assert!(!files.is_empty() && files.iter().all(|call| call.contains("/proc/self/")), "{files:?}");
    assert!(page.series().is_subset(&whole.series()) && page.samples().len() < whole.samples().len());
    assert_eq!((page.value("prefork_workers_ready"), page.value("prefork_workers_desired")), (2.0, 2.0));
    assert!(page.value("prefork_loop_turn_seconds_count") > 2.0);
    assert!(page.value("prefork_loop_lag_seconds_count") > 0.0);
}

#[test]
fn a_suspended_supervisor_shows_in_the_lag() {
    let run = pool(&["--max-memory", "1G"], python("serve()")).start();
    run.wait_for("worker ready");
    let late = |page: &Page| {
        page.value("prefork_loop_lag_seconds_count") - page.of("prefork_loop_lag_seconds_bucket", "le", "1.0")
    };
    assert_eq!(late(&metrics(&run.health())), 0.0);
    run.signal(libc::SIGSTOP);
    // It measures every second: that deadline passes.
    let begin = Instant::now();
    eventually("three seconds", || (begin.elapsed() > Duration::from_secs(3)).then_some(()));
    run.signal(libc::SIGCONT);
    wait_page(&run, "a deadline that was missed", |page| late(page) >= 1.0);
}

#[test]
fn a_storm_of_scrapes_does_not_keep_the_loop_from_its_work() {
    let options = ["-n", "4", "--backoff", "1ms"];
    let run = with_apps(pool(&options, uvicorn(&[]))).start();
    run.log.wait_count("worker ready", 4);
    let health = run.health();
    let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let scrapers: Vec<_> = (0..20)
        .map(|_| {
            let (health, stop) = (health.clone(), stop.clone());
            thread::spawn(move || {
                let mut scrapes = 0;
                while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                    scrapes +=
                        u32::from(http::get(&health, "/metrics").is_ok_and(|answer| answer.status == 200));
                }
                scrapes
            })
        })
        .collect();
    let mut times: Vec<Duration> = (0..50)
        .map(|_| {
            let begin = Instant::now();
            assert_eq!(http::get(&health, "/readyz").unwrap().status, 200);
            begin.elapsed()
        })
        .collect();
    times.sort();
    kill(slot_pid(&run, 0), libc::SIGKILL);
    run.log.wait_count("worker ready", 5);
    stop.store(true, std::sync::atomic::Ordering::Relaxed);
    let scrapes: u32 = scrapers.into_iter().map(|scraper| scraper.join().unwrap()).sum();
    println!("median of /readyz among {scrapes} scrapes: {:?}", times[25]);
    assert!(times[25] < Duration::from_millis(200), "{:?}", times[25]);
    assert!(scrapes > 20);
}

#[test]
fn an_exchanged_program_counts_anew_and_says_since_when() {
    let run = pool(&["-n", "2"], python("serve()")).start();
    run.log.wait_count("worker ready", 2);
    let before = metrics(&run.health());
    run.signal(libc::SIGUSR2);
    run.wait_for("upgraded");
    let after = wait_page(&run, "a new program", |page| {
        page.value("process_start_time_seconds") > before.value("process_start_time_seconds")
    });
    assert_eq!((before.value("prefork_spawns_total"), after.value("prefork_spawns_total")), (2.0, 0.0));
    assert_eq!(after.value("prefork_workers_ready"), 2.0);
    let uptime = |page: &Page| page.of("prefork_worker_uptime_seconds", "slot", "0");
    assert!(uptime(&after) > uptime(&before), "the workers live on");
}

#[test]
fn workers_of_another_user_are_measured_with_their_children() {
    let command = ["sh", "-c", "sleep 1000 & wait"].map(OsString::from).to_vec();
    let run = pool(&["--user", "www-data", "--ready", "delay:200ms"], command).start();
    run.wait_for("worker ready");
    let page = wait_page(&run, "a shell and its child", |page| {
        page.find("prefork_worker_processes", ("slot", "0")) == Some(2.0)
    });
    // Standard streams and the listener, each of them.
    assert!(page.of("prefork_worker_open_fds", "slot", "0") >= 8.0);
    assert!(page.of("prefork_worker_resident_memory_bytes", "slot", "0") > 1e6);
}

/// The page with every metric there is.
fn full_page() -> Page {
    let limits = ["--max-memory", "1G", "--memory-measure", "pss", "--max-requests", "1000"];
    let options = [&["-n", "2", "--count-requests", "notify"], &limits[..]].concat();
    let run = pool(&options, python("serve()")).start();
    run.log.wait_count("worker ready", 2);
    wait_page(&run, "a measured share", |page| {
        page.by("prefork_worker_proportional_memory_bytes", "slot").len() == 2
    })
}

#[test]
fn the_documentation_has_a_row_for_each_metric() {
    let page = full_page();
    let rows = include_str!("../../docs/metrics.md").lines().filter(|line| line.starts_with("| `pr"));
    let told: Vec<String> = rows.map(str::to_owned).collect();
    let there: Vec<String> = page.families.iter().map(row).collect();
    // The order is the page's.
    assert_eq!(told, there, "the table should be:\n{}\n", there.join("\n"));
}

/// A family as docs/metrics.md has it.
fn row(family: &Value) -> String {
    let sample = &family["samples"][0];
    let name = sample[0].as_str().unwrap().trim_end_matches("_sum").trim_end_matches("_bucket");
    let label = sample[1].as_object().unwrap().keys().next().filter(|label| *label != "le");
    let label = label.map(|label| format!("`{label}`")).unwrap_or_default();
    let help = family["help"].as_str().unwrap().trim_end_matches('.');
    format!("| `{name}` | {} | {label} | {help} |", family["type"].as_str().unwrap())
}

/// The metrics that expressions of PromQL name.
fn named(expressions: &str) -> BTreeSet<String> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    let words = expressions.split(|c: char| !is_part(c));
    words
        .filter(|word| word.starts_with("prefork_") || word.starts_with("process_"))
        .map(str::to_owned)
        .collect()
}

/// Labels of ours that an expression of PromQL wants or does not want to have a certain value.
fn selected(expression: &str) -> Vec<(&str, &str)> {
    let parts = expression.split(['{', ',', '}']).filter_map(|part| part.trim().split_once('='));
    parts
        .filter_map(|(label, value)| {
            let value = value.strip_prefix('"')?.strip_suffix('"')?;
            Some((label.trim_end_matches('!'), value)).filter(|_| !value.contains('$'))
        })
        .collect()
}

/// Every value of a key in a JSON document.
fn all_of(value: &Value, key: &str, into: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            into.extend(fields.get(key).and_then(Value::as_str).map(str::to_owned));
            fields.values().for_each(|field| all_of(field, key, into));
        }
        Value::Array(items) => items.iter().for_each(|item| all_of(item, key, into)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[test]
fn the_dashboard_and_the_alerts_of_the_examples_use_only_metrics_that_exist() {
    let page = full_page();
    let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let text = fs::read_to_string(examples.join("grafana-dashboard.json")).unwrap();
    let dashboard: Value = serde_json::from_str(&text).unwrap();
    let mut expressions = Vec::new();
    all_of(&dashboard, "expr", &mut expressions);
    // What fills the dashboard's variables.
    all_of(&dashboard, "definition", &mut expressions);
    assert!(expressions.len() > 20, "{expressions:?}");
    let alerts = fs::read_to_string(examples.join("prometheus-alerts.yaml")).unwrap();
    let alerts: Vec<&str> = alerts.lines().filter_map(|line| line.trim().strip_prefix("expr: ")).collect();
    assert!(alerts.len() > 5, "{alerts:?}");
    for expression in expressions.iter().map(String::as_str).chain(alerts) {
        let used = named(expression);
        assert!(!used.is_empty(), "no metric in {expression}");
        assert!(used.is_subset(&page.names()), "{expression}: {:?}", used.difference(&page.names()));
        for (label, value) in selected(expression) {
            let has =
                page.samples().iter().any(|(_, labels, _)| labels.get(label).is_some_and(|v| v == value));
            assert!(has, "nothing has {label} {value}: {expression}");
        }
    }
    let used = named(&expressions.join(" "));
    for shown in
        ["prefork_exits_total", "prefork_ready_seconds_bucket", "prefork_worker_resident_memory_bytes"]
    {
        assert!(used.contains(shown), "{shown} is not shown");
    }
    // Every panel has its own place and number, and every one shows something.
    let panels = dashboard["panels"].as_array().unwrap();
    let ids: BTreeSet<u64> = panels.iter().map(|panel| panel["id"].as_u64().unwrap()).collect();
    assert_eq!(ids.len(), panels.len());
    for panel in panels.iter().filter(|panel| panel["type"] != "row") {
        assert!(!panel["targets"].as_array().unwrap().is_empty(), "{panel}");
    }
}
