//! The text that one program of ours hands to the next in the same process, one record a line.
//!
//! ```text
//! prefork-init 4
//! clock NOW_US
//! behind REAL_TIME_US
//! dispositions MASK IGNORED DISCARDED
//! pool WORKERS GENERATION NEWEST NEXT_SPAWN EVER_READY
//! files GIVEN_LIMIT
//! directory LOCK_FD UID GID PATH
//! notify FD SPAWN PID DIRECTORY BELIEVED ADDRESS
//! scoreboard FD LINES
//! health FD
//! control FD
//! check PASSES
//! output FD
//! waiting STREAM LENGTH TORN
//! pipe FD STREAM SLOT GENERATION PID LENGTH
//! place FD,FD,... LANE,LANE,...
//! remains PID KILL_AT_US
//! vacant SLOT LANE SPAWN_AT_US FAILURES
//! worker SLOT NUMBER LANE GENERATION PID SPAWNED_US READY_US PING_EVERY_US REQUESTS MAX_REQUESTS MAX_AGE_US MAX_MEMORY
//! ```
//! `-` stands for none. Paths and addresses are hexadecimal; a directory is given by its number, from 0. The version in
//! the first line is [`FORMAT`]: a program that does not know it does not take over.

mod reader;
mod writer;

use crate::core::Pid;
use crate::core::handover::Handover;
use crate::os::signals::Dispositions;
use std::ffi::OsString;
use std::os::fd::RawFd;

/// The version. A program that has another does not take over.
pub const FORMAT: u32 = 4;

/// The variable that holds the number of the text's descriptor.
pub use crate::values::variables::HANDOVER_FD as VARIABLE;

fn first_line() -> String {
    format!("prefork-init {FORMAT}")
}

/// Workers' output that passes through us.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    /// A file with the bytes of `waiting` and then `pipes`, in their order.
    pub bytes: RawFd,
    /// What the readers of our streams have not taken yet.
    pub waiting: Vec<WaitingLine>,
    /// The pipes from workers and their leftovers.
    pub pipes: Vec<Pipe>,
}

/// Lines that wait for the reader of one of our streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WaitingLine {
    /// 1 is stdout, 2 is stderr.
    pub stream: RawFd,
    /// The length, in bytes.
    pub length: usize,
    /// Whether a part of the first line has been written.
    pub torn: bool,
}

/// A pipe from a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pipe {
    /// Our end.
    pub fd: RawFd,
    /// The worker's stream: 1 is stdout, 2 is stderr.
    pub stream: RawFd,
    pub slot: u32,
    pub generation: u32,
    pub pid: Pid,
    /// The length, in bytes, of the line that has not ended yet.
    pub length: usize,
}

/// The sockets on which workers report their state.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Notify {
    pub directories: Vec<Directory>,
    /// One for each worker.
    pub sockets: Vec<NotifySocketRecord>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Directory {
    /// The descriptor that holds the lock.
    pub lock: RawFd,
    /// The user and group that own it; `None` for our own.
    pub owner: Option<(u32, u32)>,
    pub path: OsString,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotifySocketRecord {
    pub fd: RawFd,
    /// The number of the worker's spawn.
    pub id: u64,
    pub pid: Pid,
    /// The index of its directory; `None` for an abstract address.
    pub directory: Option<usize>,
    /// The processes whose messages are accepted, as a number.
    pub believed: u8,
    /// The value of the worker's `NOTIFY_SOCKET`.
    pub address: OsString,
}

/// All that the next program needs: the core's state and the descriptors.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProgramHandover {
    pub pool: Handover,
    /// The dispositions that the first program was started with, and what was made of them.
    pub signals: Dispositions,
    /// The open-file limit that the first program was started with, if we have raised it.
    pub files: Option<u64>,
    pub notify: Notify,
    /// The scoreboard's descriptor and its number of lines.
    pub scoreboard: Option<(RawFd, u32)>,
    /// The health endpoint's listener.
    pub health: Option<RawFd>,
    /// The control socket's listener.
    pub control: Option<RawFd>,
    /// Whether the last readiness check of the application passed.
    pub check_passes: bool,
    /// `None` if workers write to our streams directly.
    pub output: Option<Output>,
    /// For each address: the listeners by lane, and the lanes in the kernel's order.
    pub places: Vec<(Vec<RawFd>, Vec<u32>)>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::handover::{Kept, Vacancy};
    use crate::core::limits::Limits;
    use crate::core::{Lane, Monotonic};
    use std::os::unix::ffi::OsStringExt;
    use std::time::Duration;

    fn given() -> ProgramHandover {
        let at = |micros| Monotonic(Duration::from_micros(micros));
        let worker = Kept {
            slot: 1,
            number: 2,
            lane: Lane(2),
            generation: 3,
            pid: Pid(4),
            spawned: at(5),
            ready: at(6),
            ping_every: Some(Duration::from_micros(15)),
            requests: 7,
            limits: Limits { requests: Some(8), age: Some(Duration::from_micros(9)), memory: None },
        };
        let pool = Handover {
            now: at(10),
            behind: Duration::from_micros(29),
            workers: 2,
            generation: 3,
            newest: 4,
            next_spawn: 11,
            ever_ready: true,
            leftovers: vec![(Pid(12), Some(at(13))), (Pid(14), None)],
            vacant: vec![
                Vacancy { slot: 0, lane: Some(Lane(1)), spawn_at: at(16), failures: 2 },
                Vacancy { slot: 2, lane: None, spawn_at: at(17), failures: 0 },
            ],
            kept: vec![
                worker,
                Kept { ping_every: None, limits: Limits { memory: Some(1), ..Limits::default() }, ..worker },
            ],
        };
        ProgramHandover {
            pool,
            signals: Dispositions { mask: u64::MAX, ignored: 1 << 16, discarded: 1 << 63 },
            files: Some(1024),
            notify: Notify {
                directories: vec![
                    Directory { lock: 29, owner: Some((65534, 7)), path: "/run/prefork-a b".into() },
                    Directory { lock: 30, owner: None, path: OsString::from_vec(vec![b'/', 0xff]) },
                ],
                sockets: vec![
                    NotifySocketRecord {
                        fd: 20,
                        id: 9,
                        pid: Pid(4),
                        directory: Some(1),
                        believed: 2,
                        address: "/run/x".into(),
                    },
                    NotifySocketRecord {
                        fd: 31,
                        id: 10,
                        pid: Pid(5),
                        directory: None,
                        believed: 0,
                        address: "@y".into(),
                    },
                ],
            },
            scoreboard: Some((21, 2048)),
            health: Some(22),
            control: Some(26),
            check_passes: true,
            output: Some(Output {
                bytes: 26,
                waiting: vec![WaitingLine { stream: 1, length: 27, torn: true }],
                pipes: vec![Pipe { fd: 28, stream: 2, slot: 1, generation: 3, pid: Pid(4), length: 0 }],
            }),
            places: vec![(vec![23, 24], vec![1, 0]), (vec![25], vec![])],
        }
    }

    #[test]
    fn what_is_written_is_read_again() {
        assert_eq!(ProgramHandover::read(&given().write()), Some(given()));
        let less = ProgramHandover { scoreboard: None, health: None, control: None, output: None, ..given() };
        let less = ProgramHandover { check_passes: false, files: None, notify: Notify::default(), ..less };
        assert_eq!(ProgramHandover::read(&less.write()), Some(less));
    }

    #[test]
    fn what_is_not_understood_is_refused_as_a_whole() {
        let text = given().write();
        assert_eq!(ProgramHandover::read(&text.replace("prefork-init 4", "prefork-init 3")), None);
        assert_eq!(ProgramHandover::read(&text.replace("worker 1", "worker x")), None);
        assert_eq!(ProgramHandover::read(&format!("{text}something else\n")), None);
        assert_eq!(ProgramHandover::read(&text.replace("files 1024\n", "")), None);
        assert_eq!(ProgramHandover::read(&text.replace("output 26\n", "")), None);
        assert_eq!(ProgramHandover::read(&text.replace("2f72756e2f78", "2f72756e2f7")), None);
        assert_eq!(ProgramHandover::read(&text.replace("2f72756e2f78", "2f72756e2fzz")), None);
        assert_eq!(ProgramHandover::read(""), None);
    }
}
