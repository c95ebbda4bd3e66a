//! README.md and the pages of docs/ tell the truth: tables, links, and every block of code.

mod blocks;
mod commands;
mod console;
mod links;
pub mod options;
#[path = "../../src/generate/tables.rs"]
mod tables;

use crate::harness::binary;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use tables::{EXIT_CODES, OF_WORKERS, SIGNALS};

/// A file of the repository.
fn repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

fn read(path: &str) -> String {
    fs::read_to_string(repository(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// README.md and every page of docs/, each with its path in the repository.
fn pages() -> Vec<(String, String)> {
    let mut paths = vec!["README.md".to_owned()];
    let names = fs::read_dir(repository("docs")).unwrap().map(|entry| entry.unwrap().file_name());
    paths.extend(names.map(|name| format!("docs/{}", name.to_str().unwrap())));
    paths.sort();
    assert!(paths.len() > 20, "{paths:?}");
    paths.into_iter().map(|path| (path.clone(), read(&path))).collect()
}

/// `--help` of the program itself, or of a subcommand.
pub fn help(of: &[&str]) -> String {
    let help = Command::new(binary()).args(of).arg("--help").env_clear().output().unwrap();
    assert!(help.status.success(), "{help:?}");
    String::from_utf8(help.stdout).unwrap()
}

/// The rows of the first table behind some words of a page, as plain text, without its head.
fn rows(page: &str, behind: &str) -> Vec<Vec<String>> {
    let text = read(page);
    let (_, text) = text.split_once(behind).unwrap_or_else(|| panic!("{page} has no {behind:?}"));
    let lines = text.lines().skip_while(|line| !line.starts_with('|'));
    let rows = lines.take_while(|line| line.starts_with('|')).skip(2);
    rows.map(|row| row.trim_matches('|').split(" | ").map(|cell| plain(cell.trim())).collect()).collect()
}

/// Without code marks, and of links the text alone.
fn plain(cell: &str) -> String {
    let mut parts = cell.split("](");
    let first = parts.next().unwrap_or_default().to_owned();
    let rest = parts.map(|part| part.split_once(')').map_or(part, |(_, rest)| rest));
    (first + &rest.collect::<String>()).replace(['`', '['], "")
}

#[test]
fn the_man_page_has_the_same_tables() {
    let signals = SIGNALS.map(|(signal, init, pool)| vec![signal, init, pool]);
    assert_eq!(rows("docs/signals.md", "# What does each signal do?"), signals);
    let codes = EXIT_CODES.map(|(code, meaning)| vec![code, meaning]);
    assert_eq!(rows("docs/exit-codes.md", "# What does each exit code mean?"), codes);
    assert_eq!(rows("README.md", "\n## Exit codes\n"), codes);
    let variables = OF_WORKERS.map(|(name, meaning)| vec![name, meaning]);
    assert_eq!(rows("docs/environment.md", "\n## Variables\n"), variables);
}

#[test]
fn the_readme_is_short_and_names_every_page() {
    let readme = read("README.md");
    let (lines, bytes) = (readme.lines().count(), readme.len());
    assert!(lines <= 270 && bytes <= 16_500, "{lines} lines, {bytes} bytes: it belongs into a page of docs/");
    for (path, text) in pages() {
        assert!(
            path == "README.md" || readme.contains(&format!("]({path})")),
            "README.md does not name {path}"
        );
        assert!(text.starts_with("# "), "{path} has no title");
    }
}

/// The code of the repository.
fn sources(directory: &Path) -> String {
    let paths = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    paths
        .map(|path| if path.is_dir() { sources(&path) } else { fs::read_to_string(&path).unwrap() })
        .collect()
}

#[test]
fn every_message_that_is_explained_is_printed_somewhere() {
    let sources = sources(&repository("src"));
    let messages = rows("docs/troubleshooting.md", "# What does this message mean?");
    assert!(messages.len() > 20, "{messages:?}");
    for message in messages.iter().map(|row| &row[0]) {
        assert!(sources.contains(message.as_str()), "nothing says {message:?}");
    }
}

/// Every `--option` and `PREFORK_` variable in a text.
fn names(text: &str) -> BTreeSet<String> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    let words = text.split(|c: char| !is_part(c)).map(|word| word.trim_end_matches('-'));
    let is_name = |word: &&str| word.starts_with("--") && word.len() > 3 || word.starts_with("PREFORK_");
    words.filter(is_name).map(str::to_owned).collect()
}

/// What pages say of other programs: servers, docker, podman, unshare, cargo, and the tools of this repository.
const OF_OTHERS: [&str; 28] = [
    "--bench",
    "--build-arg",
    "--entrypoint",
    "--fd",
    "--from",
    "--gid",
    "--features",
    "--init",
    "--interval",
    "--lock",
    "--locked",
    "--no-control-socket",
    "--only",
    "--open",
    "--pid",
    "--port",
    "--rewrite",
    "--rm",
    "--sdnotify",
    "--start-period",
    "--stop-timeout",
    "--timeout-graceful-shutdown",
    "--uds",
    "--unix-socket",
    "--limit-max-requests",
    "--preload",
    "--count-requests-notify",
    "--worker-class",
];

/// What workers and hooks get, and prefixes.
const OF_WORKERS_AND_HOOKS: [&str; 8] = [
    "PREFORK_",
    "PREFORK_EVENT",
    "PREFORK_EVENT_",
    "PREFORK_EVENT_NUMBER",
    "PREFORK_GENERATION",
    "PREFORK_WORKER_ID",
    "PREFORK_WORKER_NUMBER",
    "PREFORK_WORKER",
];

#[test]
fn every_option_and_variable_that_a_page_names_exists() {
    let mut known = BTreeSet::new();
    for of in [&[][..], &["check"], &["status"], &["ctl"], &["healthcheck"]] {
        known.extend(names(&help(of)));
    }
    known.extend(OF_OTHERS.iter().chain(&OF_WORKERS_AND_HOOKS).map(|name| (*name).to_owned()));
    known.extend(["FD", "OFFSET"].map(|part| format!("PREFORK_SCOREBOARD_{part}")));
    for (path, text) in pages() {
        let unknown: Vec<_> = names(&text).difference(&known).cloned().collect();
        assert!(unknown.is_empty(), "{path} names what there is not: {unknown:?}");
    }
}

/// Pronouns that a native reader has to decode, and turns of phrase that are none.
const NOT_PLAIN: [&str; 13] = [
    "who",
    "whoever",
    "whom",
    "somebody",
    "lest",
    "so many",
    "has got",
    "the one or the other",
    "nobody",
    "we",
    "us",
    "our",
    "ours",
];

#[test]
fn the_pages_are_in_plain_english() {
    for (path, text) in pages().into_iter().filter(|(path, _)| path != "docs/options.md") {
        for line in blocks::outside_of_blocks(&text).filter(|line| !line.starts_with('|')) {
            let prose: String = line.split('`').step_by(2).collect();
            let words: String = prose.chars().map(|c| if c.is_alphanumeric() { c } else { ' ' }).collect();
            let words = format!(" {} ", words.to_lowercase());
            for phrase in NOT_PLAIN {
                assert!(!words.contains(&format!(" {phrase} ")), "{path}: {phrase:?} in: {line}");
            }
        }
    }
}
