//! The line at the bottom of a terminal, above which log lines scroll.

use std::borrow::Cow;
use std::sync::{Mutex, PoisonError};

/// Returns to the first column and erases to the end of the line (ECMA-48: EL).
const ERASE: &[u8] = b"\r\x1b[K";

/// The line as it is drawn now; empty if there is none.
static SHOWN: Mutex<Vec<u8>> = Mutex::new(Vec::new());

/// Replaces the line, and returns the bytes to write; `None` if nothing changes.
pub(super) fn replace(drawn: Vec<u8>) -> Option<Vec<u8>> {
    let mut shown = SHOWN.lock().unwrap_or_else(PoisonError::into_inner);
    if shown.is_empty() && drawn.is_empty() {
        return None;
    }
    let bytes = [ERASE, &drawn].concat();
    *shown = drawn;
    Some(bytes)
}

/// The bytes that write a log line above the bottom line, if there is one.
pub(super) fn above(line: &[u8]) -> Cow<'_, [u8]> {
    let shown = SHOWN.lock().unwrap_or_else(PoisonError::into_inner);
    if shown.is_empty() { Cow::Borrowed(line) } else { Cow::Owned([ERASE, line, shown.as_slice()].concat()) }
}
