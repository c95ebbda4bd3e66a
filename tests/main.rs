//! Every promise made to users, one module each; and the core, simulated.
#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects
)]

mod check;
mod compat;
mod docs;
mod examples;
mod harness;
mod init;
mod loss;
mod manager;
mod panic;
mod pool;
mod race;
mod refused;
mod scenarios;
mod simulation;
mod tidy;
