//! Our own place among the cgroups.

use std::fs;
use std::path::{Path, PathBuf};

/// The directory of our memory cgroup, or the root of what is mounted if ours is not to be seen: version 2, or else 1
/// (cgroups(7)). `None` without a memory controller.
pub fn of_memory() -> Option<PathBuf> {
    let memberships = fs::read_to_string("/proc/self/cgroup").ok()?;
    let of = |mount: &str, controllers: &str, file: &str| {
        let mut lines = memberships.lines().filter_map(|line| line.split_once(':')?.1.split_once(':'));
        let (_, path) = lines.find(|(found, path)| *found == controllers && !path.contains(".."))?;
        let own = Path::new(mount).join(path.trim_start_matches('/'));
        [own, mount.into()].into_iter().find(|directory| directory.join(file).exists())
    };
    of("/sys/fs/cgroup", "", "memory.events")
        .or_else(|| of("/sys/fs/cgroup/memory", "memory", "memory.oom_control"))
}
