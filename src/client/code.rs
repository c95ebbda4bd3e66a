//! Exit codes of `status` and `ctl` (docs/exit-codes.md); `healthcheck` has 0 and 1 alone, as Docker wants it.

/// Done, or well.
pub const DONE: u8 = 0;
/// Failed, refused, or not well.
pub const FAILED: u8 = 1;
/// Not done in time.
pub const LATE: u8 = 4;
/// There is no answer: `EX_UNAVAILABLE`, sysexits.h(3head).
pub const UNREACHABLE: u8 = 69;
