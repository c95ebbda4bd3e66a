//! prefork-init

pub mod address;
pub mod cli;
pub mod config;
pub mod core;
pub mod environment;
pub mod error;
pub mod http;
pub mod logging;
pub mod notify;
pub mod os;
pub mod setup;
pub mod supervisor;
