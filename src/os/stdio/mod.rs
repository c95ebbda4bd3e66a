//! Standard streams and the terminal.

pub mod channel;
pub mod progress_line;
pub mod sink;
pub mod stderr;
pub mod terminal;
