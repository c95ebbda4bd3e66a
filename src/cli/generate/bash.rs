//! Completions for bash 4 and later; with the package bash-completion those of the command that is run, too.

use super::{Flag, Line, Subcommand, Value, with_value};
use std::fmt::Write;

/// Bash breaks words at `=` and `:` as well, which an address is full of; so where the command begins is found out from
/// the line itself.
const BEFORE: &str = r#"# Completions of prefork-init for bash.

# The place, in the words of the line, where the command to run begins; 0 if it has not begun.
_prefork_init_command() {
    local at=$1 with_value=$2 word
    shift 2
    while [ "$at" -lt "$#" ]; do
        word=${!at}
        case $word in
            --) echo "$((at + 1))"; return ;;
            -*) [[ $with_value == *" $word "* ]] && at=$((at + 1)) ;;
            *) echo "$at"; return ;;
        esac
        at=$((at + 1))
    done
    echo 0
}

_prefork_init() {
    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]} first=1 line words last i at
    local flags with_value subcommands takes_command=yes argument=
    COMPREPLY=()
    if [ "$cur" = "=" ]; then
        cur=
    elif [ "$prev" = "=" ]; then
        prev=${COMP_WORDS[COMP_CWORD - 2]}
    fi
    line=${COMP_LINE:0:COMP_POINT}
    read -ra words <<< "$line"
    # What stands before the cursor, if only a space, is the word to be completed.
    last=$((${#words[@]} - 1))
    case $line in *[[:space:]]) last=$((last + 1)); words[last]= ;; esac
"#;

const AFTER: &str = r#"
    at=0
    [ "$takes_command" ] && at=$(_prefork_init_command "$first" "$with_value" "${words[@]:1}")
    if [ "$at" -gt 0 ] && [ "$at" -lt "$last" ]; then
        # The command's own; or, without bash-completion, files.
        declare -F _command_offset >/dev/null || return 0
        for ((i = first; i < COMP_CWORD; i++)); do
            if [ "${words[at - 1]}" = -- ]; then
                [ "${COMP_WORDS[i - 1]}" = -- ] && break
            else
                [ "${COMP_WORDS[i]}" = "${words[at]%%[:=]*}" ] && break
            fi
        done
        _command_offset "$i"
        return 0
    fi
    if [ "$at" -eq 0 ] && [[ $cur == -* ]]; then
        COMPREPLY=($(compgen -W "$flags" -- "$cur"))
        return 0
    fi
"#;

const END: &str = r#"
    [ "$argument" ] && COMPREPLY+=($(compgen -W "$argument" -- "$cur"))
    [ "$last" = 1 ] && COMPREPLY+=($(compgen -W "$subcommands" -- "$cur"))
    [ "$takes_command" ] && COMPREPLY+=($(compgen -c -- "$cur"))
    return 0
}

complete -o bashdefault -o default -F _prefork_init prefork-init
"#;

pub fn script(line: &Line) -> String {
    let mut out = BEFORE.to_owned();
    let names: Vec<&str> = line.subcommands.iter().map(|sub| sub.name.as_str()).collect();
    let _ = writeln!(out, "    subcommands=\"{}\"", names.join(" "));
    out.push_str("    at=\n    [ \"$last\" -gt 1 ] && at=${words[1]}\n    case $at in\n");
    for sub in &line.subcommands {
        subcommand(&mut out, sub);
    }
    let (flags, valued) = lists(&line.flags);
    let _ = writeln!(out, "        *)\n            flags=\"{flags}\"\n            with_value=\" {valued} \"");
    out.push_str("            ;;\n    esac\n");
    out.push_str(AFTER);
    let all = line.subcommands.iter().flat_map(|sub| &sub.flags).chain(&line.flags);
    values(&mut out, all);
    out.push_str(END);
    out
}

fn subcommand(out: &mut String, sub: &Subcommand) {
    let (flags, valued) = lists(&sub.flags);
    let _ = writeln!(out, "        {})", sub.name);
    let _ = writeln!(out, "            first=2");
    let _ = writeln!(out, "            flags=\"{flags}\"");
    let _ = writeln!(out, "            with_value=\" {valued} \"");
    if !sub.takes_command {
        let _ = writeln!(out, "            takes_command=");
    }
    if let Value::Words(words) = &sub.first {
        let _ = writeln!(out, "            [ \"$last\" = 2 ] && argument=\"{}\"", words.join(" "));
    }
    let _ = writeln!(out, "            ;;");
}

fn lists(flags: &[Flag]) -> (String, String) {
    let names: Vec<String> = flags.iter().flat_map(Flag::names).collect();
    (names.join(" "), with_value(flags).join(" "))
}

/// What the word before asks for. An option has one meaning, wherever it is given.
fn values<'a>(out: &mut String, flags: impl Iterator<Item = &'a Flag>) {
    out.push_str("    if [ \"$at\" -eq 0 ]; then\n        case $prev in\n");
    let mut seen = Vec::new();
    for flag in flags {
        let names = flag.names().join("|");
        let Some((_, value)) = flag.value.as_ref().filter(|_| !seen.contains(&names)) else { continue };
        let reply = match value {
            Value::Words(words) => format!("COMPREPLY=($(compgen -W \"{}\" -- \"$cur\"))", words.join(" ")),
            Value::Files => "COMPREPLY=($(compgen -f -- \"$cur\"))".to_owned(),
            Value::Directories => "COMPREPLY=($(compgen -d -- \"$cur\"))".to_owned(),
            Value::Users => "COMPREPLY=($(compgen -u -- \"$cur\"))".to_owned(),
            Value::Groups => "COMPREPLY=($(compgen -g -- \"$cur\"))".to_owned(),
            // Nothing, and no files either.
            Value::Free => "compopt +o bashdefault +o default".to_owned(),
        };
        let _ = writeln!(out, "            {names})\n                {reply}\n                return 0 ;;");
        seen.push(names);
    }
    out.push_str("        esac\n    fi\n");
}
