//! Processes: starting, signalling, inspecting and reaping them, and what concerns our own.

pub mod descriptors;
pub mod exec;
pub mod handover;
pub mod inherited;
pub mod inspect;
pub mod last_resort;
pub mod lookup;
pub mod memory;
pub mod memory_file;
pub mod open_files;
pub mod own_usage;
pub mod pid1;
pub mod privileges;
pub mod proc;
mod queued;
pub mod reap;
pub mod send;
pub mod sign;
pub mod spawn;
pub mod takers;
pub mod usage;
