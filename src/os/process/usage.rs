//! The memory, processor time and descriptors of a worker and its descendants.
//!
//! What /proc shows of a worker of another user depends on our ids: call this within
//! [`acting_as`](super::privileges::acting_as), or [`Measure::Pss`] silently becomes [`Measure::Rss`].

use super::proc;
use crate::core::Pid;
use std::collections::VecDeque;
use std::fs;
use std::time::Duration;

/// The most processes of one worker that are looked at.
const MOST_PROCESSES: usize = 64;

/// How memory is measured. Neither counts swapped memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Measure {
    /// Resident memory, from `/proc/PID/statm` (proc_pid_statm(5)): about 10 microseconds a process. Memory that
    /// several processes share counts in each. Kernels from 6.2 on count in batches, with an error of up to 128 kB per
    /// processor.
    Rss,
    /// The proportional share, from `/proc/PID/smaps_rollup` (proc_pid_smaps(5)): memory that n processes share counts
    /// 1/n in each. The kernel walks the page tables with the process's map locked: about 10 microseconds for each MB,
    /// and longer while the process itself holds that lock.
    Pss,
}

/// The memory of a worker and its descendants, 64 processes at most, in bytes. `None` if the worker is gone or a
/// zombie, or /proc is not ours. A process whose share cannot be read counts with its resident memory.
///
/// A child between vfork(2) and exec has its parent's memory, and counts it a second time by either measure (after
/// fork(2): by RSS). So one sample above a limit proves nothing; two in a row do.
#[must_use]
pub fn memory(worker: Pid, measure: Measure) -> Option<u64> {
    if !proc::is_ours() {
        return None;
    }
    let own = of_one(worker, measure)?;
    // A process that has ended meanwhile has no memory.
    let others = below(worker).into_iter().filter_map(|child| of_one(child, measure));
    Some(others.fold(own, u64::saturating_add))
}

/// The descendants of a worker, 63 at most.
fn below(worker: Pid) -> Vec<Pid> {
    let mut found = Vec::new();
    let mut parents = VecDeque::from([worker]);
    while let Some(parent) = parents.pop_front() {
        let left = MOST_PROCESSES.saturating_sub(1).saturating_sub(found.len());
        if left == 0 {
            break;
        }
        for child in proc::children(parent).into_iter().take(left) {
            found.push(child);
            parents.push_back(child);
        }
    }
    found
}

/// The resources of a worker and its descendants, 64 processes at most.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    pub processes: u32,
    /// Resident memory in bytes; memory that several processes share counts in each.
    pub resident: u64,
    /// Processor time in user and kernel mode, with that of children that have ended and were waited for, in steps of
    /// 10 ms as a rule.
    pub cpu: Duration,
    /// Open descriptors; `None` if those of the worker itself cannot be seen.
    pub open_fds: Option<u64>,
}

/// Looks at a worker. `None` if it is gone or a zombie, or /proc is not ours. Takes about 50 microseconds a process,
/// waits for no lock of its memory map, and on kernels before 6.2 takes a microsecond more for each open descriptor.
#[must_use]
pub fn usage(worker: Pid) -> Option<Usage> {
    let mut sum = usage_of_one(worker)?;
    for child in below(worker).into_iter().filter_map(usage_of_one) {
        sum.processes = sum.processes.saturating_add(child.processes);
        sum.resident = sum.resident.saturating_add(child.resident);
        sum.cpu = sum.cpu.saturating_add(child.cpu);
        sum.open_fds = sum.open_fds.map(|fds| fds.saturating_add(child.open_fds.unwrap_or(0)));
    }
    Some(sum)
}

fn usage_of_one(pid: Pid) -> Option<Usage> {
    let stat = proc::stat(pid)?;
    // Its own time, and that of children that were waited for.
    let (cpu, resident) = (proc::cpu_of(&stat, 14..=17)?, proc::field(&stat, 24)?);
    if stat.trim_start().starts_with(['Z', 'X']) {
        return None;
    }
    Some(Usage {
        processes: 1,
        resident: resident.saturating_mul(page()?),
        cpu,
        open_fds: open_fds(&pid.to_string()),
    })
}

/// The number of open descriptors of a process, by its name in /proc. From 6.2 on the kernel shows it as the
/// directory's size (proc_pid_fd(5)); before, the size is 0, and they are counted up to a limit.
pub(crate) fn open_fds(process: &str) -> Option<u64> {
    const MOST_COUNTED: usize = 10_000;
    let directory = format!("/proc/{process}/fd");
    match fs::metadata(&directory).ok()?.len() {
        0 => u64::try_from(fs::read_dir(directory).ok()?.take(MOST_COUNTED).count()).ok(),
        told => Some(told),
    }
}

fn of_one(pid: Pid, measure: Measure) -> Option<u64> {
    match measure {
        Measure::Rss => resident(pid),
        Measure::Pss => proportional(pid).or_else(|| resident(pid)),
    }
}

/// The resident memory of one process, in bytes; `None` if it is gone or a zombie, which has no memory.
pub(crate) fn resident(pid: Pid) -> Option<u64> {
    let pages = resident_pages(&fs::read_to_string(format!("/proc/{pid}/statm")).ok()?)?;
    Some(pages.saturating_mul(page()?))
}

/// The size of a page in bytes.
pub(crate) fn page() -> Option<u64> {
    // SAFETY: takes an integer.
    u64::try_from(unsafe { libc::sysconf(libc::_SC_PAGESIZE) }).ok()
}

/// The second field of `size resident shared text lib data dt`, in pages; `None` if there is no address space.
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

/// The value of the line `Pss:   316 kB`, in bytes.
fn proportional_bytes(rollup: &str) -> Option<u64> {
    let line = rollup.lines().find_map(|line| line.strip_prefix("Pss:"))?;
    let kilobytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kilobytes.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::os::process::privileges;
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
        // The interpreter, which the three share, counts three times in RSS.
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
        // A child has no more than its parent.
        assert!(rss <= 64 * (resident(worker.pid()).unwrap() + MB), "{rss}");
        assert!(rss >= 64 * 20 * MB, "{rss}");
    }

    #[test]
    fn what_a_family_uses_is_the_sum_and_the_dead_child_counts_with_its_time() {
        let spin = "import os, signal, time\ndef spin():\n  end = time.process_time() + 0.3\n  \
                    while time.process_time() < end: pass\n";
        let worker = Python::new(&format!(
            "{spin}kept = [os.open('/dev/null', 0) for _ in range(40)]\n\
             if os.fork() == 0:\n  spin()\n  os._exit(0)\n\
             os.wait()\n\
             r, w = os.pipe()\n\
             if os.fork() == 0:\n  spin()\n  os.write(w, b'x')\n  signal.pause()\n\
             os.read(r, 1)\nprint('ready', flush=True)\nsignal.pause()"
        ));
        let seen = usage(worker.pid()).unwrap();
        assert_eq!(seen.processes, 2);
        assert!(seen.cpu >= Duration::from_millis(580), "{seen:?}");
        assert!((80..120).contains(&seen.open_fds.unwrap()), "{seen:?}");
        let rss = memory(worker.pid(), Measure::Rss).unwrap();
        assert!(seen.resident.abs_diff(rss) < 2 * MB, "{seen:?}, not {rss}");
        assert_eq!(usage(Pid(i32::MAX)), None);
        with_zombie(|pid| assert_eq!(usage(pid), None));
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
        // Capabilities belong to a thread. These are a container's default: no SYS_PTRACE.
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
            // The worker may have run a little in between.
            assert!(measured.abs_diff(expected) < MB, "{measured}, not {expected}");
        }
    }
}
