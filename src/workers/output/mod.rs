//! Workers' output, line by line: `--worker-output prefix|json`.
//!
//! ```text
//!  worker's stdout ──pipe──▶ frames ──▶ render ──┐
//!  worker's stderr ──pipe──▶ frames ──▶ render ──┴▶ sink ──▶ stdout, stderr
//! ```
//! There is one sink for each of the supervisor's streams, or one for both if they are the same. While the reader of
//! a sink takes nothing, the pipes that lead to it are not read: so a worker blocks in its write, as it would without
//! the supervisor, and the loop never waits. Pipes are read to their end, whether or not the worker lives: no output
//! is lost with the worker, and its descendants may go on writing.

pub mod frames;
pub mod origin;
mod relay;
pub mod render;

pub use relay::Relay;
