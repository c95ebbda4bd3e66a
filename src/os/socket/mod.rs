//! Sockets to which others can pass descriptors.

pub mod connection;
pub mod holder;
pub mod passed;
pub mod rights;
pub mod taker;
