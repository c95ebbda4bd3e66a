//! What is ours beside what is theirs: every option by its variable, under another's name.

use super::Original::{DumbInit, Tini};
use super::run;
use crate::harness::{http, python};

#[test]
fn native_options_work_by_their_variables() {
    for original in [DumbInit, Tini] {
        let run_with = |env: &[(&str, &str)], script: &str| {
            run(&original.ours(), &["--", "sh", "-c", script], env).finish()
        };
        assert_eq!(run_with(&[("PREFORK_SUCCESS_CODES", "3,143")], "exit 3").0, 0);
        assert_eq!(run_with(&[("PREFORK_REMAP_EXIT_CODE", "3=4")], "exit 3").0, 4);
        assert_eq!(run_with(&[("PREFORK_UMASK", "027")], "umask").1, "0027\n");
        assert_eq!(run_with(&[("PREFORK_CHDIR", "/usr")], "pwd").1, "/usr\n");
        let (code, _, err) = run_with(&[("PREFORK_LOG_LEVEL", "info")], "exit 3");
        assert!(code == 3 && err.contains("command exited: code 3"), "{err}");
        let (code, _, err) = run_with(&[("PREFORK_UMASK", "999")], "exit 3");
        assert_eq!(code, 2);
        assert!(err.starts_with("prefork-init: PREFORK_UMASK '999': "), "{err}");
    }
}

#[test]
fn a_variable_s_rule_comes_after_the_command_line_s() {
    let script = "trap 'exit 4' INT; trap 'exit 5' QUIT; kill -TERM $PPID; while :; do sleep 0.01; done";
    let args = ["-r", "15:2", "sh", "-c", script];
    assert_eq!(run(&DumbInit.ours(), &args, &[]).finish().0, 4);
    assert_eq!(run(&DumbInit.ours(), &args, &[("PREFORK_REWRITE_SIGNAL", "TERM=QUIT")]).finish().0, 5);
}

#[test]
fn a_pool_under_anothers_name_is_a_pool() {
    let script = "import os, socket
listener = socket.socket(fileno=3)
while True:
    client, _ = listener.accept()
    client.recv(4096)
    client.sendall(b'HTTP/1.0 200 OK\\r\\nContent-Length: 2\\r\\nConnection: close\\r\\n\\r\\nhi')
    client.close()";
    let python = python();
    let env = [("PREFORK_WORKERS", "2"), ("PREFORK_BIND", "127.0.0.1:0"), ("PREFORK_LOG_FORMAT", "json")];
    let args = ["--", python.to_str().unwrap(), "-IS", "-c", script];
    let mut run = run(&Tini.ours(), &args, &env).start();
    run.wait_for("pool ready");
    assert_eq!(http::get(&run.address(0), "/").unwrap().body, "hi");
    run.signal(15);
    assert_eq!(run.wait_exit(), 0);
}

/// `docker run --init` puts us above an image that has us already: the variables are the image's own.
#[test]
fn what_is_meant_for_one_of_us_below_is_left_to_it() {
    let ours = crate::harness::binary();
    let ours = ours.to_str().unwrap();
    let env = [("PREFORK_WORKERS", "3"), ("PREFORK_HEALTH", "127.0.0.1:0"), ("PREFORK_LOG_FORMAT", "json")];
    let mut run = run(&Tini.ours(), &["-s", "--", ours, "--", "sleep", "1000"], &env).start();
    run.wait_for("pool ready");
    assert_eq!(run.log.with_message("worker spawned").len(), 3);
    assert_eq!(run.log.with_message("health endpoint").len(), 1);
    run.signal(15);
    assert_eq!(run.wait_exit(), 0);
}

#[test]
fn a_pause_can_be_had_by_its_variable() {
    for original in [DumbInit, Tini] {
        let launch = run(&original.ours(), &[], &[("PREFORK_PAUSE", "1"), ("PREFORK_LOG_LEVEL", "debug")]);
        let mut run = launch.start();
        crate::harness::eventually("it waits", || {
            let blocked = crate::harness::status_line(run.pid, "SigBlk")?;
            (u64::from_str_radix(&blocked, 16).unwrap().count_ones() > 40).then_some(())
        });
        run.signal(15);
        assert_eq!(run.wait_exit(), 0, "{}", original.name());
    }
}
