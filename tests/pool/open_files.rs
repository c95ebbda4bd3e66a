//! We may open as many files as the system allows; what we start may open as many as we were given.

use super::pool;
use super::python::python;
use super::upgrade::put;
use crate::harness::{Launch, binary, launch};
use std::fs;

/// Soft and hard, as `/proc/PID/limits` has them.
fn limits(pid: i32) -> (String, String) {
    let text = fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("Max open files")).unwrap();
    let mut words = line.split_ascii_whitespace().map(str::to_owned);
    (words.next().unwrap(), words.next().unwrap())
}

fn pair(soft: &str, hard: &str) -> (String, String) {
    (soft.to_owned(), hard.to_owned())
}

fn under(limit: &str, launch: Launch) -> Launch {
    let limit = format!("--nofile={limit}");
    launch.through(["prlimit", &limit, "--"])
}

#[test]
fn a_pool_raises_its_own_limit_and_hands_on_what_it_was_given() {
    let script = "
import resource
note('worker', str(resource.getrlimit(resource.RLIMIT_NOFILE)))
serve()";
    let tell = |name: &str| format!("sh -c 'echo $(ulimit -S -n) $(ulimit -H -n) >> {name}'");
    let (before, hook, check) = (tell("before"), tell("hook"), format!("exec:{}", tell("check")));
    let options = ["--before", &before, "--on-event", &hook, "--ready-check", &check, "--drain-time", "10ms"];
    let run = under("256:4000", pool(&options, python(script)).of_a_copy()).start();
    run.wait_for("worker ready");
    assert_eq!(limits(run.pid), pair("4000", "4000"));
    assert_eq!(run.wait_lines("worker", 1), "(256, 4000)\n");
    for name in ["before", "hook", "check"] {
        assert_eq!(run.wait_lines(name, 1).lines().next(), Some("256 4000"), "{name}");
    }
    // What is asked whether it would go on is no part of us yet, and becomes it.
    let asked = run.dir().join("script");
    fs::write(&asked, "#!/bin/sh\necho $(ulimit -S -n) $(ulimit -H -n) >> asked; exit 1\n").unwrap();
    put(&run, &asked);
    run.signal(libc::SIGUSR2);
    run.wait_for("upgrade failed");
    assert_eq!(run.wait_lines("asked", 1), "256 4000\n");
    put(&run, &binary());
    run.signal(libc::SIGUSR2);
    run.wait_for("upgraded");
    run.signal(libc::SIGHUP);
    run.wait_for("reload finished");
    assert_eq!(limits(run.pid), pair("4000", "4000"));
    assert_eq!(run.wait_lines("worker", 2), "(256, 4000)\n".repeat(2));
}

#[test]
fn an_init_leaves_its_limit_alone() {
    let run = under("256:4000", launch(["--", "sleep", "1000"])).start();
    let command = run.command();
    assert_eq!((limits(run.pid), limits(command)), (pair("256", "4000"), pair("256", "4000")));
}

/// However few there are: it runs, or says in a line why not.
#[test]
fn with_hardly_any_descriptors_the_start_says_what_is_missing() {
    let (mut refused, mut ran) = (0, 0);
    for few in (4..=30).step_by(2) {
        let words = ["-n", "1", "--health", "127.0.0.1:0", "--max-restarts", "0", "--", "false"];
        let (code, _, log) = under(&format!("{few}:{few}"), launch(words)).finish();
        match code {
            125 => {
                assert!(
                    log.contains("Too many open files") && log.contains("limit on open files"),
                    "{few}: {log}"
                );
                refused += 1;
            }
            3 => ran += 1,
            other => panic!("{few}: {other}: {log}"),
        }
        assert!(!log.contains("panic") && !log.contains("internal error"), "{few}: {log}");
    }
    assert!(refused > 0 && ran > 0, "{refused} {ran}");
}
