//! USR2: another program takes the process over, and nobody notices.

use super::python::python;
use super::{example_worker, pool, readiness, uvicorn, with_apps};
use crate::harness::load::Load;
use crate::harness::{Run, binary, eventually, example, http, install, install_script};
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// Puts a program in the place of the one that runs, as a package manager does it.
pub(super) fn put(run: &Run, program: &Path) {
    let new = run.dir().join("new");
    install(program, &new);
    fs::set_permissions(&new, fs::Permissions::from_mode(0o755)).unwrap();
    fs::rename(new, run.dir().join("supervisor")).unwrap();
}

fn pids(run: &Run, message: &str) -> BTreeSet<String> {
    run.log.with_message(message).iter().map(|line| line["pid"].to_string()).collect()
}

/// The workers that answer.
fn answering(run: &Run) -> BTreeSet<String> {
    (0..40).map(|_| http::get(&run.address(0), "/").unwrap().body).collect()
}

#[test]
fn workers_listeners_and_the_endpoint_live_through_an_exchange_of_the_program() {
    let launch = pool(&["-n", "2", "--drain-time", "100ms"], uvicorn(&[]));
    let mut run = with_apps(launch).of_a_copy().start();
    run.log.wait_count("worker ready", 2);
    let before = answering(&run);
    assert_eq!(before.len(), 2);
    let load = Load::start(&run.address(0), "/", 2);
    load.wait_ok(20);
    for round in 1..=3 {
        put(&run, &binary());
        run.signal(libc::SIGUSR2);
        run.log.wait_count("upgraded", round);
        load.wait_ok(20);
        assert_eq!(http::get(&run.health(), "/readyz").unwrap().status, 200);
    }
    assert_eq!(answering(&run), before, "nobody was restarted");
    assert_eq!(run.log.with_message("worker exited").len(), 0);

    // What it has taken over, it looks after.
    run.signal(libc::SIGHUP);
    run.wait_for("reload finished");
    let after = answering(&run);
    assert!(after.len() == 2 && after.is_disjoint(&before));
    let (_, refused, lost, other) = load.stop();
    assert_eq!((refused, lost, other), (0, 0, 0));
    let dead: i64 = after.first().unwrap().parse().unwrap();
    crate::harness::kill(run.outer_pid(dead), libc::SIGKILL);
    run.log.wait_count("worker ready", 5);
    run.signal(libc::SIGTERM);
    assert_eq!(run.wait_exit(), 0);
    assert_eq!(pids(&run, "worker exited"), pids(&run, "worker spawned"));
}

#[test]
fn a_program_that_could_not_go_on_is_not_exchanged_for() {
    let mut run = pool(&[], python("serve()")).of_a_copy().start();
    run.wait_for("worker ready");
    let before = answering(&run);
    // One that does not know the question prints the plan for people.
    let earlier = format!("#!/bin/sh\nunset PREFORK_HANDOVER_TERMS\nexec {} \"$@\"\n", binary().display());
    let scripts = [
        ("#!/bin/sh\nexit 1\n", "does not accept our command line"),
        ("#!/bin/sh\necho mode pool\n", "of an earlier build, or none of ours"),
        ("#!/bin/sh\necho handover 3\n", "cannot take over"),
        ("#!/bin/sh\necho handover 4\n", "listen elsewhere"),
        (&earlier, "of an earlier build, or none of ours"),
        ("not a program", "Exec format error"),
    ];
    for (round, (script, reason)) in (1..).zip(scripts) {
        let path = run.dir().join("script");
        fs::write(&path, script).unwrap();
        put(&run, &path);
        run.signal(libc::SIGUSR2);
        run.log.wait_count("upgrade failed", round);
        let told = run.log.with_message("upgrade failed").pop().unwrap();
        assert!(told["reason"].as_str().unwrap().contains(reason), "{told}");
        assert_eq!(answering(&run), before);
    }
    put(&run, &binary());
    run.signal(libc::SIGUSR2);
    run.wait_for("upgraded");
    assert_eq!(answering(&run), before);
    run.signal(libc::SIGTERM);
    assert_eq!(run.wait_exit(), 0);
}

/// Its terms are those of a pool without listeners, were it one.
#[test]
fn a_configuration_that_makes_no_pool_any_more_is_not_taken_over_by() {
    let words = ["--config", "pool.toml", "--health", "127.0.0.1:0", "--", "sh", "-c", "exec sleep 1000"];
    let launch = crate::harness::launch(words);
    fs::write(launch.dir().join("pool.toml"), "workers = 2\nready = \"delay:1ms\"\n").unwrap();
    let mut run = launch.of_a_copy().start();
    run.log.wait_count("worker ready", 2);
    fs::write(run.dir().join("pool.toml"), "").unwrap();
    run.signal(libc::SIGUSR2);
    let told = run.wait_for("upgrade failed");
    assert!(told["reason"].as_str().unwrap().contains("does not accept our command line"), "{told}");
    assert_eq!(readiness(&run), (200, 2, 1, 2));
    run.signal(libc::SIGTERM);
    assert_eq!(run.wait_exit(), 0);
    assert_eq!(run.log.with_message("worker exited").len(), 2);
}

/// A program of the builds that compared plans for people looks for this in that of the next one.
#[test]
fn an_earlier_program_finds_in_the_plan_what_it_looks_for() {
    let options = ["--explain", "-n", "2", "-b", "127.0.0.1:80,unix:/run/s", "--bind-mode", "660"];
    let launch = crate::harness::launch(options.iter().copied().chain(["--health", ":90", "--", "true"]));
    let (code, plan, log) = launch.finish();
    assert_eq!(code, 0, "{log}");
    assert!(plan.contains("(handover format 4)"), "{plan}");
    let of_sockets = |line: &&str| ["listener ", "health ", "control "].iter().any(|of| line.starts_with(of));
    let lines: Vec<&str> = plan.lines().filter(of_sockets).collect();
    assert_eq!(
        lines,
        [
            "listener        127.0.0.1:80, descriptor 3 of each worker; each worker has its own",
            "listener        unix:/run/s (mode 660), descriptor 4 of each worker; each worker has its own",
            "health          0.0.0.0:90",
            "control         no socket",
        ]
    );
}

/// As when two packages come one after the other: the kernel shows a removed file as where the program is.
#[test]
fn a_program_that_was_replaced_before_it_could_look_where_it_is_can_be_exchanged_for() {
    let replaces = "exec 9<$1 && mv new $1 && shift && exec /proc/self/fd/9 \"$@\"";
    let launch = pool(&[], python("serve()")).of_a_copy().through(["sh", "-c", replaces, "sh"]);
    install(&binary(), &launch.dir().join("new"));
    let mut run = launch.start();
    run.wait_for("worker ready");
    run.signal(libc::SIGUSR2);
    run.wait_for("upgraded");
    run.signal(libc::SIGTERM);
    assert_eq!(run.wait_exit(), 0);
}

#[test]
fn an_upgrade_waits_for_the_end_of_a_reload() {
    let script = "
if os.environ['PREFORK_GENERATION'] != '1': wait_for_file('go')
serve()";
    let run = pool(&["--drain-time", "10ms"], python(script)).of_a_copy().start();
    run.wait_for("worker ready");
    run.signal(libc::SIGHUP);
    run.log.wait_count("worker spawned", 2);
    run.signal(libc::SIGUSR2);
    run.wait_for("upgrade waits");
    assert!(run.log.with_message("upgraded").is_empty());
    super::allow(&run, "go");
    run.wait_for("reload finished");
    run.wait_for("upgraded");
}

#[test]
fn workers_know_nothing_of_it_and_orphans_are_still_ours() {
    let script = "
note('environment', json.dumps(dict(os.environ)))
daemon(lambda: (note('daemons', ''), sleep_for_ever()))
serve()";
    let mut run = pool(&["--drain-time", "10ms"], python(script)).of_a_copy().start();
    run.wait_for("worker ready");
    run.wait_lines("daemons", 1);
    run.signal(libc::SIGUSR2);
    run.wait_for("upgraded");
    run.signal(libc::SIGHUP);
    run.wait_for("reload finished");
    let told = run.wait_lines("environment", 2);
    assert!(!told.contains("HANDOVER"), "{told}");
    run.wait_lines("daemons", 2);
    run.signal(libc::SIGTERM);
    assert_eq!(run.wait_exit(), 0);
}

#[test]
fn a_handover_that_nobody_made_is_an_error() {
    let launch = pool(&[], python("serve()")).of_a_copy().env("PREFORK_HANDOVER_FD", "7");
    let (code, _, log) = launch.finish();
    assert_eq!(code, 125);
    assert!(log.contains("PREFORK_HANDOVER_FD") && log.contains("leave the variable out"), "{log}");
}

/// What comes together with the signal is read in one go: it must not end with the old program.
#[test]
fn a_term_that_comes_with_the_usr2_is_heard() {
    let mut run = pool(&[], python("serve()")).of_a_copy().start();
    run.wait_for("worker ready");
    // Nothing is read before both are there.
    crate::harness::kill(run.pid, libc::SIGSTOP);
    let state = || crate::harness::status_line(run.pid, "State").filter(|state| state.starts_with('T'));
    eventually("that it is stopped", state);
    run.signal(libc::SIGUSR2);
    run.signal(libc::SIGTERM);
    crate::harness::kill(run.pid, libc::SIGCONT);
    run.wait_for("shutdown started");
    assert_eq!(run.wait_exit(), 0);
}

/// A slot that waits out its backoff has a queue too.
#[test]
fn who_waits_for_a_respawn_does_so_through_an_upgrade() {
    let options = ["-n", "2", "--backoff", "4s", "--backoff-max", "4s", "--drain-time", "10ms"];
    let mut run = pool(&options, python("serve()")).of_a_copy().start();
    run.log.wait_count("worker ready", 2);
    // The lanes are not those of a fresh start any more.
    run.signal(libc::SIGHUP);
    run.wait_for("reload finished");
    run.log.wait_count("worker ready", 4);
    let slot = |line: &serde_json::Value| line["slot"] == 1;
    for ready in 2..=3 {
        run.log.wait_until(|lines| {
            lines.iter().filter(|line| line["message"] == "worker ready" && slot(line)).count() >= ready
        });
        let pid = run.log.with_message("worker ready").into_iter().rfind(slot).unwrap()["pid"].as_i64();
        super::freeze(&run, pid.unwrap());
        if ready == 2 {
            crate::harness::kill(run.outer_pid(pid.unwrap()), libc::SIGKILL);
            continue;
        }
        // Some of these wait for the one that is stopped.
        let address = run.address(0);
        let waiting: Vec<_> = (0..12).map(|_| http::Pending::get(&address, "/").unwrap()).collect();
        crate::harness::kill(run.outer_pid(pid.unwrap()), libc::SIGKILL);
        run.log.wait_for("respawn delayed", slot);
        run.signal(libc::SIGUSR2);
        run.wait_for("upgraded");
        for waiting in waiting {
            assert_eq!(waiting.answer().unwrap().status, 200);
        }
    }
    run.signal(libc::SIGTERM);
    assert_eq!(run.wait_exit(), 0);
}

#[test]
fn how_often_a_worker_wants_to_ping_is_known_to_the_next_program() {
    let script = "
say('WATCHDOG_USEC=3600000000\\nREADY=1')
note('said', '')
serve()";
    let options = ["--ready", "notify", "--watchdog", "1s"];
    let mut run = pool(&options, python(script)).of_a_copy().start();
    run.wait_for("worker ready");
    run.wait_lines("said", 1);
    super::catch_up(&run);
    run.signal(libc::SIGUSR2);
    run.wait_for("upgraded");
    // It would be hung after a second: longer than these take.
    let begin = std::time::Instant::now();
    while begin.elapsed() < std::time::Duration::from_millis(1_500) {
        assert_eq!(http::get(&run.address(0), "/").unwrap().status, 200);
    }
    assert!(run.log.with_message("worker hung").is_empty(), "{}", run.log.text());
    run.signal(libc::SIGTERM);
    assert_eq!(run.wait_exit(), 0);
}

/// Puts a script in the place of the program: what it does when it is asked for its plan, and what it becomes.
fn put_script(run: &Run, asked: &str, program: &Path) {
    let script = run.dir().join("script");
    let program = program.display();
    let text =
        format!("#!/bin/sh\nif [ \"$PREFORK_EXPLAIN\" = true ]; then\n{asked}\nfi\nexec {program} \"$@\"\n");
    fs::write(&script, text).unwrap();
    put(run, &script);
}

#[test]
fn what_only_new_workers_lack_does_not_end_those_that_run() {
    let server = |dir: &Path| {
        let link = dir.join("server");
        std::os::unix::fs::symlink(example("worker"), &link).unwrap();
        link
    };
    let launch = pool(&["--backoff", "100ms"], vec!["./server".into()]).of_a_copy();
    let link = server(launch.dir());
    let mut run = launch.start();
    run.wait_for("worker ready");
    // It is there when the plan is asked for, and gone when that is carried out.
    put_script(&run, &format!("{} \"$@\" && rm {}; exit", binary().display(), link.display()), &binary());
    run.signal(libc::SIGUSR2);
    run.wait_for("upgraded");
    run.wait_for("a program is missing");
    assert_eq!(http::get(&run.health(), "/readyz").unwrap().status, 200);
    // Each start of one more is tried, as always.
    let pid = run.wait_for("worker ready")["pid"].as_i64().unwrap();
    crate::harness::kill(run.outer_pid(pid), libc::SIGKILL);
    run.wait_for("cannot start the command");
    server(run.dir());
    run.log.wait_count("worker ready", 2);
    run.signal(libc::SIGTERM);
    assert_eq!(run.wait_exit(), 0);
}

/// It ends nothing, and keeps no worker from being started.
#[test]
fn a_hook_that_is_missing_after_an_upgrade_is_told_as_that() {
    let launch = pool(&["--backoff", "100ms", "--on-event", "./hook"], example_worker(&[])).of_a_copy();
    install_script("#!/bin/sh\n", 0o755, &launch.dir().join("hook"));
    let mut run = launch.start();
    run.wait_for("worker ready");
    put_script(&run, &format!("{} \"$@\" && rm hook; exit", binary().display()), &binary());
    run.signal(libc::SIGUSR2);
    run.wait_for("upgraded");
    let told = run.wait_for("a program is missing");
    assert!(told["error"].to_string().contains("--on-event './hook': not found"), "{told}");
    let pid = run.wait_for("worker ready")["pid"].as_i64().unwrap();
    crate::harness::kill(run.outer_pid(pid), libc::SIGKILL);
    run.log.wait_count("worker ready", 2);
    assert!(!run.log.text().contains("no worker can be started"), "{}", run.log.text());
    run.signal(libc::SIGTERM);
    assert_eq!(run.wait_exit(), 0);
}

#[test]
fn an_answer_that_does_not_end_is_not_waited_for() {
    let mut run = pool(&[], example_worker(&[])).of_a_copy().start();
    run.wait_for("worker ready");
    for (round, asked) in (1..).zip([
        // It ends well, and what it has left behind holds the pipe open.
        "sleep 1000 & exit 0",
        "exec yes",
        "exec sleep 1000",
        "exec >&-; exec sleep 1000",
    ]) {
        put_script(&run, asked, Path::new("/bin/false"));
        run.signal(libc::SIGUSR2);
        run.log.wait_count("upgrade failed", round);
        let alone = || (run.others().len() == 1).then_some(());
        eventually(&format!("nobody is left beside the worker: {asked}"), alone);
    }
    run.signal(libc::SIGTERM);
    assert_eq!(run.wait_exit(), 0);
}
