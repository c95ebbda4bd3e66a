//! Completions for zsh: `_arguments` with the options, and then what the command that is run would have by itself.

use super::{Flag, Line, Value, quoted};
use std::fmt::Write;

pub fn script(line: &Line) -> String {
    let mut out = "#compdef prefork-init\n\n".to_owned();
    out.push_str("_prefork-init_first() {\n");
    subcommands(&mut out, line);
    // Only the first word of all is one.
    out.push_str("    (( CURRENT == 2 )) && _describe -t subcommands subcommand subcommands\n");
    out.push_str("    _command_names -e\n}\n\n");
    for (path, line) in line.levels().iter().filter(|(path, _)| !path.is_empty()) {
        let _ = writeln!(out, "_prefork-init_{}() {{", path.replace(' ', "_"));
        if !line.subcommands.is_empty() {
            subcommands(&mut out, line);
        }
        arguments(&mut out, path, line, "_command_names -e");
        out.push_str("}\n\n");
    }
    out.push_str("_prefork-init() {\n    local curcontext=$curcontext\n    if (( CURRENT > 2 )); then\n");
    let _ = writeln!(
        out,
        "        case $words[2] in\n            {})",
        line.subcommand_names().replace(' ', "|")
    );
    out.push_str("                shift words\n                (( CURRENT-- ))\n");
    out.push_str(
        "                _prefork-init_$words[1]\n                return ;;\n        esac\n    fi\n",
    );
    arguments(&mut out, "", line, "_prefork-init_first");
    out.push_str("}\n\n");
    out.push_str("if [ \"$funcstack[1]\" = _prefork-init ]; then\n    _prefork-init \"$@\"\nelse\n");
    out.push_str("    compdef _prefork-init prefork-init\nfi\n");
    out
}

/// With what they mean, for `_describe`.
fn subcommands(out: &mut String, line: &Line) {
    out.push_str("    local -a subcommands=(\n");
    for sub in &line.subcommands {
        let _ = writeln!(out, "        {}", quoted(&format!("{}:{}", sub.name, sub.help)));
    }
    out.push_str("    )\n");
}

/// The options, and what may follow them; `command` completes the name of the command that is run. Behind that, and
/// behind a subcommand, no option is ours, or that of the level above.
fn arguments(out: &mut String, path: &str, line: &Line, command: &str) {
    out.push_str("    _arguments -s -S : \\\n");
    specs(out, &line.flags, 8);
    if line.takes_command {
        let _ = writeln!(out, "        '(-)1: :{command}' '*:: :_normal'");
    } else if line.subcommands.is_empty() {
        let specs = line.arguments.iter().enumerate().map(|(index, (name, value))| {
            let place = index.saturating_add(1);
            quoted(&format!("{place}:{}:{}", escaped(name, &[':', '\\']), action(value)))
        });
        let _ = writeln!(out, "        {}", specs.collect::<Vec<_>>().join(" "));
    } else {
        let describe = "{_describe -t subcommands subcommand subcommands}";
        let behind = format!("{{_call_function - _prefork-init_{}_$words[1]}}", path.replace(' ', "_"));
        let _ = writeln!(out, "        '(-)1: :{describe}' '*:: :{behind}'");
    }
}

fn specs(out: &mut String, flags: &[Flag], indent: usize) {
    for flag in flags {
        let names = flag.names();
        // Given once, it is not offered again.
        let except = if flag.repeats { "*".to_owned() } else { format!("({})", names.join(" ")) };
        for name in &names {
            let joined = match (&flag.value, name.starts_with("--")) {
                (None, _) => "",
                (Some(_), true) => "=",
                (Some(_), false) => "+",
            };
            let help = escaped(&flag.help, &['[', ']', '\\']);
            let value = flag
                .value
                .as_ref()
                .map(|(name, value)| format!(":{}:{}", escaped(name, &[':', '\\']), action(value)));
            let spec = format!("{except}{name}{joined}[{help}]{}", value.unwrap_or_default());
            let _ = writeln!(out, "{:indent$}{} \\", "", quoted(&spec));
        }
    }
}

fn action(value: &Value) -> String {
    match value {
        Value::Words(words) => format!("({})", words.join(" ")),
        Value::Files => "_files".to_owned(),
        Value::Directories => "_files -/".to_owned(),
        Value::Users => "_users".to_owned(),
        Value::Groups => "_groups".to_owned(),
        // Tells what it is.
        Value::Free => " ".to_owned(),
    }
}

fn escaped(text: &str, special: &[char]) -> String {
    let escape = |c: char| special.contains(&c).then_some('\\').into_iter().chain([c]);
    text.chars().flat_map(escape).collect()
}
