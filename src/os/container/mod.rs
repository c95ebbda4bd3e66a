//! What the container gives: cgroups, and how much of a machine.

pub mod capacity;
pub mod cgroup;
