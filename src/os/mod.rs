//! The kernel. The only place with `unsafe`, `libc` and `nix`; it knows no policy.
//!
//! Everything here does one thing when told, says what came of it, and never decides that it
//! should have been something else.

pub mod accepting;
pub mod activation;
pub mod allocator;
pub mod call;
pub mod capacity;
pub mod cgroup;
pub mod channel;
pub mod connections;
pub mod door;
pub mod entry;
mod epoll_set;
pub mod exchange;
pub mod inherited;
pub mod lanes;
pub mod last_resort;
pub mod listen;
pub mod lookup;
pub mod manager_socket;
pub mod memory;
pub mod memory_file;
pub mod netstat;
pub mod notify_socket;
pub mod notify_sockets;
pub mod open_files;
pub mod output_pipes;
pub mod own_usage;
pub mod pid1;
pub mod portrait;
pub mod private_directory;
pub mod privileges;
pub mod proc;
pub mod process;
pub mod progress_line;
pub mod ready_pipe;
pub mod reap;
pub mod scoreboard;
pub mod send;
pub mod shut_watch;
pub mod signals;
pub mod sink;
pub mod socket;
pub mod spawn;
mod stack;
pub mod stderr;
pub mod steer;
pub mod terminal;
#[cfg(test)]
mod test_child;
#[cfg(prefork_no_unwinder)]
mod unwinder;
pub mod usage;
