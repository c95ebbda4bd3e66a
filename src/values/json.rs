//! JSON as far as our answers need it: objects, lists, numbers and text.

use crate::values::printable::{escape, misleads};
use std::fmt::{Display, Write};

/// An object that is being written.
#[derive(Debug)]
pub struct Object(String);

impl Object {
    /// An empty one.
    #[must_use]
    pub fn new() -> Self {
        Self("{".to_owned())
    }

    /// A member that is JSON already: a number, `true`, or what [`Object::end`] and [`list`] give.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Display) -> Self {
        let comma = if self.0.len() > 1 { "," } else { "" };
        let _never_fails = write!(self.0, "{comma}\"{name}\":{value}");
        self
    }

    /// The same, or `null`.
    #[must_use]
    pub fn maybe(self, name: &str, value: Option<impl Display>) -> Self {
        match value {
            Some(value) => self.with(name, value),
            None => self.with(name, "null"),
        }
    }

    /// A member that is text.
    #[must_use]
    pub fn text(self, name: &str, value: impl Display) -> Self {
        self.with(name, quoted(&value.to_string()))
    }

    /// The whole.
    #[must_use]
    pub fn end(mut self) -> String {
        self.0.push('}');
        self.0
    }
}

impl Default for Object {
    fn default() -> Self {
        Self::new()
    }
}

/// A list of what is JSON already.
#[must_use]
pub fn list(items: impl IntoIterator<Item = String>) -> String {
    let items: Vec<String> = items.into_iter().collect();
    format!("[{}]", items.join(","))
}

/// Text, with its quotes. What would mislead a terminal is escaped too.
#[must_use]
pub fn quoted(text: &str) -> String {
    let mut quoted = "\"".to_owned();
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            c if misleads(c) => escape(c, &mut quoted),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_json() {
        let inner = Object::new().maybe("none", None::<u32>).maybe("some", Some(3)).end();
        let text = Object::new()
            .text("text", "a \"b\" \\ \n\u{7f} \u{e4}")
            .with("number", 7)
            .with("list", list([inner.clone(), "{}".to_owned()]))
            .end();
        let read: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(read["text"], "a \"b\" \\ \n\u{7f} \u{e4}");
        assert_eq!((&read["number"], &read["list"][0]["some"]), (&7.into(), &3.into()));
        assert!(read["list"][0]["none"].is_null());
        assert_eq!(Object::new().end(), "{}");
        assert_eq!(
            quoted("a\u{7f}\u{9b}2J\u{61c}\u{202e}\u{2069}\u{e4}"),
            "\"a\\u007f\\u009b2J\\u061c\\u202e\\u2069\u{e4}\""
        );
        assert_eq!(list([]), "[]");
    }
}
