//! The house rules that the compiler does not hold: which part may know what, and that nothing is left half done.

use std::fs;
use std::path::{Path, PathBuf};

/// What the core may not name: it has no clock, no kernel, no log and no chance of its own.
const NOT_IN_CORE: [&str; 9] =
    ["nix", "tokio", "libc", "std::process", "std::fs", "Instant::now", "SystemTime", "tracing", "unsafe"];

/// What is only the kernel's side's to name.
const ONLY_IN_OS: [&str; 3] = ["unsafe", "libc::", "nix::"];

/// Words that promise work for later: that belongs into an issue.
const UNFINISHED: [&str; 7] = [
    concat!("TO", "DO"),
    concat!("FIX", "ME"),
    concat!("X", "XX"),
    concat!("to", "do!"),
    concat!("unimple", "mented!"),
    concat!("db", "g!"),
    concat!("#[ig", "nore"),
];

const LONGEST_FILE: usize = 500;
const LONGEST_MAIN: usize = 40;

/// What is wrong with a file, a line each. `path` is relative to the repository.
fn complaints(path: &str, text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let is_source = path.starts_with("src/");
    let in_core = path.starts_with("src/core/");
    let outside = path.starts_with("src/http/") || path.starts_with("src/client/");
    let tests_begin = text.lines().position(|line| line.trim() == "#[cfg(test)]").unwrap_or(usize::MAX);
    for (number, line) in text.lines().enumerate() {
        let code = code_of(line);
        let mut complain = |what: &str| found.push(format!("{path}:{}: {what}: {}", number + 1, line.trim()));
        for word in NOT_IN_CORE.iter().filter(|word| in_core && names(code, word)) {
            complain(&format!("the core may not name `{word}`"));
        }
        for word in
            ONLY_IN_OS.iter().filter(|word| is_source && !path.starts_with("src/os/") && names(code, word))
        {
            complain(&format!("only src/os may name `{word}`"));
        }
        if in_core
            && number < tests_begin
            && (code.trim_start().starts_with("_ =>") || code.trim_start().starts_with("_ if"))
        {
            complain("a match in the core names every state and event");
        }
        if outside && code.match_indices("core::").any(|(at, _)| !is_snapshot(&code[at + "core::".len()..])) {
            complain("outside of the loop the core is seen only as a snapshot");
        }
        for word in UNFINISHED.iter().filter(|word| names(line, word)) {
            complain(&format!("`{word}`: open an issue instead"));
        }
        if path.starts_with("tests/")
            && !path.starts_with("tests/harness/")
            && names(code, concat!("thread::", "sleep"))
        {
            complain("a test waits for an event, never for a time; tests/harness knows how");
        }
    }
    let longest = match path {
        "src/main.rs" => LONGEST_MAIN,
        _ if is_source => LONGEST_FILE,
        _ => usize::MAX,
    };
    if text.lines().count() > longest {
        found.push(format!("{path}: longer than {longest} lines"));
    }
    found
}

/// A line without its comment. A `//` in an address, `http://`, is none.
fn code_of(line: &str) -> &str {
    let comment = line.match_indices("//").find(|(at, _)| !line[..*at].ends_with(':'));
    comment.map_or(line, |(at, _)| &line[..at])
}

/// Whether `word` stands in `text` by itself, not as a part of a longer name.
fn names(text: &str, word: &str) -> bool {
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    text.match_indices(word).any(|(at, _)| {
        let (before, after) = (&text[..at], &text[at + word.len()..]);
        let runs_on_before = word.starts_with(is_part) && before.ends_with(is_part);
        let runs_on_after = word.ends_with(is_part) && after.starts_with(is_part);
        !runs_on_before && !runs_on_after
    })
}

fn is_snapshot(rest: &str) -> bool {
    rest.starts_with("Snapshot") || rest.starts_with("snapshot::")
}

fn rust_files(directory: &Path, into: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            rust_files(&path, into);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            into.push(path);
        }
    }
}

#[test]
fn every_part_knows_only_what_it_may_and_nothing_is_left_half_done() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files = Vec::new();
    for directory in ["src", "tests", "examples"] {
        rust_files(&root.join(directory), &mut files);
    }
    let mut found = Vec::new();
    for file in &files {
        let path = file.strip_prefix(root).unwrap().to_str().unwrap();
        found.extend(complaints(path, &fs::read_to_string(file).unwrap()));
    }
    assert!(files.iter().any(|file| file.ends_with("src/core/pool/mod.rs")), "the core was not read");
    assert!(found.is_empty(), "\n{}\n", found.join("\n"));
}

#[test]
fn each_breach_of_a_house_rule_is_told() {
    let long = "\n".repeat(LONGEST_FILE + 1);
    let breaches = [
        ("src/core/pool.rs", "use nix::unistd::Pid;"),
        ("src/core/pool.rs", "let now = Instant::now();"),
        ("src/core/pool.rs", "    _ => {}"),
        ("src/core/pool.rs", "tracing::info!(\"ready\");"),
        ("src/supervisor.rs", "let pid = unsafe { libc::getpid() };"),
        ("src/logging.rs", "let pid = nix::unistd::getpid();"),
        ("src/http/routes.rs", "fn ready(core: &crate::core::Core) -> bool {"),
        ("src/client/mod.rs", "use crate::core::{Core, Snapshot};"),
        ("src/cli.rs", concat!("// TO", "DO: later")),
        ("examples/worker.rs", concat!("to", "do!()")),
        ("tests/crash.rs", concat!("#[ig", "nore]")),
        ("tests/crash.rs", concat!("std::thread::", "sleep(WAIT);")),
        ("src/cli.rs", &long),
        ("src/main.rs", &long),
    ];
    for (path, text) in breaches {
        assert!(!complaints(path, text).is_empty(), "not found in {path}: {text}");
    }
    let fine = [
        ("src/core/pool.rs", "// nix::Signal has no name for it; see https://docs.rs/nix"),
        ("src/core/pool.rs", "let unsafely = phoenix.libcap();"),
        ("src/core/pool.rs", "#[cfg(test)]\nmod tests {\n    _ => {}"),
        ("src/core/pool.rs", "(_, Ending::Ordered) => {}"),
        ("src/os/spawn.rs", "unsafe { libc::getpid() }"),
        ("src/http/routes.rs", "use crate::core::snapshot::Phase; use crate::core::Snapshot;"),
        ("tests/harness/mod.rs", concat!("thread::", "sleep(WAIT);")),
        ("tests/crash.rs", "while :; do sleep 0.05; done"),
    ];
    for (path, text) in fine {
        assert!(complaints(path, text).is_empty(), "{text}: {:?}", complaints(path, text));
    }
}
