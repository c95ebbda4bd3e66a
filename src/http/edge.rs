//! What the endpoints can see of the supervisor.

use super::beside::Beside;
use crate::control::Desk;
use crate::core::Snapshot;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::time::Instant;

/// The latest snapshot and [`Beside`].
#[derive(Clone, Debug)]
pub struct Published(Arc<Mutex<Snapshot>>, Arc<Mutex<Beside>>);

impl Published {
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

    pub fn set_beside(&self, beside: Beside) {
        *self.1.lock().unwrap_or_else(PoisonError::into_inner) = beside;
    }

    #[must_use]
    pub fn beside(&self) -> Beside {
        self.1.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// The endpoints' access: the latest snapshot at once, and the rest by asking the loop.
#[derive(Clone, Debug)]
pub struct Edge {
    /// Answers the health questions.
    pub published: Published,
    /// Asks the loop everything else.
    pub desk: Desk,
    /// When the supervisor began, perhaps as a previous program.
    pub since: Instant,
}
