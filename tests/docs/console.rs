//! Sessions, as a user types them: run by bash with the real binary and the real uvicorn, in namespaces of their own, so
//! that ports and paths are those of the page. What is printed has to be what the page says, but for numbers.

use super::blocks::Block;
use crate::harness::{binary, servers::server};
use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::process::Command;

/// The application that sessions call `app:app`.
const APP: &str = r#"
async def app(scope, receive, send):
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"hello\n"})
"#;

/// Beside which pool a session is typed, if it starts none itself.
const POOL: &str = "prefork-init -n 2 -b :8000 --health :9000 --control /run/web.sock --replacement-gap 0s -- uvicorn app:app --fd {fd} &";

/// What takes a pool.
const ASKS: [&str; 5] = ["status", "ctl", "healthcheck", "curl", "kill"];

/// Until every worker of the pool is ready.
const WAIT: &str = r#"until [[ $(curl -s localhost:9000/readyz) =~ \"ready\":([0-9]+).*\"workers\":([0-9]+) &&
    ${BASH_REMATCH[1]} = "${BASH_REMATCH[2]}" ]]; do sleep 0.05; done"#;

/// Stands in the output before that of each command.
const MARK: &str = "--- next command ---";

/// Each command of a session, and what it prints.
fn commands(block: &Block) -> Vec<(String, Vec<String>)> {
    let mut commands: Vec<(String, Vec<String>)> = Vec::new();
    for line in block.text.lines() {
        if let Some(command) = line.strip_prefix("$ ") {
            commands.push((command.to_owned(), Vec::new()));
        } else {
            let (_, printed) =
                commands.last_mut().unwrap_or_else(|| panic!("{}: begin with a command", block.at));
            printed.push(line.to_owned());
        }
    }
    commands
}

fn script(commands: &[(String, Vec<String>)]) -> String {
    let mut script = "ip link set lo up\nmount -t tmpfs none /run\n".to_owned();
    let mut add = |command: &str| match command.strip_suffix('&') {
        Some(background) => writeln!(script, "{background} >log 2>&1 &\n{WAIT}").unwrap(),
        None => writeln!(script, "{command}").unwrap(),
    };
    let starts = commands.iter().any(|(command, _)| command.ends_with('&'));
    let asks = |command: &str| {
        command.split_whitespace().any(|word| ASKS.contains(&word)) && !command.ends_with("--help")
    };
    if !starts && commands.iter().any(|(command, _)| asks(command)) {
        add(POOL);
    }
    for (command, _) in commands {
        add(&format!("echo '{MARK}'"));
        add(command);
    }
    // Or bash would execute the last command in its own place.
    script + "exit 0\n"
}

/// Runs a session, and holds that it prints what the page says.
pub fn run(block: &Block) {
    let commands = commands(block);
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("app.py"), APP).unwrap();
    let directory = |program: &Path| program.parent().unwrap().to_str().unwrap().to_owned();
    let (ours, servers) = (directory(&binary()), directory(&server("uvicorn")));
    let namespaces =
        ["--signal=KILL", "120", "unshare", "--net", "--pid", "--fork", "--mount-proc", "--kill-child"];
    let output = Command::new("timeout")
        .args(namespaces)
        .args(["bash", "-c", &format!("exec 2>&1\n{}", script(&commands))])
        .env_clear()
        .env("PATH", format!("{ours}:{servers}:/usr/sbin:/usr/bin:/sbin:/bin"))
        .current_dir(dir.path())
        .output()
        .unwrap();
    let output = String::from_utf8(output.stdout).unwrap();
    let printed: Vec<&str> = output.split(&format!("{MARK}\n")).skip(1).collect();
    let log = || fs::read_to_string(dir.path().join("log")).unwrap_or_default();
    assert_eq!(printed.len(), commands.len(), "{}:\n{output}\n{}", block.at, log());
    for ((command, expected), printed) in commands.iter().zip(printed) {
        let fits = matches(&expected.iter().map(|line| shape(line)).collect::<Vec<_>>(), &shapes(printed));
        assert!(fits, "{}: {command}\n{printed}\nThe log:\n{}", block.at, log());
    }
}

fn shapes(text: &str) -> Vec<String> {
    text.lines().map(shape).collect()
}

/// A line without what differs from run to run: numbers, and times and sizes in whatever units.
fn shape(line: &str) -> String {
    let mut plain = String::new();
    for c in line.chars() {
        match c {
            '0'..='9' if plain.ends_with('#') => {}
            '0'..='9' => plain.push('#'),
            '.' if plain.ends_with('#') => {}
            c => plain.push(c),
        }
    }
    let mut words: Vec<String> = Vec::new();
    for word in plain.split_whitespace() {
        let unit = word.trim_end_matches(',').strip_prefix('#').filter(|unit| (1..=2).contains(&unit.len()));
        if unit.is_some_and(|unit| unit.chars().all(char::is_alphabetic)) {
            // `1m 4s,` is one time.
            words.pop_if(|last| last == "amount");
            words.push(format!("amount{}", if word.ends_with(',') { "," } else { "" }));
        } else {
            words.push(word.to_owned());
        }
    }
    words.join(" ")
}

/// Whether lines are those expected, where `...` is any number of them.
fn matches(expected: &[String], lines: &[String]) -> bool {
    match (expected.split_first(), lines.split_first()) {
        (None, None) => true,
        (Some((first, rest)), _) if first == "..." => {
            matches(rest, lines) || lines.split_first().is_some_and(|(_, lines)| matches(expected, lines))
        }
        (Some((first, rest)), Some((line, lines))) => first == line && matches(rest, lines),
        (None, Some(_)) | (Some(_), None) => false,
    }
}

#[test]
fn lines_are_compared_but_for_numbers_and_left_out_ones() {
    assert_eq!(shape("up 1m 4.5s, 20 of  3 are 28.7M"), "up amount, # of # are amount");
    assert_eq!(shape("up 4s, 1 of 3 are 128K"), "up amount, # of # are amount");
    let lines = |text: &str| shapes(text);
    assert!(matches(&lines("a 1\n...\nd"), &lines("a 2\nb\nc\nd")) && matches(&lines("..."), &lines("")));
    assert!(!matches(&lines("a\nb"), &lines("a\nc")) && !matches(&lines("a\n...\nd"), &lines("a\nb")));
    assert!(!matches(&lines("a"), &lines("a\nb")) && !matches(&lines("a\nb"), &lines("a")));
}
