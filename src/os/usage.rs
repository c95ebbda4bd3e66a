//! How much memory a worker has, with all that descends from it.
//!
//! What /proc shows of a worker of another user depends on who looks: then call this within
//! [`acting_as`](super::privileges::acting_as), or [`Measure::Pss`] silently becomes [`Measure::Rss`].

use super::proc;
use crate::core::Pid;
use std::collections::VecDeque;
use std::fs;

/// More processes of one worker than this are not looked at.
const MOST_PROCESSES: usize = 64;

/// How memory is measured. Both leave out what is swapped out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Measure {
    /// Resident memory, from `/proc/PID/statm` (proc_pid_statm(5)): some 10 microseconds a process. What several
    /// processes share counts in each. Kernels from 6.2 on count in batches, so it is up to 128 kB off a processor.
    Rss,
    /// The proportional share, from `/proc/PID/smaps_rollup` (proc_pid_smaps(5)): what n processes share counts 1/n in
    /// each. The kernel walks the page tables for it, with the process's map locked: some 10 microseconds for each MB,
    /// and as long as it takes where the process itself holds that lock.
    Pss,
}

/// The memory of a worker and its descendants, 64 processes at most, in bytes. `None` if it is gone, a zombie, or
/// /proc is not ours. A process of which the share cannot be read counts with what is resident.
///
/// A child between its vfork(2) and its exec has its parent's memory, and counts as much again, by either measure
/// (after fork(2): by RSS). So one sample above a limit proves nothing; two in a row do.
#[must_use]
pub fn memory(worker: Pid, measure: Measure) -> Option<u64> {
    if !proc::is_ours() {
        return None;
    }
    let mut total = of_one(worker, measure)?;
    let mut parents = VecDeque::from([worker]);
    let mut left = MOST_PROCESSES.saturating_sub(1);
    while let Some(parent) = parents.pop_front() {
        if left == 0 {
            break;
        }
        for child in proc::children(parent).into_iter().take(left) {
            // One that has ended meanwhile has none.
            total = total.saturating_add(of_one(child, measure).unwrap_or(0));
            parents.push_back(child);
            left = left.saturating_sub(1);
        }
    }
    Some(total)
}

fn of_one(pid: Pid, measure: Measure) -> Option<u64> {
    match measure {
        Measure::Rss => resident(pid),
        Measure::Pss => proportional(pid).or_else(|| resident(pid)),
    }
}

/// The resident memory of one process, in bytes; `None` if it is gone or a zombie, which has no memory at all.
pub(super) fn resident(pid: Pid) -> Option<u64> {
    let pages = resident_pages(&fs::read_to_string(format!("/proc/{pid}/statm")).ok()?)?;
    // SAFETY: takes an integer.
    let page = u64::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).ok()?;
    Some(pages.saturating_mul(page))
}

/// The second of `size resident shared text lib data dt`, in pages; `None` if there is no address space.
fn resident_pages(statm: &str) -> Option<u64> {
    let mut fields = statm.split_ascii_whitespace().map(str::parse);
    match (fields.next()?, fields.next()?) {
        (Ok(0), _) => None,
        (_, resident) => resident.ok(),
    }
}

fn proportional(pid: Pid) -> Option<u64> {
    proportional_bytes(&fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?)
}

/// From the line `Pss:   316 kB`.
fn proportional_bytes(rollup: &str) -> Option<u64> {
    let line = rollup.lines().find_map(|line| line.strip_prefix("Pss:"))?;
    let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kilobytes.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::os::privileges;
    use crate::os::test_child::{Python, with_zombie};

    const MB: u64 = 1 << 20;

    #[test]
    fn the_kernels_texts_are_understood() {
        assert_eq!(resident_pages("598 70 60 5 0 41 0\n"), Some(70));
        assert_eq!(resident_pages("0 0 0 0 0 0 0\n"), None);
        assert_eq!(resident_pages(""), None);
        let rollup = "5642ecc41000-7fffc5fc9000 ---p 00000000 00:00 0    [rollup]\nRss:    1768 kB\n\
                      Pss:                 316 kB\nPss_Dirty:           116 kB\n";
        assert_eq!(proportional_bytes(rollup), Some(316 * 1024));
        assert_eq!(proportional_bytes("Pss_Dirty:  116 kB\n"), None);
    }

    #[test]
    fn the_memory_of_children_and_grandchildren_counts() {
        let hold = "import os, signal\ndef hold(n):\n  global b\n  b = b'x' * (n << 20)\n";
        let family = "r, w = os.pipe()\n\
            if os.fork() == 0:\n  if os.fork() == 0:\n    hold(60)\n    os.write(w, b'x')\n    signal.pause()\n  \
              hold(50)\n  os.write(w, b'x')\n  signal.pause()\n\
            hold(40)\nos.read(r, 1)\nos.read(r, 1)\nprint('ready', flush=True)\nsignal.pause()";
        let worker = Python::new(&format!("{hold}{family}"));
        let rss = memory(worker.pid(), Measure::Rss).unwrap();
        let pss = memory(worker.pid(), Measure::Pss).unwrap();
        // What the three share, the interpreter, is in RSS three times.
        assert!((150 * MB..250 * MB).contains(&rss), "{rss}");
        assert!((145 * MB..rss).contains(&pss), "{pss} of {rss}");
        let own = resident(worker.pid()).unwrap();
        assert!((40 * MB..90 * MB).contains(&own), "{own}");
    }

    #[test]
    fn what_was_shared_by_a_fork_counts_once_in_pss_and_in_each_in_rss() {
        let worker = Python::new(
            "import os, signal\nb = bytearray(b'x' * (60 << 20))\n\
             for _ in range(2):\n  if os.fork() == 0:\n    signal.pause()\n\
             print('ready', flush=True)\nsignal.pause()",
        );
        let rss = memory(worker.pid(), Measure::Rss).unwrap();
        let pss = memory(worker.pid(), Measure::Pss).unwrap();
        assert!(rss >= 180 * MB, "{rss}");
        assert!((60 * MB..110 * MB).contains(&pss), "{pss}");
    }

    #[test]
    fn no_more_than_64_processes_are_looked_at() {
        let worker = Python::new(
            "import os, signal\nb = bytearray(b'x' * (20 << 20))\n\
             for _ in range(100):\n  if os.fork() == 0:\n    signal.pause()\n\
             print('ready', flush=True)\nsignal.pause()",
        );
        assert_eq!(proc::children(worker.pid()).len(), 100);
        let rss = memory(worker.pid(), Measure::Rss).unwrap();
        // A child has no more than its parent has.
        assert!(rss <= 64 * (resident(worker.pid()).unwrap() + MB), "{rss}");
        assert!(rss >= 64 * 20 * MB, "{rss}");
    }

    #[test]
    fn one_that_is_gone_or_a_zombie_has_none() {
        assert_eq!(memory(Pid(i32::MAX), Measure::Rss), None);
        assert_eq!(memory(Pid(i32::MAX), Measure::Pss), None);
        with_zombie(|pid| {
            assert_eq!(proc::state(pid), Some('Z'));
            assert_eq!(memory(pid, Measure::Rss), None);
            assert_eq!(memory(pid, Measure::Pss), None);
        });
    }

    #[test]
    fn of_another_user_the_share_is_seen_with_its_eyes_and_else_what_is_resident() {
        const NOBODY: u32 = 65_534;
        if !privileges::have(&[privileges::SETUID, privileges::SETGID, privileges::KILL]) {
            println!("not root: nobody can be run as another user");
            return;
        }
        let script = "import signal\nprint('ready', flush=True)\nsignal.pause()";
        let worker = Python::of_user(NOBODY, script);
        let pid = worker.pid();
        // Rights are a thread's own. These are what a container has by default: not SYS_PTRACE.
        let look = move || {
            privileges::keep_only(&[privileges::SETUID, privileges::SETGID, privileges::DAC_OVERRIDE])
                .unwrap();
            assert_eq!(proportional(pid), None, "the share was seen with our own eyes");
            let blind = (memory(pid, Measure::Pss), resident(pid));
            let pss = || (memory(pid, Measure::Pss), proportional(pid));
            [blind, privileges::acting_as(NOBODY, NOBODY, pss)]
        };
        for (measured, expected) in std::thread::spawn(look).join().unwrap() {
            let (measured, expected) = (measured.unwrap(), expected.unwrap());
            // It may have gone on a little in between.
            assert!(measured.abs_diff(expected) < MB, "{measured}, not {expected}");
        }
    }
}
