//! Sockets to which others can pass descriptors, and those that workers hold.

pub mod connection;
pub mod held;
pub mod passed;
pub mod taker;
