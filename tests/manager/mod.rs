//! Below a manager, systemd or podman: what a pool tells it, and what it takes over from it.

mod activation;
mod fake;
mod notify;
mod systemd;
mod terminal;
mod watchdog;

use crate::harness::{Launch, launch, python};
use std::ffi::OsString;

/// A pool without a listener, whose workers are ready when they say so.
fn pool(options: &[&str], script: &str) -> Launch {
    let script = format!("{PRELUDE}\n{script}");
    let words = ["--ready", "notify"].iter().chain(options).chain(&["--"]).map(OsString::from);
    let worker = [python(), "-I".into(), "-S".into(), "-c".into(), script.into()];
    launch(words.chain(worker))
}

const PRELUDE: &str = r#"
import os, signal, socket, sys, time

def say(text):
    socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).sendto(text.encode(), os.environ["NOTIFY_SOCKET"])

def wait_for_file(name):
    while not os.path.exists(name): time.sleep(0.005)

def live():
    say("READY=1")
    while True: time.sleep(1000)
"#;
