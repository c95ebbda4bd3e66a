//! The application's own readiness: whom to ask, how, and what the answer means.

use crate::http::client::{NoAnswer, exchange};
use crate::os::socket::connection;
use crate::values::address::Address;
use crate::values::command_line::Words;
use crate::workers::probe::Question;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::timeout;

/// The port where an address names none.
const HTTP_PORT: &str = ":80";

/// Whom to ask.
#[derive(Clone, Debug)]
pub enum Target {
    /// `http://HOST:PORT/path`.
    Http {
        /// The server.
        to: SocketAddr,
        /// What to ask it.
        question: Question,
        /// As it was written.
        text: String,
    },
    /// `unix:/run/app.sock:/path`.
    Unix {
        /// The server.
        to: PathBuf,
        /// What to ask it.
        question: Question,
        /// As it was written.
        text: String,
    },
    /// `exec:CMD`: exit code 0 is ready.
    Exec(Words),
}

impl PartialEq for Target {
    fn eq(&self, other: &Self) -> bool {
        self.to_string() == other.to_string()
    }
}

impl Eq for Target {}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Http { text, .. } | Self::Unix { text, .. } => f.write_str(text),
            Self::Exec(words) => write!(f, "exec:{words}"),
        }
    }
}

impl Target {
    /// Reads the three forms. HOST is an IP address or `localhost`: names are not looked up.
    ///
    /// # Errors
    /// What is wrong, and what would be right.
    pub fn parse(text: &str) -> Result<Self, String> {
        const FORMS: &str = "use http://HOST:PORT/path, unix:/run/app.sock:/path or exec:CMD";
        if let Some(command) = text.strip_prefix("exec:") {
            return Words::parse(command).map(Self::Exec);
        }
        if text.starts_with("https://") {
            return Err("TLS is not spoken here: use http:// on a local address, or exec:CMD".to_owned());
        }
        let problem = |(problem, remedy): (&str, &str)| format!("{problem}: {remedy}");
        let no_path = || "the path is not one: begin it with / and escape what is no ASCII".to_owned();
        if let Some(rest) = text.strip_prefix("http://") {
            let (authority, path) = match rest.find('/') {
                Some(at) => rest.split_at(at),
                None => (rest, "/"),
            };
            // A bracket ends an IPv6 address, and a colon in it is no port's.
            let has_port = authority.rsplit_once(']').map_or(authority, |(_, rest)| rest).contains(':');
            let with_port = if has_port { authority.to_owned() } else { format!("{authority}{HTTP_PORT}") };
            return match Address::parse(&with_port).map_err(problem)? {
                Address::Tcp(to) if to.port() == 0 || authority.is_empty() || authority.starts_with(':') => {
                    Err(format!("nobody is at that address: {FORMS}"))
                }
                Address::Tcp(to) => {
                    let question = Question::new(authority, path).ok_or_else(no_path)?;
                    Ok(Self::Http { to, question, text: text.to_owned() })
                }
                Address::Unix(_) => Err(format!("not an address: {FORMS}")),
            };
        }
        let Some(rest) = text.strip_prefix("unix:") else { return Err(format!("no such way: {FORMS}")) };
        let (socket, path) = match rest.split_once(":/") {
            Some((socket, path)) => (socket, format!("/{path}")),
            None => (rest, "/".to_owned()),
        };
        match Address::parse(&format!("unix:{socket}")).map_err(problem)? {
            Address::Unix(to) if !to.is_absolute() => {
                Err("the path of the socket is not absolute: begin it with /".to_owned())
            }
            Address::Unix(to) => {
                let question = Question::new("localhost", &path).ok_or_else(no_path)?;
                Ok(Self::Unix { to, question, text: text.to_owned() })
            }
            Address::Tcp(_) => Err(format!("not a path: {FORMS}")),
        }
    }
}

/// Why the application is not ready, in words that need no escaping in JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CheckFailure {
    /// It cannot be connected to.
    Connect(io::ErrorKind),
    /// It did not answer in time.
    TimedOut,
    /// It answered with this status.
    Status(u16),
    /// It answered with something else than HTTP, or not at all.
    NoAnswer(NoAnswer),
    /// The command ended with this code; 128 + n if signal n ended it.
    Code(u8),
    /// The command could not be started.
    NotStarted(i32),
}

impl fmt::Display for CheckFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Connect(kind) => write!(f, "cannot connect: {kind}"),
            Self::TimedOut => f.write_str("no answer in time"),
            Self::Status(status) => write!(f, "answered {status}"),
            Self::NoAnswer(what) => what.fmt(f),
            Self::Code(code) => write!(f, "ended with code {code}"),
            Self::NotStarted(errno) => {
                write!(f, "could not be started: {}", io::Error::from_raw_os_error(*errno).kind())
            }
        }
    }
}

/// Asks a server once, over TCP. Good is a status from 200 to 399.
///
/// # Errors
/// What came instead.
pub async fn ask_tcp(to: SocketAddr, question: &Question, within: Duration) -> Result<(), CheckFailure> {
    within_time(within, async {
        let stream = TcpStream::connect(to).await;
        let stream = stream.map_err(|error| CheckFailure::Connect(error.kind()))?;
        status(exchange(stream, question.request(), None).await)
    })
    .await
}

/// The same on a unix socket.
///
/// # Errors
/// What came instead.
pub async fn ask_unix(to: PathBuf, question: &Question, within: Duration) -> Result<(), CheckFailure> {
    within_time(within, async {
        let stream = connection::connect(&to).await;
        let stream = stream.map_err(|error| CheckFailure::Connect(error.kind()))?;
        status(exchange(stream, question.request(), None).await)
    })
    .await
}

fn status<T>(answer: Result<(hyper::StatusCode, T), NoAnswer>) -> Result<(), CheckFailure> {
    match answer {
        Ok((status, _)) if (200..400).contains(&status.as_u16()) => Ok(()),
        Ok((status, _)) => Err(CheckFailure::Status(status.as_u16())),
        Err(what) => Err(CheckFailure::NoAnswer(what)),
    }
}

async fn within_time(
    within: Duration,
    ask: impl Future<Output = Result<(), CheckFailure>>,
) -> Result<(), CheckFailure> {
    timeout(within, ask).await.unwrap_or(Err(CheckFailure::TimedOut))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_forms_people_write_are_read() {
        let tcp = |text: &str| match Target::parse(text) {
            Ok(Target::Http { to, .. }) => to.to_string(),
            other => panic!("{text}: {other:?}"),
        };
        assert_eq!(tcp("http://127.0.0.1:8000/ready?db=1"), "127.0.0.1:8000");
        assert_eq!(tcp("http://localhost"), "127.0.0.1:80");
        assert_eq!(tcp("http://[::1]:8000"), "[::1]:8000");
        assert_eq!(tcp("http://[::1]/x"), "[::1]:80");
        for (text, socket) in
            [("unix:/run/app.sock", "/run/app.sock"), ("unix:/run/a:b.sock:/ready", "/run/a:b.sock")]
        {
            match Target::parse(text) {
                Ok(Target::Unix { to, .. }) => assert_eq!(to, PathBuf::from(socket)),
                other => panic!("{text}: {other:?}"),
            }
        }
        match Target::parse("exec:sh -c 'exit 0'") {
            Ok(Target::Exec(words)) => assert_eq!(words.argv(), ["sh", "-c", "exit 0"]),
            other => panic!("{other:?}"),
        }
        for bad in [
            "",
            "ready",
            "https://127.0.0.1/",
            "http://",
            "http://example.com/",
            "http://:8000/",
            "http://127.0.0.1:0/",
            "http://127.0.0.1:x/",
            "http://127.0.0.1:1/a b",
            "unix:",
            "unix:app.sock",
            "unix:/run/app.sock:/a b",
            "exec:",
            "exec:'x",
            "tcp://127.0.0.1:1",
        ] {
            let error = Target::parse(bad).unwrap_err();
            assert!(error.contains(": "), "{bad}: {error}");
        }
    }
}
