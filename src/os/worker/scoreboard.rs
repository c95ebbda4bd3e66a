//! The scoreboard: shared memory in which each worker shows its requests, which we read without asking the worker.
//!
//! It is a memfd (memfd_create(2)) that the workers inherit, with a line of 64 bytes for each. Writing costs a worker
//! no system call, and a worker that hangs cannot prevent the reading.
//!
//! # What a worker does
//!
//! | variable | what it contains |
//! |---|---|
//! | `PREFORK_SCOREBOARD_FD` | the number of the descriptor |
//! | `PREFORK_SCOREBOARD_OFFSET` | the offset of its line, in bytes; a multiple of 64 |
//!
//! It maps the file from its beginning (mmap(2), `MAP_SHARED`, readable and writable; an offset would have to be a
//! multiple of the page size) and keeps three numbers in its line, each 8 bytes in native order, written by one store;
//! the supervisor writes a fourth:
//!
//! | at | number |
//! |---|---|
//! | 0 | requests begun since its start |
//! | 8 | requests done, with any result; never more than begun |
//! | 16 | the time by which the request in hand must be done, the earliest of several: nanoseconds of `CLOCK_MONOTONIC` (clock_gettime(2)); 0 if there is none, or no limit |
//! | 24 | written by us, read by the worker: if not zero, it should say goodbye, since it gets no new connections and will be stopped |
//! | 32 to 63 | reserved: zero |
//!
//! To say goodbye is to answer every further request with `Connection: close` (RFC 9112, 9.6), so that keep-alive
//! clients connect again, to another worker. A server that does this loses no request and needs no `--drain-signal`:
//! only the server knows when it is between two requests. The flag stays set to the worker's end.
//!
//! The order of writes: at its begin a request counts as begun, then the deadline is set; at its end the next deadline
//! is set, then the request counts as done.
//!
//! All numbers are zero when a worker starts. Its own have one writer: in a worker of several processes only one may
//! write, or all by atomic additions. A process that replaces another in the same worker (as gunicorn's do) continues
//! the numbers that it finds, and counts its predecessor's requests in hand as done.
//!
//! A worker's children inherit the variables, but perhaps not the descriptor, and its number may then be another
//! file's. So check before writing: only the scoreboard is sealed against shrinking (`F_GET_SEALS`, fcntl(2)). Its size
//! is fixed. A worker could write into another's line; workers trust each other, as they do with the listener.
//!
//! `examples/scoreboard.py` does all this for ASGI and WSGI, in the standard library alone.

use crate::os::process::memory_file;
use crate::os::process::spawn::duplicate_above;
use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// A cache line on most machines, so that workers do not slow each other down.
const LINE: u64 = 64;

/// The file's name, which `/proc/PID/fd` shows after `memfd:`.
const NAME: &CStr = c"prefork-scoreboard";

type ScoreboardRow = [AtomicU64; 8];

#[derive(Debug)]
pub struct Scoreboard {
    fd: OwnedFd,
    memory: Mapping,
}

/// The numbers of a worker's line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Line {
    pub started: u64,
    pub finished: u64,
    /// The deadline of the oldest request in hand, on the clock of [`now`].
    pub deadline: Option<Duration>,
}

/// The clock of the deadlines: time since boot without suspension (`CLOCK_MONOTONIC`, clock_gettime(2)).
#[must_use]
pub fn now() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: there is room for the answer.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) };
    let (seconds, nanos) = (u64::try_from(time.tv_sec), u32::try_from(time.tv_nsec));
    Duration::new(seconds.unwrap_or(0), nanos.unwrap_or(0))
}

impl Scoreboard {
    /// Makes one with this number of lines, at least one: the most workers that will ever live at a time, for it cannot
    /// grow. Unwritten pages, of 64 lines each, take no memory. The descriptor's number is at least `least`, above
    /// those that workers use; it is closed on exec.
    ///
    /// The size is sealed: if a worker cut the file short, our next read would kill us with `SIGBUS`. So are the seals:
    /// a seal against writing would lock out later workers.
    ///
    /// # Errors
    /// As memfd_create(2), ftruncate(2), fcntl(2) and mmap(2).
    pub fn new(lines: u32, least: RawFd) -> io::Result<Self> {
        let fd = memory_file::create(NAME)?;
        let size = offset(lines.max(1));
        let length = libc::off_t::try_from(size).map_err(|_| io::ErrorKind::InvalidInput)?;
        let seals = libc::F_SEAL_SHRINK | libc::F_SEAL_GROW | libc::F_SEAL_SEAL;
        // SAFETY: both take integers.
        if unsafe {
            libc::ftruncate(fd.as_raw_fd(), length) != 0
                || libc::fcntl(fd.as_raw_fd(), libc::F_ADD_SEALS, seals) != 0
        } {
            return Err(io::Error::last_os_error());
        }
        let fd = duplicate_above(fd.as_fd(), least)?;
        let memory = Mapping::new(&fd, lines.max(1))?;
        Ok(Self { fd, memory })
    }

    /// Takes over the one that our previous program made in this process; it must have this number of lines.
    ///
    /// # Errors
    /// As mmap(2).
    pub fn take_over(fd: OwnedFd, lines: u32) -> io::Result<Self> {
        let memory = Mapping::new(&fd, lines.max(1))?;
        Ok(Self { fd, memory })
    }

    /// The descriptor that the workers inherit.
    #[must_use]
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }

    /// Sets a line to zero: before its next worker starts, and after the last leftovers of its previous one are gone.
    /// Does nothing for a line that does not exist.
    pub fn clear(&self, line: u32) {
        for word in self.memory.line(line).into_iter().flatten() {
            word.store(0, Ordering::Relaxed);
        }
    }

    /// Asks the worker of a line to say goodbye to its clients by `Connection: close`.
    pub fn say_goodbye(&self, line: u32) {
        if let Some([_, _, _, goodbye, ..]) = self.memory.line(line) {
            goodbye.store(1, Ordering::Relaxed);
        }
    }

    /// Reads a line; zeros for one that does not exist. Each number is whole, but a busy worker may write between the
    /// reads. `finished` is read first, so it is never more than `started`.
    #[must_use]
    pub fn read(&self, line: u32) -> Line {
        let Some([started, finished, deadline, ..]) = self.memory.line(line) else { return Line::default() };
        let finished = finished.load(Ordering::Acquire);
        let deadline = deadline.load(Ordering::Relaxed);
        Line {
            started: started.load(Ordering::Relaxed),
            finished,
            deadline: (deadline != 0).then(|| Duration::from_nanos(deadline)),
        }
    }
}

/// The offset of a line, in bytes.
#[must_use]
pub fn offset(line: u32) -> u64 {
    u64::from(line).saturating_mul(LINE)
}

/// The whole file in our memory.
#[derive(Debug)]
struct Mapping {
    base: NonNull<ScoreboardRow>,
    lines: usize,
}

impl Mapping {
    /// The file must always have this number of lines.
    fn new(fd: &OwnedFd, lines: u32) -> io::Result<Self> {
        let lines = usize::try_from(lines).map_err(|_| io::ErrorKind::InvalidInput)?;
        let protection = libc::PROT_READ | libc::PROT_WRITE;
        let length = lines.saturating_mul(size_of::<ScoreboardRow>());
        // SAFETY: asks for new addresses, anywhere.
        let base =
            unsafe { libc::mmap(ptr::null_mut(), length, protection, libc::MAP_SHARED, fd.as_raw_fd(), 0) };
        if base == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let base = NonNull::new(base.cast()).ok_or(io::ErrorKind::InvalidInput)?;
        Ok(Self { base, lines })
    }

    fn line(&self, line: u32) -> Option<&ScoreboardRow> {
        let line = usize::try_from(line).ok().filter(|line| *line < self.lines)?;
        // SAFETY: within the mapping, which is aligned to a page and lives as long as `self`; the file cannot shrink.
        // Other processes write there, so it is accessed by atomic operations only.
        Some(unsafe { self.base.add(line).as_ref() })
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        let length = self.lines.saturating_mul(size_of::<ScoreboardRow>());
        // SAFETY: mapped by `new`, and no reference outlives `self`.
        unsafe { libc::munmap(self.base.as_ptr().cast(), length) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::Pid;
    use crate::os::process::spawn::{Placement, Program, SpawnAttributes, spawn};
    use crate::values::FIRST_FD;
    use crate::values::variables::{SCOREBOARD_FD, SCOREBOARD_OFFSET};
    use std::ffi::OsString;

    /// Runs a script as a worker with this line of the scoreboard. Returns its exit code.
    fn run(board: &Scoreboard, line: u32, argv: &[&str], more: &[(&str, &str)]) -> i32 {
        let argv: Vec<_> = argv.iter().map(OsString::from).collect();
        let mut env: Vec<(OsString, OsString)> = std::env::vars_os().collect();
        env.push((SCOREBOARD_FD.into(), FIRST_FD.to_string().into()));
        env.push((SCOREBOARD_OFFSET.into(), offset(line).to_string().into()));
        env.push(("PYTHONPATH".into(), concat!(env!("CARGO_MANIFEST_DIR"), "/examples").into()));
        env.push(("PYTHONDONTWRITEBYTECODE".into(), "1".into()));
        env.extend(more.iter().map(|(name, value)| (name.into(), value.into())));
        let Pid(pid) = spawn(&Program {
            argv: &argv,
            missing: 0,
            env: Some(&env),
            listen_pid: false,
            output: [None; 2],
            fds: &[board.fd()],
            close_others: true,
            execute_within: Duration::from_secs(10),
            placement: Placement::Session,
            attributes: &SpawnAttributes::default(),
            parent_death: None,
        })
        .unwrap();
        let mut status = 0;
        // SAFETY: `status` has room for the answer.
        unsafe { libc::waitpid(pid, &raw mut status, 0) };
        assert!(libc::WIFEXITED(status), "{status:#x}");
        libc::WEXITSTATUS(status)
    }

    fn board() -> Scoreboard {
        Scoreboard::new(2048, FIRST_FD + 1).unwrap()
    }

    /// The steps of a worker from its variables to its line.
    const MAP: &str = "import fcntl, mmap, os, sys, time\n\
        fd, offset = (int(os.environ['PREFORK_SCOREBOARD_' + name]) for name in ('FD', 'OFFSET'))\n\
        assert fcntl.fcntl(fd, fcntl.F_GET_SEALS) & fcntl.F_SEAL_SHRINK\n\
        line = memoryview(mmap.mmap(fd, 0)).cast('Q')[offset // 8:offset // 8 + 8]\n";

    #[test]
    fn what_a_worker_writes_is_read_in_its_line_and_no_other() {
        let board = board();
        assert!(board.fd().as_raw_fd() > FIRST_FD);
        let write = format!("{MAP}line[0], line[1], line[2] = 5, 3, time.monotonic_ns() + 10**10\n");
        let before = now();
        for line in [0, 7, 2047] {
            assert_eq!(run(&board, line, &["python3", "-c", &write], &[]), 0);
            let read = board.read(line);
            assert_eq!((read.started, read.finished), (5, 3));
            let deadline = read.deadline.unwrap() - Duration::from_secs(10);
            assert!((before..=now()).contains(&deadline), "{before:?} {deadline:?}");
        }
        for line in [1, 6, 8, 2046, 2048, u32::MAX] {
            assert_eq!(board.read(line), Line::default(), "{line}");
        }
        board.clear(7);
        board.clear(2048);
        assert_eq!(board.read(7), Line::default());
        assert_eq!((board.read(0).started, board.read(2047).started), (5, 5));
    }

    #[test]
    fn no_worker_can_change_its_size_or_seal_it() {
        let board = board();
        let script = format!(
            "{MAP}\
             def refused(act):\n  try: act()\n  except PermissionError: return\n  sys.exit(1)\n\
             refused(lambda: os.ftruncate(fd, 0))\n\
             refused(lambda: os.ftruncate(fd, 64))\n\
             refused(lambda: os.ftruncate(fd, 1 << 20))\n\
             refused(lambda: os.truncate(f'/proc/self/fd/{{fd}}', 0))\n\
             refused(lambda: os.pwrite(fd, b'x', 1 << 20))\n\
             refused(lambda: fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_WRITE))\n\
             refused(lambda: fcntl.fcntl(fd, fcntl.F_ADD_SEALS, 0x10))\n\
             assert os.fstat(fd).st_size == 2048 * 64\n\
             line[0] = 1"
        );
        assert_eq!(run(&board, 2047, &["python3", "-c", &script], &[]), 0);
        assert_eq!(board.read(2047).started, 1);
    }

    #[test]
    fn the_line_survives_an_exec_and_the_death_of_its_writer() {
        let board = board();
        let write = format!("{MAP}line[0] = 41\nos.kill(os.getpid(), 9)");
        let go_on = format!("{MAP}line[0] += 1\nsys.exit(line[0])");
        let script = r#"python3 -c "$1"; exec python3 -c "$2""#;
        assert_eq!(run(&board, 3, &["sh", "-c", script, "sh", &write, &go_on], &[]), 42);
        assert_eq!(board.read(3).started, 42);
    }

    #[test]
    fn it_takes_no_memory_before_it_is_used_and_always_has_a_line() {
        let board = board();
        let blocks = |board: &Scoreboard| nix::sys::stat::fstat(board.fd()).unwrap().st_blocks;
        assert_eq!(blocks(&board), 0);
        board.clear(0);
        assert!((1..=8).contains(&blocks(&board)), "{}", blocks(&board));
        let least = Scoreboard::new(0, 100).unwrap();
        least.clear(0);
        assert!(least.fd().as_raw_fd() >= 100);
        assert_eq!((offset(0), offset(1), offset(u32::MAX)), (0, 64, 64 * u64::from(u32::MAX)));
    }

    /// Python that calls the example as servers do. `line` is a separate view of the same memory.
    const ASGI: &str = "import asyncio, scoreboard\n\
        async def main():\n\
        \x20 begun, go = asyncio.Queue(), asyncio.Event()\n\
        \x20 async def app(scope, receive, send):\n\
        \x20   begun.put_nowait(scope)\n\
        \x20   await go.wait()\n\
        \x20   if scope.get('fails'): raise RuntimeError\n\
        \x20 app = scoreboard.ASGI(app)\n\
        \x20 before = time.monotonic_ns()\n\
        \x20 tasks = [asyncio.create_task(app(scope, None, None)) for scope in (\n\
        \x20   {'type': 'http'}, {'type': 'http', 'fails': True}, {'type': 'lifespan'}, {'type': 'websocket'})]\n\
        \x20 for _ in tasks: await begun.get()\n\
        \x20 assert line.tolist()[:2] == [3, 1], line.tolist()\n\
        \x20 assert before + 5 * 10**8 <= line[2] <= time.monotonic_ns() + 5 * 10**8, line.tolist()\n\
        \x20 oldest = line[2]\n\
        \x20 tasks[0].cancel()\n\
        \x20 await asyncio.wait(tasks[:1])\n\
        \x20 assert line.tolist()[:2] == [3, 2] and line[2] > oldest, line.tolist()\n\
        \x20 go.set()\n\
        \x20 results = await asyncio.gather(*tasks, return_exceptions=True)\n\
        \x20 assert [type(r) for r in results[1:]] == [RuntimeError, type(None), type(None)], results\n\
        \x20 assert line.tolist() == [3, 3, 0, 0, 0, 0, 0, 0], line.tolist()\n\
        asyncio.run(main())\n";

    #[test]
    fn the_examples_asgi_middleware_counts_requests_and_keeps_the_oldest_deadline() {
        let board = board();
        let script = format!("{MAP}{ASGI}");
        let timeout = [("PREFORK_REQUEST_TIMEOUT", "0.5")];
        assert_eq!(run(&board, 9, &["python3", "-c", &script], &timeout), 0);
        assert_eq!(board.read(9), Line { started: 3, finished: 3, deadline: None });
    }

    const WSGI: &str = "import scoreboard, threading\n\
        closed = []\n\
        class Chunks(list):\n\
        \x20 def close(self): closed.append(1)\n\
        app = scoreboard.WSGI(lambda environ, start: 1 / 0 if environ.get('fails') else Chunks([b'a', b'b']))\n\
        answer = app({}, None)\n\
        assert line.tolist()[:3] == [1, 0, 0], line.tolist()\n\
        assert list(answer) == [b'a', b'b'] and line[1] == 0\n\
        answer.close(), answer.close()\n\
        assert line.tolist()[:3] == [1, 1, 0] and closed == [1, 1], line.tolist()\n\
        try: app({'fails': True}, None)\n\
        except ZeroDivisionError: pass\n\
        assert line.tolist()[:3] == [2, 2, 0], line.tolist()\n\
        sys.setswitchinterval(1e-6)\n\
        def serve():\n\
        \x20 for _ in range(2000): app({}, None).close()\n\
        threads = [threading.Thread(target=serve) for _ in range(4)]\n\
        for thread in threads: thread.start()\n\
        for thread in threads: thread.join()\n\
        assert line.tolist()[:3] == [8002, 8002, 0], line.tolist()\n\
        app({}, None)\n\
        again = scoreboard.Board()\n\
        assert line.tolist()[:3] == [8003, 8003, 0], line.tolist()\n";

    #[test]
    fn the_examples_wsgi_middleware_counts_an_answer_when_it_is_closed_in_any_thread() {
        let board = board();
        assert_eq!(run(&board, 10, &["python3", "-c", &format!("{MAP}{WSGI}")], &[]), 0);
        assert_eq!(board.read(10), Line { started: 8003, finished: 8003, deadline: None });
    }

    #[test]
    fn the_example_does_nothing_where_there_is_no_scoreboard() {
        let board = board();
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), [0xff; 128]).unwrap();
        let path = file.path().to_str().unwrap();
        // Without the variables; without the descriptor; and with another file under its number.
        for prepare in [
            "del os.environ['PREFORK_SCOREBOARD_FD']",
            "os.close(3)",
            "os.dup2(os.open(sys.argv[1], os.O_RDWR), 3)",
            "os.dup2(os.memfd_create('another'), 3); os.ftruncate(3, 4096)",
        ] {
            let script = format!(
                "import os, sys\n{prepare}\nimport scoreboard\n\
                 assert scoreboard.board.line is None\n\
                 app = scoreboard.WSGI(lambda environ, start: [b'a'])\n\
                 answer = app({{}}, None)\nassert list(answer) == [b'a']\nanswer.close()"
            );
            assert_eq!(run(&board, 1, &["python3", "-c", &script, path], &[]), 0, "{prepare}");
        }
        assert_eq!(board.read(1), Line::default());
        assert_eq!(std::fs::read(path).unwrap(), [0xff; 128]);
    }
}
