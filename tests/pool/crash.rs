//! A worker that dies is replaced at once, and nobody is refused meanwhile.

use super::history::lives;
use super::python::{APPS, python};
use super::{example_worker, gunicorn, pool, uvicorn, with_apps};
use crate::harness::load::Load;
use crate::harness::{Run, children, eventually, http, kill, python as python_program};
use std::ffi::OsString;
use std::fs;
use std::io::Read;
use std::process::{Command, Stdio};

const CLIENTS: usize = 4;

/// Kills a ready worker of each slot, one after the other, under load. Returns how many requests were lost.
fn kill_one_of_each(run: &Run, path: &str) -> u64 {
    run.log.wait_count("worker ready", 2);
    let load = Load::start(&run.address(0), path, CLIENTS);
    for slot in 0..2 {
        load.wait_ok(50);
        let victim = run.log.wait_for("worker ready", |line| line["slot"] == slot)["pid"].clone();
        kill(run.outer_pid(victim.as_i64().unwrap()), libc::SIGKILL);
        let exit = run.log.wait_for("worker exited", |line| line["pid"] == victim);
        assert_eq!((&exit["reason"], &exit["slot"]), (&"crash".into(), &slot.into()));
        run.log.wait_for("worker ready", |line| line["slot"] == slot && line["pid"] != victim);
    }
    load.wait_ok(50);
    let (ok, refused, lost, other) = load.stop();
    println!("2 kills: {ok} answered, {refused} refused, {lost} lost, {other} other");
    assert_eq!((refused, other), (0, 0));
    // At most what the dead had in hand.
    assert!(lost <= 2 * CLIENTS as u64, "{lost}");

    // Each respawn followed its death without a wait, and N are there again.
    let lines = run.log.lines();
    let lives = lives(&lines);
    assert_eq!(lives.len(), 4);
    for dead in lives.iter().filter(|life| life.exited.is_some()) {
        let next = lives.iter().find(|l| l.slot == dead.slot && l.spawned > dead.exited.unwrap()).unwrap();
        assert!(next.ready.is_some());
    }
    assert_eq!(run.log.with_message("respawn delayed").len(), 0);
    lost
}

#[test]
fn the_kill_of_an_example_worker_under_load_refuses_nobody() {
    kill_one_of_each(&pool(&["-n", "2"], example_worker(&[])).start(), "/");
}

#[test]
fn the_kill_of_a_uvicorn_under_load_refuses_nobody() {
    kill_one_of_each(&with_apps(pool(&["-n", "2"], uvicorn(&[]))).start(), "/");
}

#[test]
fn the_kill_of_a_gunicorn_under_load_refuses_nobody() {
    let run = with_apps(pool(&["-n", "2"], gunicorn(&["apps:wsgi"]))).start();
    kill_one_of_each(&run, "/");
    // What the dead arbiters left is stopped: two live ones and their children stay.
    eventually("the end of the orphans", || (run.others().len() == 4).then_some(()));
}

/// The pids, in our namespace, of what the n-th ready worker has started.
fn children_of_worker(run: &Run, index: usize) -> Vec<i32> {
    run.log.wait_count("worker ready", index + 1);
    children(run.outer_pid(run.log.with_message("worker ready")[index]["pid"].as_i64().unwrap()))
}

/// That one is gunicorn's business: the pool does not see it.
#[test]
fn the_kill_of_gunicorns_own_worker_under_load_refuses_nobody() {
    let run = with_apps(pool(&["-n", "2"], gunicorn(&["apps:wsgi"]))).start();
    run.log.wait_count("worker ready", 2);
    let load = Load::start(&run.address(0), "/", CLIENTS);
    for index in 0..2 {
        load.wait_ok(50);
        let before = children_of_worker(&run, index);
        assert_eq!(before.len(), 1);
        kill(before[0], libc::SIGKILL);
        eventually("gunicorn's new worker", || {
            let now = children_of_worker(&run, index);
            (now.len() == 1 && now != before).then_some(())
        });
    }
    load.wait_ok(50);
    let (ok, refused, lost, other) = load.stop();
    println!("2 kills inside of gunicorn: {ok} answered, {refused} refused, {lost} lost, {other} other");
    assert_eq!((refused, other), (0, 0));
    assert!(lost <= 2 * CLIENTS as u64, "{lost}");
    assert_eq!(run.log.with_message("worker spawned").len(), 2, "{}", run.log.text());
    assert!(run.log.with_message("worker exited").is_empty(), "{}", run.log.text());
}

#[test]
fn a_gunicorn_that_cannot_replace_its_own_worker_crashes_with_its_code_and_then_cannot_boot() {
    let mut run = with_apps(pool(&["--max-restarts", "1"], gunicorn(&["apps:wsgi"]))).start();
    let child = children_of_worker(&run, 0)[0];
    fs::write(run.dir().join("apps.py"), APPS.replace("def wsgi", "def renamed")).unwrap();
    kill(child, libc::SIGKILL);
    assert_eq!(run.wait_exit(), 3);
    let exits = run.log.with_message("worker exited");
    // APP_LOAD_ERROR.
    assert!(exits.iter().all(|line| line["exit_code"] == 4), "{exits:?}");
    let reasons: Vec<_> = exits.iter().map(|line| line["reason"].as_str().unwrap()).collect();
    assert_eq!((reasons[0], reasons[1]), ("crash", "boot-error"), "{reasons:?}");
    assert_eq!(run.log.lines().last().unwrap()["level"], "ERROR");
}

#[test]
fn a_worker_that_ends_with_0_unasked_is_replaced_too() {
    let run = pool(&[], python("answer(socket.socket(fileno=3), lambda: 'bye')")).start();
    run.wait_for("worker ready");
    assert_eq!(http::get(&run.address(0), "/").unwrap().body, "bye");
    let exit = run.wait_for("worker exited");
    assert_eq!((&exit["reason"], &exit["exit_code"]), (&"crash".into(), &0.into()));
    run.log.wait_count("worker ready", 2);
}

/// The server is a child of a shell, which dies.
fn shell(server: &str) -> Vec<OsString> {
    let shell = ["sh", "-c", "\"$@\" & wait", "sh"].map(OsString::from);
    shell.into_iter().chain(python(&format!("note('servers', str(os.getpid()))\n{server}"))).collect()
}

fn kill_the_shell(run: &Run) -> i32 {
    // Seen through the shell, the server makes the worker ready.
    let worker = run.wait_for("worker ready")["pid"].as_i64().unwrap();
    let server: i64 = run.wait_lines("servers", 1).trim().parse().unwrap();
    assert_ne!(worker, server);
    let server = run.outer_pid(server);
    kill(run.outer_pid(worker), libc::SIGKILL);
    run.log.wait_count("worker ready", 2);
    server
}

fn wait_gone(run: &Run, pid: i32) {
    eventually("the end of what the shell left", || {
        run.others().iter().all(|(p, _)| *p != pid).then_some(())
    });
}

#[test]
fn what_a_dead_shell_leaves_of_its_worker_is_stopped() {
    let run = pool(&[], shell("serve()")).start();
    let server = kill_the_shell(&run);
    wait_gone(&run, server);
}

#[test]
fn what_a_dead_shell_leaves_is_killed_if_it_does_not_stop() {
    let stubborn = "signal.signal(signal.SIGTERM, lambda *_: note('terms', 'TERM'))\nserve()";
    let run = pool(&["--graceful-timeout", "2s"], shell(stubborn)).start();
    let server = kill_the_shell(&run);
    wait_gone(&run, server);
    assert_eq!(run.wait_lines("terms", 1).lines().count(), 1);
}

/// As with a file system that hangs, or a child that `pkill -STOP` stops in that moment: whoever opens a file on which
/// somebody has a lease waits for him (fcntl(2), `F_SETLEASE`).
#[test]
fn a_command_that_cannot_be_executed_in_time_is_given_up() {
    let launch = pool(&[], vec!["./held".into()]);
    let path = launch.dir().join("held");
    crate::harness::install("/bin/sleep".as_ref(), &path);
    let script = "
import fcntl, os, signal, sys
signal.signal(signal.SIGIO, signal.SIG_IGN)
held = os.open(sys.argv[1], os.O_RDWR)
fcntl.fcntl(held, fcntl.F_SETLEASE, fcntl.F_WRLCK)
os.write(1, b'held')
sys.stdin.read()";
    let mut holder = Command::new(python_program())
        .args(["-c".as_ref(), script.as_ref(), path.as_os_str()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut said = [0; 4];
    let mut out = holder.stdout.take().unwrap();
    out.read_exact(&mut said).unwrap();

    let mut run = launch.start();
    assert_eq!(run.wait_exit(), 126, "{}", run.log.text());
    assert_eq!(run.wait_for("cannot start the command")["step"], "execute");
    drop(holder.stdin.take());
    holder.wait().unwrap();
}
