//! What is told of every transition, held to golden.txt: each note with its lines as text and as JSON, without their
//! time, the variables of hooks, and the lines of dumb-init and tini. With `PREFORK_GOLDEN=write` the test writes the
//! file anew.

pub mod every;

use super::line::{Look, tests::without_time};
use super::style::voice::{Said, Voice};
use super::{hook_variables, notes};
use crate::core::Note;
use crate::values::log::LogFormat;
use crate::values::style::Style;

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/report/golden.txt");

fn logged(note: &Note, format: LogFormat) -> Vec<String> {
    let (look, mut lines) = (Look { format, colours: false }, Vec::new());
    notes::describe(note, "a \"quoted\" command", &mut |told| lines.extend(look.transition(told)));
    lines.iter().map(|line| without_time(line.strip_suffix('\n').unwrap())).collect()
}

fn hook(note: &Note) -> Option<String> {
    let happened = hook_variables::of(note)?;
    let variables: Vec<_> = happened.variables().map(|(name, value)| format!("{name}={value}")).collect();
    Some(variables.join("; "))
}

/// The lines of an original with all that it says.
fn said(note: &Note, style: Style) -> String {
    let voice = Voice { style, verbosity: 3, command: "command".to_owned(), setsid: true };
    match voice.say(note) {
        // tini's have our pid.
        Said::Lines(lines) => lines.replace(&format!("({})", std::process::id()), "(1)"),
        Said::AsUsual => String::new(),
    }
}

fn told(note: &Note) -> String {
    let mut told = vec![format!("{note:?}")];
    told.extend([LogFormat::Text, LogFormat::Json].iter().flat_map(|format| logged(note, *format)));
    told.extend(hook(note));
    let said = [Style::DumbInit, Style::Tini].map(|style| said(note, style)).concat();
    told.extend(said.lines().map(ToOwned::to_owned));
    told.join("\n")
}

#[test]
fn what_is_told_of_every_transition_stays_what_it_was() {
    let told: Vec<String> = every::notes().iter().map(told).collect();
    if std::env::var("PREFORK_GOLDEN").is_ok_and(|wanted| wanted == "write") {
        return std::fs::write(FILE, told.join("\n\n") + "\n").unwrap();
    }
    let golden = std::fs::read_to_string(FILE).unwrap();
    let golden: Vec<&str> = golden.trim_end().split("\n\n").collect();
    assert_eq!(told.len(), golden.len());
    for (told, golden) in told.iter().zip(golden) {
        assert_eq!(told, golden);
    }
}
