//! The environment that the command gets: ours, less what would mislead it, plus what it should know.

use crate::users::Account;
use std::ffi::OsString;

/// Variables about our own relation to a service manager, which a worker would take for its own.
const OF_OUR_MANAGER: [&str; 7] = [
    "LISTEN_FDS",
    "LISTEN_PID",
    "LISTEN_FDNAMES",
    "LISTEN_PIDFDID",
    "NOTIFY_SOCKET",
    "WATCHDOG_USEC",
    "WATCHDOG_PID",
];

/// What each worker is told of itself. Given to us, they are about us: a pool below a pool.
const WORKER_ID: &str = "PREFORK_WORKER_ID";
const GENERATION: &str = "PREFORK_GENERATION";

/// What every worker gets.
#[derive(Debug)]
pub struct Environment {
    base: Vec<(OsString, OsString)>,
    is_pool: bool,
    listen_pid: bool,
}

impl Environment {
    /// Init mode: untouched, but for `LISTEN_PID`: if it names us, it means the command (sd_listen_fds(3)).
    #[must_use]
    pub fn of_init() -> Self {
        let own = OsString::from(std::process::id().to_string());
        let listen_pid = std::env::var_os("LISTEN_PID") == Some(own);
        let names_us =
            |name: &OsString| listen_pid && ["LISTEN_PID", "LISTEN_PIDFDID"].iter().any(|n| name == n);
        let base = std::env::vars_os().filter(|(name, _)| !names_us(name)).collect();
        Self { base, is_pool: false, listen_pid }
    }

    /// Pool mode: without our own settings, and without `WEB_CONCURRENCY`, which a `uvicorn --fd` would take to
    /// start as many again; with the listeners and the notify socket.
    #[must_use]
    pub fn of_pool(notify_socket: &str, listeners: usize) -> Self {
        let ours = crate::cli::own_variables();
        let misleading = |name: &OsString| {
            ["WEB_CONCURRENCY", WORKER_ID, GENERATION].iter().any(|known| name == known)
                || ours.contains(name)
                || OF_OUR_MANAGER.iter().any(|known| name == known)
        };
        let mut base: Vec<_> = std::env::vars_os().filter(|(name, _)| !misleading(name)).collect();
        base.push(("NOTIFY_SOCKET".into(), notify_socket.into()));
        if listeners > 0 {
            let names: Vec<String> = (0..listeners).map(|index| format!("listener-{index}")).collect();
            base.push(("LISTEN_FDS".into(), listeners.to_string().into()));
            base.push(("LISTEN_FDNAMES".into(), names.join(":").into()));
        }
        Self { base, is_pool: true, listen_pid: listeners > 0 }
    }

    /// Says whom the command runs as: `HOME`, and `USER` and `LOGNAME` where the user has a name.
    #[must_use]
    pub fn for_account(mut self, account: &Account) -> Self {
        const OF_USER: [&str; 3] = ["HOME", "USER", "LOGNAME"];
        self.base.retain(|(name, _)| !OF_USER.iter().any(|known| name == known));
        self.base.push(("HOME".into(), account.home.clone().into()));
        if let Some(name) = &account.name {
            self.base.extend(["USER", "LOGNAME"].map(|known| (known.into(), name.into())));
        }
        self
    }

    /// The environment of one worker, or of the command.
    #[must_use]
    pub fn of_worker(&self, slot: u32, generation: u32) -> Vec<(OsString, OsString)> {
        let mut env = self.base.clone();
        if self.is_pool {
            env.push((WORKER_ID.into(), slot.to_string().into()));
            env.push((GENERATION.into(), generation.to_string().into()));
        }
        env
    }

    /// Whether `LISTEN_PID` is to be set, which only the new process can do.
    #[must_use]
    pub fn sets_listen_pid(&self) -> bool {
        self.listen_pid
    }
}
