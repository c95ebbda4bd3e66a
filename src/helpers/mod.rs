//! Programs and questions beside the command. They know nothing of workers.

pub mod ask;
