//! The kernel: the only place with `unsafe`, `libc` and `nix`. Each function does one thing and returns the result. It
//! knows no policy: what to do about a result is decided elsewhere.

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
