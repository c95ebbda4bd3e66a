//! The command with placeholders, and as each worker gets it.

use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};

/// The command and its arguments, with placeholders.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    argv: Vec<OsString>,
    placeholders: bool,
}

/// The values of the placeholders. No other braces are replaced: `{` and `}` have meanings in shells and templates.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Values {
    /// `{fd}`: the first listener's descriptor.
    pub fd: i32,
    /// `{worker_id}`: the slot.
    pub worker_id: u32,
    /// `{worker_number}`: the number among the living workers.
    pub worker_number: u32,
    /// `{max_requests}`: the limit drawn for this worker; `None` leaves the placeholder.
    pub max_requests: Option<u64>,
    /// `{notify_fd}`: the descriptor for a ready line; `None` leaves the placeholder.
    pub notify_fd: Option<i32>,
}

pub const FD: &str = "{fd}";
pub const WORKER_ID: &str = "{worker_id}";
pub const WORKER_NUMBER: &str = "{worker_number}";

/// The placeholders that give each worker something of its own: a port, a path.
pub const OF_ONE_WORKER: [&str; 2] = [WORKER_ID, WORKER_NUMBER];
pub const MAX_REQUESTS: &str = "{max_requests}";

pub const NOTIFY_FD: &str = "{notify_fd}";

impl Command {
    /// Placeholders are replaced only if `placeholders` is true.
    #[must_use]
    pub fn new(argv: Vec<OsString>, placeholders: bool) -> Self {
        Self { argv, placeholders }
    }

    /// The same command without replacements.
    #[must_use]
    pub fn literal(self) -> Self {
        Self { placeholders: false, ..self }
    }

    /// Whether this placeholder occurs and is replaced.
    #[must_use]
    pub fn mentions(&self, placeholder: &str) -> bool {
        self.placeholders && self.argv.iter().any(|arg| contains(arg.as_bytes(), placeholder.as_bytes()))
    }

    /// Whether any placeholder occurs and is replaced.
    #[must_use]
    pub fn has_placeholders(&self) -> bool {
        [FD, WORKER_ID, WORKER_NUMBER, MAX_REQUESTS, NOTIFY_FD]
            .iter()
            .any(|placeholder| self.mentions(placeholder))
    }

    /// The arguments with their placeholders.
    #[must_use]
    pub fn as_given(&self) -> &[OsString] {
        &self.argv
    }

    /// The arguments for one worker.
    #[must_use]
    pub fn with(&self, values: &Values) -> Vec<OsString> {
        if !self.placeholders {
            return self.argv.clone();
        }
        let max_requests = values.max_requests.map(|limit| limit.to_string());
        let replacements = [
            (FD, Some(values.fd.to_string())),
            (WORKER_ID, Some(values.worker_id.to_string())),
            (WORKER_NUMBER, Some(values.worker_number.to_string())),
            (MAX_REQUESTS, max_requests),
            (NOTIFY_FD, values.notify_fd.map(|fd| fd.to_string())),
        ];
        self.argv.iter().map(|arg| OsString::from_vec(replace(arg.as_bytes(), &replacements))).collect()
    }
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}

fn replace(mut text: &[u8], replacements: &[(&str, Option<String>)]) -> Vec<u8> {
    let mut replaced = Vec::with_capacity(text.len());
    while let Some((first, rest)) = text.split_first() {
        let hit = replacements.iter().find_map(|(name, value)| {
            let after = text.strip_prefix(name.as_bytes())?;
            value.as_ref().map(|value| (value, after))
        });
        if let Some((value, after)) = hit {
            replaced.extend_from_slice(value.as_bytes());
            text = after;
        } else {
            replaced.push(*first);
            text = rest;
        }
    }
    replaced
}

#[cfg(test)]
mod tests {
    use super::*;

    const VALUES: Values =
        Values { fd: 3, worker_id: 7, worker_number: 9, max_requests: Some(1042), notify_fd: None };

    #[test]
    fn exactly_the_known_placeholders_are_replaced() {
        let argv = [
            "s",
            "--fd={fd}",
            "{worker_id}-{worker_number}-{max_requests}",
            "{FD} {other} {{fd}} {fd",
            "\u{fffd}{fd}",
        ];
        let command = Command::new(argv.map(OsString::from).to_vec(), true);
        assert_eq!(
            command.with(&VALUES),
            ["s", "--fd=3", "7-9-1042", "{FD} {other} {3} {fd", "\u{fffd}3"].map(OsString::from)
        );
        assert!(command.mentions(FD) && command.mentions(MAX_REQUESTS));
    }

    #[test]
    fn without_placeholders_nothing_is_replaced() {
        let command = Command::new(vec!["{fd}".into()], false);
        assert_eq!(command.with(&VALUES), ["{fd}"].map(OsString::from));
        assert!(!command.mentions(FD));
    }

    #[test]
    fn a_value_is_not_searched_again_and_bytes_that_are_no_text_survive() {
        let raw = OsString::from_vec(b"\xff{fd}\xfe".to_vec());
        assert_eq!(Command::new(vec![raw], true).with(&VALUES), [OsString::from_vec(b"\xff3\xfe".to_vec())]);
    }
}
