//! Called as `dumb-init` or `tini`, we do what they do: each table here runs against the original from Debian and
//! against our binary by its name, and both must be seen to do the same. What differs on purpose is in differences.md.

mod command_line;
mod end;
mod hostile;
mod native;
mod signals;
mod start;
mod terminal;

use crate::harness::{Launch, binary, launch};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// A program to take the place of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Original {
    DumbInit,
    Tini,
}

use Original::{DumbInit, Tini};

impl Original {
    fn name(self) -> &'static str {
        match self {
            DumbInit => "dumb-init",
            Tini => "tini",
        }
    }

    /// Debian's.
    fn theirs(self) -> PathBuf {
        let path = Path::new("/usr/bin").join(self.name());
        assert!(path.exists(), "{} is missing: apt-get install {}", path.display(), self.name());
        path
    }

    /// A link to our binary.
    fn ours(self) -> PathBuf {
        static LINKS: OnceLock<tempfile::TempDir> = OnceLock::new();
        let links = LINKS.get_or_init(|| {
            let dir = tempfile::tempdir().unwrap();
            for original in [DumbInit, Tini] {
                symlink(binary(), dir.path().join(original.name())).unwrap();
            }
            dir
        });
        links.path().join(self.name())
    }

    fn both(self) -> [PathBuf; 2] {
        [self.theirs(), self.ours()]
    }
}

/// A program with these arguments.
fn run(program: &Path, args: &[&str], env: &[(&str, &str)]) -> Launch {
    let launch = launch(args.iter().copied()).program(program);
    env.iter().fold(launch, |launch, (name, value)| launch.env(name, value))
}

/// Checks that both were seen to do the same.
fn same<T: PartialEq + std::fmt::Debug>(what: &str, [theirs, ours]: [T; 2]) {
    assert_eq!(theirs, ours, "the original's, and ours: {what}");
}

/// A shell as PID 1 that tells the code of what is below it, and stays.
const SHELL: [&str; 4] = ["sh", "-c", r#""$@"; echo $? >code; exec sleep 1000"#, "sh"];
