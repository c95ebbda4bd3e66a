//! Who gets which signal, in which order.

use super::Original::{self, DumbInit, Tini};
use super::{SHELL, run, same};
use crate::harness::{Run, eventually, kill, python, status_line};
use std::path::Path;

/// A signal that every original passes on as it is, to see where the others end: of those that wait, the kernel hands
/// the lowest out first.
const MARK: i32 = 62;
/// One that is sent past the init, and is handed out last but 64.
const PAST: i32 = 63;

/// Faults: tini leaves them to their default.
const FAULTS: [i32; 7] = [4, 5, 6, 7, 8, 11, 31];

type Case = (Original, &'static [(&'static str, &'static str)], &'static [&'static str]);

const CASES: &[Case] = &[
    (DumbInit, &[], &[]),
    (DumbInit, &[], &["-c"]),
    (DumbInit, &[("DUMB_INIT_SETSID", "0")], &[]),
    (DumbInit, &[("DUMB_INIT_SETSID", "false")], &[]),
    (DumbInit, &[], &["-r", "15:3", "-r", "1:0", "-r", "3:15"]),
    (DumbInit, &[], &["-r", "15:3", "-r", "15:2", "-c"]),
    (DumbInit, &[], &["-r", "10:9x", "-r", "10:12"]),
    (Tini, &[], &[]),
    (Tini, &[], &["-s"]),
    (Tini, &[], &["-g"]),
    (Tini, &[], &["-wgs"]),
    (Tini, &[("TINI_KILL_PROCESS_GROUP", "")], &[]),
];

/// The family under this init, ready.
pub fn family(program: &Path, args: &[&str], env: &[(&str, &str)], pid1: bool) -> Run {
    let python = python();
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/compat/family.py");
    let words = [args, &["--", python.to_str().unwrap(), "-IS", file]].concat();
    let launch = run(program, &words, env);
    let launch = if pid1 { launch } else { launch.through(SHELL) };
    let run = launch.start();
    for name in ["member", "outsider", "main"] {
        run.wait_lines(name, 1);
    }
    run
}

/// The pid of one of the family.
pub fn pid_of(run: &Run, name: &str) -> i32 {
    let line = run.wait_lines(name, 1);
    run.outer_pid(line.lines().next().unwrap().strip_prefix("ready ").unwrap().parse().unwrap())
}

/// What one of the family has got up to now.
pub fn got(run: &Run, name: &str, pid: i32) -> Vec<i32> {
    let numbers = || -> Vec<i32> {
        run.wait_lines(name, 1).lines().skip(1).map(|line| line.parse().unwrap()).collect()
    };
    // 64 would be handed out after it, should that still wait.
    let waits = |set: &str| {
        status_line(pid, set)
            .is_some_and(|pending| u64::from_str_radix(&pending, 16).is_ok_and(|set| set != 0))
    };
    eventually("nothing pending", || (!waits("SigPnd") && !waits("ShdPnd")).then_some(()));
    kill(pid, PAST);
    // A relative that stops or goes on may be told of even later.
    let mut numbers = eventually(name, || Some(numbers()).filter(|got| got.contains(&PAST)));
    numbers.retain(|signal| *signal != PAST);
    numbers
}

#[test]
fn the_same_signals_reach_the_same_processes_in_the_same_order() {
    for (original, env, args) in CASES {
        for pid1 in [true, false] {
            let is_sent = |signal: &i32| match *signal {
                // Not to be caught, of children, ours to end with; those that glibc keeps for itself.
                9 | 17 | 19 | 32 | 33 | 64 | MARK | PAST => false,
                // They stop dumb-init: see below.
                20..=22 => *original == Tini,
                // Outside PID 1 they kill tini.
                signal if FAULTS.contains(&signal) => *original == DumbInit || pid1,
                _ => true,
            };
            let signals: Vec<i32> = (1..=64).filter(is_sent).collect();
            let seen = original.both().map(|program| {
                let run = family(&program, args, env, pid1);
                for (sent, signal) in signals.iter().enumerate() {
                    run.signal(*signal);
                    // One at a time: pending ones have no order.
                    run.signal(MARK);
                    eventually("the mark", || (count(&run, "main", MARK) > sent).then_some(()));
                }
                ["main", "member", "outsider"].map(|name| {
                    let mut got = got(&run, name, pid_of(&run, name));
                    got.retain(|signal| *signal != MARK);
                    // Nobody waits for the relatives: several may be pending at once, of which the kernel makes one
                    // of the same, and takes CONT back when TSTP comes.
                    if name != "main" {
                        got.sort_unstable();
                        got.dedup();
                        got.retain(|signal| *signal != 18);
                    }
                    got
                })
            });
            assert!(seen[0][0].len() >= signals.len() - 10, "{:?}", seen[0]);
            same(&format!("{} {args:?} {env:?}, PID 1: {pid1}", original.name()), seen);
        }
    }
}

/// How often one of the family has got a signal.
fn count(run: &Run, name: &str, signal: i32) -> usize {
    run.wait_lines(name, 1).lines().filter(|line| *line == signal.to_string()).count()
}

fn state(pid: i32) -> String {
    status_line(pid, "State").unwrap_or_default()
}

#[test]
fn a_signal_with_which_terminals_stop_stops_dumb_init_and_its_session() {
    let rules = ["-r", "20:10", "-r", "21:10", "-r", "22:0"];
    // What the command gets of the three; 0 is nothing, -1 that it is stopped.
    for (args, gets) in [(&[][..], [-1; 3]), (&["-c"], [20, 21, 22]), (&rules, [10, 10, 0])] {
        for (signal, gets) in (20..).zip(gets) {
            let seen = DumbInit.both().map(|program| {
                let run = family(&program, args, &[], false);
                let [main, member] = ["main", "member"].map(|name| pid_of(&run, name));
                run.signal(signal);
                eventually("init stopped", || state(run.pid).starts_with('T').then_some(()));
                let is_stopped = |pid| state(pid).starts_with('T');
                match gets {
                    -1 => {
                        eventually("all stopped", || (is_stopped(main) && is_stopped(member)).then_some(()))
                    }
                    0 => {}
                    // A CONT would take a TSTP back that still waits.
                    gets => eventually("the signal", || (count(&run, "main", gets) > 0).then_some(())),
                }
                let stopped = [main, member].map(is_stopped);
                run.signal(18);
                eventually("init continued", || (!state(run.pid).starts_with('T')).then_some(()));
                run.signal(MARK);
                eventually("the mark", || (count(&run, "main", MARK) > 0).then_some(()));
                // The family's own deaths and stops are among themselves.
                let got = |name, pid| -> Vec<i32> {
                    let mut got = got(&run, name, pid);
                    got.retain(|signal| *signal != 17);
                    got
                };
                (stopped, got("main", main), got("member", member))
            });
            same(&format!("{args:?} {signal}"), seen);
        }
    }
}

#[test]
fn a_burst_of_real_time_signals_loses_none() {
    const COUNT: usize = 1_000;
    for (original, args) in [(DumbInit, &[][..]), (Tini, &["-s"])] {
        let seen = original.both().map(|program| {
            let run = family(&program, args, &[], true);
            let main = pid_of(&run, "main");
            kill(run.pid, 19);
            eventually("stopped", || state(run.pid).starts_with('T').then_some(()));
            for number in 0..COUNT {
                kill(run.pid, if number % 2 == 0 { 40 } else { 41 });
            }
            kill(run.pid, 18);
            let counts = || [40, 41].map(|number| count(&run, "main", number));
            eventually("all of them", || (counts().iter().sum::<usize>() >= COUNT).then_some(()));
            // None comes twice.
            got(&run, "main", main);
            counts()
        });
        assert_eq!(seen[1], [COUNT / 2; 2]);
        same(original.name(), seen);
    }
}

#[test]
fn a_death_signal_comes_when_the_parent_is_gone() {
    // The middle man tells its pid and is killed; tini gets SIGUSR1 and passes it on.
    for program in Tini.both() {
        let python = python();
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/compat/family.py");
        let args = ["-p", "SIGUSR1", "--", python.to_str().unwrap(), "-IS", file];
        let inner = ["sh", "-c", r#""$@" & echo $! >middle; exec sleep 1000"#, "sh"];
        let wrapper: Vec<&str> = inner.into_iter().chain(["sh", "-c", r#""$@"; exit 1"#, "sh"]).collect();
        let run = run(&program, &args, &[]).through(wrapper).start();
        run.wait_lines("main", 1);
        let middle: i64 = run.wait_lines("middle", 1).trim().parse().unwrap();
        kill(run.outer_pid(middle), 9);
        eventually("USR1", || (count(&run, "main", 10) > 0).then_some(()));
    }
}
