//! Completions for zsh: `_arguments` with the options, and then what the command that is run would have by itself.

use super::{Flag, Line, Value, quoted};
use std::fmt::Write;

/// Behind our options.
const COMMAND: &str = "'(-)1: :_prefork-init_first' '*:: :_normal'";

pub fn script(line: &Line) -> String {
    let mut out = "#compdef prefork-init\n\n".to_owned();
    out.push_str("_prefork-init_first() {\n    local -a subcommands=(\n");
    for sub in &line.subcommands {
        let _ = writeln!(out, "        {}", quoted(&format!("{}:{}", sub.name, sub.help)));
    }
    out.push_str("    )\n");
    // Only the first word of all is one.
    out.push_str("    (( CURRENT == 2 )) && _describe -t subcommands subcommand subcommands\n");
    out.push_str("    _command_names -e\n}\n\n");
    out.push_str("_prefork-init() {\n    local curcontext=$curcontext\n    if (( CURRENT > 2 )); then\n");
    out.push_str("        case $words[2] in\n");
    for sub in &line.subcommands {
        let _ = writeln!(out, "            {})", sub.name);
        let _ = writeln!(out, "                shift words\n                (( CURRENT-- ))");
        out.push_str("                _arguments -s -S : \\\n");
        specs(&mut out, &sub.flags, 20);
        let rest = match &sub.first {
            _ if sub.takes_command => "'(-)1: :_command_names -e' '*:: :_normal'".to_owned(),
            Value::Free => String::new(),
            first => quoted(&format!("1: :{}", action(first))),
        };
        let _ = writeln!(out, "                    {rest}\n                return ;;");
    }
    out.push_str("        esac\n    fi\n    _arguments -s -S : \\\n");
    specs(&mut out, &line.flags, 8);
    let _ = writeln!(out, "        {COMMAND}\n}}\n");
    out.push_str("if [ \"$funcstack[1]\" = _prefork-init ]; then\n    _prefork-init \"$@\"\nelse\n");
    out.push_str("    compdef _prefork-init prefork-init\nfi\n");
    out
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
