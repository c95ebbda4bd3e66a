//! A signal that comes while we start is not lost.

use crate::harness::binary;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Not as PID 1: what reaches PID 1 before its first instruction, the kernel drops.
#[test]
fn two_hundred_and_fifty_terms_within_the_first_two_and_a_half_milliseconds_all_end_it() {
    // A multiple of the golden ratio spreads evenly.
    all_end(binary(), &["--", "sleep", "1000"]);
    // By another's name too, where the original loses some.
    let dir = tempfile::tempdir().unwrap();
    for (name, args) in [("dumb-init", &["sleep", "1000"][..]), ("tini", &["-g", "--", "sleep", "1000"])] {
        let link = dir.path().join(name);
        std::os::unix::fs::symlink(binary(), &link).unwrap();
        all_end(link, args);
    }
}

fn all_end(program: PathBuf, args: &[&str]) {
    let delays = (0..250u32).map(|n| Duration::from_micros(u64::from(n.wrapping_mul(1_546)) % 2_500));
    for delay in delays {
        let start = Instant::now();
        let mut child = Command::new(&program).args(args).stderr(Stdio::null()).spawn().unwrap();
        while start.elapsed() < delay {
            std::hint::spin_loop();
        }
        crate::harness::kill(child.id() as i32, 15);
        let status = crate::harness::eventually("the end", || child.try_wait().unwrap());
        // By the signal itself before we could block it, by the command's death afterwards.
        assert!(status.signal() == Some(15) || status.code() == Some(143), "after {delay:?}: {status}");
    }
}
