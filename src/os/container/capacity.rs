//! How many processors and how much memory we may use.
//!
//! A limit may be set on our cgroup and on every one above it, and all of them hold: the tightest visible one counts.
//! Inside a container usually only its own is visible, as the root of the mount.

use super::cgroup::{MOUNT, inside, limit_of, path_of, value_of};
use std::fs;
use std::path::{Path, PathBuf};

/// The size of a processor mask in 64-bit words, at first (that of `cpu_set_t`) and at most. The kernel's own limit on
/// x86 is 8192 processors, or 128 words.
const LEAST_MASK: usize = 16;
const MOST_MASK: usize = 1024;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capacity {
    /// Processors that we may run on (sched_getaffinity(2)), after `taskset` and cpusets; at least 1.
    pub processors: u32,
    /// The tightest quota of processor time; `None` if there is none.
    pub quota: Option<Quota>,
    /// The container's tightest memory limit, in bytes; `None` if there is none.
    pub memory_limit: Option<u64>,
    /// All memory of the machine, in bytes.
    pub machine_memory: Option<u64>,
}

/// The time on one processor that is allowed in each period.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    /// Time to run, in microseconds.
    pub time: u64,
    /// The period, in microseconds.
    pub period: u64,
}

impl Quota {
    /// Thousandths of a processor, rounded up.
    #[must_use]
    pub fn millis(self) -> u64 {
        self.time.saturating_mul(1000).div_ceil(self.period.max(1))
    }
}

impl Capacity {
    #[must_use]
    pub fn here() -> Self {
        let membership = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        let (quota, memory_limit) = limits_in(Path::new(MOUNT), &membership);
        Self { processors: processors(), quota, memory_limit, machine_memory: machine_memory() }
    }

    /// The number of processors after the quota, rounded up, at least 1: a quota of one and a half keeps two busy.
    #[must_use]
    pub fn cpus(&self) -> u32 {
        let quota = self.quota.map(|quota| quota.millis().div_ceil(1000));
        let quota = quota.and_then(|cpus| u32::try_from(cpus).ok()).unwrap_or(u32::MAX);
        self.processors.min(quota).max(1)
    }

    /// The memory that we may use, in bytes: the container's limit or the machine's memory, whichever is less.
    #[must_use]
    pub fn memory(&self) -> Option<u64> {
        self.memory_limit.into_iter().chain(self.machine_memory).min()
    }
}

/// The tightest quota and the tightest memory limit (in bytes) of our cgroup and all above it.
fn limits_in(mount: &Path, membership: &str) -> (Option<Quota>, Option<u64>) {
    let unified = chain(mount, path_of(membership, None));
    // Version 1 has a tree for each controller; the names of combined ones differ by distribution.
    let tree = |names: &[&str], controller| {
        let root = names.iter().map(|name| mount.join(name)).find(|root| root.is_dir());
        root.map(|root| chain(&root, path_of(membership, Some(controller)))).unwrap_or_default()
    };
    let cpu = tree(&["cpu", "cpu,cpuacct", "cpuacct,cpu"], "cpu");
    let memory = tree(&["memory"], "memory");
    let quota = |directory: &PathBuf| quota_in(directory);
    let limit = |directory: &PathBuf| memory_limit_in(directory);
    (
        unified.iter().chain(&cpu).filter_map(quota).min_by_key(|quota| quota.millis()),
        unified.iter().chain(&memory).filter_map(limit).min(),
    )
}

/// The directories of a cgroup and of all visible ones above it. If the path is not visible, the root of the mount is
/// our own cgroup, and the only one.
fn chain(root: &Path, path: Option<&str>) -> Vec<PathBuf> {
    let path = path.and_then(inside).filter(|path| root.join(path).is_dir());
    path.unwrap_or(Path::new("")).ancestors().map(|path| root.join(path)).collect()
}

/// The quota that this directory sets.
fn quota_in(directory: &Path) -> Option<Quota> {
    let read = |file| fs::read_to_string(directory.join(file)).ok();
    let (time, period) = match read("cpu.max") {
        Some(text) => {
            let (time, period) = text.trim().split_once(' ')?;
            (time.to_owned(), period.to_owned())
        }
        None => (read("cpu.cfs_quota_us")?, read("cpu.cfs_period_us")?),
    };
    // `max`, or -1 in version 1, is no quota.
    let number = |text: String| text.trim().parse().ok().filter(|number| *number > 0);
    Some(Quota { time: number(time)?, period: number(period)? })
}

/// The limit that this directory sets. In version 1, `memory.stat` includes the limits of invisible cgroups above.
fn memory_limit_in(directory: &Path) -> Option<u64> {
    let read = |file| fs::read_to_string(directory.join(file)).ok();
    if let Some(text) = read("memory.max") {
        return limit_of(&text);
    }
    let own = read("memory.limit_in_bytes").and_then(|text| limit_of(&text));
    let above = read("memory.stat").and_then(|text| value_of("hierarchical_memory_limit", &text));
    let above = above.and_then(|limit| limit_of(&limit.to_string()));
    own.into_iter().chain(above).min()
}

/// The number of processors in our affinity mask. The kernel refuses a mask that is smaller than its own.
fn processors() -> u32 {
    let mut mask = vec![0u64; LEAST_MASK];
    while mask.len() <= MOST_MASK {
        // SAFETY: the length is that of the mask; any bits are a valid mask.
        let result =
            unsafe { libc::sched_getaffinity(0, size_of_val(mask.as_slice()), mask.as_mut_ptr().cast()) };
        if result == 0 {
            return mask.iter().map(|word| word.count_ones()).sum::<u32>().max(1);
        }
        mask.resize(mask.len().saturating_mul(2), 0);
    }
    1
}

fn machine_memory() -> Option<u64> {
    // SAFETY: a structure of integers, for which zeros are valid; the kernel fills it in.
    let info = unsafe {
        let mut info: libc::sysinfo = std::mem::zeroed();
        (libc::sysinfo(&raw mut info) == 0).then_some(info)?
    };
    // The field has 64 bits, or 32.
    #[allow(clippy::useless_conversion)]
    let total = u64::from(info.totalram);
    total.checked_mul(u64::from(info.mem_unit.max(1))).filter(|total| *total > 0)
}

#[cfg(test)]
mod tests {
    use super::super::cgroup::tests::tree;
    use super::*;

    fn limits(files: &[(&str, &str)], membership: &str) -> (Option<u64>, Option<u64>) {
        let root = tree(files);
        let (quota, memory) = limits_in(root.path(), membership);
        (quota.map(Quota::millis), memory)
    }

    #[test]
    fn version_2_as_a_container_sees_it() {
        for membership in ["0::/\n", "0::/docker/not/to/be/seen\n", "0::/../elsewhere\n", ""] {
            let files = [("cpu.max", "150000 100000\n"), ("memory.max", "1073741824\n")];
            assert_eq!(limits(&files, membership), (Some(1500), Some(1 << 30)), "{membership}");
            let files = [("cpu.max", "max 100000\n"), ("memory.max", "max\n")];
            assert_eq!(limits(&files, membership), (None, None), "{membership}");
        }
    }

    #[test]
    fn version_2_on_a_host_the_tightest_of_all_above_counts() {
        let (own, slice) = ("a.slice/b.slice/own.service", "a.slice");
        let membership = format!("0::/{own}\n");
        let with = |own_cpu, slice_cpu, own_memory, slice_memory| {
            let files = [
                (format!("{own}/cpu.max"), own_cpu),
                (format!("{slice}/cpu.max"), slice_cpu),
                // The controllers are not enabled at every level in between.
                ("a.slice/b.slice/cgroup.procs".to_owned(), ""),
                (format!("{own}/memory.max"), own_memory),
                (format!("{slice}/memory.max"), slice_memory),
                // Another cgroup's.
                ("c.slice/cpu.max".to_owned(), "1000 100000"),
                ("c.slice/memory.max".to_owned(), "4096"),
            ];
            let files: Vec<_> = files.iter().map(|(path, text)| (path.as_str(), *text)).collect();
            limits(&files, &membership)
        };
        assert_eq!(with("max 100000", "max 100000", "max", "max"), (None, None));
        assert_eq!(with("400000 100000", "20000 10000", "4096000", "max"), (Some(2000), Some(4_096_000)));
        assert_eq!(with("50000 100000", "20000 10000", "max", "8192"), (Some(500), Some(8192)));
        assert_eq!(with("max 100000", "300000 100000", "8192", "4096"), (Some(3000), Some(4096)));
    }

    #[test]
    fn version_1_has_a_tree_for_each_controller() {
        for (root, names) in [("cpu", "cpu"), ("cpu,cpuacct", "cpu,cpuacct"), ("cpuacct,cpu", "cpuacct,cpu")]
        {
            let files = [
                (format!("{root}/docker/abc/cpu.cfs_quota_us"), "150000\n"),
                (format!("{root}/docker/abc/cpu.cfs_period_us"), "100000\n"),
                (format!("{root}/docker/cpu.cfs_quota_us"), "-1\n"),
                (format!("{root}/docker/cpu.cfs_period_us"), "100000\n"),
                ("memory/docker/abc/memory.limit_in_bytes".to_owned(), "9223372036854771712\n"),
                ("memory/docker/memory.limit_in_bytes".to_owned(), "536870912\n"),
                ("memory/memory.limit_in_bytes".to_owned(), "9223372036854771712\n"),
            ];
            let files: Vec<_> = files.iter().map(|(path, text)| (path.as_str(), *text)).collect();
            let lines = format!("5:{names}:/docker/abc\n4:memory:/docker/abc\n3:cpuset:/other\n0::/x\n");
            assert_eq!(limits(&files, &lines), (Some(1500), Some(512 << 20)), "{root}");
        }
        // In a container, where the path on the host is not visible.
        let files = [
            ("cpu/cpu.cfs_quota_us", "50000\n"),
            ("cpu/cpu.cfs_period_us", "100000\n"),
            ("memory/memory.limit_in_bytes", "9223372036854771712\n"),
            ("memory/memory.stat", "cache 0\nhierarchical_memory_limit 4096\nhierarchical_memsw_limit 1\n"),
        ];
        let lines = "5:cpu:/kubepods/pod1/abc\n4:memory:/kubepods/pod1/abc\n";
        assert_eq!(limits(&files, lines), (Some(500), Some(4096)));
    }

    #[test]
    fn what_cannot_be_read_does_not_limit() {
        assert_eq!(limits(&[], "0::/\n4:memory:/\n"), (None, None));
        for text in ["", "\n", "max", "0 100000", "100000 0", "-1 100000", "many 100000", "100000"] {
            assert_eq!(limits(&[("cpu.max", text), ("memory.max", "much")], "0::/"), (None, None), "{text}");
        }
        let root = limits_in(Path::new("/there/is/no/such/directory"), "0::/\n");
        assert_eq!(root, (None, None));
    }

    #[test]
    fn processors_are_those_that_we_may_run_on_up_to_the_quota() {
        let with = |processors, quota: Option<(u64, u64)>| {
            let quota = quota.map(|(time, period)| Quota { time, period });
            Capacity { processors, quota, memory_limit: None, machine_memory: None }.cpus()
        };
        for (processors, quota, cpus) in [
            (8, None, 8),
            (8, Some((150_000, 100_000)), 2),
            (8, Some((100_000, 100_000)), 1),
            (8, Some((100_001, 100_000)), 2),
            (8, Some((1_000, 100_000)), 1),
            (8, Some((250_000, 50_000)), 5),
            (2, Some((1_600_000, 100_000)), 2),
            (1, Some((150_000, 100_000)), 1),
            (8, Some((u64::MAX, 1)), 8),
            (8, Some((1, u64::MAX)), 1),
            (0, None, 1),
        ] {
            assert_eq!(with(processors, quota), cpus, "{processors} {quota:?}");
        }
    }

    #[test]
    fn memory_is_the_containers_or_the_machines_if_that_is_less() {
        let with = |memory_limit, machine_memory| {
            Capacity { processors: 1, quota: None, memory_limit, machine_memory }.memory()
        };
        assert_eq!(with(Some(1), Some(2)), Some(1));
        assert_eq!(with(Some(3), Some(2)), Some(2));
        assert_eq!((with(None, Some(2)), with(Some(1), None), with(None, None)), (Some(2), Some(1), None));
    }

    #[test]
    fn this_machine_has_processors_and_memory() {
        let here = Capacity::here();
        // std rounds a quota down, and sees no more processors than we do.
        let std = u32::try_from(std::thread::available_parallelism().unwrap().get()).unwrap();
        assert!(here.cpus() >= std && here.cpus() <= here.processors, "{here:?}, std: {std}");
        let meminfo = fs::read_to_string("/proc/meminfo").unwrap();
        let total = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:")?.strip_suffix("kB"));
        assert_eq!(here.machine_memory.map(|bytes| bytes / 1024), total.unwrap().trim().parse().ok());
    }
}
