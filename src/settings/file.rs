//! The configuration file: TOML, with each option's long name as a key. Its settings are read as words of a command
//! line, `workers = 4` as `--workers=4`, so there is one way to parse a value and one to report an error.

use crate::settings::options::Options;
use crate::values::error::StartError;
use clap::{Arg, ArgAction, Command, CommandFactory};
use std::ffi::OsString;
use std::fmt::Display;
use std::fs;
use std::io::{ErrorKind, Read};
use std::path::Path;
use toml::de::{DeTable, DeValue};

/// The most bytes of a file: a larger one is no configuration.
const LARGEST: u64 = 1 << 20;

/// The key for the command.
const COMMAND: &str = "command";

/// The similarity (Jaro) from which a known key is suggested, as in clap.
const LIKE: f64 = 0.7;

#[derive(Debug)]
pub(crate) struct File {
    /// The path as it was given.
    pub path: String,
    /// Empty if the file has none.
    pub command: Vec<OsString>,
    /// The other keys.
    entries: Vec<Entry>,
}

#[derive(Debug)]
struct Entry {
    key: String,
    values: EntryValues,
}

#[derive(Debug)]
enum EntryValues {
    Is(bool),
    Texts(Vec<String>),
}

impl File {
    /// Reads the file of `--config`.
    ///
    /// # Errors
    /// If it cannot be read, is no TOML, or has an unknown key or an impossible value.
    pub fn read(path: &Path) -> Result<Self, StartError> {
        let text = text_of(path)
            .map_err(|(problem, remedy)| StartError::value("--config", path.display(), problem, remedy))?;
        Self::parse(&path.display().to_string(), &text)
    }

    fn parse(path: &str, text: &str) -> Result<Self, StartError> {
        let table = DeTable::parse(text).map_err(|error| {
            let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or(text);
            let line = before.matches('\n').count().saturating_add(1);
            let remedy = "write lines like max-age = \"6h\" (TOML)";
            StartError::usage(format!("{path}: line {line}"), error.message(), remedy)
        })?;
        let known = Options::command();
        let mut file = Self { path: path.to_owned(), command: Vec::new(), entries: Vec::new() };
        // In the order of the file, so that the first error is reported.
        let mut pairs: Vec<_> = table.into_inner().into_iter().collect();
        pairs.sort_by_key(|(key, _)| key.span().start);
        for (key, value) in pairs {
            let (key, value) = (key.get_ref(), value.get_ref());
            let wrong = |problem: &str, remedy: &dyn Display| {
                StartError::usage(format!("{path}: {key}"), problem, remedy)
            };
            if key == COMMAND {
                let words =
                    texts(value).filter(|words| !words.is_empty() && matches!(value, DeValue::Array(_)));
                let remedy = "write it as in [\"uvicorn\", \"app:app\"]";
                let words = words.ok_or_else(|| wrong("not a list of words", &remedy))?;
                file.command = words.into_iter().map(OsString::from).collect();
                continue;
            }
            if matches!(value, DeValue::Table(_)) {
                return Err(wrong("a section", &"options have none: write KEY = VALUE"));
            }
            if key.as_ref() == "explain" {
                return Err(wrong("only for the command line", &"leave it out"));
            }
            let arg = find(&known, key).ok_or_else(|| match key.as_ref() {
                "config" => wrong("a file cannot name another", &"leave it out"),
                "json" | "deny" | "list" | "all" => {
                    wrong("only for the command line of check", &"leave it out")
                }
                _ => wrong("no such option", &remedy_for(&known, key)),
            })?;
            let values = values(arg, value).map_err(|(problem, remedy)| wrong(problem, &remedy))?;
            file.entries.push(Entry { key: key.to_string(), values });
        }
        Ok(file)
    }

    /// The long names of the options that it sets.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.entries.iter().map(|entry| entry.key.as_str())
    }

    /// Its settings of these options, as words of a command line.
    pub fn words(&self, longs: &[&str]) -> Vec<OsString> {
        let mut words = Vec::new();
        for Entry { key, values } in self.entries.iter().filter(|entry| longs.contains(&entry.key.as_str())) {
            match values {
                EntryValues::Is(false) => {}
                EntryValues::Is(true) => words.push(format!("--{key}").into()),
                EntryValues::Texts(texts) => {
                    words.extend(texts.iter().map(|text| OsString::from(format!("--{key}={text}"))));
                }
            }
        }
        words
    }
}

/// One setting of the file as text, whatever errors the rest has: a client that needs an address does not depend on the
/// other settings.
///
/// # Errors
/// If it cannot be read, or is no TOML.
pub fn setting(path: &Path, key: &str) -> Result<Option<String>, StartError> {
    let wrong =
        |problem: &str, remedy: &str| StartError::value("PREFORK_CONFIG", path.display(), problem, remedy);
    let text = text_of(path).map_err(|(problem, remedy)| wrong(&problem, remedy))?;
    let table = DeTable::parse(&text).map_err(|error| wrong(error.message(), "see prefork-init check"))?;
    let value = table.get_ref().get(key).and_then(|value| texts(value.get_ref()));
    Ok(value.and_then(|texts| texts.into_iter().next()))
}

/// The text of a regular file; else the problem and the remedy.
fn text_of(path: &Path) -> Result<String, (String, &'static str)> {
    let told = |error: std::io::Error| match error.kind() {
        ErrorKind::NotFound => ("not found".to_owned(), "check the path, or that it is mounted"),
        ErrorKind::PermissionDenied => ("it may not be read".to_owned(), "make it readable for our user"),
        _ => (error.to_string(), "name a file that can be read"),
    };
    // Before open(2), which may block on a pipe for ever.
    let found = fs::metadata(path).map_err(told)?;
    if found.is_dir() {
        return Err(("it is a directory".to_owned(), "name the file in it"));
    }
    if !found.is_file() {
        return Err(("it is not a file".to_owned(), "name a file"));
    }
    let mut bytes = Vec::new();
    fs::File::open(path).and_then(|file| file.take(LARGEST + 1).read_to_end(&mut bytes)).map_err(told)?;
    if u64::try_from(bytes.len()).is_ok_and(|size| size > LARGEST) {
        return Err(("larger than 1 MiB".to_owned(), "name a configuration file"));
    }
    String::from_utf8(bytes).map_err(|_| ("not valid UTF-8".to_owned(), "write it without the stray bytes"))
}

/// The option with this long name. Options without a variable, such as help, are not allowed.
fn find<'a>(known: &'a Command, key: &str) -> Option<&'a Arg> {
    keys(known).find(|(long, _)| *long == key).map(|(_, arg)| arg)
}

fn keys(known: &Command) -> impl Iterator<Item = (&str, &Arg)> {
    let options = known.get_arguments().filter(|arg| arg.get_env().is_some() && arg.get_id() != "config");
    options.filter_map(|arg| Some((arg.get_long()?, arg)))
}

fn remedy_for(known: &Command, key: &str) -> String {
    // Users copy names of variables and flags.
    let plain = key.trim_start_matches('-').to_ascii_lowercase().replace('_', "-");
    let plain = plain.strip_prefix("prefork-").unwrap_or(&plain);
    let longs = keys(known).map(|(long, _)| long).chain([COMMAND]);
    let likeness = longs.map(|long| (strsim::jaro(plain, long), long)).filter(|(like, _)| *like > LIKE);
    match likeness.max_by(|one, other| one.0.total_cmp(&other.0)) {
        Some((_, long)) => format!("did you mean {long}?"),
        None => "use the long name of an option, see --help".to_owned(),
    }
}

type Wrong = (&'static str, String);

/// The values for an option, or the problem and the remedy.
fn values(arg: &Arg, value: &DeValue<'_>) -> Result<EntryValues, Wrong> {
    let long = arg.get_long().unwrap_or_default();
    if matches!(arg.get_action(), ArgAction::SetTrue) {
        let DeValue::Boolean(is) = value else {
            return Err(("neither on nor off", "write true or false".to_owned()));
        };
        return Ok(EntryValues::Is(*is));
    }
    let quoted = || format!("write it in quotes, as a value of --{long}");
    match value {
        DeValue::Boolean(_) => Err(("its value is missing", quoted())),
        DeValue::Datetime(_) => Err(("a date is no value of it", quoted())),
        DeValue::Table(_) => Err(("a table", quoted())),
        DeValue::Array(_) if !matches!(arg.get_action(), ArgAction::Append) => {
            Err(("a list", "it takes one value".to_owned()))
        }
        DeValue::Integer(number) if number.radix() != 10 => Err(("not a decimal number", quoted())),
        DeValue::Array(_) | DeValue::String(_) | DeValue::Integer(_) | DeValue::Float(_) => texts(value)
            .map(EntryValues::Texts)
            .ok_or(("not a list of plain values", "write strings or numbers in it".to_owned())),
    }
}

/// The text of a value, or of each in a list. `None` if one contains a NUL, which no word of a command line can.
fn texts(value: &DeValue<'_>) -> Option<Vec<String>> {
    let text = match value {
        DeValue::String(text) => text.to_string(),
        DeValue::Integer(number) if number.radix() == 10 => number.as_str().to_owned(),
        DeValue::Float(number) => number.as_str().to_owned(),
        DeValue::Array(items) => {
            let all: Option<Vec<Vec<String>>> = items
                .iter()
                .map(|item| match item.get_ref() {
                    DeValue::Array(_) => None,
                    item => texts(item),
                })
                .collect();
            return all.map(|all| all.concat());
        }
        _ => return None,
    };
    (!text.contains('\0')).then(|| vec![text])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::rng::Rng;

    fn words(text: &str) -> Result<Vec<String>, String> {
        let file = File::parse("f", text).map_err(|error| error.to_string())?;
        let keys: Vec<&str> = file.keys().collect();
        Ok(file.words(&keys).into_iter().map(|word| word.into_string().unwrap()).collect())
    }

    #[test]
    fn values_are_the_words_of_a_command_line() {
        for (text, expected) in [
            ("workers = 4", &["--workers=4"][..]),
            ("max-requests = 10_000", &["--max-requests=10000"]),
            ("oom-score-adj = -5", &["--oom-score-adj=-5"]),
            ("max-age = \"6h\"", &["--max-age=6h"]),
            ("no-placeholders = true\npause = false", &["--no-placeholders"]),
            ("bind = [\":8000\", \"unix:/s\"]", &["--bind=:8000", "--bind=unix:/s"]),
            ("bind = \":8000,unix:/s\"", &["--bind=:8000,unix:/s"]),
            ("success-codes = [143, \"3\"]", &["--success-codes=143", "--success-codes=3"]),
            ("bind = []", &[]),
            ("# nothing\n", &[]),
        ] {
            assert_eq!(words(text).unwrap(), expected, "{text}");
        }
    }

    #[test]
    fn what_cannot_be_is_told_with_file_key_and_remedy() {
        for (text, told) in [
            ("wrokers = 4", "f: wrokers: no such option: did you mean workers?"),
            ("max_age = 4", "f: max_age: no such option: did you mean max-age?"),
            ("PREFORK_BIND = 4", "f: PREFORK_BIND: no such option: did you mean bind?"),
            ("comand = 4", "f: comand: no such option: did you mean command?"),
            ("zzz = 4", "f: zzz: no such option: use the long name"),
            ("\"workers=3 --bind\" = 4", "no such option"),
            ("\"\" = 4", "f: : no such option"),
            ("help = true", "f: help: no such option"),
            ("config = \"g\"", "f: config: a file cannot name another"),
            ("explain = true", "f: explain: only for the command line"),
            ("deny = \"all\"", "f: deny: only for the command line of check"),
            ("no-placeholders = 1", "f: no-placeholders: neither on nor off: write true or false"),
            ("workers = true", "f: workers: its value is missing"),
            ("workers = [4]", "f: workers: a list: it takes one value"),
            ("umask = 0o27", "f: umask: not a decimal number: write it in quotes"),
            ("max-age = 1979-05-27", "f: max-age: a date is no value of it"),
            ("bind = [[\":8000\"]]", "f: bind: not a list of plain values"),
            ("bind = [0x10]", "f: bind: not a list of plain values"),
            ("chdir = \"/\\u0000\"", "f: chdir: not a list of plain values"),
            ("[workers]\nn = 4", "f: workers: a section: options have none"),
            ("[pool]\nworkers = 4", "f: pool: a section"),
            ("command = \"uvicorn app:app\"", "f: command: not a list of words: write it as in [\"uvicorn\""),
            ("command = []", "f: command: not a list of words"),
            ("workers = 4\nbind = :8000\n", "f: line 2: "),
            ("workers = 4\nworkers = 5\n", "f: line 2: duplicate key"),
            ("workers = 4\nmax-age = \"6h", "f: line 2: "),
            ("workers = 0\nzzz = 1\nconfig = 2", "f: zzz"),
        ] {
            let error = words(text).unwrap_err();
            assert!(error.contains(told), "{text}: {error}");
        }
    }

    #[test]
    fn what_no_parser_should_recurse_into_is_refused() {
        let deep = format!("bind = {}{}", "[".repeat(100_000), "]".repeat(100_000));
        assert!(words(&deep).unwrap_err().starts_with("f: line 1: "));
    }

    fn any<'a>(rng: &mut Rng, from: &[&'a str]) -> &'a str {
        from[usize::try_from(rng.up_to(u64::try_from(from.len() - 1).unwrap())).unwrap()]
    }

    #[test]
    fn each_file_is_words_or_one_line_of_what_is_wrong() {
        const KEYS: [&str; 8] = [
            "workers = ",
            "bind = ",
            "max-age = ",
            "command = ",
            "no-placeholders = ",
            "wrokers = ",
            "#",
            "",
        ];
        const VALUES: [&str; 15] = [
            "4",
            "0x10",
            "\"6h\"",
            "\"a\\u0000\"",
            "true",
            "1979-05-27",
            "[",
            "[ 1, ",
            "]",
            ",",
            "{ a = 1 }",
            "\"",
            "\\u0000",
            "\u{e9}\u{1b}",
            "\n",
        ];
        let mut rng = Rng::new(1);
        let (mut read, mut refused) = (0, 0);
        for _ in 0..3_000 {
            let lines = (0..=rng.up_to(1)).map(|_| {
                let values: String = (0..=rng.up_to(1)).map(|_| any(&mut rng, &VALUES)).collect();
                format!("{}{values}\n", any(&mut rng, &KEYS))
            });
            let text: String = lines.collect();
            match words(&text) {
                Ok(words) => {
                    assert!(!words.iter().any(|word| word.contains('\0')), "{text:?}: {words:?}");
                    read += usize::from(!words.is_empty());
                }
                Err(wrong) => {
                    assert!(
                        wrong.starts_with("f: ") && !wrong.contains(['\n', '\u{1b}']),
                        "{text:?}: {wrong:?}"
                    );
                    refused += 1;
                }
            }
        }
        assert!(read > 50 && refused > 500, "{read} {refused}");
    }

    #[test]
    fn a_string_is_the_value_to_the_letter() {
        const PIECES: [&str; 10] = ["a", " ", "=", "'", "\"", "\\", "\n", "#", "\u{e9}", "--"];
        let mut rng = Rng::new(2);
        for _ in 0..500 {
            let value: String = (0..rng.up_to(6)).map(|_| any(&mut rng, &PIECES)).collect();
            let written = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
            let expected = [format!("--chdir={value}")];
            assert_eq!(words(&format!("chdir = \"{written}\"")).unwrap(), expected);
        }
    }
}
