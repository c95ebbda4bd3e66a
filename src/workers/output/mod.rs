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
mod relay;
pub mod render;

pub use relay::Relay;

/// One of a worker's two streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// Descriptor 1.
    Stdout,
    /// Descriptor 2.
    Stderr,
}

impl Stream {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Stdout, Self::Stderr];

    /// The number of its descriptor.
    #[must_use]
    pub fn fd(self) -> i32 {
        match self {
            Self::Stdout => 1,
            Self::Stderr => 2,
        }
    }
}

/// Where a line comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The worker's slot.
    pub slot: u32,
    /// Its generation.
    pub generation: u32,
    /// Its process.
    pub pid: i32,
    /// Which of its streams.
    pub stream: Stream,
}
