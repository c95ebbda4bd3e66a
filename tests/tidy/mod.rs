//! The house rules that the compiler does not hold: which room may use which, how large things are, and that nothing is
//! left half done. `rules.rs` has them as data. What broke a rule when it was made is in `known.txt`, which may only
//! shrink. When files have moved it is made anew:
//!
//! `PREFORK_TIDY=print cargo test -q --test promises tidy | sed -n '/^# What/,/^# end/p' > tests/tidy/known.txt`

mod imports;
mod rules;
mod source;

use rules::{Breaches, breaches};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write;
use std::path::Path;

const KNOWN: &str = include_str!("known.txt");

/// What is wrong, a line each: breaches that are not known, and known ones that are gone.
fn differences(found: &Breaches, known: &str) -> Vec<String> {
    let known: BTreeSet<_> = known.lines().filter(|line| !line.starts_with('#')).collect();
    let new = found.iter().filter(|(key, _)| !known.contains(key.as_str())).map(|(_, detail)| detail.clone());
    let gone = known.iter().filter(|key| !found.contains_key(**key));
    new.chain(gone.map(|key| format!("`{key}` holds now: remove it from tests/tidy/known.txt"))).collect()
}

fn read(root: &Path, directory: &Path, into: &mut BTreeMap<String, String>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            read(root, &path, into);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let name = path.strip_prefix(root).unwrap().to_str().unwrap();
            into.insert(name.to_string(), fs::read_to_string(&path).unwrap());
        }
    }
}

#[test]
fn every_part_knows_only_what_it_may_and_nothing_is_left_half_done() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut texts = BTreeMap::new();
    for directory in ["src", "tests", "examples", "benches"] {
        read(root, &root.join(directory), &mut texts);
    }
    assert!(texts.contains_key("src/core/pool/mod.rs"), "the core was not read");
    let (found, figures) = breaches(&texts);
    if std::env::var_os("PREFORK_TIDY").is_some_and(|wanted| wanted == "print") {
        let list: String = found.keys().map(|key| format!("{key}\n")).collect();
        let head = "# What broke a rule of the house when the rule was made. It may only shrink: see mod.rs.";
        // Not println, which is heard only where a test fails.
        return write!(std::io::stdout(), "\n{figures}\n{head}\n{list}# end\n").unwrap();
    }
    let wrong = differences(&found, KNOWN);
    assert!(wrong.is_empty(), "\n{}\n", wrong.join("\n"));
}

/// The breaches that are told of a tree: their keys, a line each.
fn told_of(lines: &[(&str, &str)]) -> String {
    let mut texts = BTreeMap::<String, String>::new();
    for (path, line) in lines {
        texts.entry(path.to_string()).or_default().push_str(&format!("{line}\n"));
    }
    breaches(&texts).0.keys().map(|key| format!("{key}\n")).collect()
}

#[test]
fn each_breach_of_a_house_rule_is_told() {
    let mut lines = include_str!("planted.txt")
        .lines()
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
        .peekable();
    while lines.peek().is_some() {
        let wanted: String = std::iter::from_fn(|| lines.next_if(|line| line.starts_with('=')))
            .filter_map(|line| Some(format!("{}\n", line.strip_prefix("= ")?)))
            .collect();
        let tree: Vec<_> = std::iter::from_fn(|| lines.next_if(|line| !line.starts_with('='))).collect();
        let of_files: Vec<_> = tree.iter().map(|line| line.split_once(':').unwrap()).collect();
        let of_files: Vec<_> =
            of_files.iter().map(|(path, line)| (*path, line.strip_prefix(' ').unwrap_or(line))).collect();
        assert_eq!(told_of(&of_files), wanted, "in {tree:#?}");
    }
}

#[test]
fn what_is_too_long_is_told() {
    let blank = |count: usize| "\n".repeat(count - 1);
    for (path, most) in [("src/os/a.rs", 500), ("src/app.rs", 90), ("src/main.rs", 40)] {
        assert_eq!(told_of(&[(path, &blank(most))]), "");
        assert_eq!(told_of(&[(path, &blank(most + 1))]), format!("long {path}\n"));
    }
    assert_eq!(told_of(&[("src/main.rs", &"//! The map.\n".repeat(100))]), "");
    let function = |lines: usize| format!("    pub fn long(\n    ) -> u8 {{{}    }}", blank(lines - 1));
    assert_eq!(told_of(&[("src/os/a.rs", &function(80))]), "");
    assert_eq!(told_of(&[("src/os/a.rs", &function(81))]), "long src/os/a.rs long\n");
    assert_eq!(told_of(&[("src/os/a.rs", &format!("#[cfg(test)]\nmod tests {{\n{}\n}}", function(81)))]), "");
}

#[test]
fn the_list_of_known_breaches_only_shrinks() {
    let found = Breaches::from([("long src/a.rs".to_string(), "src/a.rs: 501 lines".to_string())]);
    assert_eq!(differences(&found, "# known\nlong src/a.rs\n"), [""; 0]);
    assert_eq!(differences(&found, "# known\n"), ["src/a.rs: 501 lines"]);
    let gone = "`long src/b.rs` holds now: remove it from tests/tidy/known.txt";
    assert_eq!(differences(&found, "long src/a.rs\nlong src/b.rs\n"), [gone]);
}
