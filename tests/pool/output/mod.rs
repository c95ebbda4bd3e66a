//! `--worker-output`: every line whole, in order, none lost, and nobody waited for.

mod ends;
mod lines;
mod readers;
mod streams;
mod upgrade;

use super::python::python;
use crate::harness::{Launch, launch};
use std::collections::HashMap;
use std::ffi::{CString, OsString};
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::os::unix::ffi::OsStrExt;

/// What writes numbered lines of many lengths: line `n` of a stream is `n` and as many letters as [`is_line`] knows.
const WRITER: &str = r#"
def line(n):
    return b"%d %s\n" % (n, bytes([97 + n % 26]) * (n * 37 % 113))

def write(fd, data):
    while data:
        data = data[os.write(fd, data):]

def write_lines(fd, first, end):
    for n in range(first, end, 1000):
        write(fd, b"".join(map(line, range(n, min(n + 1000, end)))))
"#;

/// Whether this is line `n`.
fn is_line(n: usize, text: &str) -> bool {
    text.strip_prefix(n.to_string().as_str()).and_then(|rest| rest.strip_prefix(' ')).is_some_and(|letters| {
        let letter = b'a' + u8::try_from(n % 26).unwrap();
        letters.len() == n * 37 % 113 && letters.bytes().all(|byte| byte == letter)
    })
}

/// A pool without listeners whose workers run this script.
fn writers(options: &[&str], script: &str) -> Launch {
    let words = options.iter().chain(&["--"]).map(OsString::from);
    launch(words.chain(python(&format!("{WRITER}\n{script}"))))
}

/// The same, with its streams redirected by a shell: `>fifo`, say.
fn redirected(redirection: &str, launch: Launch) -> Launch {
    let script = format!(r#"exec "$@" {redirection}"#);
    launch.through(["bash", "-c", &script, "bash"])
}

/// Makes a named pipe. [`open`] waits until somebody writes.
fn make_fifo(launch: &Launch) {
    let path = CString::new(launch.dir().join("fifo").as_os_str().as_bytes()).unwrap();
    // SAFETY: a C string.
    assert_eq!(unsafe { libc::mkfifo(path.as_ptr(), 0o600) }, 0);
}

/// Starts it with its stdout, or what else the redirection says, in a named pipe, and returns the other end.
fn start_into_fifo(redirection: &str, launch: Launch) -> (crate::harness::Run, File) {
    make_fifo(&launch);
    let path = launch.dir().join("fifo");
    let reader = std::thread::spawn(move || File::open(path).unwrap());
    let run = redirected(redirection, launch).start();
    (run, reader.join().unwrap())
}

/// Takes `[SLOT PID] text` apart; `true` is for a part of a line that goes on.
fn prefixed(line: &str) -> (u32, i64, bool, &str) {
    let taken = line.strip_prefix('[').and_then(|rest| rest.split_once("] ")).and_then(|(who, text)| {
        let (slot, pid) = who.split_once(' ')?;
        let goes_on = pid.ends_with('+');
        Some((slot.parse().ok()?, pid.trim_end_matches('+').parse().ok()?, goes_on, text))
    });
    taken.unwrap_or_else(|| panic!("torn: {line:?}"))
}

/// Counts the lines of each worker, and holds that they are whole and in order.
#[derive(Default)]
struct Tally(HashMap<i64, usize>);

impl Tally {
    fn count(&mut self, line: &str) {
        let (_, pid, goes_on, text) = prefixed(line);
        let next = self.0.entry(pid).or_default();
        assert!(!goes_on && is_line(*next, text), "not line {next} of {pid}: {line:?}");
        *next += 1;
    }

    fn total(&self) -> usize {
        self.0.values().sum()
    }

    /// Reads on until there are so many lines in all.
    fn read_until(&mut self, reader: &mut impl BufRead, total: usize) {
        let mut line = String::new();
        while self.total() < total {
            line.clear();
            assert!(reader.read_line(&mut line).unwrap() > 0, "it ended after {} lines", self.total());
            self.count(line.trim_end_matches('\n'));
        }
    }
}

/// What is whole of a text to which somebody is writing: up to the last newline.
fn whole(text: &str) -> &str {
    text.rfind('\n').map_or("", |at| &text[..=at])
}

fn lines(file: File) -> BufReader<File> {
    BufReader::with_capacity(64 * 1024, file)
}
