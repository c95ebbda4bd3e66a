//! Which lines are logged, to be changed while we run.

use crate::values::log::LogLevel;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

/// An index into [`LEVELS`].
static LEVEL: AtomicUsize = AtomicUsize::new(1);

const LEVELS: [LevelFilter; 4] =
    [LevelFilter::ERROR, LevelFilter::WARN, LevelFilter::INFO, LevelFilter::DEBUG];

/// The most that can ever be asked for.
pub const MOST: LevelFilter = LevelFilter::DEBUG;

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

fn current() -> LevelFilter {
    LEVELS.get(LEVEL.load(Ordering::Relaxed)).copied().unwrap_or(MOST)
}

/// A subscriber that hears only what [`set`] lets through. It is made for the first line: an init has none as a rule, and
/// tracing-subscriber's books take 40 kB.
pub struct Leveled<S>(pub LazyLock<S>);

impl<S: Subscriber> Subscriber for Leveled<S> {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() <= current()
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(current())
    }

    fn event(&self, event: &Event<'_>) {
        self.0.event(event);
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        self.0.new_span(span)
    }

    fn record(&self, span: &Id, values: &Record<'_>) {
        self.0.record(span, values);
    }

    fn record_follows_from(&self, span: &Id, follows: &Id) {
        self.0.record_follows_from(span, follows);
    }

    fn enter(&self, span: &Id) {
        self.0.enter(span);
    }

    fn exit(&self, span: &Id) {
        self.0.exit(span);
    }
}
