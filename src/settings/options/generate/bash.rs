//! Completions for bash 4 and later; with the package bash-completion those of the command that is run, too.

use super::{Flag, Line, Value, with_value};
use std::fmt::Write;

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

# What may follow these subcommands, in variables of the caller.
_prefork_init_level() {
    subcommands= arguments=() takes_command=
    case $1 in
"#;

/// Bash breaks words at `=` and `:` as well, which an address is full of; so where the command begins is found out from
/// the line itself.
const MAIN: &str = r#"    esac
}

_prefork_init() {
    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD - 1]} first=1 line words last i at=0
    local level= given=0 flags with_value subcommands arguments takes_command
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
    _prefork_init_level ""
    # Only the first word of all is a subcommand; what is behind that may have options before it.
    if [ "$last" -gt 1 ] && [[ " $subcommands " == *" ${words[1]} "* ]]; then
        level=${words[1]}
        first=2
        _prefork_init_level "$level"
    fi
    if [ "$takes_command" ]; then
        at=$(_prefork_init_command "$first" "$with_value" "${words[@]:1}")
    else
        for ((i = first; i < last; i++)); do
            if [[ ${words[i]} == -* ]]; then
                [[ $with_value == *" ${words[i]} "* ]] && i=$((i + 1))
            elif [[ " $subcommands " == *" ${words[i]} "* ]]; then
                level+=" ${words[i]}"
                _prefork_init_level "$level"
            else
                given=$((given + 1))
            fi
        done
    fi
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
    if [ "$takes_command" ]; then
        [ "$last" = 1 ] && COMPREPLY+=($(compgen -W "$subcommands" -- "$cur"))
        COMPREPLY+=($(compgen -c -- "$cur"))
    else
        [ "$given" = 0 ] && COMPREPLY+=($(compgen -W "$subcommands" -- "$cur"))
        COMPREPLY+=($(compgen -W "${arguments[given]}" -- "$cur"))
        _prefork_init_no_files
    fi
    return 0
}

# What is no file is not completed with one. Bash lets none but a completion that it runs itself say so.
_prefork_init_no_files() {
    compopt +o bashdefault +o default 2>/dev/null
}

complete -o bashdefault -o default -F _prefork_init prefork-init
"#;

pub fn script(line: &Line) -> String {
    let mut out = BEFORE.to_owned();
    let levels = line.levels();
    for (path, line) in &levels {
        level(&mut out, path, line);
    }
    out.push_str(MAIN);
    values(&mut out, levels.iter().flat_map(|(_, line)| &line.flags));
    out.push_str(END);
    out
}

fn level(out: &mut String, path: &str, line: &Line) {
    let (flags, valued) = lists(&line.flags);
    let _ = writeln!(out, "        \"{path}\")");
    let _ = writeln!(out, "            flags=\"{flags}\"");
    let _ = writeln!(out, "            with_value=\" {valued} \"");
    if !line.subcommands.is_empty() {
        let _ = writeln!(out, "            subcommands=\"{}\"", line.subcommand_names());
    }
    if line.takes_command {
        let _ = writeln!(out, "            takes_command=yes");
    }
    if !line.arguments.is_empty() {
        let words = line.arguments.iter().map(|(_, value)| match value {
            Value::Words(words) => format!("\"{}\"", words.join(" ")),
            Value::Files | Value::Directories | Value::Users | Value::Groups | Value::Free => {
                "\"\"".to_owned()
            }
        });
        let _ = writeln!(out, "            arguments=({})", words.collect::<Vec<_>>().join(" "));
    }
    let _ = writeln!(out, "            ;;");
}

fn lists(flags: &[Flag]) -> (String, String) {
    let names: Vec<String> = flags.iter().flat_map(Flag::names).collect();
    (names.join(" "), with_value(flags).join(" "))
}

/// What the word before asks for. Where an option has a value, it has the same ones to choose from at each level.
fn values<'a>(out: &mut String, flags: impl Iterator<Item = &'a Flag>) {
    out.push_str(
        "    if [ \"$at\" -eq 0 ] && [[ $with_value == *\" $prev \"* ]]; then\n        case $prev in\n",
    );
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
            Value::Free => "_prefork_init_no_files".to_owned(),
        };
        let _ = writeln!(out, "            {names})\n                {reply}\n                return 0 ;;");
        seen.push(names);
    }
    out.push_str("        esac\n    fi\n");
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    #[test]
    fn an_option_has_the_same_values_at_each_level_where_it_has_any() {
        let mut command = crate::settings::options::definition();
        command.build();
        let line = Line::of(&command);
        let levels = line.levels();
        assert!(levels.iter().any(|(path, _)| path == "ctl log-level"));
        let mut known = HashMap::new();
        for flag in levels.iter().flat_map(|(_, line)| &line.flags) {
            let Some((_, value)) = &flag.value else { continue };
            assert_eq!(*known.entry(flag.names()).or_insert(value), value, "{:?}", flag.names());
        }
    }
}
