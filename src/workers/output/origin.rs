//! Where a line of workers' output comes from.

/// One of a worker's two streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutputStream {
    /// Descriptor 1.
    Stdout,
    /// Descriptor 2.
    Stderr,
}

impl OutputStream {
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
    pub stream: OutputStream,
}
