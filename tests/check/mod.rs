//! Settings in layers, and what `check` says of them.

mod file;
mod hints;
mod layers;
mod verdict;

use crate::harness::binary;
use serde_json::Value;
use std::path::Path;
use std::process::{Command, Output};

/// `prefork-init check` with these words, and no variables but these.
fn check<S: AsRef<str>>(words: &[S], variables: &[(&str, &str)]) -> Output {
    let path = std::env::var_os("PATH").unwrap();
    let words = words.iter().map(AsRef::as_ref);
    let mut command = Command::new(binary());
    command.arg("check").args(words).env_clear().env("PATH", path).envs(variables.iter().copied());
    command.output().unwrap()
}

/// The same with `--json`, which must be valid: the object.
fn report<S: AsRef<str>>(words: &[S], variables: &[(&str, &str)]) -> Value {
    let words: Vec<&str> = ["--json"].into_iter().chain(words.iter().map(AsRef::as_ref)).collect();
    let output = check(&words, variables);
    let (out, err) = texts(&output);
    assert_eq!((output.status.code(), err.as_str()), (Some(0), ""), "check {words:?} {variables:?}");
    serde_json::from_str(&out).unwrap()
}

/// A setting's value, layer and source.
fn setting(report: &Value, name: &str) -> (Value, String, Option<String>) {
    let settings = report["settings"].as_array().unwrap();
    let found = settings.iter().find(|setting| setting["name"] == name);
    let found = found.unwrap_or_else(|| panic!("{name} is not in {report}"));
    let layer = found["layer"].as_str().unwrap().to_owned();
    (found["value"].clone(), layer, found["source"].as_str().map(str::to_owned))
}

/// The names of all settings that are options.
pub fn option_names() -> Vec<String> {
    let report = report(&["true"], &[]);
    let settings = report["settings"].as_array().unwrap().iter();
    let names = settings.map(|setting| setting["name"].as_str().unwrap().to_owned());
    names.filter(|name| name != "command").collect()
}

/// The variable of an option.
pub fn variable_of(option: &str) -> String {
    format!("PREFORK_{}", option.to_uppercase().replace('-', "_"))
}

fn texts(output: &Output) -> (String, String) {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    (text(&output.stdout), text(&output.stderr))
}

/// A file with this text, in a directory that lives as long as the first of the pair.
fn file(text: &str) -> (tempfile::TempDir, String) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("prefork.toml");
    std::fs::write(&path, text).unwrap();
    (dir, text_of(&path))
}

fn text_of(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}
