//! Readiness by a line that the worker writes to an inherited descriptor, as s6's `notification-fd`.
//!
//! A newline, with any text before it, means ready; then we close our end. No credentials are needed: only the worker,
//! and processes to which it passes its end, can write. It is a pipe, through which no descriptor can come.

use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::epoll::{EpollEvent, EpollFlags};
use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd, RawFd};
use std::task::{Context, Poll};

use super::epoll_set::EpollSet;
use crate::os::process::spawn::duplicate_above;

/// The most bytes before a newline: a process that writes more does not mean us.
const LONGEST_LINE: usize = 4096;

/// The most pipes that are read in one turn; each is read once.
const MOST_AT_ONCE: usize = 32;

/// The outcome for one worker, after which its pipe is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Told {
    /// The id given to [`ReadyPipes::open`].
    pub id: u64,
    pub what: ReadyOutcome,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReadyOutcome {
    /// It is ready.
    Ready,
    /// It, and all processes that had the descriptor from it, closed it without a line.
    Closed,
    /// It wrote too much without a newline.
    Flooded,
}

/// Our ends by worker, in one epoll set since they come and go.
#[derive(Debug)]
pub struct ReadyPipes {
    set: EpollSet,
    ends: HashMap<u64, ReadEnd>,
    most: usize,
}

/// Our end, and the part of a line that has come.
#[derive(Debug)]
struct ReadEnd {
    pipe: File,
    text: Vec<u8>,
}

impl ReadyPipes {
    /// Opens no pipe yet, and never more than `most`. Must be called inside the runtime.
    ///
    /// # Errors
    /// As epoll_create1(2) and epoll_ctl(2).
    pub fn new(most: usize) -> io::Result<Self> {
        Ok(Self { set: EpollSet::new()?, ends: HashMap::new(), most })
    }

    /// Opens a pipe and returns the worker's end, to be closed as soon as the worker has a copy. Its number is at least
    /// `least`, above those that the worker uses. A pipe that was open under this id is closed.
    ///
    /// # Errors
    /// As pipe(2), fcntl(2) and epoll_ctl(2); `QuotaExceeded` if the most are open.
    pub fn open(&mut self, id: u64, least: RawFd) -> io::Result<OwnedFd> {
        self.forget(id);
        if self.ends.len() >= self.most {
            return Err(io::ErrorKind::QuotaExceeded.into());
        }
        let (ours, theirs) = nix::unistd::pipe2(OFlag::O_CLOEXEC)?;
        // Our end only: the worker's writes must not fail because we are slow.
        fcntl(&ours, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
        let theirs = duplicate_above(theirs.as_fd(), least)?;
        self.set.add(&ours, EpollEvent::new(EpollFlags::EPOLLIN, id))?;
        self.ends.insert(id, ReadEnd { pipe: File::from(ours), text: Vec::new() });
        Ok(theirs)
    }

    /// Closes our end, if it is open: its worker is gone, or ready by other means. A process that still writes gets
    /// EPIPE.
    pub fn forget(&mut self, id: u64) {
        if let Some(end) = self.ends.remove(&id) {
            // Closing is not enough: a child may have a copy until it executes.
            let _gone = self.set.delete(&end.pipe);
        }
    }

    /// Ready when a pipe may have something to read.
    pub fn poll_ready(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.set.poll_ready(cx)
    }

    /// Reads one piece from each waiting pipe, and returns the outcomes. An empty result does not mean that nothing
    /// waits: see [`poll_ready`](Self::poll_ready).
    pub fn take(&mut self) -> Vec<Told> {
        let mut events = [EpollEvent::empty(); MOST_AT_ONCE];
        let waiting = self.set.take(&mut events);
        let waiting = events.iter().take(waiting);
        waiting.filter_map(|event| self.hear(event.data())).collect()
    }

    fn hear(&mut self, id: u64) -> Option<Told> {
        let what = self.ends.get_mut(&id)?.read()?;
        self.forget(id);
        Some(Told { id, what })
    }
}

impl ReadEnd {
    fn read(&mut self) -> Option<ReadyOutcome> {
        let mut piece = [0; LONGEST_LINE];
        let piece = match self.pipe.read(&mut piece) {
            Ok(0) => return Some(ReadyOutcome::Closed),
            Ok(length) => piece.get(..length)?,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return None,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return None,
            Err(_) => return Some(ReadyOutcome::Closed),
        };
        self.add(piece)
    }

    fn add(&mut self, piece: &[u8]) -> Option<ReadyOutcome> {
        self.text.extend_from_slice(piece);
        match self.text.iter().position(|byte| *byte == b'\n') {
            Some(end) if end < LONGEST_LINE => Some(ReadyOutcome::Ready),
            Some(_) => Some(ReadyOutcome::Flooded),
            None => (self.text.len() >= LONGEST_LINE).then_some(ReadyOutcome::Flooded),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::rng::Rng;
    use crate::os::process::spawn::{Placement, Program, SpawnAttributes, spawn};
    use crate::values::FIRST_FD;
    use std::ffi::OsString;
    use std::future::poll_fn;
    use std::io::Write;
    use std::os::fd::AsRawFd;
    use std::time::Duration;
    use tokio::runtime::{Builder, Runtime};

    struct Bench {
        pipes: ReadyPipes,
        runtime: Runtime,
    }

    impl Bench {
        fn new(most: usize) -> Self {
            let runtime = Builder::new_current_thread().enable_all().build().unwrap();
            let inside = runtime.enter();
            let pipes = ReadyPipes::new(most).unwrap();
            drop(inside);
            Self { pipes, runtime }
        }

        fn open(&mut self, id: u64) -> File {
            File::from(self.pipes.open(id, 100).unwrap())
        }

        /// Waits for the next outcomes.
        fn next(&mut self) -> Vec<Told> {
            let pipes = &mut self.pipes;
            let wait = async {
                loop {
                    poll_fn(|cx| pipes.poll_ready(cx)).await;
                    let told = pipes.take();
                    if !told.is_empty() {
                        return told;
                    }
                }
            };
            let limited = async { tokio::time::timeout(Duration::from_secs(20), wait).await };
            self.runtime.block_on(limited).unwrap()
        }

        /// Reads all that has been written, and expects no outcome.
        fn says_nothing(&mut self) {
            let pipes = &mut self.pipes;
            self.runtime.block_on(async {
                loop {
                    // The runtime polls the kernel between two turns.
                    tokio::task::yield_now().await;
                    let is_ready = poll_fn(|cx| Poll::Ready(pipes.poll_ready(cx).is_ready())).await;
                    if !is_ready {
                        break;
                    }
                    assert_eq!(pipes.take(), []);
                }
            });
        }
    }

    fn told(id: u64, what: ReadyOutcome) -> Vec<Told> {
        vec![Told { id, what }]
    }

    #[test]
    fn any_line_means_ready_also_one_in_pieces_and_then_nothing_more_is_heard() {
        let mut bench = Bench::new(8);
        for line in ["\n", "\r\n", "ready\n", "{}\n", "\u{fffd}\nmore"] {
            let mut worker = bench.open(7);
            bench.says_nothing();
            for piece in ["it ", "is "] {
                worker.write_all(piece.as_bytes()).unwrap();
                bench.says_nothing();
            }
            worker.write_all(line.as_bytes()).unwrap();
            assert_eq!(bench.next(), told(7, ReadyOutcome::Ready), "{line:?}");
            assert!(bench.pipes.ends.is_empty(), "heard out");
            bench.says_nothing();
        }
    }

    #[test]
    fn no_descriptor_comes_through_it_and_only_our_end_does_not_wait() {
        let mut bench = Bench::new(8);
        let theirs = bench.open(1);
        let kind = std::fs::read_link(format!("/proc/self/fd/{}", theirs.as_raw_fd())).unwrap();
        assert!(kind.to_str().unwrap().starts_with("pipe:"), "{kind:?}");
        let waits = |fd: &File| {
            let flags = fcntl(fd, FcntlArg::F_GETFL).unwrap();
            !OFlag::from_bits_retain(flags).contains(OFlag::O_NONBLOCK)
        };
        assert!(waits(&theirs) && !waits(&bench.pipes.ends[&1].pipe));
    }

    #[test]
    fn what_ends_without_a_newline_was_not_said() {
        let mut bench = Bench::new(8);
        let mut worker = bench.open(1);
        worker.write_all(b"ready").unwrap();
        bench.says_nothing();
        drop(worker);
        assert_eq!(bench.next(), told(1, ReadyOutcome::Closed));
        // A line before the end counts.
        let mut worker = bench.open(2);
        worker.write_all(b"\n").unwrap();
        drop(worker);
        assert_eq!(bench.next(), told(2, ReadyOutcome::Ready));
        bench.says_nothing();
    }

    #[test]
    fn a_flood_ends_and_locks_nobody_out() {
        let mut bench = Bench::new(8);
        let mut flooding = bench.open(1);
        let flood = std::thread::spawn(move || {
            let piece = [b'x'; 1000];
            while flooding.write_all(&piece).is_ok() {}
        });
        let mut other = bench.open(2);
        other.write_all(b"\n").unwrap();
        let mut all = bench.next();
        while all.len() < 2 {
            all.extend(bench.next());
        }
        all.sort_by_key(|told| told.id);
        assert_eq!(all, [told(1, ReadyOutcome::Flooded), told(2, ReadyOutcome::Ready)].concat());
        flood.join().unwrap();
        for (length, what) in [(LONGEST_LINE - 1, ReadyOutcome::Ready), (LONGEST_LINE, ReadyOutcome::Flooded)]
        {
            let mut worker = bench.open(3);
            worker.write_all(&vec![b'x'; length]).unwrap();
            worker.write_all(b"\n").unwrap();
            assert_eq!(bench.next(), told(3, what), "{length}");
        }
    }

    #[test]
    fn in_pieces_of_any_size_a_line_means_the_same() {
        let mut rng = Rng::new(1);
        let mut any = |most: usize| usize::try_from(rng.up_to(u64::try_from(most).unwrap())).unwrap();
        for _ in 0..500 {
            let before = if any(2) == 0 { LONGEST_LINE - 2 + any(4) } else { any(40) };
            let line = [&vec![b'x'; before][..], [&b"\n"[..], b"\nmore\n", b""][any(2)]].concat();
            let expected = match line.iter().position(|byte| *byte == b'\n') {
                Some(end) if end < LONGEST_LINE => ReadyOutcome::Ready,
                None if line.len() < LONGEST_LINE => ReadyOutcome::Closed,
                Some(_) | None => ReadyOutcome::Flooded,
            };
            // A pipe may be held open by another test's child until that executes: the end is one that is closed.
            let mut end = ReadEnd { pipe: File::open("/dev/null").unwrap(), text: Vec::new() };
            let (mut rest, mut told) = (&line[..], None);
            while !rest.is_empty() && told.is_none() {
                let piece;
                (piece, rest) = rest.split_at(1 + any(rest.len() - 1));
                told = end.add(piece);
            }
            assert_eq!(told.or_else(|| end.read()), Some(expected), "{before} {}", line.len());
        }
    }

    #[test]
    fn as_many_as_may_be_are_told_apart_and_no_more_are_opened() {
        const MOST: u64 = 100;
        let mut bench = Bench::new(usize::try_from(MOST).unwrap());
        let mut workers: Vec<File> = (0..MOST).map(|id| bench.open(id)).collect();
        let refused = bench.pipes.open(MOST, 3).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::QuotaExceeded);
        bench.pipes.forget(0);
        // The worker's new pipe replaces the old one. Another test's child may hold a copy of our ends until it
        // executes: a line in one may still be taken, and has no outcome.
        let mut again = bench.open(1);
        let _hung_up = workers[0].write_all(b"\n");
        let _hung_up = workers[1].write_all(b"\n");
        again.write_all(b"\n").unwrap();
        for worker in &mut workers[2..] {
            worker.write_all(b"\n").unwrap();
        }
        let mut all = Vec::new();
        while all.len() < workers.len() - 1 {
            let batch = bench.next();
            assert!(batch.len() <= MOST_AT_ONCE);
            all.extend(batch);
        }
        all.sort_by_key(|told| told.id);
        let expected: Vec<Told> = (1..MOST).flat_map(|id| told(id, ReadyOutcome::Ready)).collect();
        assert_eq!(all, expected);
        assert!(bench.pipes.ends.is_empty());
    }

    #[test]
    fn a_child_speaks_through_the_descriptor_it_was_given() {
        const NOTHING: &SpawnAttributes = &SpawnAttributes {
            identity: None,
            no_new_privs: false,
            umask: None,
            directory: None,
            oom_score_adj: None,
        };
        for (script, what) in [("echo >&3", ReadyOutcome::Ready), ("printf ready >&3", ReadyOutcome::Closed)]
        {
            let mut bench = Bench::new(1);
            let end = bench.pipes.open(5, 100).unwrap();
            assert!(end.as_raw_fd() >= 100);
            let argv = ["sh", "-c", script].map(OsString::from);
            let pid = spawn(&Program {
                argv: &argv,
                missing: 0,
                env: None,
                listen_pid: false,
                output: [None; 2],
                fds: &[end.as_fd()],
                close_others: true,
                execute_within: Duration::from_secs(10),
                placement: Placement::Session,
                attributes: NOTHING,
                parent_death: None,
            });
            drop(end);
            assert_eq!(bench.next(), told(5, what), "{script} at {FIRST_FD}");
            // SAFETY: a null status is allowed.
            unsafe { libc::waitpid(pid.unwrap().0, std::ptr::null_mut(), 0) };
        }
    }
}
