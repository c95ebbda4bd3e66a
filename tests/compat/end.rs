//! What becomes of processes that outlive the command.

use super::Original::{self, DumbInit, Tini};
use super::same;
use super::signals::{family, got, pid_of};
use crate::harness::{eventually, status_line};

type Case = (Original, &'static [&'static str]);

const CASES: &[Case] = &[
    (DumbInit, &[]),
    (DumbInit, &["-c"]),
    (DumbInit, &["-r", "15:2"]),
    (DumbInit, &["-r", "15:0"]),
    (Tini, &[]),
    (Tini, &["-s"]),
    (Tini, &["-g"]),
    (Tini, &["-e", "7"]),
];

#[test]
fn the_same_relatives_live_on_and_were_told_the_same() {
    for (original, args) in CASES {
        let seen = original.both().map(|program| {
            let run = family(&program, args, &[], false);
            let [member, outsider] = ["member", "outsider"].map(|name| pid_of(&run, name));
            run.signal(64);
            let code = run.wait_lines("code", 1);
            let parent = |pid| eventually("a parent", || status_line(pid, "PPid"));
            // Both are below the shell now: nothing killed them.
            let alive = [member, outsider].map(|pid| parent(pid) != run.pid.to_string());
            let got = |name, pid| -> Vec<i32> {
                let mut got = got(&run, name, pid);
                got.sort_unstable();
                got
            };
            (code, alive, got("member", member), got("outsider", outsider))
        });
        same(&format!("{} {args:?}", original.name()), seen);
    }
}

#[test]
fn as_pid_1_it_ends_at_once_and_everybody_with_it() {
    for (original, args) in CASES {
        let seen = original.both().map(|program| {
            let mut run = family(&program, args, &[], true);
            run.signal(64);
            let code = run.wait_exit();
            (code, run.others().len())
        });
        same(&format!("{} {args:?}", original.name()), seen);
    }
}

#[test]
fn a_graceful_timeout_by_variable_gives_drop_in_users_what_the_originals_never_had() {
    for original in [DumbInit, Tini] {
        let env = [("PREFORK_GRACEFUL_TIMEOUT", "2s")];
        let mut run = family(&original.ours(), &[], &env, true);
        run.signal(15);
        // Neither the command nor its relatives end by themselves: they have got the TERM, and are killed.
        assert_eq!(run.wait_exit(), 137);
        assert!(run.wait_lines("main", 2).lines().any(|line| line == "15"));

        // With a command that ends, the others are asked, and waited for.
        let script = "setsid sh -c 'trap \"echo finished >finished; exit\" TERM; echo >ready; \
                      while :; do sleep 0.01; done' & while [ ! -e ready ]; do sleep 0.01; done; exit 5";
        let env = [("PREFORK_GRACEFUL_TIMEOUT", "20s")];
        let mut run = super::run(&original.ours(), &["--", "sh", "-c", script], &env).start();
        assert_eq!(run.wait_exit(), 5);
        run.wait_lines("finished", 1);
    }
}
