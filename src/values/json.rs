//! A writer of JSON: objects, lists, numbers and text. It does not read JSON.

use crate::values::printable::misleads;
use std::fmt::{Display, Write as _};
use std::io::Write as _;

/// An object that is being written.
#[derive(Debug)]
pub struct Object(String);

impl Object {
    #[must_use]
    pub fn new() -> Self {
        Self("{".to_owned())
    }

    /// Adds a member whose value is JSON: a number, `true`, or the result of [`Object::end`] or [`list`].
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Display) -> Self {
        self.push(name, value);
        self
    }

    /// As [`with`](Self::with), in place.
    pub fn push(&mut self, name: &str, value: impl Display) {
        let comma = if self.0.len() > 1 { "," } else { "" };
        let _never_fails = write!(self.0, "{comma}\"{name}\":{value}");
    }

    /// As [`with`](Self::with); `None` is `null`.
    #[must_use]
    pub fn maybe(self, name: &str, value: Option<impl Display>) -> Self {
        match value {
            Some(value) => self.with(name, value),
            None => self.with(name, "null"),
        }
    }

    /// Adds a member whose value is text.
    #[must_use]
    pub fn text(self, name: &str, value: impl Display) -> Self {
        self.with(name, quoted(&value.to_string()))
    }

    /// The whole object.
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

/// A list of values that are JSON.
#[must_use]
pub fn list(items: impl IntoIterator<Item = String>) -> String {
    let items: Vec<String> = items.into_iter().collect();
    format!("[{}]", items.join(","))
}

/// A JSON string.
#[must_use]
pub fn quoted(text: &str) -> String {
    let mut quoted = vec![b'"'];
    escape(text.as_bytes(), &mut quoted);
    quoted.push(b'"');
    String::from_utf8(quoted).unwrap_or_default()
}

/// Appends the inside of a JSON string (RFC 8259, section 7). Characters that would mislead a terminal are escaped
/// too. Invalid UTF-8 becomes U+FFFD.
pub fn escape(text: &[u8], out: &mut Vec<u8>) {
    for chunk in text.utf8_chunks() {
        let mut rest = chunk.valid();
        while let Some(at) = rest.bytes().position(may_be_special) {
            // No byte that may be special is inside of a character.
            let (plain, special) = rest.split_at_checked(at).unwrap_or((rest, ""));
            out.extend_from_slice(plain.as_bytes());
            let mut after = special.chars();
            match after.next() {
                None => break,
                Some('"') => out.extend_from_slice(br#"\""#),
                Some('\\') => out.extend_from_slice(br"\\"),
                Some('\t') => out.extend_from_slice(br"\t"),
                Some('\r') => out.extend_from_slice(br"\r"),
                Some('\n') => out.extend_from_slice(br"\n"),
                Some(c) if misleads(c) => {
                    let _never_fails = write!(out, "\\u{:04x}", u32::from(c));
                }
                Some(c) => out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
            }
            rest = after.as_str();
        }
        out.extend_from_slice(rest.as_bytes());
        if !chunk.invalid().is_empty() {
            out.extend_from_slice("\u{fffd}".as_bytes());
        }
    }
}

/// Whether a character that has to be escaped may begin with this byte. Of the characters that [`misleads`], those of
/// C1 begin with C2 in UTF-8, U+061C with D8, and U+20xx with E2.
fn may_be_special(byte: u8) -> bool {
    matches!(byte, ..b' ' | b'"' | b'\\' | 0x7f | 0xc2 | 0xd8 | 0xe2)
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
