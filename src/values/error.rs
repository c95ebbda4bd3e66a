//! The error of a start. After the start there is no caller left to which an error could be returned.

use crate::core::exit::code;
use std::fmt::Display;

/// Why the supervisor was not started: one line with the option, its value, the problem and the remedy.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{what}: {problem}: {remedy}")]
pub struct StartError {
    what: String,
    problem: String,
    remedy: String,
    code: u8,
}

impl StartError {
    /// The command line is wrong; exit code 2.
    pub fn usage(what: impl Into<String>, problem: impl Display, remedy: impl Display) -> Self {
        Self {
            what: what.into(),
            problem: problem.to_string(),
            remedy: remedy.to_string(),
            code: code::USAGE,
        }
    }

    /// The value of an option is wrong; exit code 2.
    pub fn value(option: &str, value: impl Display, problem: impl Display, remedy: impl Display) -> Self {
        Self::usage(format!("{option} '{value}'"), problem, remedy)
    }

    /// The settings are right, but cannot be met here and now; `code` is 125, or 126 and 127 for the command.
    #[must_use]
    pub fn with_code(self, code: u8) -> Self {
        Self { code, ..self }
    }

    /// Names the variable, or the file and its key, instead of the option: the user did not write the option.
    #[must_use]
    pub fn by_name(mut self, name_of: impl FnOnce(&str) -> Option<String>) -> Self {
        let (option, rest) = self.what.split_once(' ').unwrap_or((&self.what, ""));
        if let Some(name) = name_of(option) {
            self.what = format!("{name} {rest}").trim_end().to_owned();
        }
        self
    }

    #[must_use]
    pub fn code(&self) -> u8 {
        self.code
    }
}
