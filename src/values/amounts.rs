//! Sizes, and the random part of a limit, in the forms that users write.

use crate::values::duration::parse_duration;
use std::num::IntErrorKind;
use std::time::Duration;

/// The letters of the units, each 1024 times the one before.
const UNITS: [&str; 4] = ["K", "M", "G", "T"];

/// Reads a size in bytes: `1073741824`, `512M`, `1.5G`, `800MiB`. K, M, G and T are powers of 1024, as in Docker, in
/// upper or lower case, with or without `i` and `B`. A part of a byte is cut off.
///
/// # Errors
/// The problem and the remedy.
pub fn parse_size(text: &str) -> Result<u64, String> {
    let (number, unit) = text.split_at(text.find(|c| !matches!(c, '0'..='9' | '.')).unwrap_or(text.len()));
    let size = unit_of(unit.trim_start()).and_then(|unit| bytes(number, unit));
    match size.map(u64::try_from) {
        Some(Ok(size)) => Ok(size),
        Some(Err(_)) => Err("more than any machine has: use a smaller size".to_owned()),
        None => Err("not a size: use one like 512M, 1.5G, 800MiB or 1073741824, in bytes".to_owned()),
    }
}

/// Bytes in one unit.
fn unit_of(unit: &str) -> Option<u128> {
    let upper = unit.to_ascii_uppercase();
    let letter = upper.strip_suffix('B').unwrap_or(&upper);
    if letter.is_empty() {
        return Some(1);
    }
    let letter = letter.strip_suffix('I').unwrap_or(letter);
    let place = UNITS.iter().position(|name| *name == letter)?;
    1024u128.checked_pow(u32::try_from(place.saturating_add(1)).ok()?)
}

/// Exact, without floating point.
fn bytes(number: &str, unit: u128) -> Option<u128> {
    /// More digits make no difference, and the product would overflow.
    const MOST_DIGITS: usize = 20;
    let (whole, part) = match number.split_once('.') {
        Some((whole, part)) if unit > 1 && !part.is_empty() => (whole, part),
        Some(_) => return None,
        None => (number, "0"),
    };
    let whole = match whole.parse::<u128>() {
        Ok(whole) => whole,
        Err(error) if *error.kind() == IntErrorKind::PosOverflow => u128::MAX,
        Err(_) => return None,
    };
    if !part.bytes().all(|digit| digit.is_ascii_digit()) {
        return None;
    }
    let part = part.get(..MOST_DIGITS).unwrap_or(part);
    let scale = 10u128.checked_pow(u32::try_from(part.len()).ok()?)?;
    let part = part.parse::<u128>().ok()?.checked_mul(unit)?.checked_div(scale)?;
    Some(whole.saturating_mul(unit).saturating_add(part))
}

/// How much may be added at random to a limit, so that not all workers reach theirs at the same time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Jitter<T> {
    Absolute(T),
    /// Percent of the limit, 0 to 100.
    Percent(u32),
}

impl Jitter<u64> {
    /// The most that is added to this limit.
    #[must_use]
    pub fn of(&self, limit: u64) -> u64 {
        match self {
            Self::Absolute(most) => *most,
            Self::Percent(percent) => hundredths(u128::from(limit), *percent),
        }
    }
}

impl Jitter<Duration> {
    /// The most that is added to this limit; at most 584 years.
    #[must_use]
    pub fn of(&self, limit: Duration) -> Duration {
        match self {
            Self::Absolute(most) => *most,
            Self::Percent(percent) => Duration::from_nanos(hundredths(limit.as_nanos(), *percent)),
        }
    }
}

fn hundredths(whole: u128, percent: u32) -> u64 {
    u64::try_from(whole.saturating_mul(u128::from(percent)) / 100).unwrap_or(u64::MAX)
}

/// Reads the jitter of a number: `1000` or `10%`.
///
/// # Errors
/// The problem and the remedy.
pub fn parse_jitter_count(text: &str) -> Result<Jitter<u64>, String> {
    jitter(text, parse_count)
}

/// Reads the jitter of a time: `30s` or `10%`.
///
/// # Errors
/// The problem and the remedy.
pub fn parse_jitter_duration(text: &str) -> Result<Jitter<Duration>, String> {
    jitter(text, parse_duration)
}

/// Reads the jitter of a size: `64M` or `10%`.
///
/// # Errors
/// The problem and the remedy.
pub fn parse_jitter_size(text: &str) -> Result<Jitter<u64>, String> {
    jitter(text, parse_size)
}

fn jitter<T>(text: &str, absolute: fn(&str) -> Result<T, String>) -> Result<Jitter<T>, String> {
    match text.strip_suffix('%') {
        Some(percent) => number_within(percent, 0, 100)
            .map(Jitter::Percent)
            .map_err(|_| "not a whole number of percent from 0 to 100: use one, as in 10%".to_owned()),
        None => absolute(text).map(Jitter::Absolute).map_err(|error| format!("{error}, or a part as in 10%")),
    }
}

pub(crate) fn number_within(text: &str, least: u32, most: u32) -> Result<u32, String> {
    let number = text.parse().ok().filter(|number| (least..=most).contains(number));
    number.ok_or_else(|| format!("not a whole number from {least} to {most}: use one"))
}

pub(crate) fn parse_count(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| "not a whole number from 0 up: use one".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_as_people_write_them() {
        for (text, bytes) in [
            ("0", 0),
            ("1073741824", 1 << 30),
            ("12B", 12),
            ("512M", 512 << 20),
            ("512m", 512 << 20),
            ("512 MB", 512 << 20),
            ("800MiB", 800 << 20),
            ("800Mi", 800 << 20),
            ("64k", 64 << 10),
            ("1.5G", 3 << 29),
            ("0.5GiB", 1 << 29),
            ("2T", 2 << 40),
            ("0.1K", 102),
            ("0.00000000000000000000000000000000001T", 0),
            ("0.99999999999999999999999999999999999T", (1 << 40) - 1),
            ("18446744073709551615", u64::MAX),
            ("16777215.5T", u64::MAX - (1 << 39) + 1),
        ] {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
        }
    }

    #[test]
    fn what_is_no_size_is_told_with_a_remedy() {
        for bad in [
            "",
            "M",
            "B",
            "-1",
            "+1",
            "1.5",
            "1.5B",
            ".5G",
            "1.G",
            "1..5G",
            "1.5.5G",
            "5X",
            "5P",
            "5MM",
            "5iB",
            "5 0M",
            " 5M",
            "5M ",
            "1e3",
            "0x10",
            "1,5G",
            "10%",
            "infinity",
            "max",
            "5\u{212a}",
            "\u{661}M",
            "1.00000000000000000000000.5M",
        ] {
            let error = parse_size(bad).unwrap_err();
            assert!(error.starts_with("not a size: use one like 512M"), "{bad}: {error}");
        }
        let immense = "9".repeat(100);
        for big in ["16777216T", "18446744073709551616", "340282366920938463463374607431768211455T", &immense]
        {
            assert_eq!(parse_size(big), Err("more than any machine has: use a smaller size".to_owned()));
        }
    }

    #[test]
    fn jitter_is_absolute_or_a_part_of_the_limit() {
        assert_eq!(parse_jitter_count("1000"), Ok(Jitter::Absolute(1000)));
        assert_eq!(parse_jitter_count("10%"), Ok(Jitter::Percent(10)));
        assert_eq!(parse_jitter_duration("1m30s"), Ok(Jitter::Absolute(Duration::from_secs(90))));
        assert_eq!(parse_jitter_duration("0%"), Ok(Jitter::Percent(0)));
        assert_eq!(parse_jitter_size("64M"), Ok(Jitter::Absolute(64 << 20)));
        assert_eq!(parse_jitter_size("100%"), Ok(Jitter::Percent(100)));
        for bad in ["101%", "-1%", "1.5%", "%", "10%%", "ten%", "10 %"] {
            let error = parse_jitter_count(bad).unwrap_err();
            assert!(error.ends_with("from 0 to 100: use one, as in 10%"), "{bad}: {error}");
        }
        let error = parse_jitter_count("many").unwrap_err();
        assert_eq!(error, "not a whole number from 0 up: use one, or a part as in 10%");
        let error = parse_jitter_size("many").unwrap_err();
        assert!(error.ends_with("or 1073741824, in bytes, or a part as in 10%"), "{error}");
    }

    #[test]
    fn a_part_is_of_the_limit_and_never_overflows() {
        assert_eq!((Jitter::Absolute(7u64).of(1000), Jitter::<u64>::Percent(10).of(1005)), (7, 100));
        assert_eq!(Jitter::<u64>::Percent(100).of(u64::MAX), u64::MAX);
        assert_eq!(Jitter::<u64>::Percent(u32::MAX).of(u64::MAX), u64::MAX);
        let hour = Duration::from_secs(3600);
        assert_eq!(Jitter::Absolute(Duration::ZERO).of(hour), Duration::ZERO);
        assert_eq!(Jitter::<Duration>::Percent(5).of(hour), Duration::from_secs(180));
        assert_eq!(Jitter::<Duration>::Percent(1).of(Duration::from_nanos(99)), Duration::ZERO);
        assert_eq!(Jitter::<Duration>::Percent(100).of(Duration::MAX), Duration::from_nanos(u64::MAX));
    }
}
