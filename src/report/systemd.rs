//! What a pool tells the manager above it, systemd or podman: sd_notify(3), from the sending end.
//!
//! ```text
//!  STATUS=starting: 1 of 4 workers ready
//!  READY=1      min_ready workers are ready; STATUS goes with whatever else is said
//!  RELOADING=1  MONOTONIC_USEC=...; READY=1 when the reload is finished, or has failed
//!  STOPPING=1   EXTEND_TIMEOUT_USEC=...; nothing but STATUS comes after it
//!  WATCHDOG=1   twice in WATCHDOG_USEC, from the loop itself: none comes from one that is stuck
//! ```
//! In init mode we say nothing: the command has the variables, and speaks for itself.

use crate::core::note::ReloadNote;
use crate::core::snapshot::Phase;
use crate::core::time::Patience;
use crate::core::{Note, Progress, Snapshot};
use crate::os::worker::manager_socket::ManagerSocket;
use crate::os::worker::scoreboard::now as monotonic;
use std::collections::VecDeque;
use std::ffi::OsString;
use std::io;
use std::time::Duration;
use tokio::time::Instant;
use tracing::{debug, warn};

/// What did not fit into the manager's queue is tried again after this, twice this, ... and then this often.
const RETRY: Duration = Duration::from_millis(100);
const RETRY_AT_LEAST: Duration = Duration::from_secs(60);

/// Messages that wait for room; of more, the oldest are forgotten.
const MOST_WAITING: usize = 16;

/// What an ordered end may take beyond its timeouts.
const MARGIN: Duration = Duration::from_secs(10);

/// The variables by which a manager makes itself known.
#[derive(Debug, Default)]
pub struct Variables {
    /// `NOTIFY_SOCKET`
    pub socket: Option<OsString>,
    /// `WATCHDOG_USEC`
    pub watchdog: Option<OsString>,
    /// `WATCHDOG_PID`
    pub watchdog_pid: Option<OsString>,
}

impl Variables {
    /// Reads the process's environment.
    #[must_use]
    pub fn read() -> Self {
        let read = |name| std::env::var_os(name).filter(|value| !value.is_empty());
        Self {
            socket: read("NOTIFY_SOCKET"),
            watchdog: read("WATCHDOG_USEC"),
            watchdog_pid: read("WATCHDOG_PID"),
        }
    }

    /// How often the manager wants to hear `WATCHDOG=1` from us: sd_watchdog_enabled(3).
    fn watchdog(&self) -> Option<Duration> {
        let of_us = |pid: &OsString| pid.to_str() == Some(&std::process::id().to_string());
        let micros = self.watchdog.as_ref().filter(|_| self.watchdog_pid.as_ref().is_none_or(of_us))?;
        let micros = micros.to_str().and_then(|text| text.parse::<u64>().ok()).filter(|micros| *micros > 0);
        if micros.is_none() {
            warn!("WATCHDOG_USEC is ignored: it is no number of microseconds");
        }
        micros.map(Duration::from_micros)
    }
}

/// A manager, as long as it listens.
#[derive(Debug)]
pub struct Manager {
    socket: ManagerSocket,
    teller: Teller,
    ping: Option<Ping>,
    /// What there was no room for, the oldest first.
    waiting: VecDeque<String>,
    retry_at: Option<Instant>,
    retry_in: Duration,
}

/// The manager's watchdog.
#[derive(Clone, Copy, Debug)]
struct Ping {
    every: Duration,
    at: Instant,
}

impl Manager {
    /// The one that the variables name, if they name one.
    #[must_use]
    pub fn find(variables: &Variables) -> Option<Self> {
        let name = variables.socket.as_ref()?;
        let socket = ManagerSocket::open(name);
        let socket = socket.inspect_err(|error| {
            warn!(%error, "NOTIFY_SOCKET is ignored: it is neither a path nor an abstract name");
        });
        let every = variables.watchdog().map(|limit| limit / 2);
        Some(Self {
            socket: socket.ok()?,
            teller: Teller::default(),
            // The first at once: the manager's clock runs.
            ping: every.map(|every| Ping { every, at: Instant::now() }),
            waiting: VecDeque::new(),
            retry_at: None,
            retry_in: RETRY,
        })
    }

    /// A transition.
    pub fn note(&mut self, note: &Note) {
        self.teller.note(note);
    }

    /// Tells what has changed. `ends_within` is how long an ordered end would take at most.
    pub fn tell(&mut self, snapshot: &Snapshot, progress: Progress, ends_within: Patience) {
        self.teller.end_within = match ends_within {
            Patience::For(span) => Some(span.saturating_add(MARGIN)),
            Patience::Forever => None,
        };
        for message in self.teller.messages(snapshot, progress, monotonic()) {
            debug!(message, "telling the manager");
            self.say(message);
        }
    }

    /// When [`act`](Self::act) has something to do.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Instant> {
        let ping = self.ping.map(|ping| ping.at);
        ping.into_iter().chain(self.retry_at).min()
    }

    /// Does what is due.
    pub fn act(&mut self, now: Instant) {
        if self.retry_at.is_some_and(|at| at <= now) {
            self.retry_at = None;
            while let Some(message) = self.waiting.front() {
                match self.socket.send(message) {
                    Err(error) if is_full(&error) => {
                        self.retry_in = self.retry_in.saturating_mul(2).min(RETRY_AT_LEAST);
                        self.retry_at = now.checked_add(self.retry_in);
                        break;
                    }
                    sent => log_failure(sent),
                }
                self.waiting.pop_front();
            }
            if self.waiting.is_empty() {
                self.retry_in = RETRY;
            }
        }
        if let Some(Ping { every, at }) = &mut self.ping
            && *at <= now
        {
            let sent = self.socket.send("WATCHDOG=1");
            let again = if sent.as_ref().is_err_and(is_full) { RETRY.min(*every) } else { *every };
            log_failure(sent);
            // Not what was missed while we were suspended.
            *at = now.checked_add(again).unwrap_or(now);
        }
    }

    /// In order: nothing overtakes what waits.
    fn say(&mut self, message: String) {
        if self.waiting.is_empty() {
            match self.socket.send(&message) {
                Err(error) if is_full(&error) => {}
                sent => return log_failure(sent),
            }
            self.retry_at = Instant::now().checked_add(self.retry_in);
        }
        if self.waiting.len() >= MOST_WAITING {
            self.waiting.pop_front();
        }
        self.waiting.push_back(message);
    }
}

fn is_full(error: &io::Error) -> bool {
    // ENOBUFS is what a socket says that has no room for what it sends itself.
    error.kind() == io::ErrorKind::WouldBlock || error.kind() == io::ErrorKind::OutOfMemory
}

fn log_failure(sent: io::Result<()>) {
    if let Err(error) = sent {
        debug!(%error, "the manager was not told");
    }
}

/// What has been told, and what is to be.
#[derive(Debug, Default)]
struct Teller {
    /// The whole end takes at most this, if it is known.
    end_within: Option<Duration>,
    status: String,
    ready: bool,
    /// A reload began, of which nothing was told yet.
    reload_began: bool,
    reloading: bool,
    stopping: bool,
    /// The generation that failed last.
    failed: Option<u32>,
}

impl Teller {
    fn note(&mut self, note: &Note) {
        match note {
            Note::Reload(_, ReloadNote::Started) => (self.reload_began, self.failed) = (true, None),
            // Whoever asked by way of the manager waits for the end of it.
            Note::Reload(generation, ReloadNote::Refused) => {
                (self.reload_began, self.failed) = (true, Some(*generation))
            }
            Note::Reload(generation, ReloadNote::Failed { .. }) => self.failed = Some(*generation),
            _ => {}
        }
    }

    /// The datagrams that are due at this moment of `CLOCK_MONOTONIC`.
    fn messages(&mut self, snapshot: &Snapshot, progress: Progress, clock: Duration) -> Vec<String> {
        let mut messages = Vec::new();
        let rolls = matches!(progress, Progress::Rolling { .. });
        if snapshot.phase != Phase::Running {
            if !std::mem::replace(&mut self.stopping, true) {
                let within =
                    self.end_within.map(|within| format!("\nEXTEND_TIMEOUT_USEC={}", micros(within)));
                messages.push(format!("STOPPING=1{}", within.unwrap_or_default()));
            }
        } else if snapshot.started {
            if !std::mem::replace(&mut self.ready, true) {
                // Who is not up yet does not reload, for a manager.
                self.reload_began = false;
                messages.push("READY=1".to_owned());
            }
            if std::mem::take(&mut self.reload_began) {
                self.reloading = true;
                messages.push(format!("RELOADING=1\nMONOTONIC_USEC={}", micros(clock)));
            }
            if self.reloading && !rolls {
                self.reloading = false;
                messages.push("READY=1".to_owned());
            }
        }
        let status = status(snapshot, progress, self.failed);
        if status != self.status {
            let line = format!("STATUS={status}");
            match messages.last_mut() {
                Some(message) => *message = format!("{message}\n{line}"),
                None => messages.push(line),
            }
            self.status = status;
        }
        messages
    }
}

/// In words.
fn status(snapshot: &Snapshot, progress: Progress, failed: Option<u32>) -> String {
    let Snapshot { phase, workers, ready, started, .. } = snapshot;
    let first = match (phase, progress) {
        (Phase::GivenUp, _) => "crash loop given up",
        (_, Progress::Stopping { .. }) => "stopping",
        (_, Progress::Draining { .. }) => "draining",
        (_, Progress::Rolling { to, new }) if *started => {
            return format!("reloading to generation {to}: {new} of {workers}");
        }
        (_, Progress::Rolling { .. } | Progress::Steady) if !started => "starting",
        (_, Progress::Rolling { .. } | Progress::Steady) => {
            let failed = failed.map(|generation| format!("; the reload to generation {generation} failed"));
            return format!("{ready} of {workers} workers ready{}", failed.unwrap_or_default());
        }
    };
    match progress {
        Progress::Stopping { left, .. } => {
            format!("{first}: {left} of {} workers left", left.max(*workers))
        }
        Progress::Draining { .. } | Progress::Rolling { .. } | Progress::Steady => {
            format!("{first}: {ready} of {workers} workers ready")
        }
    }
}

fn micros(span: Duration) -> u64 {
    u64::try_from(span.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::exit::Reason;

    const STARTING: Snapshot =
        Snapshot { phase: Phase::Running, workers: 4, ready: 0, min_ready: 2, started: false };
    const READY: Snapshot = Snapshot { ready: 4, started: true, ..STARTING };

    fn at(micros: u64) -> Duration {
        Duration::from_micros(micros)
    }

    fn ready() -> Teller {
        let mut teller = Teller { end_within: Some(at(7)), ..Teller::default() };
        teller.messages(&READY, Progress::Steady, at(0));
        teller
    }

    #[test]
    fn ready_is_said_once_and_a_status_when_it_changes() {
        let mut teller = Teller::default();
        let steps: [(u32, bool, &[&str]); 5] = [
            (0, false, &["STATUS=starting: 0 of 4 workers ready"]),
            (0, false, &[]),
            (1, false, &["STATUS=starting: 1 of 4 workers ready"]),
            (2, true, &["READY=1\nSTATUS=2 of 4 workers ready"]),
            (1, true, &["STATUS=1 of 4 workers ready"]),
        ];
        for (ready, started, expected) in steps {
            let snapshot = Snapshot { ready, started, ..STARTING };
            assert_eq!(teller.messages(&snapshot, Progress::Steady, at(0)), expected);
        }
    }

    #[test]
    fn a_reload_begins_with_the_clock_and_ends_with_ready() {
        let mut teller = ready();
        teller.note(&Note::Reload(2, ReloadNote::Started));
        let rolling = |new| Progress::Rolling { to: 2, new };
        assert_eq!(
            teller.messages(&READY, rolling(0), at(12)),
            ["RELOADING=1\nMONOTONIC_USEC=12\nSTATUS=reloading to generation 2: 0 of 4"]
        );
        assert_eq!(teller.messages(&READY, rolling(1), at(13)), ["STATUS=reloading to generation 2: 1 of 4"]);
        assert_eq!(
            teller.messages(&READY, Progress::Steady, at(14)),
            ["READY=1\nSTATUS=4 of 4 workers ready"]
        );
        assert!(teller.messages(&READY, Progress::Steady, at(15)).is_empty());
    }

    /// `systemctl reload` waits for both.
    #[test]
    fn a_reload_that_fails_at_once_is_told_of_as_well() {
        let mut teller = ready();
        teller.note(&Note::Reload(2, ReloadNote::Started));
        teller.note(&Note::Reload(2, ReloadNote::Failed { reason: Reason::Crash }));
        assert_eq!(
            teller.messages(&READY, Progress::Steady, at(12)),
            [
                "RELOADING=1\nMONOTONIC_USEC=12",
                "READY=1\nSTATUS=4 of 4 workers ready; the reload to generation 2 failed"
            ]
        );
        teller.note(&Note::Reload(3, ReloadNote::Started));
        let told = teller.messages(&READY, Progress::Rolling { to: 3, new: 0 }, at(20));
        assert_eq!(told, ["RELOADING=1\nMONOTONIC_USEC=20\nSTATUS=reloading to generation 3: 0 of 4"]);
        // Another overtakes it, and has a clock of its own.
        teller.note(&Note::Reload(4, ReloadNote::Started));
        let told = teller.messages(&READY, Progress::Rolling { to: 4, new: 0 }, at(30));
        assert_eq!(told, ["RELOADING=1\nMONOTONIC_USEC=30\nSTATUS=reloading to generation 4: 0 of 4"]);
    }

    #[test]
    fn a_reload_that_is_refused_has_a_beginning_and_an_end() {
        let mut teller = ready();
        teller.note(&Note::Reload(2, ReloadNote::Refused));
        let told = teller.messages(&READY, Progress::Steady, at(12));
        let [begin, end] = &told[..] else { panic!("{told:?}") };
        assert!(
            begin.starts_with("RELOADING=1\nMONOTONIC_USEC=12") && end.starts_with("READY=1"),
            "{told:?}"
        );
    }

    #[test]
    fn who_is_not_ready_yet_does_not_reload() {
        let mut teller = Teller::default();
        teller.note(&Note::Reload(2, ReloadNote::Started));
        let rolling = Progress::Rolling { to: 2, new: 0 };
        assert_eq!(teller.messages(&STARTING, rolling, at(1)), ["STATUS=starting: 0 of 4 workers ready"]);
        let told = teller.messages(&READY, rolling, at(2));
        assert_eq!(told, ["READY=1\nSTATUS=reloading to generation 2: 0 of 4"]);
        assert_eq!(teller.messages(&READY, Progress::Steady, at(3)), ["STATUS=4 of 4 workers ready"]);
    }

    #[test]
    fn after_stopping_there_is_only_the_status() {
        let mut teller = ready();
        teller.note(&Note::Reload(2, ReloadNote::Started));
        let leaving = |phase| Snapshot { phase, ..READY };
        assert_eq!(
            teller.messages(&leaving(Phase::Draining), Progress::Draining { left: at(5) }, at(1)),
            ["STOPPING=1\nEXTEND_TIMEOUT_USEC=7\nSTATUS=draining: 4 of 4 workers ready"]
        );
        for left in [5, 1] {
            let of = left.max(4);
            let stopping = Progress::Stopping { left, grace: Some(at(3)) };
            assert_eq!(
                teller.messages(&leaving(Phase::Stopping), stopping, at(2)),
                [format!("STATUS=stopping: {left} of {of} workers left")]
            );
        }
        let given_up = Progress::Stopping { left: 0, grace: None };
        assert_eq!(
            Teller::default().messages(&leaving(Phase::GivenUp), given_up, at(1)),
            ["STOPPING=1\nSTATUS=crash loop given up: 0 of 4 workers left"]
        );
    }

    #[test]
    fn the_watchdog_is_ours_if_it_is_nobody_elses() {
        let watchdog = |usec: &str, pid: Option<&str>| {
            let watchdog_pid = pid.map(OsString::from);
            Variables { watchdog: Some(usec.into()), watchdog_pid, socket: None }.watchdog()
        };
        let own = std::process::id().to_string();
        assert_eq!(watchdog("3000", None), Some(Duration::from_millis(3)));
        assert_eq!(watchdog("3000", Some(&own)), Some(Duration::from_millis(3)));
        assert_eq!(watchdog("3000", Some("1")), None);
        assert_eq!(watchdog("3000", Some("me")), None);
        for bad in ["0", "-1", "soon"] {
            assert_eq!(watchdog(bad, None), None, "{bad}");
        }
    }
}
