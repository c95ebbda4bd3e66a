//! What is told: to the log, to hooks, to the manager above us, to Prometheus.

pub mod hook_variables;
pub mod level;
pub mod line;
pub mod log;
pub mod metrics;
pub mod notes;
pub mod sink;
pub mod style;
pub mod systemd;

#[cfg(test)]
mod golden;
