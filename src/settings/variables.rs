//! Variables with our prefix that belong to no option: usually misspelt.

use crate::values::variables as names;
use clap::Command;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;

/// A variable that resembles one of ours, and has no effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unknown {
    pub name: String,
    /// The most similar variable of ours, if one is similar enough.
    pub nearest: Option<String>,
}

/// The prefix of our variables' names.
pub const PREFIX: &str = "PREFORK_";

/// Variables that we set for workers, the next program in our process, the examples and tests: inherited where one
/// prefork-init runs below another. Hooks have variables with a prefix of their own.
const TOLD: [&str; 10] = [
    names::WORKER_ID,
    names::WORKER_NUMBER,
    names::GENERATION,
    names::SCOREBOARD_FD,
    names::SCOREBOARD_OFFSET,
    names::HANDOVER_FD,
    names::HANDOVER_TERMS,
    names::HANDOVER_LISTEN,
    "PREFORK_REQUEST_TIMEOUT",
    "PREFORK_DEBUG_PANIC",
];

/// Other programs' names for our options.
const SYNONYMS: [(&str, &str); 3] = [("PORT", "BIND"), ("HOST", "BIND"), ("ADDRESS", "BIND")];

/// The similarity (Jaro, without the prefix) from which a name counts as misspelt.
const LIKE: f64 = 0.75;

/// The most that are looked for: the start waits for it.
const MOST: usize = 16;

/// A name with more bytes is not compared, and is shown in part.
const LONGEST: usize = 64;

/// The unknown variables of our environment, [`MOST`] at most; `known` has those of our options.
pub(crate) fn unknown(known: &Command) -> Vec<Unknown> {
    std::env::vars_os().filter_map(|(name, value)| look(known, &name, &value)).take(MOST).collect()
}

fn look(known: &Command, name: &OsStr, value: &OsStr) -> Option<Unknown> {
    let begins = |name: &OsStr| {
        let start = name.as_bytes().get(..PREFIX.len());
        start.is_some_and(|start| start.eq_ignore_ascii_case(PREFIX.as_bytes()))
    };
    // An empty variable counts as unset.
    if !begins(name) || value.is_empty() {
        return None;
    }
    let of_options = || known.get_arguments().filter_map(clap::Arg::get_env);
    let text = name.to_string_lossy();
    let is_told = TOLD.contains(&text.as_ref()) || text.starts_with(names::EVENT);
    if is_told || of_options().any(|own| own == name) || is_of_kubernetes(&text, &value.to_string_lossy()) {
        return None;
    }
    if name.len() > LONGEST {
        let start: String = text.chars().take(LONGEST).collect();
        return Some(Unknown { name: format!("{start}..."), nearest: None });
    }
    let plain = text.get(PREFIX.len()..).unwrap_or_default().to_ascii_uppercase();
    let ours = of_options().filter_map(|own| own.to_str()?.strip_prefix(PREFIX));
    let synonym = SYNONYMS.iter().find(|(other, _)| *other == plain).map(|(_, ours)| *ours);
    let nearest = synonym.or_else(|| {
        let likeness = ours.map(|own| (strsim::jaro(&plain, own), own)).filter(|(like, _)| *like > LIKE);
        likeness.max_by(|one, other| one.0.total_cmp(&other.0)).map(|(_, own)| own)
    });
    Some(Unknown { name: text.into_owned(), nearest: nearest.map(|own| format!("{PREFIX}{own}")) })
}

/// A Kubernetes Service named `prefork` or `prefork-init` puts its address into every container of its namespace, under
/// names such as `PREFORK_SERVICE_HOST`, `PREFORK_PORT` and `PREFORK_PORT_80_TCP_ADDR`.
fn is_of_kubernetes(name: &str, value: &str) -> bool {
    const PROTOCOLS: [&str; 3] = ["TCP", "UDP", "SCTP"];
    let is_link = || {
        let (_, port) = name.rsplit_once("_PORT_")?;
        let (number, protocol) = port.split_once('_')?;
        let is_number = !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit());
        Some(is_number && PROTOCOLS.iter().any(|known| protocol.starts_with(known)))
    };
    let is_address = ["tcp://", "udp://", "sctp://"].iter().any(|scheme| value.starts_with(scheme));
    name.ends_with("_SERVICE_HOST")
        || name.contains("_SERVICE_PORT")
        || (name.ends_with("_PORT") && is_address)
        || is_link() == Some(true)
}

impl std::fmt::Display for Unknown {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { name, nearest } = self;
        match nearest {
            Some(nearest) => write!(f, "{name} is no variable of ours: did you mean {nearest}?"),
            None => write!(f, "{name} is no variable of ours, and nothing like one: see --help"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::options::Options;
    use clap::CommandFactory;
    use std::ffi::OsString;

    fn said(name: &str, value: &str) -> Option<Option<String>> {
        let known = Options::command();
        look(&known, &OsString::from(name), &OsString::from(value)).map(|unknown| unknown.nearest)
    }

    #[test]
    fn a_misspelt_one_is_told_with_the_nearest() {
        for (name, nearest) in [
            ("PREFORK_WORKER", "PREFORK_WORKERS"),
            ("PREFORK_WROKERS", "PREFORK_WORKERS"),
            ("PREFORK_GRACEFUL_TIMOUT", "PREFORK_GRACEFUL_TIMEOUT"),
            ("PREFORK_GRACEFULTIMEOUT", "PREFORK_GRACEFUL_TIMEOUT"),
            ("PREFORK_MAX_REQUEST", "PREFORK_MAX_REQUESTS"),
            ("PREFORK_BINDS", "PREFORK_BIND"),
            ("PREFORK_HEALTHZ", "PREFORK_HEALTH"),
            ("PREFORK_PORT", "PREFORK_BIND"),
            ("prefork_workers", "PREFORK_WORKERS"),
            ("PREFORK_TERMINATION_GRACE_PERIOD", "PREFORK_TERMINATION_GRACE"),
        ] {
            assert_eq!(said(name, "4"), Some(Some(nearest.to_owned())), "{name}");
        }
        for name in ["PREFORK_ZZZ", "PREFORK_"] {
            assert_eq!(said(name, "4"), Some(None), "{name}");
        }
    }

    #[test]
    fn a_name_without_end_costs_nothing() {
        let (name, known) = (format!("PREFORK_{}", "WORKERS".repeat(14_000)), Options::command());
        let unknown = look(&known, OsStr::new(&name), OsStr::new("4"));
        assert!(unknown.is_some_and(|unknown| unknown.nearest.is_none() && unknown.name.len() < 100));
        let longest = known.get_arguments().filter_map(clap::Arg::get_env).map(OsStr::len).max();
        assert!(longest.is_some_and(|longest| longest < LONGEST / 2), "{longest:?}");
    }

    #[test]
    fn what_is_ours_or_nobodys_is_not() {
        for name in TOLD.into_iter().chain([
            "PREFORK_WORKERS",
            "PREFORK_EVENT",
            "PREFORK_EVENT_SLOT",
            "PREFORK",
            "PREFORKED_WORKERS",
            "WORKERS",
            "PREFORK_INIT_SERVICE_HOST",
            "PREFORK_SERVICE_PORT_HTTP",
            "PREFORK_INIT_PORT_80_TCP",
            "PREFORK_PORT_8000_TCP_ADDR",
        ]) {
            assert_eq!(said(name, "4"), None, "{name}");
        }
        assert_eq!(said("PREFORK_PORT", "tcp://10.0.0.1:80"), None);
        assert_eq!(said("PREFORK_WORKER", ""), None);
    }
}
