//! The servers under load, each as one worker of the pool takes it.

use super::life::Phase::{self, Age, Leave, Reload, Scale, Term};
use crate::harness::clients::IsRight;
use crate::harness::servers::server;
use crate::harness::{example, python};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A server, and how the pool runs it.
pub struct Server {
    pub name: &'static str,
    /// What docs/promises.md calls it.
    pub title: &'static str,
    /// The command of a worker.
    pub command: fn() -> Vec<OsString>,
    /// The signal at which the application begins to say `Connection: close`. Nobody else may get one: it would die.
    pub drain_signal: Option<&'static str>,
    pub counted: Counted,
    /// That the server and its application know nothing of us.
    pub plain: Option<Plain>,
    pub is_right: IsRight,
}

/// What a plain server goes through. Its clients keep no connection: nothing is promised to those.
#[derive(Clone, Copy)]
pub struct Plain {
    pub phases: &'static [Phase],
    /// How long a slow answer takes.
    pub slow: Duration,
}

/// Who counts a worker's requests, which says how the test makes it due.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Counted {
    /// The application reports a billion when it is asked for `/used-up`.
    OnDemand,
    /// The worker ends by itself when it is asked for `/used-up`, as at a limit that the pool has given it.
    Itself,
    /// The worker reports what it has served, as it goes.
    Each,
}

/// All of them.
pub static SERVERS: [Server; 15] = [
    Server { name: "uvicorn-asyncio", title: "uvicorn", command: || uvicorn("asyncio", "app:asgi"), ..ECHO },
    Server { name: "uvicorn-uvloop", title: "uvicorn", command: || uvicorn("uvloop", "app:asgi"), ..ECHO },
    Server {
        name: "gunicorn-asgi",
        title: "gunicorn `-k asgi`",
        command: || gunicorn(&["-k", "asgi", "app:asgi"]),
        // Its master passes this one on to the application's process. At USR2 it would start a second master.
        drain_signal: Some("USR1"),
        ..ECHO
    },
    Server {
        name: "gunicorn-gthread",
        title: "gunicorn `-k gthread`",
        command: || gunicorn(&["-k", "gthread", "--threads", "8", "app:wsgi"]),
        drain_signal: None,
        ..ECHO
    },
    Server { name: "hypercorn", title: "hypercorn", command: || hypercorn("app:asgi"), ..ECHO },
    Server {
        name: "node",
        title: "node",
        // The limit makes its end at `/used-up` a planned one.
        command: || node("server.js", &["{max_requests}"]),
        counted: Counted::Itself,
        ..ECHO
    },
    Server {
        name: "blocking-accept",
        title: "what closes after each answer",
        command: || script("blocking.py"),
        drain_signal: None,
        ..ECHO
    },
    Server {
        name: "example-worker",
        title: "what closes after each answer",
        command: || words(example("worker"), &["--fd", "{fd}", "--notify"]),
        drain_signal: None,
        counted: Counted::Each,
        // A line of JSON, whatever was asked for.
        is_right: |_, body| body.starts_with("{\"worker_id\":") && body.ends_with("}\n"),
        ..ECHO
    },
    Server {
        name: "plain-uvicorn",
        title: "uvicorn",
        command: || uvicorn("asyncio", "plain:asgi"),
        plain: Some(Plain { phases: &[Age, Reload, Scale, Leave, Term], ..BRISK }),
        ..PLAIN
    },
    Server {
        name: "plain-uvicorn-usr2",
        title: "uvicorn with a drain signal that it does not catch",
        command: || uvicorn("uvloop", "plain:asgi"),
        drain_signal: Some("USR2"),
        plain: Some(Plain { phases: &[Reload], ..BRISK }),
        ..PLAIN
    },
    Server {
        name: "plain-gthread",
        title: "gunicorn (gthread, sync)",
        command: || gunicorn(&["-k", "gthread", "--threads", "8", "plain:wsgi"]),
        plain: Some(Plain { phases: &[Reload, Leave, Term], ..BRISK }),
        ..PLAIN
    },
    Server {
        name: "plain-sync",
        title: "gunicorn (gthread, sync)",
        command: || gunicorn(&["plain:wsgi"]),
        // It takes one after the other.
        plain: Some(Plain { slow: Duration::from_millis(500), ..BRISK }),
        ..PLAIN
    },
    Server {
        name: "plain-hypercorn",
        title: "hypercorn",
        command: || hypercorn("plain:asgi"),
        // Longer than it waits itself, which is 3 s after the stop signal.
        plain: Some(Plain { phases: &[Reload, Term], slow: Duration::from_secs(5) }),
        ..PLAIN
    },
    Server { name: "plain-node", title: "node", command: || node("plain.js", &[]), ..PLAIN },
    Server {
        name: "plain-http.server",
        title: "Python's http.server",
        command: || script("plain_http.py"),
        ..PLAIN
    },
];

/// What most have in common.
const ECHO: Server = Server {
    name: "",
    title: "",
    command: Vec::new,
    drain_signal: Some("USR2"),
    counted: Counted::OnDemand,
    plain: None,
    is_right: |number, body| body.parse() == Ok(number),
};

/// What plain ones have in common.
const PLAIN: Server = Server { drain_signal: None, plain: Some(BRISK), ..ECHO };

const BRISK: Plain = Plain { phases: &[Age, Reload, Scale, Term], slow: Duration::from_secs(1) };

impl Server {
    /// The options that make it drain in time: every client has asked once more before the stop signal comes.
    pub fn hint(&self) -> Vec<&'static str> {
        self.drain_signal.map_or_else(Vec::new, |signal| vec!["--drain-signal", signal, "--drain-time", "1s"])
    }
}

/// The server of that name.
pub fn by_name(name: &str) -> Option<&'static Server> {
    SERVERS.iter().find(|server| server.name == name)
}

/// Where the applications are.
pub fn apps() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/loss/apps")
}

fn words(program: impl Into<OsString>, rest: &[&str]) -> Vec<OsString> {
    [program.into()].into_iter().chain(rest.iter().map(OsString::from)).collect()
}

fn uvicorn(event_loop: &str, app: &str) -> Vec<OsString> {
    let options = ["--fd", "{fd}", "--log-level", "warning", "--loop", event_loop, app];
    words(server("uvicorn"), &options)
}

/// It takes the listener from `LISTEN_FDS`; with `-b fd://3` too it would open the descriptor twice (EBADF).
fn gunicorn(options: &[&str]) -> Vec<OsString> {
    let mut command =
        words(server("gunicorn"), &["-w", "1", "--no-control-socket", "--log-level", "warning"]);
    command.extend(options.iter().map(OsString::from));
    command
}

fn hypercorn(app: &str) -> Vec<OsString> {
    words(server("hypercorn"), &["--bind", "fd://{fd}", "--workers", "0", "--log-level", "WARNING", app])
}

fn node(file: &str, more: &[&str]) -> Vec<OsString> {
    let mut command = words("node", &[]);
    command.push(apps().join(file).into());
    command.extend(more.iter().map(OsString::from));
    command
}

fn script(file: &str) -> Vec<OsString> {
    let mut command = words(python(), &["-I", "-S"]);
    command.push(apps().join(file).into());
    command
}
