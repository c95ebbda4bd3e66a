//! Stops the children in order after an internal error.
//!
//! An abort makes PID 1 end with 139, and the kernel kills all other processes at once. So the panic hook does what the
//! core would have done, with system calls alone and no state that the panic may have damaged.

use super::reap::{self, Reaper, WaitOutcome};
use super::send;
use crate::core::Signal;
use crate::core::exit::code;
use crate::core::policy::StopPolicy;
use crate::core::time::Patience;
use crate::os::call;
use crate::os::private_directory::DirectoryLocation;
use crate::os::stdio::stderr::Stderr;
use std::time::{Duration, Instant};

/// A stop cannot be shortened any more, so even `infinity` has an end.
const LONGEST_GRACE: Duration = Duration::from_secs(30);

/// A process in uninterruptible sleep does not die of `SIGKILL`.
const KILL_MARGIN: Duration = Duration::from_secs(5);

const PAUSE: Duration = Duration::from_millis(10);

/// Installs the hook: a panic stops all descendants, waits for them, kills the rest after the graceful timeout, removes
/// these directories, and ends with [`code::INTERNAL`].
pub fn stop_in_order_on_panic(policy: StopPolicy, directories: Vec<DirectoryLocation>) {
    std::panic::set_hook(Box::new(move |panic| {
        let line = format!("prefork-init: internal error, stopping everything: {panic}\n").replace('\n', " ");
        Stderr::new(|_| String::new()).write_at_end(format!("{}\n", line.trim_end()).as_bytes());
        let grace = match policy.graceful {
            Patience::For(grace) => grace.min(LONGEST_GRACE),
            Patience::Forever => LONGEST_GRACE,
        };
        let _told = send::to_all(policy.signal).and(send::to_all(Signal::CONT));
        if !everybody_gone_within(grace) {
            let _told = send::to_all(Signal::KILL);
            everybody_gone_within(KILL_MARGIN);
        }
        directories.iter().for_each(DirectoryLocation::remove);
        // SAFETY: ends the process and runs no more code of ours.
        unsafe { libc::_exit(i32::from(code::INTERNAL)) };
    }));
}

fn everybody_gone_within(limit: Duration) -> bool {
    let start = Instant::now();
    let mut reaper = Reaper::default();
    loop {
        match reaper.look(false) {
            WaitOutcome::Ended(pid, _) => reaper.release(pid),
            WaitOutcome::Gone(..) => {}
            WaitOutcome::Traced(pid, signal) => {
                let _stays_until_killed = reap::let_run(pid, signal);
            }
            WaitOutcome::Nobody => return true,
            WaitOutcome::AllAlive | WaitOutcome::Stopped(..) | WaitOutcome::Unknown
                if start.elapsed() >= limit =>
            {
                return false;
            }
            WaitOutcome::AllAlive | WaitOutcome::Stopped(..) | WaitOutcome::Unknown => call::pause(PAUSE),
        }
    }
}
