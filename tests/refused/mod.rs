//! A kernel, or a sandbox between it and us, that says no: every system call that we make is refused once, with every errno that
//! a filter gives. The cases are generated from what strace(1) sees; `cases.py` has the rules and the exclusions.

mod by_hand;
mod stack;

use crate::harness::{binary, example, python};
use std::path::Path;
use std::process::Command;

/// All cases of one kind; those that fail are shown with their logs.
fn all_pass(kind: &str) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/refused/cases.py");
    let mut command = Command::new(python());
    command.env_remove("PREFORK_TEST_VENV");
    command.arg("-IS").arg(script).arg(kind).arg(binary()).arg(example("worker"));
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    // Skips are to be seen.
    println!("{said}");
}

#[test]
fn an_init_works_without_any_call_or_names_it() {
    all_pass("init");
}

#[test]
fn a_pool_works_without_any_call_or_names_it() {
    all_pass("pool");
}

#[test]
fn errors_that_pass_are_survived_or_told() {
    all_pass("transient");
}
