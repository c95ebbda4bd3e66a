//! The two endpoints of a supervisor.

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum EndpointKind {
    Control,
    Health,
}

impl EndpointKind {
    pub(super) fn names(self) -> (&'static str, &'static str) {
        match self {
            Self::Control => ("--control", "PREFORK_CONTROL"),
            Self::Health => ("--health", "PREFORK_HEALTH"),
        }
    }
}
