//! Command lines that are not run: the real binary reads them, and says whether they are valid.

use super::blocks::Block;
use super::{read, repository};
use crate::harness::{binary, install_script, plain_command, servers::server};
use std::ffi::OsStr;
use std::fmt::Debug;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

/// Programs that scripts may use beside ours.
const KNOWN: [&str; 4] = ["curl", "docker", "kill", "mv"];

/// Programs to run that nobody has here, or that cost time to be looked at.
const STUBS: [&str; 3] = ["myserver", "nginx", "node"];

/// Fails unless the binary accepts these words behind `what`, which is `check` or another subcommand.
pub fn accepted(
    block: &Block,
    what: &str,
    words: &[impl AsRef<OsStr> + Debug],
    variables: &[(String, String)],
) {
    let dir = tempfile::tempdir().unwrap();
    for name in STUBS {
        install_script("#!/bin/sh\n", 0o755, &dir.path().join(name));
    }
    let servers = server("uvicorn").parent().unwrap().to_owned();
    let path = format!("{}:{}:/usr/bin:/bin", dir.path().display(), servers.display());
    let mut command = Command::new(binary());
    command.arg(what).args(words).env_clear().env("PATH", path).envs(variables.iter().cloned());
    if ["status", "ctl", "healthcheck"].contains(&what) {
        // What comes before it is read all the same.
        command.arg("--help");
    }
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{}: {what} {words:?}: {said}", block.at);
}

/// Words behind `prefork-init`.
fn ours(block: &Block, words: &[String], variables: &[(String, String)]) {
    match words.first().map(String::as_str) {
        Some(what @ ("check" | "status" | "ctl" | "healthcheck")) => {
            accepted(block, what, &words[1..], variables);
        }
        #[cfg(feature = "generate")]
        Some("generate") => accepted(block, "generate", &words[1..], variables),
        #[cfg(not(feature = "generate"))]
        Some("generate") => {}
        _ => accepted(block, "check", words, variables),
    }
}

/// A script: its syntax is that of bash, each program that it runs is one we know of.
pub fn script(block: &Block) {
    let syntax = Command::new("bash").args(["-n", "-c", &block.text]).status().unwrap();
    assert!(syntax.success(), "{}: no script of bash", block.at);
    let joined = block.text.replace("\\\n", " ");
    for line in joined.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let words = shlex::split(line).unwrap_or_else(|| panic!("{}: {line}", block.at));
        let words: Vec<String> = words.into_iter().filter(|word| !word.starts_with('>')).collect();
        let program = words[0].as_str();
        if program.ends_with("prefork-init") {
            ours(block, &words[1..], &[]);
        } else if let Some(at) = words.iter().position(|word| word == "IMAGE") {
            assert!(
                words.windows(2).any(|pair| pair == ["--entrypoint", "prefork-init"]),
                "{}: {line}",
                block.at
            );
            // What Dockerfile.example says in the image.
            ours(block, &words[at + 1..], &[("PREFORK_BIND".to_owned(), ":8000".to_owned())]);
        } else if program == "cargo" {
            let alias = format!("\n{} = [", words[1]);
            assert!(
                words[1] == "build" || read(".cargo/config.toml").contains(&alias),
                "{}: {line}",
                block.at
            );
        } else if program.contains('/') {
            let mode = repository(program).metadata().unwrap_or_else(|error| panic!("{}: {error}", block.at));
            assert!(mode.permissions().mode() & 0o111 != 0, "{}: {program} cannot be run", block.at);
        } else {
            assert!(KNOWN.contains(&program), "{}: how is {program} checked?", block.at);
        }
    }
}

/// Instructions of a Dockerfile: those of ours stand in Dockerfile.example too, or are read by the binary.
pub fn image(block: &Block) {
    let example = read("Dockerfile.example");
    let (mut entrypoint, mut command, mut variables) = (Vec::new(), Vec::new(), Vec::new());
    for line in block.text.lines().filter(|line| !line.is_empty()) {
        let (instruction, rest) = line.split_once(' ').unwrap_or_else(|| panic!("{}: {line}", block.at));
        let (_, words) = rest.split_at(rest.find('[').unwrap_or(rest.len()));
        let words = || -> Vec<String> {
            serde_json::from_str(words).unwrap_or_else(|error| panic!("{}: {line}: {error}", block.at))
        };
        match instruction {
            "ENTRYPOINT" => entrypoint = words(),
            "CMD" => command = words(),
            "HEALTHCHECK" => ours(block, &words()[1..], &[]),
            "ENV" => variables.extend(rest.split(' ').map(|pair| {
                let (name, value) = pair.split_once('=').unwrap();
                (name.to_owned(), value.to_owned())
            })),
            "COPY" if rest.starts_with("prefork-init /usr/") => {}
            _ => assert!(example.lines().any(|known| known == line), "{}: {line}", block.at),
        }
    }
    match entrypoint.split_first() {
        Some((program, words)) if program == "prefork-init" => {
            ours(block, &[words, &command[..]].concat(), &variables);
        }
        Some((program, words)) => in_the_place_of(block, program, words),
        None => assert!(variables.is_empty() && command.is_empty(), "{}: no ENTRYPOINT", block.at),
    }
}

/// Under another program's name: it is run, and ends with what its command ends with.
fn in_the_place_of(block: &Block, program: &str, words: &[String]) {
    let dir = tempfile::tempdir().unwrap();
    let link = dir.path().join(program);
    std::os::unix::fs::symlink(binary(), &link).unwrap();
    let status = plain_command(link.as_os_str()).args(words).args(["sh", "-c", "exit 7"]).status().unwrap();
    assert_eq!(status.code(), Some(7), "{}: {program} {words:?}", block.at);
}
