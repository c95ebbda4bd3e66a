//! Completions for fish 3 and later.

use super::{Flag, Line, Value, with_value};
use std::fmt::Write;

/// Where the cursor is, behind `set -l subcommands` and `set -l with_value`.
const PLACE: &str = "
    set -l words (commandline -opc)
    set -e words[1]
    set -l subcommand none
    if contains -- \"$words[1]\" $subcommands
        set subcommand $words[1]
        set -e words[1]
    end
    test $subcommand = $argv[1]
    or return 1
    set -l place option
    while set -q words[1]
        switch $words[1]
            case --
                set place command
                break
            case '-*'
                if contains -- $words[1] $with_value
                    if not set -q words[2]
                        set place value
                        break
                    end
                    set -e words[1]
                end
            case '*'
                set place command
                break
        end
        set -e words[1]
    end
    contains $place $argv[2..-1]
end

function __prefork_init_first
    test (count (commandline -opc)) -eq 1
end

complete -c prefork-init -f
";

pub fn script(line: &Line) -> String {
    let mut out = "# Completions of prefork-init for fish.\n\n".to_owned();
    out.push_str("# Whether this is the subcommand, and the cursor is at an option, at the value of one, or behind them.\n");
    let names: Vec<&str> = line.subcommands.iter().map(|sub| sub.name.as_str()).collect();
    let mut valued = with_value(&line.flags);
    for name in line.subcommands.iter().flat_map(|sub| with_value(&sub.flags)) {
        if !valued.contains(&name) {
            valued.push(name);
        }
    }
    let _ = writeln!(out, "function __prefork_init_at\n    set -l subcommands {}", names.join(" "));
    let _ = write!(out, "    set -l with_value {}", valued.join(" "));
    out.push_str(PLACE);
    for sub in &line.subcommands {
        let name = &sub.name;
        let help = quoted(&sub.help);
        let _ = writeln!(out, "complete -c prefork-init -n __prefork_init_first -a {name} -d {help}");
        options(&mut out, name, &sub.flags);
        if sub.takes_command {
            command(&mut out, name, "--fcs-skip=2 ", &sub.flags);
        } else if sub.first != Value::Free {
            let first = value(&sub.first);
            let _ = writeln!(out, "complete -c prefork-init -n '__prefork_init_at {name} option' {first}");
        }
    }
    options(&mut out, "none", &line.flags);
    command(&mut out, "none", "", &line.flags);
    out
}

/// Completes the command that is run. The options with a value begin with a short one: the function would take a long
/// one for its own.
fn command(out: &mut String, subcommand: &str, skip: &str, flags: &[Flag]) {
    let condition = format!("'__prefork_init_at {subcommand} option command'");
    let valued = with_value(flags).join(" ");
    let _ = writeln!(
        out,
        "complete -c prefork-init -n {condition} -x -a '(__fish_complete_subcommand {skip}{valued})'"
    );
}

fn options(out: &mut String, subcommand: &str, flags: &[Flag]) {
    for flag in flags {
        let _ = write!(out, "complete -c prefork-init -n '__prefork_init_at {subcommand} option value'");
        if let Some(short) = flag.short {
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
