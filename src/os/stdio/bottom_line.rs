//! What stands at the bottom of a terminal while log lines scroll above it.

use std::borrow::Cow;
use std::sync::{Mutex, PoisonError};

/// To the first column, and everything from there to the end erased (ECMA-48: EL).
const ERASE: &[u8] = b"\r\x1b[K";

/// What stands at the bottom of the terminal now, as it was drawn; empty if nothing does.
static SHOWN: Mutex<Vec<u8>> = Mutex::new(Vec::new());

/// Remembers what is drawn now; what to write for it, if anything.
pub(super) fn replace(drawn: Vec<u8>) -> Option<Vec<u8>> {
    let mut shown = SHOWN.lock().unwrap_or_else(PoisonError::into_inner);
    if shown.is_empty() && drawn.is_empty() {
        return None;
    }
    let bytes = [ERASE, &drawn].concat();
    *shown = drawn;
    Some(bytes)
}

/// A log line with what it takes to put it above the progress line, if there is one.
pub(super) fn above(line: &[u8]) -> Cow<'_, [u8]> {
    let shown = SHOWN.lock().unwrap_or_else(PoisonError::into_inner);
    if shown.is_empty() { Cow::Borrowed(line) } else { Cow::Owned([ERASE, line, shown.as_slice()].concat()) }
}
