//! Every block of code in README.md and docs/ is run, or checked by what it is. One of an unknown kind is an error, so that
//! each new kind is thought of.

use super::{commands, console, pages, repository};
use crate::harness::python;
use serde_json::Value;
use std::fs;
use std::io::Write;
use std::process::{Command, Stdio};

/// A fenced block.
pub struct Block {
    /// The page, and the line in which it begins.
    pub at: String,
    pub kind: String,
    pub text: String,
}

/// The lines of a page that are not in a block.
pub fn outside_of_blocks(text: &str) -> impl Iterator<Item = &str> {
    let mut inside = false;
    text.lines().filter(move |line| {
        let is_fence = line.trim_start().starts_with("```");
        inside ^= is_fence;
        !inside && !is_fence
    })
}

fn blocks(page: &str, text: &str) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    let mut inside = false;
    for (number, line) in text.lines().enumerate() {
        if let Some(kind) = line.trim_start().strip_prefix("```") {
            inside = !inside;
            let at = format!("{page}:{}", number + 1);
            blocks.extend(inside.then(|| Block { at, kind: kind.to_owned(), text: String::new() }));
        } else if inside {
            let block = blocks.last_mut().unwrap();
            block.text += line;
            block.text.push('\n');
        }
    }
    assert!(!inside, "{page}: a block has no end");
    blocks
}

/// The blocks of all pages of this kind, of which there must be some.
fn of_kind(kind: &str) -> Vec<Block> {
    let all = pages().into_iter().flat_map(|(page, text)| blocks(&page, &text));
    let found: Vec<Block> = all.filter(|block| block.kind == kind).collect();
    assert!(!found.is_empty(), "no block is {kind}");
    found
}

#[test]
fn every_block_is_of_a_kind_that_is_checked() {
    let known = ["console", "sh", "toml", "dockerfile", "yaml", "ini", "json", "python"];
    for block in pages().into_iter().flat_map(|(page, text)| blocks(&page, &text)) {
        assert!(
            known.contains(&block.kind.as_str()),
            "{}: how is a block of {:?} checked?",
            block.at,
            block.kind
        );
        assert!(!block.text.trim().is_empty(), "{}: an empty block", block.at);
    }
}

#[test]
fn sessions_print_what_they_are_said_to() {
    for block in of_kind("console") {
        console::run(&block);
    }
}

#[test]
fn scripts_have_the_options_and_programs_that_they_name() {
    for block in of_kind("sh") {
        commands::script(&block);
    }
}

#[test]
fn images_have_settings_and_command_lines_that_are_valid() {
    for block in of_kind("dockerfile") {
        commands::image(&block);
    }
}

#[test]
fn settings_are_valid_as_a_configuration_file() {
    for block in of_kind("toml") {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("prefork.toml");
        fs::write(&path, &block.text).unwrap();
        let command = if block.text.contains("command = ") { &[][..] } else { &["--", "true"] };
        let words = [&["--config", path.to_str().unwrap()], command].concat();
        commands::accepted(&block, "check", &words, &[]);
    }
}

/// What is tested as an example is repeated word by word, perhaps with less in front of its lines.
#[test]
fn excerpts_are_those_of_the_examples() {
    for (kind, directory) in [("yaml", "examples"), ("ini", "examples/systemd")] {
        let files = fs::read_dir(repository(directory)).unwrap().map(|entry| entry.unwrap().path());
        let texts: Vec<String> = files.filter(|path| path.is_file()).flat_map(fs::read_to_string).collect();
        for block in of_kind(kind) {
            let is_part = texts.iter().any(|text| is_excerpt(&block.text, text));
            assert!(is_part, "{}: not in a file of {directory}, as it stands here", block.at);
        }
    }
}

fn is_excerpt(block: &str, text: &str) -> bool {
    let block: Vec<&str> = block.lines().collect();
    let lines: Vec<&str> = text.lines().collect();
    lines.windows(block.len()).any(|window| {
        let indent = window[0].len() - window[0].trim_start().len();
        let at_left = block[0].len() - block[0].trim_start().len();
        let same = |(line, part): (&&str, &&str)| line.get(indent..) == part.get(at_left..) || *line == *part;
        window.iter().zip(&block).all(same)
    })
}

#[test]
fn objects_are_json() {
    for block in of_kind("json") {
        for line in block.text.lines() {
            let parsed: Result<Value, _> = serde_json::from_str(line);
            assert!(parsed.is_ok_and(|value| value.is_object()), "{}: {line}", block.at);
        }
    }
}

#[test]
fn programs_in_python_compile() {
    for block in of_kind("python") {
        let program = "import sys; compile(sys.stdin.read(), sys.argv[1], 'exec')";
        let mut command = Command::new(python());
        let mut child = command.args(["-c", program, &block.at]).stdin(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(block.text.as_bytes()).unwrap();
        assert!(child.wait().unwrap().success(), "{}", block.at);
    }
}

#[test]
fn blocks_are_found_and_excerpts_compared() {
    let found = blocks("p", "a\n```sh\nb\nc\n```\nd\n```\ne\n```\n");
    let found: Vec<_> = found.iter().map(|block| (&*block.at, &*block.kind, &*block.text)).collect();
    assert_eq!(found, [("p:2", "sh", "b\nc\n"), ("p:7", "", "e\n")]);
    assert!(is_excerpt("b: 1\n  c: 2\n", "a:\n  b: 1\n    c: 2\n"));
    assert!(
        !is_excerpt("b: 1\n  c: 3\n", "a:\n  b: 1\n    c: 2\n") && !is_excerpt("b: 1\nd\n", "b: 1\nc\nd\n")
    );
}
