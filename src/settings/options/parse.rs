//! Parsers for the values of options. Each error is "problem: remedy".

use crate::core::Signal;
use crate::core::policy::{MOST_WORKERS, Share};
use crate::core::signal::Rewrite;
use crate::values::address::Address;
use crate::values::amounts::number_within;
use crate::values::duration::parse_duration;
use crate::values::user::UserSpec;
use std::time::Duration;

pub(crate) fn parse_address(text: &str) -> Result<Address, String> {
    Address::parse(text.trim()).map_err(|(problem, remedy)| format!("{problem}: {remedy}"))
}

/// The path of a unix socket, with or without `unix:`.
pub(crate) fn parse_socket(text: &str) -> Result<Address, String> {
    let path = text.strip_prefix("unix:").unwrap_or(text);
    if path.is_empty() {
        return Err("the path is missing: write /path/to/socket".to_owned());
    }
    parse_address(&format!("unix:{path}"))
}

pub(crate) fn parse_signal(text: &str) -> Result<Signal, String> {
    let signal = Signal::parse(text);
    signal.ok_or_else(|| "no such signal: use a name like TERM, QUIT or RTMIN+3, or a number".to_owned())
}

/// A signal on which a pool does not act itself.
pub(super) fn parse_forward(text: &str) -> Result<Signal, String> {
    let signal = parse_signal(text.trim())?;
    match signal {
        Signal::KILL | Signal::STOP => Err(format!("nobody can catch {signal}: leave it out")),
        Signal::CHLD => Err("CHLD is about our own children, and is never passed on: leave it out".into()),
        Signal::TERM
        | Signal::INT
        | Signal::QUIT
        | Signal::ABRT
        | Signal::HUP
        | Signal::USR2
        | Signal::TTIN
        | Signal::TTOU => Err(format!("the pool itself acts on {signal}: use another, such as USR1")),
        signal => Ok(signal),
    }
}

/// `FROM=TO`, or `FROM:TO` as dumb-init writes it.
pub(super) fn parse_rewrite(text: &str) -> Result<Rewrite, String> {
    let (from, to) = text
        .split_once(['=', ':'])
        .ok_or("not two signals: write FROM=TO, as in TERM=QUIT, or FROM=0 to drop it")?;
    let from = parse_signal(from.trim())?;
    match from {
        Signal::KILL | Signal::STOP => {
            Err(format!("nobody can catch {from}, so it cannot be rewritten: leave it out"))
        }
        Signal::CHLD => Err("CHLD is about our own children, and is never passed on: leave it out".into()),
        from if to.trim() == "0" => Ok(Rewrite { from, to: None }),
        from => Ok(Rewrite { from, to: Some(parse_signal(to.trim())?) }),
    }
}

/// `FROM=TO`.
pub(super) fn parse_remap(text: &str) -> Result<(u8, u8), String> {
    let (from, to) = text.split_once('=').ok_or("not two codes: write FROM=TO, as in 143=0")?;
    Ok((parse_exit_code(from)?, parse_exit_code(to)?))
}

pub(super) fn parse_exit_code(text: &str) -> Result<u8, String> {
    text.trim().parse().map_err(|_| "not a whole number from 0 to 255: use one".to_owned())
}

pub(super) fn parse_user(text: &str) -> Result<UserSpec, String> {
    let (user, group) = match text.split_once(':') {
        Some((user, group)) => (user, Some(group)),
        None => (text, None),
    };
    if user.is_empty() || group.is_some_and(str::is_empty) {
        return Err("a name is missing: write USER or USER:GROUP".into());
    }
    Ok(UserSpec { user: user.to_owned(), group: group.map(str::to_owned) })
}

pub(super) fn parse_umask(text: &str) -> Result<u32, String> {
    octal(text).ok_or_else(|| "not an octal number from 0 to 777: use one, as in 027".to_owned())
}

pub(super) fn parse_mode(text: &str) -> Result<u32, String> {
    octal(text).ok_or_else(|| "not an octal number from 0 to 777: use one, as in 660".to_owned())
}

fn octal(text: &str) -> Option<u32> {
    u32::from_str_radix(text, 8).ok().filter(|bits| *bits <= 0o777 && !text.starts_with('+'))
}

pub(super) fn parse_oom_score_adj(text: &str) -> Result<i32, String> {
    let score = text.parse().ok().filter(|score| (-1000..=1000).contains(score));
    score.ok_or_else(|| "not a whole number from -1000 to 1000: use one".to_owned())
}

pub(super) fn parse_stop_signal(text: &str) -> Result<Signal, String> {
    let signal = parse_signal(text)?;
    match signal {
        Signal::STOP | Signal::CONT | Signal::CHLD => {
            Err("it stops nobody for good: use TERM, QUIT or INT".into())
        }
        signal => Ok(signal),
    }
}

/// A duration of at least [`LEAST_TIME`].
pub(super) fn parse_time(text: &str) -> Result<Duration, String> {
    let time = parse_duration(text)?;
    if time < LEAST_TIME { Err("too short: use 10ms or more".to_owned()) } else { Ok(time) }
}

/// The shortest interval of any observation.
const LEAST_TIME: Duration = Duration::from_millis(10);

/// The path of a request line.
pub(super) fn parse_path(text: &str) -> Result<String, String> {
    let is_path = text.starts_with('/') && text.bytes().all(|byte| byte.is_ascii_graphic());
    if is_path {
        Ok(text.to_owned())
    } else {
        Err("not a path: begin with / and escape what is no ASCII".to_owned())
    }
}

/// `90%` or `90`.
pub(super) fn parse_percent(text: &str) -> Result<u32, String> {
    let percent = number_within(text.strip_suffix('%').unwrap_or(text), 1, 100);
    percent.map_err(|_| "not a whole number of percent from 1 to 100: use one, as in 90%".to_owned())
}

/// A number of workers, or a part of them, as in `25%`.
pub(super) fn parse_share(text: &str) -> Result<Share, String> {
    match text.strip_suffix('%') {
        Some(percent) => number_within(percent, 0, 100)
            .map(Share::Percent)
            .map_err(|_| "not a whole number of percent from 0 to 100: use one, as in 25%".to_owned()),
        None => number_within(text, 0, MOST_WORKERS)
            .map(Share::Number)
            .map_err(|error| format!("{error}, or a part as in 25%")),
    }
}

pub(super) fn parse_times(text: &str) -> Result<u32, String> {
    number_within(text, 1, 1_000)
}

pub(super) fn parse_min_ready(text: &str) -> Result<u32, String> {
    number_within(text, 1, MOST_WORKERS)
}

pub(super) fn parse_backlog(text: &str) -> Result<u32, String> {
    number_within(text, 1, 65_535)
}
