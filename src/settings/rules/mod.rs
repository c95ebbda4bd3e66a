//! The rules that concern more than one option.

pub mod activation;
pub mod bind;
pub mod budget;
pub mod collide;
pub mod helpers;
pub mod init;
pub mod mode;
pub mod pool;
pub mod sizing;
pub mod workers;
