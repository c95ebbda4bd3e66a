//! The channels between the supervisor and one worker: sockets, pipes and shared memory.

pub mod epoll_set;
pub mod manager_socket;
pub mod notify_socket;
pub mod notify_sockets;
pub mod output_pipes;
pub mod ready_pipe;
pub mod scoreboard;
