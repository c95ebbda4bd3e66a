//! What is installed here, judged by names of files: nothing is run.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Path, PathBuf};

/// The most entries of a directory that are read.
const MOST: usize = 4096;

/// The first two parts of the version of the gunicorn that a command line runs, from the packages beside its first word
/// that is gunicorn or a Python.
pub(super) fn gunicorn(command: &[OsString]) -> Option<(u32, u32)> {
    let runs_it = |word: &&OsString| {
        let name = Path::new(word).file_name().and_then(OsStr::to_str).unwrap_or_default();
        name == "gunicorn" || name.starts_with("python")
    };
    let program = find(command.iter().find(runs_it)?)?;
    // Both are tried: a link into an environment leads to its packages; an environment's Python is a link out of it.
    let real = fs::canonicalize(&program).ok();
    [Some(program), real].into_iter().flatten().find_map(|program| {
        let lib = program.parent()?.parent()?.join("lib");
        entries(&lib).filter(|name| name.starts_with("python3")).find_map(|python| {
            ["site-packages", "dist-packages"].iter().find_map(|packages| {
                entries(&lib.join(&python).join(packages)).find_map(|name| version(&name))
            })
        })
    })
}

/// Parses `gunicorn-27.0.1.dist-info`.
fn version(name: &str) -> Option<(u32, u32)> {
    let mut parts = name.strip_prefix("gunicorn-")?.split(['.', '-']);
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

fn entries(directory: &Path) -> impl Iterator<Item = String> {
    let found = fs::read_dir(directory).into_iter().flatten().take(MOST).flatten();
    found.filter_map(|entry| entry.file_name().into_string().ok())
}

/// Whether a shell is dash, which forks even for the last command of its script; bash and zsh execute it in their
/// place.
pub(super) fn is_dash(shell: &str) -> bool {
    let real = find(OsStr::new(shell)).and_then(|shell| fs::canonicalize(shell).ok());
    real.is_some_and(|real| real.file_name() == Some(OsStr::new("dash")))
}

/// The path of a program.
fn find(program: &OsStr) -> Option<PathBuf> {
    if Path::new(program).components().count() > 1 {
        return Some(program.into());
    }
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|directory| directory.join(program)).find(|path| path.is_file())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_from_names() {
        for (name, expected) in [
            ("gunicorn-27.0.1.dist-info", Some((27, 0))),
            ("gunicorn-20.1.0.egg-info", Some((20, 1))),
            ("gunicorn-25.1.dist-info", Some((25, 1))),
            ("gunicorn", None),
            ("gunicorn-next.dist-info", None),
            ("uvicorn-0.54.0.dist-info", None),
        ] {
            assert_eq!(version(name), expected, "{name}");
        }
    }

    #[test]
    fn the_packages_beside_the_program_are_looked_at() {
        let root = tempfile::tempdir().unwrap();
        let (bin, lib) = (root.path().join("bin"), root.path().join("lib"));
        fs::create_dir_all(&bin).unwrap();
        fs::create_dir_all(lib.join("python3.11/site-packages/gunicorn-25.2.0.dist-info")).unwrap();
        fs::write(bin.join("gunicorn"), "").unwrap();
        std::os::unix::fs::symlink("/usr/bin/env", bin.join("python3")).unwrap();
        let other = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink(bin.join("gunicorn"), other.path().join("gunicorn")).unwrap();
        for program in [bin.join("gunicorn"), bin.join("python3"), other.path().join("gunicorn")] {
            let command = ["env".into(), program.clone().into(), "app:app".into()];
            assert_eq!(gunicorn(&command), Some((25, 2)), "{}", program.display());
        }
        assert_eq!(gunicorn(&["/nowhere/gunicorn".into()]), None);
        assert_eq!(gunicorn(&["uvicorn".into()]), None);
    }
}
