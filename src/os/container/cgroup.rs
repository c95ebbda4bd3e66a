//! What our memory cgroup reports: processes killed for lack of memory, and the memory in use.
//!
//! Version 2 is one tree at `/sys/fs/cgroup`; version 1 has one per controller, memory's at `/sys/fs/cgroup/memory`
//! (cgroups(7)). A container usually sees its own cgroup as the root of the tree, whatever path `/proc/self/cgroup`
//! shows.

use std::fs;
use std::io;
use std::path::{Component, Path, PathBuf};

/// Where version 2's tree is, or the directory of version 1's trees.
pub(crate) const MOUNT: &str = "/sys/fs/cgroup";

/// Version 1 has no word for "no limit": it shows the largest number of whole pages, which nothing reaches.
const NO_LIMIT: u64 = 1 << 60;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cgroup {
    directory: PathBuf,
    version: Version,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Version {
    One,
    Two,
}

/// The memory of a cgroup, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memory {
    /// In use, by processes and by the page cache.
    pub current: u64,
    /// The part of `current` that the kernel takes back on demand: files not used lately. The rest is what the kubelet
    /// calls the working set.
    pub reclaimable: u64,
    /// The cgroup's own limit; `None` if there is none. One further up in the tree may be lower.
    pub limit: Option<u64>,
}

impl Cgroup {
    /// Our own, found by `/proc/self/cgroup`. `None` where none is visible: no memory controller, the root of a host,
    /// or a sandbox.
    #[must_use]
    pub fn find() -> Option<Self> {
        Self::find_in(Path::new(MOUNT), &fs::read_to_string("/proc/self/cgroup").ok()?)
    }

    /// The cgroup whose files are in this directory.
    #[must_use]
    pub fn at(directory: &Path) -> Option<Self> {
        let version = if directory.join("memory.events").exists() {
            Version::Two
        } else if directory.join("memory.oom_control").exists() {
            Version::One
        } else {
            return None;
        };
        Some(Self { directory: directory.to_owned(), version })
    }

    fn find_in(mount: &Path, membership: &str) -> Option<Self> {
        let unified = path_of(membership, None).and_then(|path| Self::below(mount, path));
        let memory = || Self::below(&mount.join("memory"), path_of(membership, Some("memory"))?);
        unified.or_else(memory)
    }

    /// The cgroup at this path, or the root of the mount if the path is not visible.
    fn below(mount: &Path, path: &str) -> Option<Self> {
        let own = inside(path).and_then(|path| Self::at(&mount.join(path)));
        own.or_else(|| Self::at(mount))
    }

    /// How many processes the kernel has killed for lack of memory since the cgroup was made. Version 2 counts those of
    /// the cgroups below it, version 1 does not. Any limit counts, also one further up. `None` where the kernel does
    /// not report it, as before 4.13.
    #[must_use]
    pub fn oom_kills(&self) -> Option<u64> {
        value_of("oom_kill", &self.read(self.by_version("memory.oom_control", "memory.events"))?)
    }

    #[must_use]
    pub fn memory(&self) -> Option<Memory> {
        let current = self.read(self.by_version("memory.usage_in_bytes", "memory.current"))?;
        let limit = self.read(self.by_version("memory.limit_in_bytes", "memory.max"));
        let stat = match fs::read_to_string(self.directory.join("memory.stat")) {
            Ok(stat) => stat,
            // A sandbox may show fewer files than the kernel.
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            // Without the reclaimable part, the page cache would look like a lack of memory.
            Err(_) => return None,
        };
        let reclaimable = value_of(self.by_version("total_inactive_file", "inactive_file"), &stat);
        Some(Memory {
            current: current.trim().parse().ok()?,
            reclaimable: reclaimable.unwrap_or(0),
            limit: limit.and_then(|text| limit_of(&text)),
        })
    }

    fn by_version(&self, one: &'static str, two: &'static str) -> &'static str {
        match self.version {
            Version::One => one,
            Version::Two => two,
        }
    }

    fn read(&self, file: &str) -> Option<String> {
        fs::read_to_string(self.directory.join(file)).ok()
    }
}

/// Our path in the tree of a controller of version 1, or (`None`) in that of version 2. `membership` has one line
/// `id:controllers:/path` per tree; version 2 has id 0 and names no controllers.
pub(crate) fn path_of<'a>(membership: &'a str, controller: Option<&str>) -> Option<&'a str> {
    membership.lines().find_map(|line| {
        let (id, rest) = line.split_once(':')?;
        let (controllers, path) = rest.split_once(':')?;
        let is_it = match controller {
            Some(controller) => controllers.split(',').any(|name| name == controller),
            None => id == "0" && controllers.is_empty(),
        };
        is_it.then_some(path)
    })
}

/// The path relative to the mount. `None` for one outside our cgroup namespace: it begins with `/..`
/// (cgroup_namespaces(7)).
pub(crate) fn inside(path: &str) -> Option<&Path> {
    let path = Path::new(path.trim_start_matches('/'));
    path.components().all(|part| matches!(part, Component::Normal(_))).then_some(path)
}

/// The value in the line `name value`.
pub(crate) fn value_of(name: &str, text: &str) -> Option<u64> {
    let value = |line: &str| line.strip_prefix(name)?.strip_prefix(' ')?.trim().parse().ok();
    text.lines().find_map(value)
}

/// Parses `max` (`None`) or a number of bytes.
pub(crate) fn limit_of(text: &str) -> Option<u64> {
    text.trim().parse().ok().filter(|limit| *limit < NO_LIMIT)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::os::process::privileges::own_ids;
    use std::os::unix::process::ExitStatusExt;
    use std::process::Command;
    use std::time::{Duration, Instant};

    pub(in crate::os) fn tree(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        root
    }

    const EVENTS: &str = "low 0\nhigh 0\nmax 12\noom 3\noom_kill 2\noom_group_kill 1\n";
    const OOM_CONTROL: &str = "oom_kill_disable 0\nunder_oom 0\noom_kill 7\n";

    #[test]
    fn the_kernels_texts_are_understood() {
        assert_eq!(value_of("oom_kill", EVENTS), Some(2));
        assert_eq!(value_of("oom_kill", OOM_CONTROL), Some(7));
        assert_eq!(value_of("oom_kill", "oom_kill_disable 0\nunder_oom 0\n"), None);
        assert_eq!(limit_of("max\n"), None);
        assert_eq!(limit_of("9223372036854771712\n"), None);
        assert_eq!(limit_of("33554432\n"), Some(33_554_432));
    }

    #[test]
    fn version_2_is_found_by_its_path_and_as_a_containers_root() {
        let files = [
            ("system.slice/pool.service/memory.events", EVENTS),
            ("system.slice/pool.service/memory.current", "4096\n"),
            ("system.slice/pool.service/memory.max", "max\n"),
        ];
        let host = tree(&files);
        let found = Cgroup::find_in(host.path(), "0::/system.slice/pool.service\n").unwrap();
        assert_eq!(found.directory, host.path().join("system.slice/pool.service"));
        assert_eq!(found.oom_kills(), Some(2));
        assert_eq!(found.memory(), Some(Memory { current: 4096, reclaimable: 0, limit: None }));

        let files = [("memory.events", EVENTS), ("memory.current", "1\n"), ("memory.max", "1024\n")];
        let container = tree(&files);
        for line in ["0::/\n", "0::/docker/not/to/be/seen\n", "0::/../elsewhere\n"] {
            let found = Cgroup::find_in(container.path(), line).unwrap();
            assert_eq!(found.directory, container.path(), "{line}");
            assert_eq!(found.memory(), Some(Memory { current: 1, reclaimable: 0, limit: Some(1024) }));
        }
        // The root of a host has no such files.
        assert_eq!(Cgroup::find_in(host.path(), "0::/\n"), None);
    }

    #[test]
    fn version_1_is_found_by_its_path_and_as_a_containers_root() {
        let files = [
            ("memory/docker/abc/memory.oom_control", OOM_CONTROL),
            ("memory/docker/abc/memory.usage_in_bytes", "4096\n"),
            ("memory/docker/abc/memory.limit_in_bytes", "9223372036854771712\n"),
            ("memory/memory.oom_control", "oom_kill 1\n"),
            ("unified/cgroup.controllers", ""),
        ];
        let root = tree(&files);
        let lines = "5:cpu,cpuacct:/docker/abc\n4:memory:/docker/abc\n1:name=systemd:/\n0::/docker/abc\n";
        let found = Cgroup::find_in(root.path(), lines).unwrap();
        assert_eq!(found.directory, root.path().join("memory/docker/abc"));
        assert_eq!(found.oom_kills(), Some(7));
        assert_eq!(found.memory(), Some(Memory { current: 4096, reclaimable: 0, limit: None }));
        let found = Cgroup::find_in(root.path(), "4:memory:/kubepods/xyz\n0::/\n").unwrap();
        assert_eq!(found.oom_kills(), Some(1));
        assert_eq!(Cgroup::find_in(root.path(), "5:cpu:/docker/abc\n"), None);
    }

    #[test]
    fn what_cannot_be_read_is_none() {
        let root = tree(&[("memory.events", "nonsense"), ("memory.current", "")]);
        let cgroup = Cgroup::at(root.path()).unwrap();
        assert_eq!((cgroup.oom_kills(), cgroup.memory()), (None, None));
        drop(root);
        assert_eq!((cgroup.oom_kills(), cgroup.memory()), (None, None));

        // A missing file reclaims nothing; a file that cannot be read leaves the value unknown.
        let root = tree(&[("memory.events", ""), ("memory.current", "100")]);
        let cgroup = Cgroup::at(root.path()).unwrap();
        assert_eq!(cgroup.memory(), Some(Memory { current: 100, reclaimable: 0, limit: None }));
        fs::create_dir(root.path().join("memory.stat")).unwrap();
        assert_eq!(cgroup.memory(), None);
    }

    /// A new cgroup; removed when dropped.
    struct Small(PathBuf);

    impl Small {
        /// Below ours in version 1; beside ours in version 2, where a cgroup that has processes can have none below it.
        fn beside(own: &Cgroup) -> io::Result<Self> {
            let parent = match own.version {
                Version::One => &own.directory,
                Version::Two => own.directory.parent().unwrap(),
            };
            let directory = parent.join(format!("prefork-init-test-{}", std::process::id()));
            fs::create_dir(&directory)?;
            Ok(Self(directory))
        }

        fn write(&self, file: &str, text: &str) -> io::Result<()> {
            fs::write(self.0.join(file), text)
        }
    }

    impl Drop for Small {
        fn drop(&mut self) {
            // Processes that have ended may count as members for a moment.
            let begin = Instant::now();
            while fs::remove_dir(&self.0).is_err() && begin.elapsed() < Duration::from_secs(10) {
                std::thread::yield_now();
            }
        }
    }

    #[test]
    fn a_process_that_is_killed_for_want_of_memory_is_counted() {
        const LIMIT: u64 = 32 << 20;
        let Some(own) = Cgroup::find() else {
            println!("there is no memory cgroup to be seen: nothing was tested");
            return;
        };
        assert!(own.memory().unwrap().current > 0);
        let before = own.oom_kills().unwrap();
        if own_ids().0 != 0 {
            println!("not root, who alone can make a cgroup: the rest was not tested");
            return;
        }
        let small = Small::beside(&own).unwrap();
        let cgroup = Cgroup::at(&small.0).unwrap();
        assert_eq!(cgroup.oom_kills(), Some(0));
        assert_eq!(cgroup.memory().unwrap().limit, None);
        small.write(cgroup.by_version("memory.limit_in_bytes", "memory.max"), &LIMIT.to_string()).unwrap();
        // The file exists where swap is accounted for. Version 1 counts memory in.
        let (swap, most) = match cgroup.version {
            Version::One => ("memory.memsw.limit_in_bytes", LIMIT.to_string()),
            Version::Two => ("memory.swap.max", "0".to_owned()),
        };
        if small.0.join(swap).exists() {
            small.write(swap, &most).unwrap();
        }
        assert_eq!(cgroup.memory().unwrap().limit, Some(LIMIT));

        // tail keeps an endless last line in memory. If the cgroup's limit does not hold, `ulimit` does.
        let script = r#"ulimit -v 1000000 && echo $$ > "$0/cgroup.procs" && exec tail /dev/zero"#;
        let status = Command::new("sh").args(["-c", script]).arg(&small.0).status().unwrap();
        assert_eq!(status.signal(), Some(libc::SIGKILL), "{status}");
        assert_eq!(cgroup.oom_kills(), Some(1));
        // Only version 2 counts the kill in the cgroups above; this one is beside ours.
        assert_eq!(own.oom_kills(), Some(before));
    }
}
