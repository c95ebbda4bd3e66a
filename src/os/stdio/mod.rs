//! Standard streams and the terminal.

mod bottom_line;
pub mod channel;
pub mod progress_line;
pub mod sink;
pub mod stderr;
pub mod terminal;
