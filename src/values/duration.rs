//! Durations in the forms that users write.

use crate::core::time::Patience;
use std::time::Duration;

/// Longer waits are typing errors.
const LONGEST: Duration = Duration::from_secs(10 * 366 * 24 * 60 * 60);

/// Reads `500ms`, `30s`, `1m30s`, `2h`; a bare number is seconds, as in gunicorn and `docker stop`.
///
/// # Errors
/// The problem and the remedy.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let bare = text.parse().ok().map(Duration::from_secs);
    let parsed = bare.or_else(|| humantime::parse_duration(text).ok());
    match parsed {
        Some(span) if span <= LONGEST => Ok(span),
        Some(_) => Err("longer than 10 years: use a shorter time".to_owned()),
        None => Err("not a duration: use one like 500ms, 30s, 1m30s or 2h".to_owned()),
    }
}

/// As [`parse_duration`], or `infinity`.
///
/// # Errors
/// The problem and the remedy.
pub fn parse_patience(text: &str) -> Result<Patience, String> {
    if text == "infinity" {
        return Ok(Patience::Forever);
    }
    parse_duration(text).map(Patience::For).map_err(|error| format!("{error}, or infinity"))
}

/// `12ms`, `3.2s`, `1h 4m`: rounded down for people.
#[must_use]
pub fn in_short(span: Duration) -> String {
    match span.as_secs() {
        0 => format!("{}ms", span.as_millis()),
        seconds @ 1..60 => format!("{seconds}.{}s", span.subsec_millis() / 100),
        seconds => humantime::format_duration(Duration::from_secs(seconds)).to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_forms_people_write_are_read() {
        for (text, millis) in [
            ("0", 0),
            ("30", 30_000),
            ("30s", 30_000),
            ("500ms", 500),
            ("1m30s", 90_000),
            ("1.5s", 1_500),
            ("1h", 3_600_000),
        ] {
            assert_eq!(parse_duration(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for bad in ["", "abc", "-1", "30 parsecs", "99999999999h", "18446744073709551615", "infinity"] {
            assert!(parse_duration(bad).is_err(), "{bad}");
        }
        assert_eq!(parse_patience("infinity"), Ok(Patience::Forever));
    }
}
