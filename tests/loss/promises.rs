//! What is promised to a client: the loss test asserts it, and the tables of docs/promises.md are made of it.

use super::life::Phase;
use super::servers::{SERVERS, Server};
use crate::harness::clients::Model;
use crate::harness::clients::counts::Counts;
use std::time::Duration;

/// What happens, in the words of users.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Case {
    Planned,
    Term,
    Leave,
    Crash,
}

/// What a client has to do with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Client {
    /// A connection a request.
    Close,
    /// The same, and the answer is slow: it is in hand when it happens.
    InHand,
    /// Keep-alive, of a server that says goodbye.
    Kept,
    /// An answer without an end.
    Stream,
}

/// What such a client may rely on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Promise {
    /// No request is lost, and none refused.
    Nothing,
    /// None is lost; some are refused.
    Refused,
    /// None is refused, and of each client one request is lost at most: the one that the worker had.
    OneEach,
    /// It goes on for a graceful timeout, divided by this.
    GoesOn(u32),
    /// Nothing that could be relied on.
    Unpromised,
}
use Promise::{GoesOn, Nothing, OneEach, Refused, Unpromised};

/// A promise, and what it takes, or what there is in its place.
type Cell = (Promise, &'static str);

const WITH_GOODBYE: &str = "with a goodbye; without one, up to 6 per replacement under full load";

/// All of them: what happens, and a cell for each [`Client`] in its order.
const PROMISES: [(Case, &str, [Cell; 4]); 4] = [
    (
        Case::Planned,
        "**Planned**: reload, a limit, one worker fewer",
        [
            (Nothing, ""),
            (Nothing, "if answered within the graceful timeout"),
            (Nothing, WITH_GOODBYE),
            (GoesOn(1), ""),
        ],
    ),
    (
        Case::Term,
        "**TERM** of the pool",
        [
            (Refused, ""),
            (
                Nothing,
                "if answered within half of the graceful timeout, or as long as the server itself waits",
            ),
            (Unpromised, "what the server closes"),
            (GoesOn(2), ""),
        ],
    ),
    (
        Case::Leave,
        "**A worker leaves** by itself, or gets a TERM from another process",
        [
            (OneEach, "what the server closes unread at its stop, rarely one"),
            (Nothing, "if the server finishes it: uvicorn, gunicorn"),
            (Unpromised, "what the server closes"),
            (Unpromised, "as long as the server lets it"),
        ],
    ),
    (
        Case::Crash,
        "**A worker dies**",
        [
            (OneEach, "what the worker had in hand"),
            (Unpromised, "lost"),
            (OneEach, "what the worker had in hand"),
            (Unpromised, "cut"),
        ],
    ),
];

impl Case {
    /// What a phase of a life is to users.
    pub fn of(phase: Phase) -> Self {
        match phase {
            Phase::Age | Phase::Requests | Phase::Reload | Phase::Scale => Self::Planned,
            Phase::Leave => Self::Leave,
            Phase::Crash => Self::Crash,
            Phase::Term => Self::Term,
        }
    }

    /// What is promised to a client then.
    pub fn promises(self, client: Client) -> Promise {
        let (_, _, cells) = PROMISES.iter().find(|(case, ..)| *case == self).unwrap();
        cells[client as usize].0
    }
}

impl Client {
    /// Which one a model of the load is.
    pub fn of(model: Model) -> Self {
        match model {
            Model::Close => Self::Close,
            Model::Think | Model::Busy => Self::Kept,
            Model::Slow => Self::InHand,
        }
    }
}

impl Promise {
    /// Whether what became of so many clients' requests is what was promised. A wrong answer never is.
    pub fn is_kept(self, counts: &Counts, clients: u64) -> bool {
        let kept = match self {
            Self::Nothing => counts.lost() == 0 && counts.refused == 0,
            Self::Refused => counts.lost() == 0,
            Self::OneEach => counts.lost() <= clients && counts.refused == 0,
            Self::GoesOn(_) => panic!("a stream is not counted"),
            Self::Unpromised => true,
        };
        kept && counts.other == 0
    }

    /// How long a stream goes on at least.
    pub fn lasts(self, graceful: Duration) -> Duration {
        match self {
            Self::GoesOn(part) => graceful / part,
            Self::Nothing | Self::Refused | Self::OneEach | Self::Unpromised => {
                panic!("no promise of a stream")
            }
        }
    }

    fn words(self) -> &'static str {
        match self {
            Self::Nothing => "**0 lost, 0 refused**",
            Self::Refused => "**0 lost**, some refused",
            Self::OneEach => "**0 refused**, at most one lost per client",
            Self::GoesOn(1) => "goes on for the graceful timeout",
            Self::GoesOn(_) => "goes on for half of the graceful timeout",
            Self::Unpromised => "",
        }
    }
}

/// The table of promises.
pub fn table() -> String {
    let mut table = format!(
        "| what happens | one connection per request | a slow request in hand at that moment | keep-alive | a stream |\n|{}\n",
        "---|".repeat(5)
    );
    for (_, title, cells) in &PROMISES {
        let cells = cells.iter().map(|(promise, more)| match (promise.words(), *more) {
            ("", more) => more.to_owned(),
            (words, "") => words.to_owned(),
            (words, more) => format!("{words} ({more})"),
        });
        table += &format!("| {title} | {} |\n", cells.collect::<Vec<_>>().join(" | "));
    }
    table
}

/// The table of what a server needs for the promise to keep-alive clients.
pub fn goodbyes() -> String {
    let mut table = String::from("| server | goodbye |\n|---|---|\n");
    let mut signals: Vec<Option<&str>> = Vec::new();
    for server in SERVERS.iter().filter(|server| server.plain.is_none()) {
        if !signals.contains(&server.drain_signal) {
            signals.push(server.drain_signal);
        }
    }
    for signal in signals {
        let names = titles(|server| server.plain.is_none() && server.drain_signal == signal);
        let needs = signal.map_or_else(
            || "needs nothing: it says so by itself".to_owned(),
            |signal| {
                format!("`--drain-signal {signal}`, and at that signal the application answers `Connection: close`")
            },
        );
        table += &format!("| {names} | {needs} |\n");
    }
    table
}

/// The servers that are held to the rest as they come.
pub fn plain_servers() -> String {
    titles(|server| server.plain.is_some() && server.drain_signal.is_none())
}

/// What the tables call them, each once.
fn titles(wanted: impl Fn(&Server) -> bool) -> String {
    let mut titles: Vec<&str> = Vec::new();
    for server in SERVERS.iter().filter(|server| wanted(server)) {
        if !titles.contains(&server.title) {
            titles.push(server.title);
        }
    }
    titles.join(", ")
}

#[test]
fn the_documentation_promises_what_is_asserted() {
    let page = include_str!("../../docs/promises.md");
    for text in [table(), goodbyes(), plain_servers()] {
        assert!(page.contains(&text), "docs/promises.md has to have this:\n{text}");
    }
}
