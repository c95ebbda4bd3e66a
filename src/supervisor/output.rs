//! The end of workers' output: what is on its way may take a moment, and no more.

use super::Loop;
use crate::core::Note;
use crate::core::note::{InitNote, PoolNote};
use crate::core::time::Patience;
use std::time::Duration;
use tokio::time::Instant;

/// What a reader who is there takes in this time.
const LONGEST: Duration = Duration::from_secs(1);
/// What is left of that when the graceful timeout is over.
const SHORTEST: Duration = Duration::from_millis(100);

impl Loop {
    /// Remembers when the graceful timeout ends.
    pub(super) fn heed_end(&mut self, note: &Note) {
        let grace = match (note, self.core.stop_policy().graceful) {
            (Note::Pool(PoolNote::ShutdownStarted { drain_delay, .. }), Patience::For(grace)) => {
                grace.saturating_add(*drain_delay)
            }
            (Note::Init(InitNote::KillingAll), _) => Duration::ZERO,
            _ => return,
        };
        if let Some(fleet) = &mut self.fleet {
            fleet.end_by = Instant::now().checked_add(grace);
        }
    }

    /// Nothing else will be done.
    pub(super) async fn finish_output(&mut self) {
        let Some(fleet) = &mut self.fleet else { return };
        let left = fleet.end_by.map_or(LONGEST, |at| at.saturating_duration_since(Instant::now()));
        if let Some(output) = &mut fleet.output {
            output.finish(left.clamp(SHORTEST, LONGEST)).await;
        }
    }
}
