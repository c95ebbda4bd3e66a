//! What a hung process is doing, for the log, before it is killed.

use super::proc::{self, cpu_of, field};
use super::usage;
use crate::core::Pid;
use crate::os::process::descriptors::descriptors;
use crate::os::socket::inode_of;
use std::fs;
use std::io;
use std::ops::RangeInclusive;
use std::time::Duration;

/// The most descriptors that are looked at.
const MOST_FDS: usize = 1024;

/// A process at one moment, from /proc; a field is `None` where /proc does not show it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ProcessSnapshot {
    /// The letter of its main thread's state: `R` runs, `S` sleeps, `D` waits for a device and cannot be killed, `T` is
    /// stopped, `Z` has ended (proc_pid_stat(5)).
    pub state: Option<char>,
    /// The kernel function in which its main thread sleeps (proc_pid_wchan(5)).
    pub wchan: Option<String>,
    /// The number of the system call in which its main thread sleeps (proc_pid_syscall(5)).
    pub syscall: Option<i64>,
    /// Its resident memory in bytes, without its children's.
    pub rss: Option<u64>,
    pub threads: Option<u32>,
    /// How many of its descriptors, of the first 1024, are sockets: connections and listeners.
    pub sockets: Option<u32>,
    /// Processor time of all its threads, in user and kernel mode, with those that have ended, in steps of 10 ms as a
    /// rule. If it is equal in two snapshots, the process did nothing in between.
    pub cpu: Option<Duration>,
}

/// Looks at a process. For a worker of another user, call it within [`acting_as`](super::privileges::acting_as), or
/// `wchan`, `syscall` and `sockets` are `None`. Takes about 80 microseconds, and two for each descriptor. No file that
/// it reads needs the lock of the process's memory map, so it never waits for the process.
#[must_use]
pub fn snapshot(pid: Pid) -> ProcessSnapshot {
    if !proc::is_ours() {
        return ProcessSnapshot::default();
    }
    let read = |file: &str| fs::read_to_string(format!("/proc/{pid}/{file}")).ok();
    let stat = proc::stat(pid).unwrap_or_default();
    ProcessSnapshot {
        state: stat.trim_start().chars().next(),
        wchan: read("wchan").as_deref().and_then(wchan_of),
        syscall: read("syscall").as_deref().and_then(syscall_of),
        rss: usage::resident(pid),
        threads: field(&stat, 20).and_then(|threads| u32::try_from(threads).ok()),
        sockets: sockets(pid),
        cpu: cpu_of(&stat, OWN_TIME),
    }
}

/// `utime` and `stime`.
const OWN_TIME: RangeInclusive<usize> = 14..=15;

/// `0` stands for "none", and for "not permitted".
fn wchan_of(text: &str) -> Option<String> {
    let name = text.trim();
    (!matches!(name, "" | "0")).then(|| name.to_owned())
}

/// The number in `43 0x3 ...`; `running` and `-1 ...` are no calls.
fn syscall_of(text: &str) -> Option<i64> {
    text.split_ascii_whitespace().next()?.parse().ok().filter(|number| *number >= 0)
}

fn sockets(pid: Pid) -> Option<u32> {
    let mut sockets = 0u32;
    for open in descriptors(pid).ok()?.take(MOST_FDS) {
        match open {
            Ok((_, target)) if inode_of(&target).is_some() => sockets = sockets.saturating_add(1),
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => return None,
            Ok(_) | Err(_) => {}
        }
    }
    Some(sockets)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::os::test_child::{Python, with_zombie};
    use std::time::Instant;

    /// The first snapshot of a child that satisfies the condition.
    fn snapshot_when(child: &Python, is_right: impl Fn(&ProcessSnapshot) -> bool) -> ProcessSnapshot {
        let begin = Instant::now();
        loop {
            let seen = snapshot(child.pid());
            if is_right(&seen) {
                return seen;
            }
            assert!(begin.elapsed() < Duration::from_secs(20), "{seen:?}");
            std::thread::yield_now();
        }
    }

    #[test]
    fn the_kernels_texts_are_understood() {
        assert_eq!(wchan_of("hrtimer_nanosleep"), Some("hrtimer_nanosleep".to_owned()));
        assert_eq!((wchan_of("0"), wchan_of("")), (None, None));
        assert_eq!(syscall_of("230 0x0 0x0 0x7ffcc17a5620"), Some(230));
        assert_eq!(
            (syscall_of("running\n"), syscall_of("-1 0x7ffc 0x7f"), syscall_of("")),
            (None, None, None)
        );
        let stat = " S 1 2 3 4 5 6 7 8 9 10 150 50 0 0 20 0 3 0 1000";
        assert_eq!(field(stat, 20), Some(3));
        // There are 100 ticks a second on every architecture that Linux still runs on.
        assert_eq!(cpu_of(stat, OWN_TIME), Some(Duration::from_secs(2)));
        assert_eq!(cpu_of("", OWN_TIME), None);
    }

    #[test]
    fn a_worker_that_sleeps_is_seen_sleeping_with_its_threads_and_sockets() {
        let worker = Python::new(
            "import os, select, socket, threading\nos.closerange(2, 100)\n\
             kept = [socket.socket() for _ in range(3)]\n\
             b = b'x' * (20 << 20)\n\
             threading.Thread(target=threading.Event().wait, daemon=True).start()\n\
             print('ready', flush=True)\n\
             select.epoll().poll()",
        );
        let waits = [libc::SYS_epoll_pwait, libc::SYS_epoll_pwait2];
        #[cfg(target_arch = "x86_64")]
        let waits = [waits.as_slice(), &[libc::SYS_epoll_wait]].concat();
        // The process stays in that call: from now on the values belong together.
        snapshot_when(&worker, |seen| seen.syscall.is_some_and(|call| waits.contains(&call)));
        let seen = snapshot(worker.pid());
        assert!((seen.state, seen.syscall.is_some()) == (Some('S'), true), "{seen:?}");
        assert_eq!((seen.threads, seen.sockets), (Some(2), Some(3)), "{seen:?}");
        assert!(seen.rss.unwrap() > 20 << 20, "{seen:?}");
        assert!(seen.cpu.unwrap() < Duration::from_secs(20), "{seen:?}");
        // Kernels built without symbols have no name to show.
        let has_names = fs::metadata("/proc/kallsyms").is_ok();
        assert!(seen.wchan.is_some() || !has_names, "{seen:?}");
    }

    #[test]
    fn a_worker_that_spins_is_seen_using_the_processor() {
        let worker =
            Python::new("import os\nos.closerange(2, 100)\nprint('ready', flush=True)\nwhile True: pass");
        let first = snapshot_when(&worker, |seen| seen.state == Some('R'));
        let later = snapshot_when(&worker, |seen| seen.cpu > first.cpu);
        assert_eq!((later.wchan, later.sockets), (None, Some(0)));
    }

    #[test]
    fn a_stopped_one_is_seen_stopped() {
        let worker = Python::new("import signal\nprint('ready', flush=True)\nsignal.pause()");
        // SAFETY: takes integers; the child is ours and not reaped.
        unsafe { libc::kill(worker.pid().0, libc::SIGSTOP) };
        snapshot_when(&worker, |seen| seen.state == Some('T'));
    }

    #[test]
    fn many_descriptors_are_not_all_looked_at() {
        let worker = Python::new(
            "import resource, signal, socket\n\
             resource.setrlimit(resource.RLIMIT_NOFILE, (2000, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))\n\
             kept = [socket.socket() for _ in range(1500)]\n\
             print('ready', flush=True)\nsignal.pause()",
        );
        let seen = snapshot(worker.pid()).sockets.unwrap();
        assert!((1000..=1024).contains(&seen), "{seen}");
    }

    #[test]
    fn of_one_that_is_gone_there_is_nothing_to_see() {
        assert_eq!(snapshot(Pid(i32::MAX)), ProcessSnapshot::default());
        with_zombie(|pid| {
            let seen = snapshot(pid);
            assert_eq!((seen.state, seen.rss, seen.syscall), (Some('Z'), None, None), "{seen:?}");
        });
    }
}
