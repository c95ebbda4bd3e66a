//! The kernel. The only place with `unsafe`, `libc` and `nix`; it knows no policy.
//!
//! Everything here does one thing when told, says what came of it, and never decides that it
//! should have been something else.

pub mod allocator;
pub mod call;
pub mod container;
pub mod entry;
pub mod private_directory;
pub mod process;
pub mod runtime;
pub mod signals;
pub mod socket;
mod stack;
pub mod stdio;
#[cfg(test)]
mod test_child;
#[cfg(prefork_no_unwinder)]
mod unwinder;
pub mod users;
pub mod worker;
