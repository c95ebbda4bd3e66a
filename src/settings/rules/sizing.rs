//! `--workers auto`: the number of workers that fits, and its origin.
//!
//! 2 x CPUs + 1 is gunicorn's rule of thumb: while one worker of a processor computes, another waits. Workers that do
//! not fit into memory are killed sooner or later, so memory limits the number too, if a worker's memory is known.

use crate::core::policy::MOST_WORKERS;
use crate::os::container::capacity::Capacity;
use std::fmt;

/// A number of workers and its origin. Shown as `5 = min(2 x 2 CPUs + 1, (2048M - 64M) / 300M)`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sizing {
    pub capacity: Capacity,
    /// The memory of one worker, in bytes; `None` ignores memory.
    pub worker_memory: Option<u64>,
    /// The memory to leave for everything else, in bytes.
    pub reserve: u64,
}

impl Sizing {
    /// From 1 to [`MOST_WORKERS`].
    #[must_use]
    pub fn workers(&self) -> u32 {
        let by_memory = self.by_memory().and_then(|workers| u32::try_from(workers).ok());
        self.by_cpu().min(by_memory.unwrap_or(u32::MAX)).clamp(1, MOST_WORKERS)
    }

    /// Warnings: the memory is too small for one worker, or `min_ready` is larger than the number.
    #[must_use]
    pub fn warnings(&self, min_ready: u32) -> Vec<String> {
        let mut warnings = Vec::new();
        if let (Some(0), Some(each), Some((memory, _))) =
            (self.by_memory(), self.worker_memory, self.memory())
        {
            let (memory, reserve, each) = (size(memory), size(self.reserve), size(each));
            warnings.push(format!(
                "there is no room for one worker of {each}, with {reserve} of {memory} in reserve: it is started all the \
                 same; raise the memory limit, or lower --worker-memory or --memory-reserve"
            ));
        }
        let workers = self.workers();
        if min_ready > workers {
            warnings.push(format!(
                "--min-ready {min_ready} is more than there are workers: while there are {workers}, all must be ready"
            ));
        }
        warnings
    }

    fn by_cpu(&self) -> u32 {
        self.capacity.cpus().saturating_mul(2).saturating_add(1)
    }

    /// The number that fits into memory, if known.
    fn by_memory(&self) -> Option<u64> {
        let (memory, _) = self.memory()?;
        memory.saturating_sub(self.reserve).checked_div(self.worker_memory?)
    }

    /// The memory, and whether it is the machine's rather than the container's limit.
    fn memory(&self) -> Option<(u64, bool)> {
        let memory = self.capacity.memory()?;
        Some((memory, self.capacity.memory_limit != Some(memory)))
    }
}

impl fmt::Display for Sizing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let cpus = self.capacity.cpus();
        let plural = if cpus == 1 { "" } else { "s" };
        let by_cpu = format!("2 x {cpus} CPU{plural} + 1");
        let by_memory = self.memory().zip(self.worker_memory).map(|((memory, of_machine), each)| {
            let whose = if of_machine { " of the machine" } else { "" };
            format!("({}{whose} - {}) / {}", size(memory), size(self.reserve), size(each))
        });
        let most = (self.workers() == MOST_WORKERS).then(|| MOST_WORKERS.to_string());
        let terms: Vec<String> = [Some(by_cpu), by_memory, most].into_iter().flatten().collect();
        match terms.as_slice() {
            [alone] => write!(f, "{} = {alone}", self.workers())?,
            several => write!(f, "{} = min({})", self.workers(), several.join(", "))?,
        }
        if self.by_memory() == Some(0) { write!(f, ", but 1 at least") } else { Ok(()) }
    }
}

/// A size for people: in M, with a tenth if it is not whole; below that in K or bytes.
fn size(bytes: u64) -> String {
    const K: u64 = 1 << 10;
    const M: u64 = 1 << 20;
    match bytes {
        0 => "0".to_owned(),
        1..K => format!("{bytes}B"),
        K..M => format!("{}K", bytes / K),
        _ => match (bytes / M, (bytes % M).saturating_mul(10) / M) {
            (whole, 0) => format!("{whole}M"),
            (whole, tenths) => format!("{whole}.{tenths}M"),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::os::container::capacity::Quota;

    const M: u64 = 1 << 20;
    const G: u64 = 1 << 30;

    fn capacity(processors: u32, quota: Option<u64>, memory_limit: Option<u64>) -> Capacity {
        let quota = quota.map(|time| Quota { time, period: 100_000 });
        Capacity { processors, quota, memory_limit, machine_memory: Some(64 * G) }
    }

    #[test]
    fn as_many_as_processors_and_memory_allow() {
        for (processors, quota, limit, each, shown) in [
            (2, None, None, None, "5 = 2 x 2 CPUs + 1"),
            (1, None, Some(G), None, "3 = 2 x 1 CPU + 1"),
            (8, Some(150_000), None, None, "5 = 2 x 2 CPUs + 1"),
            (8, Some(50_000), None, None, "3 = 2 x 1 CPU + 1"),
            (2, None, Some(2 * G), Some(300 * M), "5 = min(2 x 2 CPUs + 1, (2048M - 64M) / 300M)"),
            (8, None, Some(2 * G), Some(300 * M), "6 = min(2 x 8 CPUs + 1, (2048M - 64M) / 300M)"),
            // Exactly, and one byte less.
            (8, None, Some(664 * M), Some(300 * M), "2 = min(2 x 8 CPUs + 1, (664M - 64M) / 300M)"),
            (8, None, Some(664 * M - 1), Some(300 * M), "1 = min(2 x 8 CPUs + 1, (663.9M - 64M) / 300M)"),
            // A limit above the machine's memory has no effect.
            (
                64,
                None,
                None,
                Some(10 * G),
                "6 = min(2 x 64 CPUs + 1, (65536M of the machine - 64M) / 10240M)",
            ),
            (
                64,
                None,
                Some(65 * G),
                Some(G),
                "63 = min(2 x 64 CPUs + 1, (65536M of the machine - 64M) / 1024M)",
            ),
            // Too little for one worker.
            (
                2,
                None,
                Some(100 * M),
                Some(100 * M),
                "1 = min(2 x 2 CPUs + 1, (100M - 64M) / 100M), but 1 at least",
            ),
            (2, None, Some(10 * M), Some(M), "1 = min(2 x 2 CPUs + 1, (10M - 64M) / 1M), but 1 at least"),
            // More than the most workers.
            (600, None, None, None, "1024 = min(2 x 600 CPUs + 1, 1024)"),
            (
                u32::MAX,
                None,
                Some(4 * G),
                Some(1),
                "1024 = min(2 x 4294967295 CPUs + 1, (4096M - 64M) / 1B, 1024)",
            ),
            (2, None, Some(u64::MAX), Some(1), "5 = min(2 x 2 CPUs + 1, (65536M of the machine - 64M) / 1B)"),
        ] {
            let capacity = capacity(processors, quota, limit);
            let sizing = Sizing { capacity, worker_memory: each, reserve: 64 * M };
            assert_eq!(sizing.to_string(), shown);
            let (number, _) = shown.split_once(' ').unwrap();
            assert_eq!(sizing.workers().to_string(), number, "{shown}");
        }
    }

    #[test]
    fn what_cannot_be_is_told() {
        let with = |limit, min_ready| {
            let capacity = capacity(2, None, Some(limit));
            Sizing { capacity, worker_memory: Some(100 * M), reserve: 64 * M }.warnings(min_ready)
        };
        assert_eq!(with(G, 5), Vec::<String>::new());
        assert_eq!(with(164 * M, 1), Vec::<String>::new(), "one fits");
        let [small] = &with(163 * M, 1)[..] else { panic!("one warning") };
        assert!(small.contains("one worker of 100M, with 64M of 163M in reserve"), "{small}");
        let [more] = &with(G, 6)[..] else { panic!("one warning") };
        assert!(more.starts_with("--min-ready 6 is more") && more.contains("there are 5"), "{more}");
        assert_eq!(with(10 * M, 2).len(), 2);
        // Without a known amount, memory does not count.
        let unknown = Capacity { machine_memory: None, ..capacity(2, None, None) };
        let sizing = Sizing { capacity: unknown, worker_memory: Some(G), reserve: 0 };
        assert_eq!((sizing.to_string().as_str(), sizing.warnings(1).len()), ("5 = 2 x 2 CPUs + 1", 0));
    }

    #[test]
    fn sizes_are_shown_as_they_are_written() {
        for (bytes, shown) in
            [(0, "0"), (1023, "1023B"), (1024, "1K"), (M - 1, "1023K"), (M, "1M"), (3 * M / 2, "1.5M")]
        {
            assert_eq!(size(bytes), shown);
        }
    }
}
