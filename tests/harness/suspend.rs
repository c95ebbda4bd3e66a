//! A container that is paused, or a machine that sleeps.

use super::{Run, eventually, kill, status_line};
use std::thread;
use std::time::{Duration, Instant};

/// Stops a supervisor and all that is below it, as the freezer would, for so long. The clock goes on meanwhile, and
/// nothing else does: this is the one wait for a time that there has to be.
pub fn suspend(run: &Run, span: Duration) {
    let begun = Instant::now();
    stop(run.pid);
    let others = eventually("everybody stopped", || {
        let all: Vec<(i32, char)> = run.others().into_iter().filter(|(_, state)| *state != 'Z').collect();
        // `D`: a shell in vfork(2) waits for a child that is stopped, and stops when that goes on.
        let running = all.iter().filter(|(_, state)| !"TD".contains(*state));
        running.clone().for_each(|(pid, _)| kill(*pid, libc::SIGSTOP));
        (running.count() == 0).then_some(all)
    });
    while begun.elapsed() < span {
        thread::sleep(Duration::from_millis(10));
    }
    // The supervisor first, which is when it matters.
    kill(run.pid, libc::SIGCONT);
    others.into_iter().for_each(|(pid, _)| kill(pid, libc::SIGCONT));
}

fn stop(pid: i32) {
    kill(pid, libc::SIGSTOP);
    eventually("a stopped process", || status_line(pid, "State").filter(|state| state.starts_with('T')));
}
