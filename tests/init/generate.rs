//! `prefork-init generate`: completions that complete, and a man page that man(1) reads without complaint.

use crate::harness::{binary, launch};
use clap::CommandFactory;
use prefork_init::settings::options::{Options, definition, own_variables};
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};

fn generated(what: &str) -> String {
    let (code, out, err) = launch(["generate", what]).finish();
    assert_eq!((code, err.as_str()), (0, ""), "{what}");
    out
}

/// The generated text in a file of this name.
fn file(what: &str) -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join(what);
    fs::write(&path, generated(what)).unwrap();
    (directory, path)
}

/// Fails where this program is not installed: nothing would be tested.
fn need(program: &str) {
    let here = Command::new("sh").args(["-c", "command -v \"$0\" >/dev/null", program]).status();
    assert!(here.unwrap().success(), "{program} is not here: run tests/install.sh, which installs it");
}

fn assert_silent(output: &Output) {
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && text.is_empty(), "{}: {text}", output.status);
}

fn longs() -> Vec<String> {
    let mut command = Options::command();
    command.build();
    let longs: Vec<_> = command.get_arguments().filter_map(|arg| arg.get_long().map(str::to_owned)).collect();
    assert!(longs.len() > 50, "{longs:?}");
    longs
}

/// Every subcommand, and those behind them, with the words that lead to it.
fn levels(command: &clap::Command, path: &str) -> Vec<(String, clap::Command)> {
    let mut levels = Vec::new();
    for sub in command.get_subcommands() {
        let path = format!("{path} {}", sub.get_name()).trim_start().to_owned();
        levels.push((path.clone(), sub.clone()));
        levels.extend(self::levels(sub, &path));
    }
    levels
}

fn built() -> clap::Command {
    let mut command = definition();
    command.build();
    command
}

/// What is said of a subcommand; in the man page together with those behind it.
fn part(what: &str, text: &str, path: &str) -> String {
    let between = |from: &str, to: &str| {
        let (_, rest) = text.split_once(from).unwrap_or_else(|| panic!("{what}: {from}"));
        rest.split_once(to).unwrap_or((rest, "")).0.to_owned()
    };
    match what {
        "bash" => between(&format!("        \"{path}\")\n"), ";;"),
        "zsh" => between(&format!("\n_prefork-init_{}() {{\n", path.replace(' ', "_")), "\n}\n"),
        "man" => between(&format!(".SS {}\n", path.split(' ').next().unwrap()), "\n.S"),
        _ => {
            let condition = format!("\"__prefork_init_at '{path}'");
            text.lines().filter(|line| line.contains(&condition)).map(|line| format!("{line}\n")).collect()
        }
    }
}

fn has_name(text: &str, name: &str) -> bool {
    let ends = |rest: &str| !rest.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '-');
    text.match_indices(name).any(|(at, _)| ends(&text[at + name.len()..]))
}

#[test]
fn every_option_and_subcommand_is_in_each() {
    let levels = levels(&built(), "");
    assert!(levels.iter().any(|(path, _)| path == "generate"));
    assert!(levels.iter().filter(|(path, _)| path.starts_with("ctl ")).count() >= 6);
    for what in ["bash", "zsh", "fish", "man"] {
        let text = generated(what).replace("\\-", "-");
        let named = |long: &str| if what == "fish" { format!("-l {long}") } else { format!("--{long}") };
        for long in longs() {
            assert!(has_name(&text, &named(&long)), "{what}: {long}");
        }
        for (path, sub) in &levels {
            let of_it = part(what, &text, path);
            for arg in sub.get_arguments().filter(|arg| !arg.is_positional()) {
                let long = arg.get_long().unwrap();
                // What has a variable is one of the main options, which the page does not repeat.
                let elsewhere = arg.get_env().is_some() || long == "help" || long == "version";
                let name = named(long);
                assert!((what == "man" && elsewhere) || has_name(&of_it, &name), "{what}: {path} {name}");
            }
            let (above, name) = path.rsplit_once(' ').unwrap_or(("", path));
            let offered = if above.is_empty() { text.clone() } else { part(what, &text, above) };
            assert!(has_name(&offered, name), "{what}: {path}");
            if !above.is_empty() && what == "man" {
                let values = sub.get_positionals().flat_map(|arg| arg.get_value_names().unwrap_or_default());
                let values: String = values.map(|value| format!(" \\fI{value}\\fR")).collect();
                let line = format!("\n.TP\n\\fB{name}\\fR{values}\n");
                assert!(offered.contains(&line), "{path}: {line}");
            }
        }
    }
}

#[test]
fn every_subcommand_says_what_it_does_and_what_its_exit_codes_mean() {
    let page = generated("man").replace("\\-", "-");
    let zsh = generated("zsh");
    for (path, sub) in levels(&built(), "") {
        let about = sub.get_about().map(ToString::to_string).unwrap_or_default();
        let first = about.lines().next().unwrap_or_default().trim_end_matches('.').to_owned();
        assert!(!first.is_empty(), "{path}");
        let name = sub.get_name();
        assert!(zsh.contains(&format!("        '{name}:{first}'\n")), "{path}: {first}");
        let words = |text: &str| text.split_ascii_whitespace().collect::<Vec<_>>().join(" ");
        let of_it = words(&part("man", &page, &path));
        assert!(of_it.contains(&words(&first)), "{path}: {first}: {of_it}");
        if let Some(codes) = sub.get_after_help() {
            assert!(of_it.contains(&words(&codes.to_string())), "{path}: {of_it}");
        }
    }
    for name in ["status", "ctl"] {
        let of_it = part("man", &page, name);
        assert!(["1 failed", "4 not done", "69 not"].iter().all(|code| of_it.contains(code)), "{of_it}");
    }
    // These are not the main options of the same name.
    for own in ["--ready", "--health", "--control"] {
        assert!(part("man", &page, "healthcheck").contains(&format!("\\fB{own}\\fR")), "{own}");
    }
    let check = part("man", &page, "check");
    assert!(!check.contains("--workers") && check.contains("It takes the options above, too."), "{check}");
}

#[test]
fn what_cannot_be_generated_is_told_and_only_the_first_word_is_a_subcommand() {
    for words in [vec![], vec!["elvish"], vec!["man", "bash"], vec!["--force"]] {
        let (code, out, err) = launch([&["generate"], &words[..]].concat()).finish();
        assert_eq!((code, out.as_str()), (2, ""), "{words:?}");
        assert!(err.starts_with("prefork-init: generate '") && err.lines().count() == 1, "{err}");
        assert!(err.contains("use one of bash, zsh, fish and man"), "{err}");
    }
    let (code, out, _) = launch(["generate", "--help"]).finish();
    assert!(code == 0 && out.contains("Usage: prefork-init generate"), "{out}");
    for words in [vec!["--", "generate", "man"], vec!["--log-level", "error", "generate", "man"]] {
        let (code, out, err) = launch(words).finish();
        assert_eq!((code, out.as_str()), (127, ""), "{err}");
    }
}

/// A line, the words bash makes of it (it breaks them at `=` and `:`), and what is offered for the last one: these words
/// and no other, or among others the one behind `+`.
const COMPLETED: [(&str, &str, &str); 38] = [
    ("--max-req", "--max-req", "--max-requests --max-requests-jitter"),
    ("--explain --max-su", "--explain --max-su", "--max-surge"),
    ("gener", "gener", "+generate"),
    ("generate ", "generate ''", "bash zsh fish man"),
    ("generate f", "generate f", "fish"),
    ("generate -", "generate -", "-h --help"),
    ("generate man ", "generate man ''", ""),
    ("ctl ", "ctl ''", "reload recycle scale stop signal log-level"),
    ("ctl re", "ctl re", "reload recycle"),
    ("ctl -", "ctl -", "--control --json --timeout -h --help"),
    ("ctl --json --timeout 5m sc", "ctl --json --timeout 5m sc", "scale"),
    ("ctl --timeout=5m sc", "ctl --timeout = 5m sc", "scale"),
    ("ctl --timeout ", "ctl --timeout ''", ""),
    ("ctl log-level ", "ctl log-level ''", "error warn info debug"),
    ("ctl --json log-level --timeout 1s w", "ctl --json log-level --timeout 1s w", "warn"),
    ("ctl log-level warn ", "ctl log-level warn ''", ""),
    ("ctl signal ", "ctl signal ''", ""),
    ("ctl signal 0 ", "ctl signal 0 ''", "HUP INT QUIT ABRT KILL USR1 USR2 TERM WINCH"),
    ("ctl signal 0 --json US", "ctl signal 0 --json US", "USR1 USR2"),
    ("ctl signal 0 TERM --ti", "ctl signal 0 TERM --ti", "--timeout"),
    ("ctl reload re", "ctl reload re", ""),
    // It has no value here.
    ("healthcheck --ready --he", "healthcheck --ready --he", "--health --help"),
    ("healthcheck --ready ", "healthcheck --ready ''", ""),
    ("status --wat", "status --wat", "--watch"),
    ("check --deny no-jitter -n 4 --max-su", "check --deny no-jitter -n 4 --max-su", "--max-surge"),
    ("-n ", "-n ''", "auto"),
    ("--listener ", "--listener ''", "per-worker shared"),
    ("--listener=", "--listener =", "per-worker shared"),
    ("--listener=sh", "--listener = sh", "shared"),
    ("--log-level w", "--log-level w", "warn"),
    ("--user roo", "--user roo", "+root"),
    ("--chdir /proc/sys/ker", "--chdir /proc/sys/ker", "/proc/sys/kernel"),
    ("--stop-signal QU", "--stop-signal QU", "QUIT"),
    ("-n 4 -b :8000 --log-l", "-n 4 -b : 8000 --log-l", "--log-level"),
    // The command itself; behind it nothing is ours.
    ("-n 4 -b :8000 unshar", "-n 4 -b : 8000 unshar", "+unshare"),
    ("-n 4 -- unshar", "-n 4 -- unshar", "+unshare"),
    ("-n 4 -b :8000 unshare --max-", "-n 4 -b : 8000 unshare --max-", ""),
    ("-- unshare --max-", "-- unshare --max-", ""),
];

/// As bash calls it: with the line in variables.
const COMPLETE_IN_BASH: &str = r#"
source "$1" || exit 3
shift
COMP_LINE=$1 COMP_POINT=${#1}
shift
COMP_WORDS=("$@")
COMP_CWORD=$(($# - 1))
_prefork_init prefork-init "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
printf '%s\n' "${COMPREPLY[@]}"
"#;

#[test]
fn bash_completes_options_their_values_subcommands_and_the_command() {
    let (_directory, script) = file("bash");
    assert_silent(&Command::new("bash").arg("-n").arg(&script).output().unwrap());
    for (line, words, offered) in COMPLETED {
        let words = format!("prefork-init {words}").replace("''", "\u{1}");
        let words: Vec<String> = words.split(' ').map(|word| word.replace('\u{1}', "")).collect();
        let output = Command::new("bash")
            .args(["--norc", "-c", COMPLETE_IN_BASH, "bash"])
            .arg(&script)
            .arg(format!("prefork-init {line}"))
            .args(words)
            .output()
            .unwrap();
        assert_silent(&output);
        assert_offered(&output, line, offered);
    }
}

fn assert_offered(output: &Output, line: &str, offered: &str) {
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    let mut words: Vec<&str> =
        text.lines().filter_map(|line| line.split('\t').next()).filter(|word| !word.is_empty()).collect();
    match offered.strip_prefix('+') {
        Some(one) => assert!(words.contains(&one), "{line}: {words:?}"),
        None => {
            let mut offered: Vec<&str> = offered.split_ascii_whitespace().collect();
            words.sort_unstable();
            offered.sort_unstable();
            assert_eq!(words, offered, "{line}");
        }
    }
}

#[test]
fn fish_completes_the_same() {
    let (_directory, script) = file("fish");
    need("fish");
    assert_silent(&Command::new("fish").args(["--no-config", "-n"]).arg(&script).output().unwrap());
    for (line, words, offered) in COMPLETED {
        let complete = "source $argv[1]; complete -C $argv[2]";
        let line = format!("prefork-init {line}");
        let mut fish = Command::new("fish");
        fish.args(["--no-config", "-c", complete]).arg(&script).arg(&line).env("HOME", "/nonexistent");
        let output = fish.output().unwrap();
        // It adds a slash to directories, and the option to values that are joined with it.
        let offered = match words.split_once(" =") {
            Some((option, value)) if !value.trim_start().contains(' ') => {
                offered.split(' ').map(|word| format!("{option}={word}")).collect::<Vec<_>>().join(" ")
            }
            _ if line.contains("--chdir") => format!("{offered}/"),
            _ => offered.to_owned(),
        };
        assert_offered(&output, &line, &offered);
    }
}

/// Types lines, each with a tab, in a terminal of its own, and prints what each has become.
const COMPLETE_IN_ZSH: &str = r#"
zmodload zsh/zpty
zpty shell zsh -f -i
# What the shell prints up to the end of this.
wait_for() { text= ; while [[ $text != *$1* ]] { zpty -r shell part || exit 4; text+=$part } }
zpty -w shell "PS1= RPS1= PS2=; unsetopt zle_bracketed_paste; autoload -Uz compinit && compinit -u -D
source $1; show() { print -r -- \"<<\$BUFFER>>\"; BUFFER=; zle accept-line }; zle -N show; bindkey ^X show; print set'-'up"
wait_for set-up
shift
for line {
    zpty -n -w shell $line$'\t\x18'
    wait_for \>\>
    text=${text##*\<\<}
    print -r -- ${text%%\>\>*}
}
zpty -d shell
"#;

/// A line, and what it becomes.
const COMPLETED_IN_ZSH: [(&str, &str); 20] = [
    ("--max-su", "--max-surge="),
    ("gener", "generate "),
    ("generate f", "generate fish "),
    ("-n 4 gener", "-n 4 gener"),
    ("ctl rel", "ctl reload "),
    ("ctl --json --timeout 5m sc", "ctl --json --timeout 5m scale "),
    ("ctl log-level w", "ctl log-level warn "),
    ("ctl --json log-level --timeout 1s w", "ctl --json log-level --timeout 1s warn "),
    ("ctl signal 0 WI", "ctl signal 0 WINCH "),
    ("ctl signal WI", "ctl signal WI"),
    ("ctl signal 0 TERM --ti", "ctl signal 0 TERM --timeout="),
    ("ctl reload rel", "ctl reload rel"),
    ("healthcheck --ready --hea", "healthcheck --ready --health="),
    ("status --wat", "status --watch "),
    ("check -n 4 --max-su", "check -n 4 --max-surge="),
    ("-n 4 -b :8000 --log-le", "-n 4 -b :8000 --log-level="),
    ("--listener=sh", "--listener=shared "),
    ("-n 4 -b :8000 unshar", "-n 4 -b :8000 unshare "),
    ("-n 4 -- unshar", "-n 4 -- unshare "),
    ("-- unshare --max-su", "-- unshare --max-su"),
];

#[test]
fn zsh_completes_the_same() {
    let (_directory, script) = file("zsh");
    need("zsh");
    assert_silent(&Command::new("zsh").args(["-f", "-n"]).arg(&script).output().unwrap());
    let lines = COMPLETED_IN_ZSH.map(|(line, _)| format!("prefork-init {line}"));
    // Should its terminal never say what is waited for.
    let mut zsh = Command::new("timeout");
    let output =
        zsh.args(["60", "zsh", "-f", "-c", COMPLETE_IN_ZSH, "zsh"]).arg(&script).args(lines).output();
    let output = output.unwrap();
    let expected = COMPLETED_IN_ZSH.map(|(_, completed)| format!("prefork-init {completed}\n")).concat();
    assert_eq!(String::from_utf8_lossy(&output.stdout), expected, "{output:?}");
}

#[test]
fn the_man_page_has_the_sections_of_one_and_every_variable_and_default() {
    let page = generated("man");
    let sections: Vec<&str> = page.lines().filter_map(|line| line.strip_prefix(".SH ")).collect();
    let expected = [
        "NAME",
        "SYNOPSIS",
        "DESCRIPTION",
        "OPTIONS",
        "SUBCOMMANDS",
        "SIGNALS",
        "EXIT STATUS",
        "ENVIRONMENT",
        "EXAMPLES",
        "SEE ALSO",
    ];
    assert_eq!(sections, expected);
    assert!(page.is_ascii());
    assert!(page.contains(".SS Hang detection\n") && page.contains(".SS Pool\n"));
    // It is broken into lines anywhere.
    let text = page.split_ascii_whitespace().collect::<Vec<_>>().join(" ").replace("\\-", "-");
    for variable in own_variables() {
        let variable = format!("Variable: {}.", variable.display());
        assert!(text.contains(&variable), "{variable}");
    }
    assert!(text.contains("Default: 64M. Variable: PREFORK_MEMORY_RESERVE."));
    assert!(text.contains("\\fB-n\\fR, \\fB-w\\fR, \\fB--workers\\fR \\fIN\\fR Keep N copies"));
    // What is set in our environment is nobody else's business.
    let secret = Command::new(binary()).args(["generate", "man"]).env("PREFORK_CHDIR", "/secret").output();
    assert_eq!(String::from_utf8(secret.unwrap().stdout).unwrap(), page);
}

#[test]
fn groff_formats_the_man_page_without_a_warning() {
    let (_directory, page) = file("man");
    need("groff");
    let output = Command::new("groff").args(["-man", "-ww", "-Tutf8", "-P-c"]).arg(&page).output().unwrap();
    assert_silent(&output);
    let text = plain(&String::from_utf8(output.stdout).unwrap());
    for line in ["NAME", "   Pool", "       -n, -w, --workers N", "EXIT STATUS"] {
        assert!(text.lines().any(|found| found.trim_end() == line), "{line}\n{text}");
    }
    // Told apart from what a shell takes for a dash.
    assert!(
        text.contains("prefork-init -n 4 -b :8000 --health :9000 -- uvicorn app:app --fd {fd}"),
        "{text}"
    );
    assert!(text.contains("nginx -g 'daemon off;'"), "{text}");
}

/// Without overstriking, by which old terminals have bold.
fn plain(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        if c == '\u{8}' {
            out.pop();
        } else {
            out.push(c);
        }
    }
    out.replace(['\u{2010}', '\u{2212}'], "-").replace(['\u{2018}', '\u{2019}'], "'")
}
