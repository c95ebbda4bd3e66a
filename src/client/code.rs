//! Exit codes of `status` and `ctl` (docs/exit-codes.md); `healthcheck` uses 0 and 1 alone, as Docker requires.

/// Done, or healthy.
pub const DONE: u8 = 0;
/// Failed, refused, or unhealthy.
pub const FAILED: u8 = 1;
/// Not done in time.
pub const LATE: u8 = 4;
/// No answer: `EX_UNAVAILABLE`, sysexits.h(3head).
pub const UNREACHABLE: u8 = 69;
