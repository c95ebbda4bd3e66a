//! The supervisor's own use of resources.

use super::usage;
use std::fs;
use std::mem::MaybeUninit;
use std::time::Duration;

/// A field is `None` where the kernel does not show it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OwnUsage {
    /// Processor time in user and kernel mode (getrusage(2)).
    pub cpu: Duration,
    /// Resident memory, in bytes.
    pub resident: Option<u64>,
    /// Address space, in bytes.
    pub virtual_memory: Option<u64>,
    pub open_fds: Option<u64>,
    /// The limit on open descriptors, `RLIMIT_NOFILE`; `None` if there is no limit.
    pub max_fds: Option<u64>,
}

#[must_use]
pub fn own_usage() -> OwnUsage {
    let statm = fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let mut pages = statm.split_ascii_whitespace().map(|pages| pages.parse::<u64>().ok());
    let mut bytes = || Some(pages.next()??.saturating_mul(usage::page()?));
    OwnUsage {
        cpu: cpu(),
        virtual_memory: bytes(),
        resident: bytes(),
        open_fds: usage::open_fds("self"),
        max_fds: max_fds(),
    }
}

/// Calls `act`, and returns with its result the processor time of this thread that it took.
pub fn costing<T>(act: impl FnOnce() -> T) -> (T, Duration) {
    let begin = processor_time();
    let done = act();
    (done, processor_time().saturating_sub(begin))
}

/// The processor time of this thread (clock_gettime(2)).
fn processor_time() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: there is room for the answer.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    let (seconds, nanos) = (u64::try_from(time.tv_sec), u32::try_from(time.tv_nsec));
    Duration::new(seconds.unwrap_or(0), nanos.unwrap_or(0))
}

fn cpu() -> Duration {
    let mut seen = MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: there is room for the answer, and it is plain numbers.
    let seen = unsafe {
        libc::getrusage(libc::RUSAGE_SELF, seen.as_mut_ptr());
        seen.assume_init()
    };
    let span = |time: libc::timeval| {
        let micros = u64::try_from(time.tv_usec).unwrap_or(0);
        Duration::from_secs(u64::try_from(time.tv_sec).unwrap_or(0))
            .saturating_add(Duration::from_micros(micros))
    };
    span(seen.ru_utime).saturating_add(span(seen.ru_stime))
}

fn max_fds() -> Option<u64> {
    let mut limit = libc::rlimit { rlim_cur: libc::RLIM_INFINITY, rlim_max: libc::RLIM_INFINITY };
    // SAFETY: there is room for the answer.
    unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) };
    (limit.rlim_cur != libc::RLIM_INFINITY).then_some(limit.rlim_cur)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn we_are_seen_as_the_kernel_sees_us() {
        let kept: Vec<_> = (0..30).map(|_| fs::File::open("/dev/null").unwrap()).collect();
        let seen = own_usage();
        assert!(seen.open_fds.unwrap() >= 30 && seen.open_fds < seen.max_fds, "{seen:?}");
        assert!(seen.resident.unwrap() > 1 << 20 && seen.virtual_memory > seen.resident, "{seen:?}");
        let begin = seen.cpu;
        while own_usage().cpu <= begin {}
        drop(kept);
    }
}
