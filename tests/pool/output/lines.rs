//! What a line looks like, whatever is in it.

use super::{Tally, is_line, lines, prefixed, start_into_fifo, whole, writers};
use crate::harness::{Run, eventually, launch};
use crate::pool::assert_stops;
use serde_json::Value;
use std::collections::{BTreeSet, HashMap};
use std::io::{BufRead, Read};
use std::time::Instant;

#[test]
fn every_line_of_four_workers_that_write_300_megabytes_is_whole_and_in_order_and_none_is_lost() {
    const LINES: usize = 1_200_000;
    // They are not to be the slowest.
    let script = "write(1, memoryview(open('data', 'rb').read())); sleep_for_ever()";
    let launch = writers(&["-n", "4", "--worker-output", "prefix"], script);
    let letters =
        |n: usize| String::from(char::from(b'a' + u8::try_from(n % 26).unwrap())).repeat(n * 37 % 113);
    let data: String = (0..LINES).map(|n| format!("{n} {}\n", letters(n))).collect();
    std::fs::write(launch.dir().join("data"), &data).unwrap();
    let (run, reader) = start_into_fifo(">fifo", launch);
    let (mut reader, mut line) = (lines(reader), Vec::new());
    // How much of the data each worker has written.
    let mut told = HashMap::<Vec<u8>, usize>::new();
    let (mut count, mut begin) = (0, Instant::now());
    while count < 4 * LINES {
        line.clear();
        assert!(reader.read_until(b'\n', &mut line).unwrap() > 0, "it ended after {count} lines");
        let end = line.iter().position(|byte| *byte == b']').unwrap();
        let (who, text) = (&line[..end], &line[end + 2..]);
        let so_far = match told.get_mut(who) {
            Some(so_far) => so_far,
            None => told.entry(who.to_owned()).or_default(),
        };
        assert!(
            data.as_bytes()[*so_far..].starts_with(text),
            "torn or lost: {:?}",
            String::from_utf8_lossy(&line)
        );
        *so_far += text.len();
        if count == 0 {
            begin = Instant::now();
        }
        count += 1;
    }
    assert!(told.len() == 4 && told.values().all(|so_far| *so_far == data.len()), "{told:?}");
    let megabytes = 4 * data.len() / 1_000_000;
    let rate = megabytes as f64 / begin.elapsed().as_secs_f64();
    println!("{megabytes} MB in {:?}: {rate:.0} MB/s, {count} lines", begin.elapsed());
    assert_stops(run);
}

fn json(run: &Run, stream: &str, last: &str) -> Vec<Value> {
    let lines = || -> Vec<Value> {
        let of_stream = |line: &str| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
        let text = if stream == "stdout" { run.stdout() } else { run.log.text() };
        let values = whole(&text).lines().map(of_stream);
        values.filter(|line: &Value| line["stream"] == stream).collect()
    };
    eventually(last, || {
        let lines = lines();
        lines.iter().any(|line| line["message"] == last).then_some(lines)
    })
}

#[test]
fn as_json_every_line_parses_and_says_whose_it_is() {
    let script = r#"
for fd in (1, 2):
    write(fd, b'plain\n\n{"message": "nested", "n": 1}\nwindows\r\n')
    write(fd, bytes(byte for byte in range(256) if byte != 10) + b"\n")
    write(fd, "\u00e4\u20ac\U0001f40c".encode()[:-1] + b"\n")
    write(fd, "\u20ac".encode() * 50000 + b"\n")
    write(fd, b"a part")
    time.sleep(0.05)
    write(fd, b" and the rest\n")
    write(fd, b"end\n")
sleep_for_ever()"#;
    let run = writers(&["-n", "2", "--worker-output", "json"], script).start();
    for stream in ["stdout", "stderr"] {
        let both = eventually("both ends", || {
            let lines = json(&run, stream, "end");
            (lines.iter().filter(|line| line["message"] == "end").count() == 2).then_some(lines)
        });
        for slot in [0, 1] {
            let own: Vec<&Value> = both.iter().filter(|line| line["slot"] == slot).collect();
            let pids: BTreeSet<i64> = own.iter().map(|line| line["pid"].as_i64().unwrap()).collect();
            assert!(pids.len() == 1 && own.iter().all(|line| line["gen"] == 1), "{own:?}");
            assert!(own.iter().all(|line| super::super::logs::is_rfc3339(&line["timestamp"])), "{own:?}");
            let message = |at: usize| own[at]["message"].as_str().unwrap();
            let first: Vec<&str> = (0..4).map(message).collect();
            assert_eq!(first, ["plain", "", r#"{"message": "nested", "n": 1}"#, "windows"]);
            let bytes: Vec<u8> = (0..=255).filter(|byte| *byte != 10).collect();
            assert_eq!(message(4), String::from_utf8_lossy(&bytes));
            assert_eq!(message(5), "\u{e4}\u{20ac}\u{fffd}");
            let parts: Vec<&&Value> = own.iter().filter(|line| line["partial"] == true).collect();
            assert_eq!(parts.len(), 2);
            let long: String = (6..9).map(message).collect();
            assert!(long == "\u{20ac}".repeat(50_000) && own[8]["partial"].is_null());
            assert_eq!((message(9), message(10), own.len()), ("a part and the rest", "end", 11));
        }
    }
    assert_stops(run);
}

#[test]
fn a_prefix_leaves_the_bytes_of_a_line_as_they_are() {
    let script = r#"
write(1, bytes(byte for byte in range(256) if byte != 10) + b"\r\n\nend\n")
sleep_for_ever()"#;
    let (run, mut reader) =
        start_into_fifo(">fifo", writers(&["-n", "1", "--worker-output", "prefix"], script));
    let pid = run.wait_for("worker spawned")["pid"].to_string();
    let prefix = format!("[0 {pid}] ");
    let bytes: Vec<u8> = (0..=255).filter(|byte| *byte != 10).collect();
    let p = prefix.as_bytes();
    let expected = [p, &bytes, b"\r\n", p, b"\n", p, b"end\n"].concat();
    let mut found = vec![0; expected.len()];
    reader.read_exact(&mut found).unwrap();
    assert!(found == expected, "{}", String::from_utf8_lossy(&found));
    assert_stops(run);
}

/// Our own log goes the same way, and a reader who is slow leaves lines half written.
#[test]
fn long_lines_of_many_workers_and_our_own_in_one_pipe_do_not_run_into_each_other() {
    let script = r#"
for n in range(60):
    size = (n * 7919) % 40000
    write(1 + n % 2, b"%d %d %s\n" % (n, size, bytes([97 + n % 26]) * size))
sleep_for_ever()"#;
    let heeded = ["--rewrite-signal", "RTMIN+1=CONT", "--forward-signal", "CONT"];
    let options = ["-n", "8", "--worker-output", "prefix", "--min-ready", "8"];
    let launch = writers(&[&options[..], &heeded].concat(), script);
    let (run, mut reader) = start_into_fifo(">fifo 2>&1", launch);
    let (mut text, mut piece, mut rounds) = (Vec::new(), [0; 700], 0);
    let mut tally = HashMap::<i64, usize>::new();
    let mut ours = 0;
    while tally.values().sum::<usize>() < 8 * 60 || ours < 200 {
        let length = reader.read(&mut piece).unwrap();
        assert!(length > 0, "it ended");
        text.extend_from_slice(&piece[..length]);
        rounds += 1;
        if rounds % 8 == 0 {
            // Each makes two lines of ours.
            run.signal(libc::SIGRTMIN() + 1);
        }
        while let Some(end) = text.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = text.drain(..=end).collect();
            let line = std::str::from_utf8(&line[..end]).unwrap();
            if line.starts_with('{') {
                let value: Value =
                    serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
                ours += usize::from(value["message"].is_string());
                continue;
            }
            let (_, pid, goes_on, text) = prefixed(line);
            let mut words = text.split(' ');
            let mut number = || words.next().unwrap().parse::<usize>().unwrap();
            let (n, size) = (number(), number());
            assert!(!goes_on && words.next().unwrap().len() == size, "torn: {line:.60}");
            *tally.entry(pid).or_default() += 1;
            assert!(n < 60);
        }
    }
    assert!(tally.len() == 8 && tally.values().all(|lines| *lines == 60), "{tally:?}");
    drop(reader);
    drop(run);
}

#[test]
fn many_workers_are_told_apart() {
    let script = "write_lines(1, 0, 300); write_lines(2, 0, 300); sleep_for_ever()";
    let run = writers(&["-n", "60", "--worker-output", "prefix"], script).start();
    eventually("all lines on stdout", || (whole(&run.stdout()).lines().count() == 60 * 300).then_some(()));
    let mut tally = Tally::default();
    run.stdout().lines().for_each(|line| tally.count(line));
    let (workers, mut tally) = (tally.0.len(), Tally::default());
    eventually("all lines on stderr", || {
        let count = run.log.text().lines().filter(|line| line.starts_with('[')).count();
        (count == 60 * 300).then_some(())
    });
    run.log.text().lines().filter(|line| line.starts_with('[')).for_each(|line| tally.count(line));
    assert_eq!((workers, tally.0.len()), (60, 60));
    assert_stops(run);
}

/// The default.
#[test]
fn without_the_option_workers_have_our_own_streams() {
    let run = writers(&["-n", "1"], "write_lines(1, 0, 3); sleep_for_ever()").start();
    let worker = run.outer_pid(run.wait_for("worker spawned")["pid"].as_i64().unwrap());
    let link = |pid: i32, fd: i32| std::fs::read_link(format!("/proc/{pid}/fd/{fd}")).unwrap();
    for fd in [1, 2] {
        assert_eq!(link(worker, fd), link(run.pid, fd));
    }
    let text = run.wait_lines("stdout", 3);
    assert!(text.lines().enumerate().all(|(n, line)| is_line(n, line)), "{text}");
    assert_stops(run);
}

#[test]
fn only_a_pool_has_a_use_for_it_and_there_are_three_ways() {
    for (words, problem) in [
        (["--worker-output", "json"].as_slice(), "--worker-output: only a pool has workers"),
        (&["-n", "1", "--worker-output", "xml"], "--worker-output 'xml'"),
    ] {
        let (code, _, err) = launch(words.iter().copied().chain(["--", "true"])).finish();
        assert_eq!((code, err.lines().count()), (2, 1), "{err}");
        assert!(err.contains(problem), "{err}");
    }
    // A variable may be meant for another command.
    let (code, out, err) = launch(["--", "echo", "done"]).env("PREFORK_WORKER_OUTPUT", "json").finish();
    assert_eq!((code, out.as_str()), (0, "done\n"), "{err}");
}

#[test]
fn the_plan_tells_of_it() {
    let words =
        ["--explain", "-n", "1", "--worker-output", "prefix", "--forward-signal", "USR1", "--", "true"];
    let (code, out, err) = launch(words).finish();
    assert_eq!(code, 0, "{err}");
    assert!(out.contains("each line of a worker after its slot and pid"), "{out}");
    assert!(out.contains("USR1 goes to every worker that is ready"), "{out}");
}
