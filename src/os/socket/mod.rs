//! Sockets to which others can pass descriptors.

pub mod connection;
pub mod passed;
pub mod queue_watch;
pub mod taker;
