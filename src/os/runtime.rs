//! The supervisor's runtime: one thread that waits for many events.

use super::call::{self, refused};
use crate::values::error::StartError;
use tokio::runtime::{Builder, Runtime};

/// Events taken from epoll at once. tokio's default of 1024 costs 12 kB for the life of the container.
const EVENTS_AT_ONCE: usize = 32;

/// A runtime of one thread.
///
/// # Errors
/// If epoll is refused or cannot be made.
pub fn runtime() -> Result<Runtime, StartError> {
    let mut builder = Builder::new_current_thread();
    builder.enable_io().enable_time().max_io_events_per_tick(EVENTS_AT_ONCE);
    call::may_wait_for_events().map_err(|error| refused("epoll", &error))?;
    builder.build().map_err(|error| {
        // tokio does not say which of its calls failed.
        let error = call::try_what_a_runtime_needs().err().unwrap_or(error);
        refused("epoll", &error)
    })
}
