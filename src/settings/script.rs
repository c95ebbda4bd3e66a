//! The part of a shell's language that shows which command a script ends with.

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LastCommand {
    /// Its words, without `exec`.
    pub words: Vec<String>,
    /// Whether it takes the shell's place by `exec`; also true if the script sets traps, so that the shell is meant to
    /// stay.
    pub replaces_shell: bool,
}

/// The last command of `sh -c` with this script.
#[must_use]
pub fn last_command(script: &str) -> Option<LastCommand> {
    let commands = commands(script);
    let traps = commands.iter().any(|words| words.first().is_some_and(|word| word == "trap"));
    let mut words = commands.into_iter().next_back()?;
    let first = words.iter().position(|word| !is_assignment(word))?;
    words.drain(..first);
    let execs = words.first().is_some_and(|word| word == "exec");
    if execs {
        words.remove(0);
    }
    Some(LastCommand { words, replaces_shell: execs || traps })
}

/// Whether a word assigns a variable.
pub(super) fn is_assignment(word: &str) -> bool {
    let is_name =
        |name: &str| !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    word.split_once('=').is_some_and(|(name, _)| is_name(name))
}

/// The words, without quotes, of each command that has any.
fn commands(script: &str) -> Vec<Vec<String>> {
    let mut commands = vec![Vec::new()];
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut chars = script.chars().peekable();
    while let Some(c) = chars.next() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (Some('"') | None, '\\') => {
                if let Some(next) = chars.next().filter(|next| *next != '\n') {
                    word.get_or_insert_default().push(next);
                }
            }
            (Some(_), c) => word.get_or_insert_default().push(c),
            (None, '\'' | '"') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None, '#') if word.is_none() => while chars.next_if(|next| *next != '\n').is_some() {},
            // `2>&1` and `>&2` do not end a command.
            (None, '&') if word.as_ref().is_some_and(|word| word.ends_with('>')) => {
                word.get_or_insert_default().push(c);
            }
            (None, ';' | '&' | '|' | '\n' | '(' | ')') => {
                end_of_word(&mut commands, word.take());
                commands.push(Vec::new());
            }
            (None, c) if c.is_whitespace() => end_of_word(&mut commands, word.take()),
            (None, c) => word.get_or_insert_default().push(c),
        }
    }
    end_of_word(&mut commands, word);
    commands.retain(|words| !words.is_empty());
    commands
}

fn end_of_word(commands: &mut [Vec<String>], word: Option<String>) {
    if let (Some(command), Some(word)) = (commands.last_mut(), word) {
        command.push(word);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_command_is_found_with_its_words() {
        for (script, words, replaces) in [
            ("exec server --port 80", &["server", "--port", "80"][..], true),
            ("server", &["server"], false),
            ("cd /app && exec server", &["server"], true),
            (
                "cd /app; A=B C='x y' exec server \"a;b\" 'c && d' e\\ f",
                &["server", "a;b", "c && d", "e f"],
                true,
            ),
            ("exec server 2>&1", &["server", "2>&1"], true),
            ("migrate\nexec server # and; that\n", &["server"], true),
            ("trap 'kill $pid' TERM; server & pid=$!; wait", &["wait"], true),
            ("exec server \"$@\"", &["server", "$@"], true),
            ("server ''", &["server", ""], false),
            ("server &", &["server"], false),
            ("exec server \\\n --port 80", &["server", "--port", "80"], true),
        ] {
            let last = last_command(script).unwrap();
            assert_eq!(
                (last.words, last.replaces_shell),
                (words.iter().map(ToString::to_string).collect(), replaces),
                "{script}"
            );
        }
        for script in ["", " ;; ", "# nothing", "A=B"] {
            assert_eq!(last_command(script), None, "{script}");
        }
    }
}
