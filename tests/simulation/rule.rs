//! What a rule says.

/// Nothing, or how it was broken.
pub type Held = Result<(), String>;

pub fn check(holds: bool, else_broken: &str) -> Held {
    if holds { Ok(()) } else { Err(else_broken.into()) }
}
