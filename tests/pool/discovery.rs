//! `status` and `ctl` find the one pool that runs where they run, without being told where it can be asked.

use super::{allow, example_worker};
use crate::harness::{Run, binary, eventually, kill, launch, plain_command};
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;

/// As `docker exec` does it: in the namespaces of the pool, and with nothing else of it. The exit code, stdout and stderr.
fn exec(run: &Run, words: &[&str]) -> (i32, String, String) {
    let mut command = plain_command("nsenter".as_ref());
    command.args(["-t", &run.pid.to_string(), "--all", "--"]).arg(binary()).args(words);
    let output = command.stdin(Stdio::null()).output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap_or(-1), text(output.stdout), text(output.stderr))
}

/// A pool on a free port, with these options more.
fn pool(options: &[&str], command: Vec<OsString>) -> crate::harness::Launch {
    let words = ["-n", "1", "-b", "127.0.0.1:0"].iter().chain(options).chain(&["--"]).map(OsString::from);
    launch(words.chain(command))
}

#[test]
fn the_one_pool_that_runs_here_is_asked_and_obeys() {
    // Its path is relative to another directory than the client's.
    let run = pool(&["--control", "control", "--replacement-gap", "0s"], example_worker(&[])).start();
    run.wait_for("worker ready");
    let (code, out, err) = exec(&run, &["status"]);
    assert!(code == 0 && out.starts_with("pool running: 1 of 1 ready"), "{code} {out} {err}");
    let (code, out, err) = exec(&run, &["ctl", "reload"]);
    assert_eq!(code, 0, "{out} {err}");
    run.wait_for("reload finished");
    // What is said goes before what is found.
    let (code, _, err) = exec(&run, &["status", "--control", "/nowhere"]);
    assert!(code == 69 && err.contains("/nowhere"), "{code} {err}");
}

#[test]
fn after_an_upgrade_it_is_found_again() {
    let run = pool(&["--control", "control"], example_worker(&[])).of_a_copy().start();
    run.wait_for("worker ready");
    run.signal(libc::SIGUSR2);
    run.wait_for("upgraded");
    let found = eventually("an answer", || {
        let (code, out, _) = exec(&run, &["status"]);
        (code == 0).then_some(out)
    });
    assert!(found.starts_with("pool running: 1 of 1 ready"), "{found}");
}

#[test]
fn one_that_cannot_be_asked_is_named_with_what_it_lacks() {
    let run = pool(&[], example_worker(&[])).start();
    run.wait_for("worker ready");
    for (words, option) in [(&["ctl", "reload"][..], "--control"), (&["status"], "--control")] {
        let (code, _, err) = exec(&run, words);
        assert!(
            code == 2 && err.contains("(pid 1) cannot be asked: start it with"),
            "{words:?} {code} {err}"
        );
        assert!(err.contains(option) && err.lines().count() == 1, "{err}");
    }
    let run = pool(&["--health", "127.0.0.1:0"], example_worker(&[])).start();
    run.wait_for("worker ready");
    let (code, out, err) = exec(&run, &["status"]);
    assert!(code == 0 && out.starts_with("pool running"), "{code} {out} {err}");
    assert_eq!(exec(&run, &["ctl", "reload"]).0, 2, "it tells, and takes no orders");
}

#[test]
fn of_several_none_is_asked_and_all_are_listed() {
    let worker = |name: &str| {
        let program = binary();
        let server = crate::harness::example("worker");
        let (program, server) = (program.display(), server.display());
        format!("{program} -n 1 -b 127.0.0.1:0 --control {name} -- {server}")
    };
    let script = format!("{} & {} & wait", worker("a"), worker("b"));
    // The outermost of us runs one command, and takes orders too: it is not the pool.
    let words = ["--control", "outer", "--", "sh", "-c", &script];
    let run = launch(words).start();
    run.log.wait_count("pool ready", 2);
    let (code, out, err) = exec(&run, &["ctl", "stop"]);
    assert!(code == 2 && out.is_empty() && err.lines().count() == 1, "{code} {out} {err}");
    for name in ["a", "b"] {
        let path = run.dir().join(name);
        assert!(err.contains(&format!("--control {} (pid ", path.display())), "{err}");
    }
    assert!(err.contains("2 run here") && !err.contains("outer"), "{err}");
    let (code, ..) = exec(&run, &["ctl", "stop", "--control", run.dir().join("a").to_str().unwrap()]);
    assert_eq!(code, 0);
    run.wait_for("pool stopped");
    let left = eventually("one that is left", || {
        let (code, out, _) = exec(&run, &["ctl", "stop"]);
        (code == 0).then_some(out)
    });
    assert!(left.contains("stop"), "{left}");
    run.log.wait_count("pool stopped", 2);
}

#[test]
fn where_nobody_runs_it_says_so() {
    let run = launch(["--", "sh", "-c", "echo up >up; until [ -e go ]; do sleep 0.01; done"]).start();
    run.wait_lines("up", 1);
    let (code, _, err) = exec(&run, &["ctl", "reload"]);
    assert!(
        code == 2 && err.contains("none of us runs here") && err.contains("PREFORK_CONTROL"),
        "{code} {err}"
    );
    allow(&run, "go");
}

/// Root is not to hang on the lips of a user that it does not know.
#[test]
fn one_of_another_user_is_not_believed() {
    let words = ["-n", "1", "--control", "control", "--", "sh", "-c", "while :; do sleep 0.05; done"];
    let launch = launch(words).of_a_copy();
    fs::set_permissions(launch.dir(), fs::Permissions::from_mode(0o777)).unwrap();
    let run = launch.through(["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]).start();
    run.wait_for("worker ready");
    let (code, _, err) = exec(&run, &["status"]);
    assert!(code == 2 && err.contains("none of us runs here"), "{code} {err}");
    let control = run.dir().join("control");
    assert_eq!(
        exec(&run, &["status", "--control", control.to_str().unwrap()]).0,
        0,
        "told where, root may ask"
    );
}

/// No other user may put a socket of his own where the sign says.
#[test]
fn a_socket_of_another_user_in_its_place_is_not_asked() {
    let run = pool(&["--control", "control"], example_worker(&[])).start();
    run.wait_for("worker ready");
    let control = run.dir().join("control");
    fs::rename(&control, run.dir().join("moved")).unwrap();
    let theirs = std::os::unix::net::UnixListener::bind(&control).unwrap();
    std::os::unix::fs::chown(&control, Some(65534), None).unwrap();
    let (code, _, err) = exec(&run, &["ctl", "stop"]);
    assert!(code == 2 && err.contains("no socket of our own user or of root is there"), "{code} {err}");
    theirs.set_nonblocking(true).unwrap();
    assert!(theirs.accept().is_err(), "nobody has come");
    kill(run.pid, libc::SIGTERM);
}
