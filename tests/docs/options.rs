//! docs/options.md is made of `--help`. `PREFORK_BLESS=1 cargo test docs::options` writes it.

use super::{help, read, repository};
use std::fmt::Write;
use std::fs;

/// For each heading of the help: where more is said.
const MORE: [(&str, &str); 15] = [
    ("Configuration", "[Configuration](configuration.md)"),
    ("Signals", "[Signals](signals.md)"),
    ("Init", "[PID 1](pid1.md)"),
    ("Process", "[Users](users.md)"),
    ("Pool", "[Sizing](sizing.md), [addresses](configuration.md#addresses), [replacement](replacement.md)"),
    ("Replacement", "[Replacement](replacement.md)"),
    ("Readiness", "[Readiness](readiness.md)"),
    ("Hang detection", "[Hangs](hangs.md)"),
    ("Recycling", "[Recycling](recycling.md), [memory](memory.md)"),
    ("Respawn", "[Crashes](crashes.md)"),
    ("Stopping", "[Stopping](stopping.md)"),
    ("Before and beside", "[Hooks](hooks.md)"),
    ("Endpoint", "[Health](health.md), [control](control.md)"),
    ("Logging", "[Logging](logging.md)"),
    ("Check", "Options of `prefork-init check` alone: [check](check.md)"),
];

const HEAD: &str = "# Which options are there?

This page is made of `prefork-init --help`. Each option is a flag, a variable, or a key of the
[configuration file](configuration.md), whose keys are the long names; in this order the first wins. In these texts \"we\" is
the supervisor. `D` is a [duration](configuration.md#durations-sizes-signals).
";

/// An option as the help has it.
#[derive(Default)]
pub struct Entry {
    pub names: Vec<String>,
    pub variable: String,
    default: String,
    /// The default, where it can be given as it stands.
    pub value: Option<String>,
    text: Vec<String>,
    values: Vec<String>,
    /// The words that it takes, if it takes no others.
    pub words: Vec<String>,
}

/// The options below each heading of a help text, in its order.
pub fn sections(help: &str) -> Vec<(String, Vec<Entry>)> {
    let mut sections: Vec<(String, Vec<Entry>)> = Vec::new();
    for line in help.lines() {
        let is_heading = !line.starts_with(' ') && line.ends_with(':');
        let is_name =
            line.starts_with("  ") && !line.starts_with("       ") && line.trim_start().starts_with('-');
        if is_heading {
            sections.push((line.trim_end_matches(':').to_owned(), Vec::new()));
        } else if let Some((_, entries)) = sections.last_mut() {
            if is_name {
                let names = line.trim().replace(['<', '>'], "");
                entries.push(Entry {
                    names: names.split(", ").map(str::to_owned).collect(),
                    ..Entry::default()
                });
            } else if let Some(entry) = entries.last_mut() {
                take(entry, line.trim());
            }
        }
    }
    sections.retain(|(heading, entries)| !entries.is_empty() && heading != "Options");
    sections
}

/// One more line of what is said of an option.
fn take(entry: &mut Entry, line: &str) {
    let about = |name: &str| line.strip_prefix(&format!("[{name}: "))?.strip_suffix(']');
    if let Some(variable) = about("env") {
        entry.variable = format!("`{}`", variable.trim_end_matches('='));
    } else if let Some(default) = about("default") {
        entry.default = default.to_owned();
        entry.value = Some(default.to_owned());
    } else if let Some(alias) = about("alias").or_else(|| about("aliases")) {
        entry.names.insert(entry.names.len() - 1, alias.to_owned());
    } else if let Some(values) = about("possible values") {
        entry.text.push(values.to_owned());
        entry.words.extend(values.split(", ").map(str::to_owned));
    } else if let Some((value, meaning)) = line.strip_prefix("- ").and_then(|line| line.split_once(':')) {
        entry.values.push(format!("`{value}`: {}", meaning.trim()));
        entry.words.push(value.to_owned());
    } else if !line.is_empty() && line != "Possible values:" {
        // Defaults that are not clap's stand in the text.
        let (text, default) = line.split_once(" [default: ").unwrap_or((line, ""));
        if let Some((default, _)) = default.split_once(']') {
            entry.default = default.to_owned();
        }
        entry.text.push(text.to_owned());
    }
}

fn row(entry: &Entry) -> String {
    let values = (!entry.values.is_empty()).then(|| entry.values.join("; "));
    let sentences = entry.text.iter().cloned().chain(values);
    let text: Vec<String> = sentences.map(|text| text.trim_end_matches('.').to_owned() + ".").collect();
    let names: Vec<String> = entry.names.iter().map(|name| format!("`{name}`")).collect();
    let cells = [names.join(", "), entry.variable.clone(), entry.default.clone(), text.join(" ")];
    let cells = cells.map(|cell| cell.replace('|', "\\|").replace('<', "&lt;"));
    format!("| {} |\n", cells.join(" | "))
}

fn page() -> String {
    let mut page = HEAD.to_owned();
    let check = sections(&help(&["check"])).into_iter().filter(|(heading, _)| heading == "Check");
    for (heading, entries) in sections(&help(&[])).into_iter().chain(check) {
        let more = MORE.iter().find(|(of, _)| *of == heading);
        let (_, more) = more.unwrap_or_else(|| panic!("say in {} where more is said of {heading}", file!()));
        write!(page, "\n## {heading}\n\n{more}\n\n").unwrap();
        page += "| option | variable | default | meaning |\n|---|---|---|---|\n";
        page.extend(entries.iter().map(row));
    }
    page += "\n## status, ctl, healthcheck\n\n[Control](control.md), [health](health.md)\n";
    for of in ["status", "ctl", "healthcheck"] {
        write!(page, "\n```console\n$ prefork-init {of} --help\n{}\n```\n", help(&[of]).trim_end()).unwrap();
    }
    page
}

#[test]
fn the_page_of_options_is_what_the_help_says() {
    let page = page();
    assert!(page.matches("\n| `-").count() > 70, "{page}");
    if std::env::var_os("PREFORK_BLESS").is_some() {
        fs::write(repository("docs/options.md"), &page).unwrap();
    }
    assert!(
        read("docs/options.md") == page,
        "docs/options.md is old: PREFORK_BLESS=1 cargo test docs::options"
    );
}
