//! Real-time signals that mean nothing to a pool are discarded by the kernel, and nobody else notices.

use super::python::python;
use super::upgrade::put;
use super::{BRISK, assert_stops, pool};
use crate::harness::{Launch, Run, binary, eventually, kill, python as interpreter, status_line};
use std::fs;
use std::path::Path;

/// Tells what it was given, but for PIPE and XFSZ, which Python itself ignores; and of RTMIN+3.
const WORKER: &str = "
def given(name):
    lines = open('/proc/self/status').read().splitlines()
    return int(next(line for line in lines if line.startswith(name)).split()[1], 16) & ~(1 << 12 | 1 << 24)
shown = '%x %x' % (given('SigIgn'), given('SigBlk'))
signal.signal(37, lambda *_: note('told', ''))
if sys.argv[-1] == 'fails': sys.exit(1)
note('shown', shown)
serve()";

fn bits(signals: impl IntoIterator<Item = u32>) -> u64 {
    signals.into_iter().fold(0, |set, signal| set | 1 << (signal - 1))
}

/// CHLD and two real-time signals are ignored from before our start, and a third is blocked.
fn with_odd_dispositions(launch: Launch) -> Launch {
    let script = "import os, signal, sys
signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
for number in 17, 34, 37: signal.signal(number, signal.SIG_IGN)
signal.pthread_sigmask(signal.SIG_BLOCK, [36])
os.execvp(sys.argv[1], sys.argv[1:])";
    launch.through([interpreter(), "-IS".into(), "-c".into(), script.into()])
}

fn shown() -> String {
    format!("{:x} {:x}", bits([17, 34, 37]), bits([36]))
}

fn write(dir: &Path, settings: &str, argument: &str) {
    let words = python(WORKER);
    let words: Vec<String> = words.iter().map(|word| format!("{:?}", word.to_str().unwrap())).collect();
    let text = format!("{settings}\ncommand = [{}, {argument:?}]\n", words.join(", "));
    fs::write(dir.join("new.toml"), text).unwrap();
    fs::rename(dir.join("new.toml"), dir.join("prefork.toml")).unwrap();
}

/// Waits until these are all that are discarded: ignored and not blocked.
fn wait_discarded(run: &Run, signals: impl IntoIterator<Item = u32>) {
    let wanted = bits(signals);
    let set = |name| u64::from_str_radix(&status_line(run.pid, name).unwrap(), 16).unwrap();
    eventually("what is discarded", || (set("SigIgn") & !set("SigBlk") == wanted).then_some(()));
}

#[test]
fn workers_get_the_dispositions_that_we_were_given_and_a_reload_and_an_upgrade_keep_them() {
    let launch = pool(&[&BRISK[..], &["--config", "prefork.toml"]].concat(), Vec::new()).of_a_copy();
    write(launch.dir(), "workers = 1", "first");
    let run = with_odd_dispositions(launch).start();
    run.wait_lines("shown", 1);
    run.wait_for("worker ready");
    wait_discarded(&run, 32..=64);

    // One that is passed on from here on is held again.
    write(run.dir(), "workers = 1\nforward-signal = [\"RTMIN+3\"]", "second");
    run.signal(libc::SIGHUP);
    run.wait_for("reload finished");
    wait_discarded(&run, (32..=64).filter(|signal| *signal != 37));
    run.signal(37);
    run.wait_lines("told", 1);

    // What a reload that fails has said is taken back.
    write(run.dir(), "workers = 1", "fails");
    run.signal(libc::SIGHUP);
    run.wait_for("reload failed");
    wait_discarded(&run, (32..=64).filter(|signal| *signal != 37));
    run.signal(37);
    run.wait_lines("told", 2);

    // The next program has to know what was given to the first.
    write(run.dir(), "workers = 1\nforward-signal = [\"RTMIN+4\"]", "third");
    put(&run, &binary());
    run.signal(libc::SIGUSR2);
    run.wait_for("upgraded");
    wait_discarded(&run, (32..=64).filter(|signal| *signal != 38));
    run.signal(libc::SIGHUP);
    run.log.wait_count("reload finished", 2);
    assert_eq!(run.wait_lines("shown", 3), format!("{}\n", shown()).repeat(3));
    assert_stops(run);
}

#[test]
fn a_backlog_of_them_does_not_come_about() {
    let run = pool(&["-n", "1", "--rewrite-signal", "RTMIN+1=HUP"], python("serve()")).start();
    run.wait_for("worker ready");
    wait_discarded(&run, (32..=64).filter(|signal| *signal != 35));
    kill(run.pid, libc::SIGSTOP);
    for signal in [34, 40, 64].repeat(1_000) {
        run.signal(signal);
    }
    let waiting = u64::from_str_radix(&status_line(run.pid, "ShdPnd").unwrap(), 16).unwrap();
    assert_eq!(waiting & bits(32..=64), 0);
    kill(run.pid, libc::SIGCONT);
    run.signal(35);
    run.wait_for("reload finished");
    assert_stops(run);
}
