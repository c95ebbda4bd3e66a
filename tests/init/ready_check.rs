//! `--ready-check` of one command, and hooks: both in the command's directory.

use crate::harness::{eventually, http, launch};

#[test]
fn readiness_is_what_the_application_says() {
    let options =
        ["--health", "127.0.0.1:0", "--ready-check", "exec:test -e go", "--ready-check-interval", "50ms"];
    let mut run = launch(options.into_iter().chain(["--", "sleep", "1000"])).start();
    let readyz = || http::get(&run.health(), "/readyz").unwrap();
    eventually("a failure", || readyz().body.contains("ended with code 1").then_some(()));
    assert_eq!(http::get(&run.health(), "/startupz").unwrap().status, 200);
    std::fs::write(run.dir().join("go"), "").unwrap();
    eventually("readiness", || (readyz().status == 200).then_some(()));
    run.signal(libc::SIGTERM);
    assert_eq!(run.wait_exit(), 143);
}
