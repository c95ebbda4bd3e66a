//! Little memory for a stack.

use crate::harness::{Launch, launch};
use std::ffi::OsString;

fn limited(launch: Launch, limit: &str) -> Launch {
    launch.through([
        "sh".to_owned(),
        "-c".to_owned(),
        format!("ulimit {limit} && exec \"$@\""),
        "sh".to_owned(),
    ])
}

/// What other inits run with; tests/static.sh asks it of the build that is shipped, with less.
#[test]
fn a_small_stack_is_enough_for_a_start() {
    for words in [&["--", "sh", "-c", "exit 7"][..], &["--health", "127.0.0.1:0", "--", "sh", "-c", "exit 7"]]
    {
        let (code, _, log) = limited(launch(words.iter().map(OsString::from)), "-s 96").finish();
        assert_eq!(code, 7, "{log}");
    }
    for words in [&["--help"][..], &["check", "-n", "2", "-b", "127.0.0.1:0", "--", "true"]] {
        let (code, _, log) = limited(launch(words.iter().map(OsString::from)), "-s 96").finish();
        assert_eq!(code, 0, "{log}");
    }
}
