//! The listeners that belong to one lane alone.

use super::Lanes;
use crate::os::socket::accepting::OwnListener;
use std::os::fd::AsFd;

impl Lanes {
    /// The listeners that only this lane has, with their queues; 0 where the kernel does not show one.
    #[must_use]
    pub fn own(&self, lane: u32) -> Vec<OwnListener<'_>> {
        let places = self.places.iter().filter(|place| !place.is_shared());
        places
            .filter_map(|place| {
                let listener = place.listener(lane)?;
                let waiting = listener.queue().unwrap_or(0);
                Some(OwnListener { id: listener.id().ok()?, fd: listener.as_fd(), waiting })
            })
            .collect()
    }
}
