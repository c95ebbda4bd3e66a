//! USR2: the pipes live on, and what is in them.

use super::super::upgrade::put;
use super::{Tally, lines, start_into_fifo, whole, writers};
use crate::harness::{binary, eventually};
use crate::pool::assert_stops;

/// In odd pieces, so that a line is begun when the program is exchanged, and two streams at once.
const PIECES: &str = "
def pieces(fd):
    n = 0
    while not os.path.exists('enough'):
        data = b''.join(map(line, range(n, n + 50)))
        write(fd, data[:len(data) - 20])
        time.sleep(0.0005)
        write(fd, data[len(data) - 20:])
        n += 50
    os.write(fd, b'%d lines' % n)
    note('wrote', str(n))
other = threading.Thread(target=pieces, args=(2,))
other.start()
pieces(1)
other.join()
sleep_for_ever()";

#[test]
fn workers_write_on_through_an_exchange_of_the_program_and_nothing_is_lost() {
    let launch = writers(&["-n", "3", "--worker-output", "prefix"], PIECES);
    let run = launch.of_a_copy().start();
    run.log.wait_count("worker ready", 3);
    for round in 1..=4 {
        put(&run, &binary());
        run.signal(libc::SIGUSR2);
        run.log.wait_count("upgraded", round);
    }
    crate::pool::allow(&run, "enough");
    run.wait_lines("wrote", 6);
    assert!(run.log.with_message("worker exited").is_empty());
    // The last line has no newline: it comes at the end.
    let before = |text: String| whole(&text).lines().filter(|line| line.starts_with('[')).count();
    let expected: usize = std::fs::read_to_string(run.dir().join("wrote"))
        .unwrap()
        .lines()
        .map(|n| n.parse::<usize>().unwrap())
        .sum();
    eventually("all lines", || (before(run.stdout()) + before(run.log.text()) == expected).then_some(()));
    for text in [run.stdout(), run.log.text()] {
        let mut tally = Tally::default();
        let workers = text.lines().filter(|line| !line.starts_with('{'));
        workers.for_each(|line| tally.count(line));
        assert_eq!(tally.0.len(), 3, "{:?}", tally.0);
    }
    let directory = run.dir().to_owned();
    let mut run = run;
    run.signal(libc::SIGTERM);
    assert_eq!(run.wait_exit(), 0);
    let (out, err) = (std::fs::read_to_string(directory.join("stdout")).unwrap(), run.log.text());
    for text in [out, err] {
        assert_eq!(text.lines().filter(|line| line.ends_with(" lines")).count(), 3);
    }
}

/// The reader stalls, a line is half written, and more waits.
#[test]
fn what_waits_for_its_reader_goes_to_the_next_program() {
    const LINES: usize = 40_000;
    let script = format!("write_lines(1, 0, {LINES}); note('done', ''); sleep_for_ever()");
    let launch = writers(&["-n", "2", "--worker-output", "prefix"], &script).of_a_copy();
    let (run, reader) = start_into_fifo(">fifo", launch);
    run.log.wait_count("worker ready", 2);
    for round in 1..=3 {
        put(&run, &binary());
        run.signal(libc::SIGUSR2);
        run.log.wait_count("upgraded", round);
    }
    assert!(!run.dir().join("done").exists());
    let mut tally = Tally::default();
    tally.read_until(&mut lines(reader), 2 * LINES);
    assert!(tally.0.len() == 2 && tally.0.values().all(|lines| *lines == LINES));
    assert_stops(run);
}

/// With our own log in the same pipe: `upgraded` may not come in the middle of a line.
#[test]
fn a_line_that_is_half_written_is_ended_before_the_next_program_says_anything() {
    const LINES: usize = 20_000;
    let script = format!("write_lines(1, 0, {LINES}); note('done', ''); sleep_for_ever()");
    let launch = writers(&["-n", "1", "--worker-output", "prefix"], &script).of_a_copy();
    let (run, reader) = start_into_fifo(">fifo 2>&1", launch);
    let mut reader = lines(reader);
    let (mut tally, mut upgraded, mut asked) = (Tally::default(), 0, 0);
    let mut line = String::new();
    while tally.total() < LINES || upgraded < 3 {
        line.clear();
        assert!(std::io::BufRead::read_line(&mut reader, &mut line).unwrap() > 0, "it ended");
        if line.starts_with('{') {
            let told: serde_json::Value =
                serde_json::from_str(&line).unwrap_or_else(|e| panic!("{e}: {line}"));
            upgraded += usize::from(told["message"] == "upgraded");
            // From the first on, as soon as it is known that they can be.
            if (told["message"] == "pool ready" || told["message"] == "upgraded") && asked < 3 {
                asked += 1;
                run.signal(libc::SIGUSR2);
            }
        } else {
            tally.count(line.trim_end_matches('\n'));
        }
    }
    drop(reader);
    drop(run);
}
