//! What a rule is.

use super::case::Case;

/// A rule.
#[derive(Clone, Copy)]
pub struct Rule {
    /// Its name, which stays.
    pub id: &'static str,
    /// What it is about, in general.
    pub about: &'static str,
    /// What it has to say of a case: the reason and the remedy.
    pub look: fn(&Case<'_>) -> Option<Finding>,
}

/// The reason and the remedy.
pub type Finding = (String, String);
