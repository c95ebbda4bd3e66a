//! The drain signal reaches those that take it, and ends none.

use super::python::python;
use super::{BRISK, pool, uvicorn, with_apps};
use crate::harness::load::Load;
use crate::harness::{Run, eventually};
use std::ffi::OsString;

const WARNING: &str = "--drain-signal USR2 is not sent";

fn options(workers: &'static str) -> Vec<&'static str> {
    [&["-n", workers, "--drain-signal", "USR2"][..], &BRISK].concat()
}

fn reload(run: &Run) {
    run.signal(libc::SIGHUP);
    run.wait_for("reload finished");
}

/// No worker ended by the signal itself.
fn assert_all_ended_in_order(run: &Run) {
    for exit in run.log.with_message("worker exited") {
        assert!(exit["reason"] == "reload" && exit["signal"] != "USR2", "{exit}\n{}", run.log.text());
    }
}

#[test]
fn a_plain_uvicorn_loses_nothing_by_it_and_is_told_of_once() {
    let run = with_apps(pool(&options("2"), uvicorn(&[]))).start();
    run.log.wait_count("worker ready", 2);
    // At the start, and not only when it is too late.
    let warning = run.wait_for(WARNING);
    assert_eq!((&warning["level"], &warning["signal"]), (&"WARN".into(), &"USR2".into()));
    let message = warning["message"].as_str().unwrap();
    assert!(message.contains("does not catch it") && message.contains("leave the option out"), "{message}");
    let load = Load::start(&run.address(0), "/", 4);
    load.wait_ok(50);
    reload(&run);
    let (ok, refused, lost, other) = load.stop();
    assert_eq!((refused, lost, other), (0, 0, 0), "{ok} answered\n{}", run.log.text());
    assert_all_ended_in_order(&run);
    assert_eq!(run.log.with_message(WARNING).len(), 1, "{}", run.log.text());
}

/// Tells in a file that it was told.
const HEARS: &str = "
def heard(name):
    signal.signal(signal.SIGUSR2, lambda *_: note(name, str(os.getpid())))
";

fn told(run: &Run, name: &str) -> usize {
    std::fs::read_to_string(run.dir().join(name)).unwrap_or_default().lines().count()
}

#[test]
fn below_a_shell_that_does_not_catch_it_the_server_gets_it() {
    let server = python(&format!("{HEARS}heard('heard')\nserve()"));
    let shell = ["sh", "-c", "\"$@\"; :", "sh"].map(OsString::from);
    let run = pool(&options("1"), shell.into_iter().chain(server).collect()).start();
    run.wait_for("worker ready");
    run.signal(libc::SIGHUP);
    run.wait_lines("heard", 1);
    run.wait_for("reload finished");
    assert_all_ended_in_order(&run);
    assert!(run.log.with_message(WARNING).is_empty(), "{}", run.log.text());
    assert_eq!(told(&run, "heard"), 1);
}

/// As gunicorn's arbiter does.
#[test]
fn a_worker_that_catches_it_tells_its_own_children_or_does_not() {
    let script = format!(
        "{HEARS}
heard('parent')
if os.fork() == 0:
    heard('child')
    open('up', 'w').close()
    sleep_for_ever()
wait_for_file('up')
serve()"
    );
    let run = pool(&options("1"), python(&script)).start();
    run.wait_for("worker ready");
    reload(&run);
    eventually("the parent's word", || (told(&run, "parent") == 1).then_some(()));
    assert_all_ended_in_order(&run);
    assert_eq!(told(&run, "child"), 0);
}

#[test]
fn one_that_ignores_it_is_told_of_and_gets_it_when_it_has_learnt_to_catch_it() {
    let script = format!(
        "{HEARS}
signal.signal(signal.SIGUSR2, signal.SIG_IGN)
serve_beside = threading.Thread(target=serve, daemon=True)
serve_beside.start()
wait_for_file('learn')
heard('heard')
open('learnt', 'w').close()
sleep_for_ever()"
    );
    let run = pool(&options("1"), python(&script)).start();
    run.wait_for("worker ready");
    run.wait_for(WARNING);
    super::allow(&run, "learn");
    eventually("a handler", || run.dir().join("learnt").exists().then_some(()));
    run.signal(libc::SIGHUP);
    run.wait_lines("heard", 1);
    run.wait_for("reload finished");
    assert_eq!(run.log.with_message(WARNING).len(), 1, "{}", run.log.text());
}
