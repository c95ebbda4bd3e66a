//! Sockets that others hold too, or to which they can pass descriptors.

pub mod connection;
pub mod let_go;
pub mod passed;
pub mod taker;
