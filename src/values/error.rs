//! What can go wrong before anything is started; afterwards there is nobody to return an error to.

use crate::core::exit::code;
use std::fmt::Display;

/// Why the supervisor was not started: one line that names the option, its value, what is wrong with it and
/// what to do.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what}: {problem}: {remedy}")]
pub struct StartError {
    what: String,
    problem: String,
    remedy: String,
    code: u8,
}

impl StartError {
    /// The user asked for something that cannot be; exit code 2.
    pub fn usage(what: impl Into<String>, problem: impl Display, remedy: impl Display) -> Self {
        Self {
            what: what.into(),
            problem: problem.to_string(),
            remedy: remedy.to_string(),
            code: code::USAGE,
        }
    }

    /// An option's value is wrong; exit code 2.
    pub fn value(option: &str, value: impl Display, problem: impl Display, remedy: impl Display) -> Self {
        Self::usage(format!("{option} '{value}'"), problem, remedy)
    }

    /// What was asked for could not be had here and now; `code` is 125, or 126 and 127 for the command.
    #[must_use]
    pub fn with_code(self, code: u8) -> Self {
        Self { code, ..self }
    }

    /// Names the variable, or the file and its key, instead of the option that it stands for: nobody wrote the option.
    #[must_use]
    pub fn by_name(mut self, name_of: impl FnOnce(&str) -> Option<String>) -> Self {
        let (option, rest) = self.what.split_once(' ').unwrap_or((&self.what, ""));
        if let Some(name) = name_of(option) {
            self.what = format!("{name} {rest}").trim_end().to_owned();
        }
        self
    }

    /// What to exit with.
    #[must_use]
    pub fn code(&self) -> u8 {
        self.code
    }
}
