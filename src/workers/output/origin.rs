//! The origin of a line of workers' output.

/// One of a worker's two streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OutputStream {
    /// Descriptor 1.
    Stdout,
    /// Descriptor 2.
    Stderr,
}

impl OutputStream {
    pub const ALL: [Self; 2] = [Self::Stdout, Self::Stderr];

    #[must_use]
    pub fn fd(self) -> i32 {
        match self {
            Self::Stdout => 1,
            Self::Stderr => 2,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin {
    pub slot: u32,
    pub generation: u32,
    pub pid: i32,
    pub stream: OutputStream,
}
