//! The form of a rule.

use super::case::Case;

#[derive(Clone, Copy)]
pub struct Rule {
    /// A stable name.
    pub id: &'static str,
    /// The subject, in general.
    pub about: &'static str,
    /// Judges a case; `None` if there is nothing to say.
    pub look: fn(&Case<'_>) -> Option<Finding>,
}

/// The reason and the remedy.
pub type Finding = (String, String);
