//! Completions for fish 3 and later.

use super::{Flag, Line, Value, with_value};
use std::fmt::Write;

/// Where the cursor is, behind what there is at each level.
const PLACE: &str = "
# Whether these subcommands are given, and the cursor is at one of these places: behind so many arguments, at the
# value of an option, or in the command that is run.
function __prefork_init_at
    set -l words (commandline -opc)
    set -e words[1]
    set -l level
    set -l given 0
    set -l place
    # Only the first word of all is a subcommand; what is behind that may have options before it.
    if contains -- \"$words[1]\" (__prefork_init_subcommands '')
        set level $words[1]
        set -e words[1]
    end
    while set -q words[1]
        switch $words[1]
            case --
                set place command
                break
            case '-*'
                if contains -- $words[1] (__prefork_init_with_value \"$level\")
                    if not set -q words[2]
                        set place value
                        break
                    end
                    set -e words[1]
                end
            case '*'
                if contains -- \"$level\" $__prefork_init_running
                    set place command
                    break
                else if contains -- $words[1] (__prefork_init_subcommands \"$level\")
                    set level \"$level $words[1]\"
                else
                    set given (math $given + 1)
                end
        end
        set -e words[1]
    end
    test \"$level\" = \"$argv[1]\"
    or return 1
    set -q place[1]
    or set place $given
    contains $place $argv[2..-1]
    or not set -q argv[2]
end

function __prefork_init_first
    test (count (commandline -opc)) -eq 1
end

complete -c prefork-init -f
";

pub fn script(line: &Line) -> String {
    let mut out = "# Completions of prefork-init for fish.\n\n".to_owned();
    let levels = line.levels();
    let having = |names: fn(&Line) -> String| {
        levels.iter().map(move |(path, line)| (path, names(line))).filter(|(_, names)| !names.is_empty())
    };
    table(&mut out, "subcommands", having(Line::subcommand_names));
    table(&mut out, "with_value", having(|line| with_value(&line.flags).join(" ")));
    let running = levels.iter().filter(|(_, line)| line.takes_command).map(|(path, _)| quoted(path));
    let _ = writeln!(out, "set -g __prefork_init_running {}", running.collect::<Vec<_>>().join(" "));
    out.push_str(PLACE);
    for (path, line) in &levels {
        let first = if path.is_empty() { "__prefork_init_first".to_owned() } else { at(path, " 0") };
        for sub in &line.subcommands {
            let help = quoted(&sub.help);
            let _ = writeln!(out, "complete -c prefork-init -n {first} -a {} -d {help}", sub.name);
        }
        options(&mut out, &at(path, if line.takes_command { " 0 value" } else { "" }), &line.flags);
        if line.takes_command {
            let skip = if path.is_empty() { "" } else { "--fcs-skip=2 " };
            command(&mut out, &at(path, " 0 command"), skip, &line.flags);
        }
        for (index, (_, of)) in line.arguments.iter().enumerate().filter(|(_, (_, of))| *of != Value::Free) {
            let _ =
                writeln!(out, "complete -c prefork-init -n {} {}", at(path, &format!(" {index}")), value(of));
        }
    }
    out
}

/// A function that has these names for each level.
fn table<'a>(out: &mut String, name: &str, rows: impl Iterator<Item = (&'a String, String)>) {
    let _ = writeln!(out, "function __prefork_init_{name}\n    switch $argv[1]");
    for (path, names) in rows {
        let _ = writeln!(out, "        case {}\n            printf '%s\\n' {names}", quoted(path));
    }
    out.push_str("    end\nend\n\n");
}

/// A condition: to be at one of these places of the level, or anywhere.
fn at(path: &str, places: &str) -> String {
    format!("\"__prefork_init_at '{path}'{places}\"")
}

/// Completes the command that is run. The options with a value begin with a short one: the function would take a long
/// one for its own.
fn command(out: &mut String, condition: &str, skip: &str, flags: &[Flag]) {
    let valued = with_value(flags).join(" ");
    let _ = writeln!(
        out,
        "complete -c prefork-init -n {condition} -x -a '(__fish_complete_subcommand {skip}{valued})'"
    );
}

fn options(out: &mut String, condition: &str, flags: &[Flag]) {
    for flag in flags {
        let _ = write!(out, "complete -c prefork-init -n {condition}");
        for short in &flag.shorts {
            let _ = write!(out, " -s {short}");
        }
        if let Some(long) = &flag.long {
            let _ = write!(out, " -l {long}");
        }
        if let Some((_, of)) = &flag.value {
            let _ = write!(out, " {}", value(of));
        }
        let _ = writeln!(out, " -d {}", quoted(&flag.help));
    }
}

fn value(value: &Value) -> String {
    match value {
        Value::Words(words) => format!("-x -a '{}'", words.join(" ")),
        Value::Files => "-r -F".to_owned(),
        Value::Directories => "-x -a '(__fish_complete_directories)'".to_owned(),
        Value::Users => "-x -a '(__fish_complete_users)'".to_owned(),
        Value::Groups => "-x -a '(__fish_complete_groups)'".to_owned(),
        Value::Free => "-x".to_owned(),
    }
}

/// Within single quotes of fish.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\\', r"\\").replace('\'', r"\'"))
}
