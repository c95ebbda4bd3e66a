//! A sandbox that refuses system calls.

use super::python;
use std::ffi::OsString;

/// The script that does it; see there.
pub const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/harness/seccomp.py");

/// What to start a program through, so that these calls fail with these errors, for all that it starts as well.
pub fn refusing(calls: &[(libc::c_long, i32)]) -> Vec<OsString> {
    refusing_by(calls.iter().map(|(call, error)| format!("{error}:{call}")))
}

/// By rules as the script reads them.
pub fn refusing_by(rules: impl IntoIterator<Item = String>) -> Vec<OsString> {
    let mut words = vec![python(), "-IS".into(), SCRIPT.into()];
    words.extend(rules.into_iter().map(OsString::from));
    words.push("--".into());
    words
}
