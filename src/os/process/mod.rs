//! Processes of workers, and of others like us.

pub mod descriptors;
pub mod sign;
pub mod takers;
