//! Steers, restores and holds off new connections.

use super::Workers;
use crate::core::{Lane, Pid};
use crate::os::call;
use crate::os::socket::let_go;
use tracing::{debug, warn};

impl Workers {
    pub(super) fn steer(&mut self, lanes: &[Lane]) {
        let live: Vec<u32> = lanes.iter().map(|lane| lane.0).collect();
        if let Err(error) = self.lanes.steer(&live) {
            warn!(%error, "connections cannot be steered");
        }
    }

    pub(super) fn restore(&mut self, lane: Lane) {
        if let Err(error) = self.lanes.restore(lane.0) {
            debug!(%error, "the listeners cannot be set right");
        }
    }

    pub(super) fn hold_off(&mut self) {
        if let Err(error) = self.lanes.hold_off() {
            let remedy = match call::name(&error) {
                Some(_) => call::REMEDY,
                None => "raise the limit on open files, or give us the capability NET_ADMIN",
            };
            warn!(%error, "connections cannot be held off, and some may be lost: {remedy}");
        }
    }

    /// Whether any of these workers was seen to wait for connections.
    pub(super) fn await_connections(&self, workers: &[(Pid, Lane)]) -> bool {
        let workers: Vec<_> = workers.iter().map(|(pid, lane)| (*pid, self.lanes.ids(lane.0))).collect();
        let_go::any_waits(&workers, self.ids)
    }
}
