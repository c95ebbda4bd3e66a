//! The environment of the command: ours, without what would mislead it, plus what it should know.

use crate::os::users::Account;
use crate::values::variables::{
    EVENT, GENERATION, HANDOVER_FD, HANDOVER_LISTEN, SCOREBOARD_FD, SCOREBOARD_OFFSET, WORKER_ID,
    WORKER_NUMBER,
};
use std::ffi::OsString;
use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

/// Pairs between us and our service manager, which a worker would mistake for its own.
const OF_OUR_MANAGER: [&str; 7] = [
    "LISTEN_FDS",
    "LISTEN_PID",
    "LISTEN_FDNAMES",
    "LISTEN_PIDFDID",
    NOTIFY_SOCKET,
    "WATCHDOG_USEC",
    "WATCHDOG_PID",
];

const NOTIFY_SOCKET: &str = "NOTIFY_SOCKET";

/// The values that differ between workers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OfWorker {
    pub slot: u32,
    /// Its number among the living workers.
    pub number: u32,
    pub generation: u32,
    /// The address of its notify socket.
    pub notify_socket: OsString,
    /// The scoreboard's descriptor, and the offset of its line in bytes.
    pub scoreboard: Option<(i32, u64)>,
}

/// The variables of a process, with their values.
type Pairs = Vec<(OsString, OsString)>;

/// The variables of every worker, or of the command.
#[derive(Debug)]
pub struct Environment {
    /// `None` for ours, unchanged.
    base: Option<Pairs>,
    listen_pid: bool,
}

impl Environment {
    /// For init mode: unchanged, except that a `LISTEN_PID` that names us will name the command (sd_listen_fds(3)).
    #[must_use]
    pub fn of_init() -> Self {
        let is_own = |pid| pid == OsString::from(std::process::id().to_string());
        let listen_pid = std::env::var_os("LISTEN_PID").is_some_and(is_own);
        let names_us = |name: &OsString| ["LISTEN_PID", "LISTEN_PIDFDID"].iter().any(|n| name == n);
        let others = || std::env::vars_os().filter(|(name, _)| !names_us(name)).collect();
        Self { base: listen_pid.then(others), listen_pid }
    }

    /// For a pool: without our own settings and without `WEB_CONCURRENCY`, by which a `uvicorn --fd` would start as
    /// many workers again; with the listeners, under these names.
    #[must_use]
    pub fn of_pool(listeners: &[String], watchdog: Option<Duration>) -> Self {
        let ours = crate::settings::options::own_variables();
        let misleading = |name: &OsString| {
            // Inherited, they describe us: a pool below a pool.
            let of_a_worker = [WORKER_ID, WORKER_NUMBER, GENERATION, SCOREBOARD_FD, SCOREBOARD_OFFSET];
            ["WEB_CONCURRENCY", HANDOVER_FD, HANDOVER_LISTEN]
                .iter()
                .chain(&of_a_worker)
                .any(|known| name == known)
                || ours.contains(name)
                || OF_OUR_MANAGER.iter().any(|known| name == known)
        };
        let mut base: Pairs = std::env::vars_os().filter(|(name, _)| !misleading(name)).collect();
        if let Some(watchdog) = watchdog {
            base.push(("WATCHDOG_USEC".into(), watchdog.as_micros().to_string().into()));
        }
        let count = listeners.len();
        if count > 0 {
            base.push(("LISTEN_FDS".into(), count.to_string().into()));
            base.push(("LISTEN_FDNAMES".into(), listeners.join(":").into()));
        }
        Self { base: Some(base), listen_pid: count > 0 }
    }

    /// Sets `HOME` and, if the user has a name, `USER` and `LOGNAME`.
    #[must_use]
    pub fn for_account(mut self, account: &Account) -> Self {
        const OF_USER: [&str; 3] = ["HOME", "USER", "LOGNAME"];
        let mut base = self.base.take().unwrap_or_else(ours);
        base.retain(|(name, _)| !OF_USER.iter().any(|known| name == known));
        base.push(("HOME".into(), account.home.clone().into()));
        if let Some(name) = &account.name {
            base.extend(["USER", "LOGNAME"].map(|known| (known.into(), name.into())));
        }
        self.base = Some(base);
        self
    }

    #[must_use]
    pub fn exactly(base: Pairs) -> Self {
        Self { base: Some(base), listen_pid: false }
    }

    fn all(&self) -> Pairs {
        self.base.clone().unwrap_or_else(ours)
    }

    /// The environment of a helper: without listeners, notify socket, and the variables of an event that we were given
    /// ourselves.
    #[must_use]
    pub fn of_errand(&self) -> Pairs {
        let misleading = |name: &OsString| {
            OF_OUR_MANAGER.iter().any(|known| name == known) || name.as_bytes().starts_with(EVENT.as_bytes())
        };
        self.all().into_iter().filter(|(name, _)| !misleading(name)).collect()
    }

    /// `None` for ours, unchanged.
    #[must_use]
    pub fn of_command(&self) -> Option<&[(OsString, OsString)]> {
        self.base.as_deref()
    }

    /// The environment of one worker.
    #[must_use]
    pub fn of_worker(&self, worker: &OfWorker) -> Pairs {
        let mut env = self.all();
        let mut tell = |name: &str, value: OsString| env.push((name.into(), value));
        tell(NOTIFY_SOCKET, worker.notify_socket.clone());
        tell(WORKER_ID, worker.slot.to_string().into());
        tell(WORKER_NUMBER, worker.number.to_string().into());
        tell(GENERATION, worker.generation.to_string().into());
        if let Some((fd, offset)) = worker.scoreboard {
            tell(SCOREBOARD_FD, fd.to_string().into());
            tell(SCOREBOARD_OFFSET, offset.to_string().into());
        }
        env
    }

    /// Whether `LISTEN_PID` must be set, which only the new process can do.
    #[must_use]
    pub fn sets_listen_pid(&self) -> bool {
        self.listen_pid
    }
}

fn ours() -> Pairs {
    std::env::vars_os().collect()
}
