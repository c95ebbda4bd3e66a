//! A command in one string, as in the options that take one. It is split into words as by a shell, but runs without
//! one, so that it works in an image without a shell.

use std::ffi::OsString;

/// A command and its arguments; never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Words(Vec<OsString>);

impl Words {
    /// Splits by the quoting rules of POSIX shells. Nothing is expanded; `sh -c '...'` has variables and pipes.
    ///
    /// # Errors
    /// The problem and the remedy.
    pub fn parse(text: &str) -> Result<Self, String> {
        let words = shlex::split(text).ok_or("a quote is not closed: close it, or escape it with \\")?;
        if words.first().is_none_or(String::is_empty) {
            return Err("there is no command in it: name a program, as in 'myprogram --flag'".to_owned());
        }
        if text.contains('\0') {
            return Err("a zero byte cannot be passed on: leave it out".to_owned());
        }
        Ok(Self(words.into_iter().map(OsString::from).collect()))
    }

    #[must_use]
    pub fn argv(&self) -> &[OsString] {
        &self.0
    }

    #[must_use]
    pub fn program(&self) -> OsString {
        self.0.first().cloned().unwrap_or_default()
    }
}

impl std::fmt::Display for Words {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let words: Vec<String> = self.0.iter().map(|word| word.display().to_string()).collect();
        f.write_str(&words.join(" "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_split_as_a_shell_does_and_nothing_is_expanded() {
        for (text, words) in [
            ("alembic upgrade head", vec!["alembic", "upgrade", "head"]),
            ("  sh  -c 'echo \"a b\" > $X; true' ", vec!["sh", "-c", "echo \"a b\" > $X; true"]),
            (r#"a\ b "c $HOME d" e''f ''"#, vec!["a b", "c $HOME d", "ef", ""]),
            ("a*b ~/x | y && z", vec!["a*b", "~/x", "|", "y", "&&", "z"]),
        ] {
            assert_eq!(Words::parse(text).unwrap().argv(), words, "{text}");
        }
        for bad in ["", "   ", "'a", "a \"b", "a\\", "''", "# only a comment", "a\0b"] {
            let error = Words::parse(bad).unwrap_err();
            assert!(error.contains(": "), "{bad}: {error}");
        }
    }
}
