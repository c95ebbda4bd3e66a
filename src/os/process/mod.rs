//! Processes of workers, and of others like us.

pub mod sign;
pub mod takers;
