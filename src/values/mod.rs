//! The values that users write, as types: in options, files and orders. It must not know from which of these they come.

pub mod address;
pub mod amounts;
pub mod command_line;
pub mod duration;
pub mod error;
pub mod json;
pub mod log;
pub mod printable;
pub mod ready_target;
pub mod style;
pub mod user;
pub mod variables;

/// The first descriptor after stdin, stdout and stderr, where inherited listeners begin (`SD_LISTEN_FDS_START`).
pub const FIRST_FD: i32 = 3;
