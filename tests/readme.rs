//! The README tells the truth about the command line.

use crate::harness::binary;
use prefork_init::settings::options::generate::tables::{EXIT_CODES, OF_WORKERS, SIGNALS};
use std::collections::BTreeSet;
use std::process::Command;

/// Every `--option` and `PREFORK_` variable in a text.
fn names(text: &str) -> BTreeSet<String> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    let words = text.split(|c: char| !is_part(c)).map(|word| word.trim_end_matches('-'));
    let is_name = |word: &&str| word.starts_with("--") && word.len() > 3 || word.starts_with("PREFORK_");
    words.filter(is_name).map(str::to_owned).collect()
}

#[test]
fn the_option_table_has_every_option_and_variable_of_the_help_and_no_other() {
    let help = Command::new(binary()).arg("--help").output().unwrap();
    let mut in_help = names(&String::from_utf8(help.stdout).unwrap());
    for known in ["--help", "--version", "--fd", "--limit-max-requests", "--port"] {
        in_help.remove(known);
    }
    let readme = include_str!("../README.md");
    let (_, table) = readme.split_once("## Options").unwrap();
    let (table, _) = table.split_once("\n## ").unwrap();
    let mut in_table = names(table);
    in_table.remove("--help");
    // The prefix alone, as in "`PREFORK_...` variables".
    in_table.remove("PREFORK_");
    assert_eq!(in_table, in_help);
}

/// The rows of the table below a heading, as plain text, without its head.
fn rows(heading: &str) -> Vec<Vec<String>> {
    let readme = include_str!("../README.md");
    let (_, text) = readme.split_once(heading).unwrap();
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
fn the_man_page_has_its_tables() {
    let signals = SIGNALS.map(|(signal, init, pool)| vec![signal, init, pool]);
    assert_eq!(rows("\n## Signals\n"), signals);
    let codes = EXIT_CODES.map(|(code, meaning)| vec![code, meaning]);
    assert_eq!(rows("\n## Exit codes\n"), codes);
    let variables = OF_WORKERS.map(|(name, meaning)| vec![name, meaning]);
    assert_eq!(rows("The workers' environment is ours"), variables);
}

#[test]
fn its_defaults_are_those_of_the_help() {
    let help = Command::new(binary()).arg("--help").output().unwrap();
    let help = String::from_utf8(help.stdout).unwrap();
    let readme = include_str!("../README.md");
    let blocks = help.split("\n  -").flat_map(|block| block.split("\n      --"));
    let defaults = blocks.filter_map(|block| {
        let variable = block.split("[env: ").nth(1)?.split('=').next()?;
        let default = block.split("[default: ").nth(1)?.split(']').next()?;
        Some((variable, default))
    });
    let mut checked = 0;
    for (variable, default) in defaults.filter(|(_, default)| !default.contains('$')) {
        let row = readme.lines().find(|line| line.contains(&format!("`{variable}`"))).unwrap();
        let cells: Vec<&str> = row.replace("\\|", "/").leak().split('|').map(str::trim).collect();
        assert_eq!(cells[3], default, "{variable}");
        checked += 1;
    }
    assert!(checked >= 16, "only {checked} defaults were found in --help");
}
