//! Workers' output, line by line: `--worker-output prefix|json`.
//!
//! ```text
//!  worker's stdout ──pipe──▶ frames ──▶ render ──┐
//!  worker's stderr ──pipe──▶ frames ──▶ render ──┴▶ sink ──▶ our stdout, our stderr
//! ```
//! One sink a stream of ours, or one for both where they are the same. While its reader takes nothing, nothing is read
//! from the pipes that lead to it: so a worker waits in its write, as it would without us, and the loop waits for nobody.
//! Pipes are read until their end, whether or not the worker lives: nothing that was written is lost with it, and what it
//! has left behind may go on writing.

pub mod frames;
pub mod origin;
mod relay;
pub mod render;

pub use relay::Relay;
