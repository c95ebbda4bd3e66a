//! A user, as options name one.

/// `USER` or `USER:GROUP`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserSpec {
    /// A name or an id.
    pub user: String,
    /// A name or an id.
    pub group: Option<String>,
}
