//! How we end, when the user says so: with which code, without a command, and who is waited for.

use super::{BOTH_PLACES, shell};
use crate::harness::{eventually, launch};
use std::process::Command;
use std::time::Duration;

#[test]
fn exit_codes_are_remapped_and_some_are_success() {
    for place in BOTH_PLACES {
        for (options, script, code) in [
            (&["--success-codes", "143,3"][..], "exit 3", 0),
            (&["--success-codes", "143,3"], "kill $$", 0),
            (&["--success-codes", "143,3"], "exit 4", 4),
            (&["--remap-exit-code", "3=7"], "exit 3", 7),
            (&["--remap-exit-code", "3=7,3=8", "--remap-exit-code", "0=9"], "exit 3", 8),
            (&["--remap-exit-code", "0=9"], "exit 0", 9),
            (&["--success-codes", "3", "--remap-exit-code", "3=7"], "exit 3", 7),
        ] {
            let words = options.iter().copied().chain(["--", "sh", "-c", script]);
            assert_eq!(place(launch(words)).finish().0, code, "{options:?} {script}");
        }
    }
}

#[test]
fn the_last_line_says_why_and_after_how_long() {
    for (script, said) in
        [("kill -SEGV $$", "command exited: signal 11 (SEGV)"), ("exit 5", "command exited: code 5, after ")]
    {
        let (_, _, log) = shell(&format!("ulimit -c 0; {script}")).env("PREFORK_LOG_FORMAT", "text").finish();
        assert!(log.contains(said), "{log}");
    }
    let mut run = shell("sleep 1.25; exit 5").start();
    assert_eq!(run.wait_exit(), 5);
    let line = run.wait_for("command exited");
    let took = line["uptime_ms"].as_u64().unwrap();
    assert!((1_250..11_000).contains(&took), "{line}");
    let said = format!("command exited: code 5, after {}.{}s", took / 1000, took % 1000 / 100);
    assert_eq!(line["message"], said);
}

#[test]
fn a_dumped_core_is_told_of() {
    // Where cores go is the machine's business: a pipe that takes none, perhaps.
    let (_, _, log) = shell("ulimit -c unlimited; exec sh -c 'kill -ABRT $$'").finish();
    let pattern = std::fs::read_to_string("/proc/sys/kernel/core_pattern").unwrap();
    let dumped = log.contains("signal 6 (ABRT), core dumped, after ");
    assert!(dumped || !pattern.starts_with("core"), "{pattern}: {log}");
    assert!(log.contains("signal 6 (ABRT)"), "{log}");
}

#[test]
fn without_a_command_it_reaps_until_it_is_told_to_stop_as_catatonit_does() {
    // The original, and ours: TERM and INT end it with 0, other signals do nothing.
    let catatonit = Command::new("sh").args(["-c", "command -v catatonit"]).output().unwrap();
    let catatonit = String::from_utf8(catatonit.stdout).unwrap();
    assert!(!catatonit.trim().is_empty(), "catatonit is missing: apt-get install catatonit");
    for signal in [15, 2] {
        let theirs = launch(["-P"]).program(std::path::Path::new(catatonit.trim()));
        for launch in [theirs, launch(["--pause"])] {
            let mut run = launch.start();
            // It has begun to wait when all signals are blocked.
            eventually("it waits", || {
                let blocked = crate::harness::status_line(run.pid, "SigBlk")?;
                (u64::from_str_radix(&blocked, 16).unwrap().count_ones() > 40).then_some(())
            });
            for ignored in [1, 3, 10, 12, 28, 40] {
                run.signal(ignored);
            }
            assert_eq!(run.wait_exit_within(Duration::from_millis(50)), None);
            run.signal(signal);
            assert_eq!(run.wait_exit(), 0);
        }
    }
}

#[test]
fn what_a_pause_has_adopted_is_asked_and_waited_for() {
    let run = launch(["--pause", "--health", "127.0.0.1:0"]);
    let mut run = run.start();
    let health = run.health();
    assert_eq!(crate::harness::http::get(&health, "/readyz").unwrap().status, 200);
    // As `docker exec` does it: a process that comes in from outside, whose child is then left to us.
    let script = format!(
        "cd {} && sh -c 'trap \"echo finished >finished; exit\" TERM; echo >up; while :; do sleep 0.01; done' & \
         while [ ! -e {0}/up ]; do sleep 0.01; done",
        run.dir().display()
    );
    let entered = Command::new("nsenter")
        .args(["--pid", "--mount", "--target", &run.pid.to_string(), "sh", "-c", &script])
        .status()
        .unwrap();
    assert!(entered.success());
    run.signal(15);
    assert_eq!(run.wait_exit(), 0);
    run.wait_lines("finished", 1);
}

#[test]
fn who_is_left_can_be_left_alone() {
    let script = "(trap 'echo told >told' TERM; echo >up; while :; do sleep 0.01; echo >>beat; done) & \
                  while [ ! -e up ]; do sleep 0.01; done; exit 7";
    for (what, told) in [("leave", false), ("signal", true), ("wait", true)] {
        let words = ["--orphans", what, "--graceful-timeout", "3s", "--", "sh", "-c", script];
        let below = ["sh", "-c", r#""$@"; echo $? >code; exec sleep 1000"#, "sh"];
        let run = launch(words).through(below).start();
        assert_eq!(run.wait_lines("code", 1), "7\n");
        if told {
            run.wait_lines("told", 1);
        } else {
            // It is alive, and nobody has told it anything.
            let beats = run.wait_lines("beat", 1).lines().count();
            run.wait_lines("beat", beats + 3);
            assert!(!run.dir().join("told").exists());
        }
    }
}

#[test]
fn the_plan_is_told_and_nothing_is_run() {
    let options = ["--explain", "--rewrite-signal", "TERM=QUIT,HUP=0", "--success-codes", "143"];
    let rest = ["--graceful-timeout", "8s", "--umask", "027", "--", "sh", "-c", "echo ran >ran"];
    for place in BOTH_PLACES {
        let launch = place(launch(options.into_iter().chain(rest)));
        let dir = launch.dir().to_owned();
        let (code, out, err) = launch.finish();
        assert_eq!((code, err.as_str()), (0, ""));
        for part in
            ["TERM becomes QUIT", "HUP is dropped", "KILL after 8s", "143 becomes 0", "027", "a session"]
        {
            assert!(out.contains(part), "{part}: {out}");
        }
        assert!(!dir.join("ran").exists());
    }
    let (_, out, _) =
        launch(["--explain", "-n", "2", "-b", ":80", "--max-age", "1h", "--", "sleep", "1"]).finish();
    for part in ["pool: 2 workers", "0.0.0.0:80, descriptor 3", "at an age of 1h", "exit code"] {
        assert!(out.contains(part), "{part}: {out}");
    }
}

#[test]
fn the_plan_of_a_pool_says_how_workers_are_replaced() {
    let told = |options: &str| {
        let options = format!("--explain -b :80 {options} -- sleep 1");
        launch(options.split(' ').filter(|word| !word.is_empty())).finish().1
    };
    for (options, parts) in [
        ("", ["each worker has its own", "is seen waiting for connections or it says so", "1 more alive"]),
        ("--listener shared --ready notify", ["all workers share it", "when it says so;", "0 fewer ready"]),
        (
            "--drain-signal USR2 --drain-time 3s",
            ["gets USR2, and is stopped 3s", "HUP replaces", "USR2 exchanges"],
        ),
        ("--ready delay:7s --start-timeout 8s", ["it is 7s old", "given up after 8s", "starts 1s apart"]),
        ("--max-memory 1M --max-memory-hard 2M", ["beyond 1048576", "at once beyond 2097152", "500ms after"]),
        ("--watchdog 9s --abort-signal QUIT", ["WATCHDOG=1 every 9s", "it gets QUIT", "KILL after 2s"]),
        ("--probe /x --probe-failures 4", ["fails 4 probes", "10s apart", "it gets ABRT"]),
        ("--accept-stall 6s --memory-pressure 80", ["still for 6s", "80% of the container's", "TERM"]),
    ] {
        let plan = told(options);
        for part in parts {
            assert!(plan.contains(part), "{part}: {plan}");
        }
    }
}

#[test]
fn the_plan_says_what_is_done() {
    let plan =
        |options: &[&str]| launch(options.iter().copied().chain(["--explain", "--", "true"])).finish().1;
    for (options, said, unsaid) in [
        (&["--rewrite-signal", "TERM=0"][..], "TERM is dropped", "TERM starts"),
        (
            &["--rewrite-signal", "USR1=TERM,TERM=QUIT", "--stop-signal", "INT"],
            "INT, QUIT, USR1, TERM starts",
            "",
        ),
        (&["--remap-exit-code", "3=4,3=5", "--success-codes", "3"], "3 becomes 5", "3 becomes 4"),
        (&["--process-group", "none", "--orphans", "signal"], "the command alone", "its process group gets"),
        (&["--subreaper", "never"], "our own children", ""),
        (&["--parent-death-signal", "KILL"], "so does the command", ""),
    ] {
        let launch = launch(options.iter().copied().chain(["--explain", "--", "true"])).not_pid1();
        let (_, out, _) = launch.finish();
        assert!(out.contains(said) && (unsaid.is_empty() || !out.contains(unsaid)), "{options:?}: {out}");
    }
    assert!(plan(&[]).contains("KILL after 30s"));
    let (code, ..) = launch(["--explain", "--", "nothing-of-that-name"]).finish();
    assert_eq!(code, 127);
    // A placeholder in the program's name is that of the first worker, as at the start.
    let launched = launch(["--explain", "-n", "1", "--", "./run{worker_id}"]);
    std::os::unix::fs::symlink("/bin/true", launched.dir().join("run0")).unwrap();
    assert_eq!(launched.finish().0, 0);
    let (_, out, _) = launch(["--explain", "--pause"]).finish();
    assert!(out.contains("INT, TERM end it") && out.contains("exit code       0"), "{out}");
}
