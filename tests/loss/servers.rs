//! The servers under load, each as one worker of the pool takes it.

use crate::harness::clients::IsRight;
use crate::harness::servers::server;
use crate::harness::{example, python};
use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// A server, and how the pool runs it.
pub struct Server {
    pub name: &'static str,
    /// The command of a worker.
    pub command: fn() -> Vec<OsString>,
    /// The signal at which the application begins to say `Connection: close`. Nobody else may get one: it would die.
    pub drain_signal: Option<&'static str>,
    pub counted: Counted,
    pub is_right: IsRight,
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
pub static SERVERS: [Server; 8] = [
    Server { name: "uvicorn-asyncio", command: || uvicorn("asyncio"), ..ECHO },
    Server { name: "uvicorn-uvloop", command: || uvicorn("uvloop"), ..ECHO },
    Server {
        name: "gunicorn-asgi",
        command: || gunicorn(&["-k", "asgi", "app:asgi"]),
        // Its master passes this one on to the application's process. At USR2 it would start a second master.
        drain_signal: Some("USR1"),
        ..ECHO
    },
    Server {
        name: "gunicorn-gthread",
        command: || gunicorn(&["-k", "gthread", "--threads", "8", "app:wsgi"]),
        drain_signal: None,
        ..ECHO
    },
    Server { name: "hypercorn", command: hypercorn, ..ECHO },
    Server { name: "node", command: node, counted: Counted::Itself, ..ECHO },
    Server { name: "blocking-accept", command: blocking, drain_signal: None, ..ECHO },
    Server {
        name: "example-worker",
        command: || words(example("worker"), &["--fd", "{fd}", "--notify"]),
        drain_signal: None,
        counted: Counted::Each,
        // A line of JSON, whatever was asked for.
        is_right: |_, body| body.starts_with("{\"worker_id\":") && body.ends_with("}\n"),
    },
];

/// What most have in common.
const ECHO: Server = Server {
    name: "",
    command: Vec::new,
    drain_signal: Some("USR2"),
    counted: Counted::OnDemand,
    is_right: |number, body| body.parse() == Ok(number),
};

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

fn uvicorn(event_loop: &str) -> Vec<OsString> {
    let options = ["--fd", "{fd}", "--log-level", "warning", "--loop", event_loop, "app:asgi"];
    words(server("uvicorn"), &options)
}

/// It takes the listener from `LISTEN_FDS`; with `-b fd://3` too it would open the descriptor twice (EBADF).
fn gunicorn(options: &[&str]) -> Vec<OsString> {
    let mut command =
        words(server("gunicorn"), &["-w", "1", "--no-control-socket", "--log-level", "warning"]);
    command.extend(options.iter().map(OsString::from));
    command
}

fn hypercorn() -> Vec<OsString> {
    words(
        server("hypercorn"),
        &["--bind", "fd://{fd}", "--workers", "0", "--log-level", "WARNING", "app:asgi"],
    )
}

fn node() -> Vec<OsString> {
    let mut command = words("node", &[]);
    // The limit makes its end at `/used-up` a planned one.
    command.extend([apps().join("server.js").into(), "{max_requests}".into()]);
    command
}

fn blocking() -> Vec<OsString> {
    let mut command = words(python(), &["-I", "-S"]);
    command.push(apps().join("blocking.py").into());
    command
}
