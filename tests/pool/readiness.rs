//! A worker is ready when it says so, is seen to accept, or has lived long enough; and only then.

use super::python::python;
use super::{allow, catch_up, pool};
use crate::harness::load::Load;
use crate::harness::{Run, http, launch};
use serde_json::Value;
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::time::{Duration, Instant};

fn ready(run: &Run) -> Value {
    run.wait_for("worker ready")
}

/// A pool without listeners, in which nobody can be seen to accept.
fn without_listeners(options: &[&str], script: &str) -> crate::harness::Launch {
    let words =
        ["-n", "1", "--health", "127.0.0.1:0"].iter().chain(options).chain(&["--"]).map(OsString::from);
    launch(words.chain(python(script)))
}

#[test]
fn every_way_of_waiting_for_connections_is_seen() {
    // One way a worker. All of them hold the listener for a while without waiting on it.
    let script = "
listener = socket.socket(fileno=3)
wait_for_file('go')
def epoll():
    poller = select.epoll()
    poller.register(listener)
    poller.poll()
def poll():
    poller = select.poll()
    poller.register(0, 0)
    poller.register(listener, select.POLLIN)
    poller.poll()
def in_a_thread():
    thread = threading.Thread(target=listener.accept)
    thread.start()
    thread.join()
def in_a_child():
    if os.fork() == 0:
        listener.accept()
    os.wait()
ways = [epoll, poll, lambda: select.select([listener], [], []), listener.accept, in_a_thread, in_a_child]
ways[int(os.environ['PREFORK_WORKER_ID'])]()";
    let run = pool(&["-n", "6"], python(script)).start();
    run.log.wait_count("worker spawned", 6);
    catch_up(&run);
    assert!(run.log.with_message("worker ready").is_empty(), "{}", run.log.text());
    allow(&run, "go");
    run.log.wait_count("worker ready", 6);
    let lines = run.log.with_message("worker ready");
    assert!(lines.iter().all(|line| line["by"] == "accept"), "{lines:?}");
    let slots: BTreeSet<_> = lines.iter().map(|line| line["slot"].as_u64().unwrap()).collect();
    assert_eq!(slots.len(), 6);
    run.wait_for("pool ready");
}

/// An overloaded worker never sleeps in accept(2): there is always somebody in the queue already.
#[test]
fn a_worker_that_is_busy_from_its_first_moment_on_is_seen() {
    let script = "
listener = socket.socket(fileno=3)
wait_for_file('go')
def work():
    end = time.monotonic() + 0.005
    while time.monotonic() < end: pass
    return 'done'
serve(listener, work)";
    let run = pool(&["--start-timeout", "10s"], python(script)).start();
    let load = Load::start(&run.address(0), "/", 8);
    run.wait_for("worker spawned");
    catch_up(&run);
    assert!(run.log.with_message("worker ready").is_empty(), "waiting clients are not the worker's");
    allow(&run, "go");
    load.wait_ok(50);
    assert_eq!(ready(&run)["by"], "accept");
    let (_, refused, lost, other) = load.stop();
    assert_eq!((refused, lost, other), (0, 0, 0));
    assert!(run.log.with_message("worker stopping").is_empty(), "{}", run.log.text());
}

#[test]
fn waiting_for_something_else_is_not_being_ready() {
    // A listener of its own, in a thread and in epoll, and half of a pair.
    let script = "
own, half = socket.create_server(('127.0.0.1', 0)), socket.socketpair()[0]
threading.Thread(target=own.accept).start()
poller = select.epoll()
for other in [own, half]: poller.register(other)
note('waiting', '')
poller.poll()";
    let run = pool(&["--start-timeout", "2s", "--max-restarts", "0"], python(script)).start();
    run.wait_lines("waiting", 1);
    let stopping = run.wait_for("worker stopping");
    assert_eq!(stopping["reason"], "boot-timeout");
    assert!(run.log.with_message("worker ready").is_empty());
}

#[test]
fn a_worker_that_says_ready_and_is_not_seen_accepting_is_believed_after_a_while() {
    // As an unusual server could wait, with io_uring for instance.
    let run = pool(&[], python("say('READY=1')\nsleep_for_ever()")).start();
    let line = ready(&run);
    assert_eq!(line["by"], "notify");
    assert!(line["after_ms"].as_u64().unwrap() >= 5000, "{line}");
}

#[test]
fn a_worker_that_says_ready_is_believed_at_once_where_nothing_is_to_be_seen() {
    let run = without_listeners(
        &["--ready", "notify", "--start-timeout", "infinity"],
        "say('STATUS=up\\nREADY=1\\n')\nsleep_for_ever()",
    )
    .start();
    assert_eq!(ready(&run)["by"], "notify");
}

#[test]
fn a_worker_without_listeners_is_ready_after_a_second() {
    let run = without_listeners(&[], "sleep_for_ever()").start();
    let line = ready(&run);
    assert_eq!(line["by"], "uptime");
    assert!(line["after_ms"].as_u64().unwrap() >= 1000, "{line}");
}

#[test]
fn a_worker_can_count_as_ready_by_its_age() {
    let run = pool(&["--ready", "delay:300ms"], python("sleep_for_ever()")).start();
    let line = ready(&run);
    assert_eq!(line["by"], "uptime");
    assert!(line["after_ms"].as_u64().unwrap() >= 300, "{line}");
}

#[test]
fn a_grandchild_of_the_worker_may_speak_for_it() {
    let script = "
for generation in range(2):
    if os.fork() != 0: sleep_for_ever()
say('READY=1')
sleep_for_ever()";
    let run = without_listeners(&["--ready", "notify", "--start-timeout", "infinity"], script).start();
    assert_eq!(ready(&run)["by"], "notify");
}

/// The script notes in `said` when it has said what must not count.
fn assert_ready_only_by_a_word_of_its_own(script: &str) {
    let script = format!("{script}\nwait_for_file('go')\nsay('READY=1')\nsleep_for_ever()");
    let run = without_listeners(&["--ready", "notify", "--start-timeout", "infinity"], &script).start();
    run.wait_lines("said", 1);
    catch_up(&run);
    assert!(run.log.with_message("worker ready").is_empty(), "{}", run.log.text());
    allow(&run, "go");
    ready(&run);
}

#[test]
fn datagrams_that_mean_nothing_change_nothing() {
    let script = "
for text in ['', '\\n', '=', 'READY', 'READY=0', 'READY=11', 'ready=1', 'X' * 4000, 'X_PREFORK_REQUESTS=', '\\0\\0']:
    say(text)
note('said', '')";
    assert_ready_only_by_a_word_of_its_own(script);
}

#[test]
fn a_worker_that_is_never_ready_is_given_up() {
    let mut run =
        pool(&["--start-timeout", "300ms", "--max-restarts", "1"], python("sleep_for_ever()")).start();
    assert_eq!(run.wait_exit(), 3);
    let exits = run.log.with_message("worker exited");
    assert_eq!(exits.len(), 2);
    for exit in exits {
        assert_eq!((&exit["reason"], &exit["signal"]), (&"boot-timeout".into(), &"TERM".into()));
        assert!(exit["uptime_ms"].as_u64().unwrap() >= 300, "{exit}");
    }
    assert_eq!(run.log.with_message("child reaped").len(), 2, "each of them once: {}", run.log.text());
}

#[test]
fn a_worker_that_is_never_ready_and_does_not_stop_is_killed() {
    let script = "signal.signal(signal.SIGTERM, signal.SIG_IGN)\nsleep_for_ever()";
    let options = ["--start-timeout", "2s", "--graceful-timeout", "200ms", "--max-restarts", "0"];
    let mut run = pool(&options, python(script)).start();
    assert_eq!(run.wait_exit(), 3);
    assert_eq!(run.wait_for("worker exited")["signal"], "KILL");
}

/// A process that is not dumpable can be looked at only with CAP_SYS_PTRACE; so can one of another user.
#[test]
fn a_worker_that_cannot_be_observed_is_believed_when_it_says_ready() {
    let without_ptrace = ["setpriv", "--bounding-set=-sys_ptrace", "--inh-caps=-sys_ptrace", "--"];
    let script = "
import ctypes
ctypes.CDLL(None).prctl(4, 0, 0, 0, 0)  # PR_SET_DUMPABLE
note('hidden', '')
wait_for_file('go')
say('READY=1')
serve()";
    let run = pool(&[], python(script)).through(without_ptrace).start();
    run.wait_lines("hidden", 1);
    assert_eq!(run.wait_for("worker cannot be observed")["level"], "WARN");
    allow(&run, "go");
    let line = ready(&run);
    assert_eq!(line["by"], "notify");
}

#[test]
fn a_word_that_comes_with_descriptors_counts() {
    let script = "
import array
fds = array.array('i', [os.open('/dev/null', os.O_RDONLY) for _ in range(3)])
sender = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
sender.sendmsg([b'READY=1'], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, fds)], 0, notify_address())
sleep_for_ever()";
    let run = without_listeners(&["--ready", "notify", "--start-timeout", "infinity"], script).start();
    assert_eq!(ready(&run)["by"], "notify");
    let ours = || std::fs::read_dir(format!("/proc/{}/fd", run.pid)).unwrap().flatten();
    let kept = ours().filter(|fd| std::fs::read_link(fd.path()).is_ok_and(|to| to.ends_with("null"))).count();
    assert!(kept <= 3, "we keep only what stdin, stdout and stderr may be");
}

/// A look at it has much to see, and there are many of them.
#[test]
fn workers_with_thousands_of_descriptors_are_seen_and_do_not_slow_the_endpoint() {
    let script = "
import resource
most = min(2000, resource.getrlimit(resource.RLIMIT_NOFILE)[1])
resource.setrlimit(resource.RLIMIT_NOFILE, (most, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
held = [os.open('/dev/null', os.O_RDONLY) for _ in range(900)]
for _ in range(15):
    if os.fork() == 0: sleep_for_ever()
note('up', '')
wait_for_file('go')
serve()";
    let run = pool(&["-n", "2"], python(script)).start();
    run.wait_lines("up", 2);
    let mut times: Vec<Duration> = (0..41)
        .map(|_| {
            let begin = Instant::now();
            assert_eq!(http::get(&run.health(), "/livez").unwrap().status, 200);
            begin.elapsed()
        })
        .collect();
    times.sort();
    println!("median {:?}, slowest {:?}", times[20], times[40]);
    assert!(times[20] < Duration::from_millis(50), "{times:?}");
    allow(&run, "go");
    run.log.wait_count("worker ready", 2);
}
