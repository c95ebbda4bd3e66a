//! Reading the values of options. Each error is "problem: remedy".

use super::Restarts;
use crate::address::Address;
use crate::core::Signal;
use crate::error::StartError;

pub(super) fn parse_address(text: &str) -> Result<Address, String> {
    Address::parse(text).map_err(|(problem, remedy)| format!("{problem}: {remedy}"))
}

pub(super) fn parse_stop_signal(text: &str) -> Result<Signal, String> {
    let signal =
        Signal::parse(text).ok_or("no such signal: use a name like TERM, QUIT or RTMIN+3, or a number")?;
    match signal {
        Signal::STOP | Signal::CONT | Signal::CHLD => {
            Err("it stops nobody for good: use TERM, QUIT or INT".into())
        }
        signal => Ok(signal),
    }
}

/// The most workers: each needs a process and a few descriptors.
const MOST_WORKERS: u32 = 1024;

pub(super) fn parse_workers(text: &str) -> Result<u32, String> {
    number_within(text, 1, MOST_WORKERS)
}

pub(super) fn parse_min_ready(text: &str) -> Result<u32, String> {
    number_within(text, 1, MOST_WORKERS)
}

pub(super) fn parse_backlog(text: &str) -> Result<u32, String> {
    number_within(text, 1, 65_535)
}

fn number_within(text: &str, least: u32, most: u32) -> Result<u32, String> {
    let number = text.parse().ok().filter(|number| (least..=most).contains(number));
    number.ok_or_else(|| format!("not a whole number from {least} to {most}: use one"))
}

pub(super) fn parse_count(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| "not a whole number from 0 up: use one".to_owned())
}

pub(super) fn parse_restarts(text: &str) -> Result<Restarts, String> {
    if text == "infinity" {
        return Ok(Restarts(None));
    }
    match text.parse().ok().filter(|number| *number <= 1_000) {
        Some(number) => Ok(Restarts(Some(number))),
        None => Err("not a whole number from 0 to 1000, nor infinity: use one".to_owned()),
    }
}

/// `WEB_CONCURRENCY` as a number of workers, under the rules of `--workers`.
///
/// # Errors
/// As `--workers`.
pub fn workers_of_web_concurrency(text: &str) -> Result<u32, StartError> {
    parse_workers(text).map_err(|problem| {
        StartError::value(
            "WEB_CONCURRENCY",
            text,
            problem.trim_end_matches(": use one"),
            "use one, or give --workers",
        )
    })
}
