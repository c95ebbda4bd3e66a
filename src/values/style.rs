//! The program in whose words the log reports.

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Style {
    #[default]
    Ours,
    DumbInit,
    Tini,
}

/// The beginning of each of tini's lines.
#[must_use]
pub fn tini_prefix(level: &str) -> String {
    format!("[{level:<5} tini ({})] ", std::process::id())
}
