//! What becomes of the last words.

use super::{Tally, is_line, lines, prefixed, start_into_fifo, writers};
use crate::harness::{eventually, launch};
use crate::pool::assert_stops;
use std::collections::BTreeMap;
use std::fs;

const RESTLESS: [&str; 6] = ["--backoff", "1ms", "--backoff-max", "1ms", "--max-restarts", "infinity"];

fn options<'a>(more: &[&'a str]) -> Vec<&'a str> {
    RESTLESS.iter().chain(more).copied().collect()
}

/// A burst as long as a pipe takes, a last line without its newline, and SIGKILL at once. The reader comes late.
#[test]
fn what_a_worker_has_written_before_it_is_killed_is_not_lost() {
    const DEATHS: usize = 12;
    let script = "
write_lines(1, 0, 900)
os.write(1, b'last words')
os.kill(os.getpid(), signal.SIGKILL)";
    let options = options(&["-n", "2", "--worker-output", "prefix"]);
    let (run, reader) = start_into_fifo(">fifo", writers(&options, script));
    run.log.wait_count("worker exited: signal 9 (KILL)", DEATHS);
    let mut told = BTreeMap::<i64, Vec<String>>::new();
    for line in std::io::BufRead::lines(lines(reader)) {
        let line = line.unwrap();
        let (_, pid, _, text) = prefixed(&line);
        told.entry(pid).or_default().push(text.to_owned());
        let done = told.values().filter(|lines| lines.last().is_some_and(|line| line == "last words"));
        if done.count() == DEATHS {
            break;
        }
    }
    let whole = told.values().filter(|lines| lines.last().is_some_and(|line| line == "last words"));
    for lines in whole {
        assert!(lines.len() == 901 && lines[..900].iter().enumerate().all(|(n, line)| is_line(n, line)));
    }
    drop(run);
}

#[test]
fn what_is_on_its_way_when_the_pool_ends_arrives() {
    // Every worker writes when it is told to stop, more than a pipe holds, and no newline at last.
    let script = "
def stop(*_):
    write_lines(1, 0, 5000)
    os.write(1, line(5000)[:-1])
    os._exit(0)
signal.signal(signal.SIGTERM, stop)
note('waits', '')
while True: time.sleep(0.01)";
    let launch = writers(&["-n", "4", "--worker-output", "prefix"], script);
    let (mut run, reader) = start_into_fifo(">fifo", launch);
    run.wait_lines("waits", 4);
    let reader = std::thread::spawn(move || {
        let mut tally = Tally::default();
        for line in std::io::BufRead::lines(lines(reader)) {
            tally.count(&line.unwrap());
        }
        tally
    });
    run.signal(libc::SIGTERM);
    assert_eq!(run.wait_exit(), 0);
    let tally = reader.join().unwrap();
    assert!(tally.0.len() == 4 && tally.0.values().all(|lines| *lines == 5001), "{:?}", tally.0);
}

#[test]
fn its_last_words_come_before_the_word_of_its_end() {
    let script = "
write(2, b'a traceback\\nwithout an end')
sys.exit(1)";
    let run = writers(&options(&["-n", "1", "--worker-output", "json"]), script).start();
    run.log.wait_count("worker exited: code 1", 5);
    let messages: Vec<String> =
        run.log.lines().iter().map(|line| line["message"].as_str().unwrap().to_owned()).collect();
    let place = |wanted: &str| messages.iter().position(|message| message == wanted).unwrap();
    assert!(place("a traceback") < place("without an end"), "{messages:?}");
    assert!(place("without an end") < place("worker exited: code 1"), "{messages:?}");
}

/// A daemon has the other end, and goes on writing to it.
#[test]
fn a_line_without_an_end_is_told_at_the_end_of_the_worker_whoever_has_its_pipe() {
    let script = "
def act():
    wait_for_file('go')
    write(1, b'from a daemon\\n')
    sleep_for_ever()
if is_worker(0) and not os.path.exists('once'):
    note('once', '')
    daemon(act)
    os.write(1, b'no newline')
    sys.exit(1)
sleep_for_ever()";
    let run = writers(&options(&["-n", "1", "--worker-output", "prefix"]), script).start();
    let first = run.wait_for("worker exited: code 1")["pid"].to_string();
    let told = run.wait_lines("stdout", 1);
    assert_eq!(told, format!("[0 {first}] no newline\n"));
    crate::pool::allow(&run, "go");
    let told = run.wait_lines("stdout", 2);
    assert!(told.ends_with(&format!("[0 {first}] from a daemon\n")), "{told}");
    assert_stops(run);
}

#[test]
fn a_hundred_respawns_leave_no_descriptor_open() {
    // A shell, since it starts so often: ten times a second, as no worker was ever ready.
    let script = r"printf '1\n2\n3\n'; printf '1\n2\n3\n' >&2; exit 1";
    let words = options(&["-n", "16", "--worker-output", "prefix"]);
    let words = words.into_iter().chain(["--", "sh", "-c", script]);
    let run = launch(words).start();
    let open = || fs::read_dir(format!("/proc/{}/fd", run.pid)).unwrap().count();
    let exits = |count: usize| {
        run.log.wait_until(|lines| {
            lines.iter().filter(|line| line["message"] == "worker exited: code 1").count() >= count
        })
    };
    let least = |at: usize| {
        exits(at);
        // Between two deaths there are as many as there are workers.
        (0..50).map(|_| open()).min().unwrap()
    };
    let (before, after) = (least(20), least(120));
    let most = before + 2 * 16;
    assert!(after <= most, "{before} descriptors became {after}");
    run.signal(libc::SIGTERM);
    let lines = run.stdout().lines().count();
    assert!(lines >= 3 * 120, "{lines}");
    eventually("the end", || run.log.with_message("pool stopped").first().cloned());
}
