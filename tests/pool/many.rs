//! What one worker costs does not grow with how many there are.

use super::python::python;
use super::{catch_up, example_worker, pool};
use crate::harness::strace::Trace;
use crate::harness::{Run, eventually, kill};

/// Kills a slot's worker, waits for the next one's readiness, and returns the system calls of the supervisor.
fn calls_of_a_crash(run: &Run, slot: usize) -> Vec<String> {
    let victim = run.log.wait_for("worker ready", |line| line["slot"] == slot)["pid"].clone();
    let pid = run.outer_pid(victim.as_i64().unwrap());
    let trace = Trace::attach_alone(run.pid);
    kill(pid, libc::SIGKILL);
    run.log.wait_for("worker ready", |line| line["slot"] == slot && line["pid"] != victim);
    catch_up(run);
    trace.detach_at_rest(run.pid)
}

/// Calls about sockets, of which each look at a listener is one.
fn about_sockets(calls: &[String]) -> usize {
    let names = ["getsockopt(", "setsockopt(", "listen(", "shutdown(", "epoll_ctl("];
    calls.iter().filter(|call| names.iter().any(|name| call.contains(name))).count()
}

#[test]
fn a_crash_among_many_takes_no_more_system_calls_than_among_few() {
    let [few, many] = [4, 60].map(|workers| {
        let run = pool(&["-n", &workers.to_string()], example_worker(&[])).start();
        run.log.wait_count("worker ready", workers);
        catch_up(&run);
        let calls = calls_of_a_crash(&run, workers / 2);
        (about_sockets(&calls), calls)
    });
    assert!(many.0 <= few.0 + 20, "{} and {}:\n{:#?}", few.0, many.0, many.1);
}

#[test]
fn all_of_proc_is_walked_only_for_what_a_worker_has_left_behind() {
    // The first to die was alone in its group; the second leaves a process that does not heed the stop signal.
    let script = "
if is_worker(1) and os.fork() == 0:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    note('left', str(os.getpid()))
    sleep_for_ever()
serve()";
    let run = pool(&["-n", "2", "--graceful-timeout", "300ms"], python(script)).start();
    run.log.wait_count("worker ready", 2);
    let left = run.outer_pid(run.wait_lines("left", 1).split_whitespace().last().unwrap().parse().unwrap());
    let victims = [0, 1].map(|slot| {
        let ready = run.log.wait_for("worker ready", |line| line["slot"] == slot);
        run.outer_pid(ready["pid"].as_i64().unwrap())
    });
    let trace = Trace::attach_alone(run.pid);
    for (count, pid) in (1..).zip(victims) {
        kill(pid, libc::SIGKILL);
        run.log.wait_count("worker exited: signal 9 (KILL)", count);
    }
    eventually("what was left is gone", || run.others().iter().all(|(pid, _)| *pid != left).then_some(()));
    catch_up(&run);
    let calls = trace.detach_at_rest(run.pid);
    let walks = calls.iter().filter(|call| call.contains("openat(") && call.contains("\"/proc\"")).count();
    assert_eq!(walks, 1, "{calls:#?}");
}
