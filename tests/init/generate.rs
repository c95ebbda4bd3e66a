//! `prefork-init generate`: completions that complete, and a man page that man(1) reads without complaint.

use crate::check::{option_names, variable_of};
use crate::harness::{binary, launch};
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

#[test]
fn what_cannot_be_generated_is_told_and_only_the_first_word_is_a_subcommand() {
    for words in [vec![], vec!["elvish"], vec!["man", "bash"], vec!["--force"]] {
        let (code, out, err) = launch([&["generate"], &words[..]].concat()).finish();
        assert_eq!((code, out.as_str()), (2, ""), "{words:?}");
        assert!(err.starts_with("prefork-init: generate '") && err.lines().count() == 1, "{err}");
        assert!(err.contains("use one of bash, zsh, fish and man"), "{err}");
    }
    for words in [vec!["--", "generate", "man"], vec!["--log-level", "error", "generate", "man"]] {
        let (code, out, err) = launch(words).finish();
        assert_eq!((code, out.as_str()), (127, ""), "{err}");
    }
}

/// A line, and what is offered for its last word: these words and no other, or among others the one behind `+`.
const COMPLETED: [(&str, &str); 14] = [
    ("--max-req", "--max-requests --max-requests-jitter"),
    ("--explain --max-su", "--max-surge"),
    ("-n 4 -b :8000 --log-l", "--log-level"),
    ("st", "status"),
    ("ctl re", "reload recycle"),
    ("ctl ", "+log-level"),
    ("ctl -", "--control --json --timeout -h --help"),
    ("ctl --json --timeout 5m sc", "scale"),
    ("ctl log-level --ti", "--timeout"),
    ("ctl signal 0 TERM --ti", "--timeout"),
    ("ctl reload rec", ""),
    ("healthcheck --ready --he", "--health --help"),
    ("status --wat", "--watch"),
    ("check --deny no-jitter -n 4 --max-su", "--max-surge"),
];

/// Values that stand alone.
const COMPLETED_IN_BASH: [(&str, &str); 6] = [
    ("-n ", "auto"),
    ("--listener ", "per-worker shared"),
    ("--log-level w", "warn"),
    ("--stop-signal QU", "QUIT"),
    ("ctl --json log-level --timeout 1s w", "warn"),
    ("ctl signal 0 --json US", "USR1 USR2"),
];

/// Values that are joined with their option.
const COMPLETED_IN_FISH: [(&str, &str); 4] = [
    ("--listener=", "--listener=per-worker --listener=shared"),
    ("--ready=no", "--ready=notify"),
    ("--user=roo", "+--user=root"),
    ("--chdir=/proc/sys/ker", "--chdir=/proc/sys/kernel/"),
];

/// As bash calls it.
const COMPLETE_IN_BASH: &str = r#"
source "$1" || exit 3
shift
COMP_WORDS=("$@")
COMP_CWORD=$(($# - 1))
# Bash lets none but a completion that it runs itself say so.
compopt() { :; }
_prefork_init prefork-init "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
printf '%s\n' "${COMPREPLY[@]}"
"#;

#[test]
fn bash_completes_options_their_values_and_subcommands() {
    let (_directory, script) = file("bash");
    let text = fs::read_to_string(&script).unwrap();
    assert!(text.contains("complete -F _prefork_init -o nosort -o bashdefault -o default prefork-init\n"));
    for (line, offered) in COMPLETED.iter().chain(&COMPLETED_IN_BASH) {
        let output = Command::new("bash")
            .args(["--norc", "-c", COMPLETE_IN_BASH, "bash"])
            .arg(&script)
            .args(format!("prefork-init {line}").split(' '))
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
    for (line, offered) in COMPLETED.iter().chain(&COMPLETED_IN_FISH) {
        let complete = "source $argv[1]; complete -C $argv[2]";
        let mut fish = Command::new("fish");
        fish.args(["--no-config", "-c", complete]).arg(&script).arg(format!("prefork-init {line}"));
        let output = fish.env("HOME", "/nonexistent").output().unwrap();
        assert_silent(&output);
        assert_offered(&output, line, offered);
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
const COMPLETED_IN_ZSH: [(&str, &str); 17] = [
    ("--max-su", "--max-surge="),
    ("heal", "healthcheck "),
    ("healthcheck --li", "healthcheck --live "),
    ("check -n 4 unshar", "check -n 4 unshare "),
    ("ctl rel", "ctl reload "),
    ("ctl --json --timeout 5m sc", "ctl --json --timeout 5m scale "),
    ("ctl log-level w", "ctl log-level warn "),
    ("ctl --json log-level --timeout 1s w", "ctl --json log-level --timeout 1s warn "),
    ("ctl signal 0 WI", "ctl signal 0 WINCH "),
    ("ctl signal WI", "ctl signal WI"),
    ("ctl signal 0 TERM --ti", "ctl signal 0 TERM --timeout="),
    ("ctl reload rel", "ctl reload rel"),
    ("status --wat", "status --watch "),
    ("check -n 4 --max-su", "check -n 4 --max-surge="),
    ("-n 4 -b :8000 --log-le", "-n 4 -b :8000 --log-level="),
    ("--listener=sh", "--listener=shared "),
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
fn groff_formats_the_man_page_without_a_warning() {
    let (_directory, page) = file("man");
    need("groff");
    let output =
        Command::new("groff").args(["-man", "-ww", "-Tascii", "-P-cbou"]).arg(&page).output().unwrap();
    assert_silent(&output);
    let text = String::from_utf8(output.stdout).unwrap();
    for section in [
        "NAME",
        "SYNOPSIS",
        "DESCRIPTION",
        "OPTIONS",
        "POOL",
        "HANG DETECTION",
        "SUBCOMMANDS",
        "SIGNAL HANDLING",
        "EXIT STATUS",
        "ENVIRONMENT OF WORKERS",
    ] {
        assert!(text.lines().any(|line| line == section), "{section}\n{text}");
    }
    // It breaks lines anywhere, and words too.
    let text = text.replace("-\n", "-").split_ascii_whitespace().collect::<Vec<_>>().join(" ");
    let dense = text.replace(['-', ' '], "");
    for option in option_names() {
        let variable = format!("specifiedwiththe{}environment", variable_of(&option));
        assert!(dense.contains(&variable), "{variable}");
    }
    for part in [
        "-n, --workers <N> Keep N copies",
        "--memory-reserve <SIZE> [default: 64M]",
        "prefork-init -n 4 -b :8000 --health :9000 -- uvicorn app:app --fd {fd}",
        "nginx -g 'daemon off;'",
        "HUP One command: passed on. A pool: reload.",
    ] {
        assert!(text.contains(part), "{part}\n{text}");
    }
}

#[test]
fn what_is_set_in_our_environment_is_nobody_elses_business() {
    let secret = Command::new(binary()).args(["generate", "man"]).env("PREFORK_CHDIR", "/secret").output();
    assert_eq!(String::from_utf8(secret.unwrap().stdout).unwrap(), generated("man"));
}
