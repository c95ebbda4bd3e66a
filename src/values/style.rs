//! In whose words the log tells what happens.

/// See the module.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Style {
    /// Our own.
    #[default]
    Ours,
    /// dumb-init's.
    DumbInit,
    /// tini's.
    Tini,
}

/// The beginning of each line of tini's.
#[must_use]
pub fn tini_prefix(level: &str) -> String {
    format!("[{level:<5} tini ({})] ", std::process::id())
}
