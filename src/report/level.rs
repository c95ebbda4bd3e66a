//! Which lines are logged, to be changed while we run.

use crate::values::log::LogLevel;
use std::sync::atomic::{AtomicUsize, Ordering};
use tracing::level_filters::LevelFilter;

/// An index into [`LEVELS`].
static LEVEL: AtomicUsize = AtomicUsize::new(1);

const LEVELS: [LevelFilter; 4] =
    [LevelFilter::ERROR, LevelFilter::WARN, LevelFilter::INFO, LevelFilter::DEBUG];

/// From now on lines of this level and above are logged.
pub fn set(level: LogLevel) {
    let index = match level {
        LogLevel::Error => 0,
        LogLevel::Warn => 1,
        LogLevel::Info => 2,
        LogLevel::Debug => 3,
    };
    LEVEL.store(index, Ordering::Relaxed);
    // What is not logged costs a comparison, since every place in the code knows the answer.
    tracing::callsite::rebuild_interest_cache();
}

/// Lines of this level and above are logged.
pub fn current() -> LevelFilter {
    LEVELS.get(LEVEL.load(Ordering::Relaxed)).copied().unwrap_or(LevelFilter::DEBUG)
}
