//! What the endpoints may know.

use super::beside::Beside;
use crate::control::Desk;
use crate::core::Snapshot;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::time::Instant;

/// The latest snapshot, and what there is to know beside it.
#[derive(Clone, Debug)]
pub struct Published(Arc<Mutex<Snapshot>>, Arc<Mutex<Beside>>);

impl Published {
    /// Starts with this one.
    #[must_use]
    pub fn new(snapshot: Snapshot) -> Self {
        Self(Arc::new(Mutex::new(snapshot)), Arc::default())
    }

    pub fn set(&self, snapshot: Snapshot) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = snapshot;
    }

    #[must_use]
    pub fn get(&self) -> Snapshot {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Replaces what there is to know beside it.
    pub fn set_beside(&self, beside: Beside) {
        *self.1.lock().unwrap_or_else(PoisonError::into_inner) = beside;
    }

    /// What there is to know beside it.
    #[must_use]
    pub fn beside(&self) -> Beside {
        self.1.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// What the endpoint may know: the latest snapshot at once, and the rest by asking the loop.
#[derive(Clone, Debug)]
pub struct Edge {
    /// Whether we live, are ready, have started.
    pub published: Published,
    /// For everything else.
    pub desk: Desk,
    /// When the supervisor began, perhaps as another program.
    pub since: Instant,
}
