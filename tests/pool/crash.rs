//! A worker that dies is replaced at once, and nobody is refused meanwhile.

use super::history::lives;
use super::python::python;
use super::{example_worker, pool, uvicorn, with_apps};
use crate::harness::load::Load;
use crate::harness::{Run, eventually, kill};

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
fn a_worker_that_ends_with_0_unasked_is_replaced_too() {
    let run = pool(&[], python("answer(socket.socket(fileno=3), lambda: 'bye')")).start();
    run.wait_for("worker ready");
    assert_eq!(crate::harness::http::get(&run.address(0), "/").unwrap().body, "bye");
    let exit = run.wait_for("worker exited");
    assert_eq!((&exit["reason"], &exit["exit_code"]), (&"crash".into(), &0.into()));
    run.log.wait_count("worker ready", 2);
}

/// The server is a child of a shell, which dies.
fn shell(server: &str) -> Vec<std::ffi::OsString> {
    let shell = ["sh", "-c", "\"$@\" & wait", "sh"].map(std::ffi::OsString::from);
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
    let run = pool(&["--graceful-timeout", "300ms"], shell(stubborn)).start();
    let server = kill_the_shell(&run);
    wait_gone(&run, server);
    assert_eq!(run.wait_lines("terms", 1).lines().count(), 1);
}
