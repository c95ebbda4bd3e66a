//! Readiness checks over HTTP: the request, and the meaning of the answer.

use crate::http::client::{Get, NoAnswer, exchange};
use crate::os::socket::connection;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Why a ready check failed, in words that need no escaping in JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CheckFailure {
    Connect(io::ErrorKind),
    TimedOut,
    /// A status that is not a success.
    Status(u16),
    /// The answer is not HTTP, or there is none.
    NoAnswer(NoAnswer),
    /// The command's exit code; 128 + n if signal n ended it.
    Code(u8),
    /// The command could not be started; the errno.
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

/// Sends one request over TCP. Success is a status from 200 to 399.
///
/// # Errors
/// Why the check failed.
pub async fn ask_tcp(to: SocketAddr, host: &str, path: &str, within: Duration) -> Result<(), CheckFailure> {
    let get = get(host, path)?;
    within_time(within, async {
        let stream = TcpStream::connect(to).await;
        let stream = stream.map_err(|error| CheckFailure::Connect(error.kind()))?;
        status(exchange(stream, get.request(), None).await)
    })
    .await
}

/// The same on a unix socket.
///
/// # Errors
/// Why the check failed.
pub async fn ask_unix(to: PathBuf, path: &str, within: Duration) -> Result<(), CheckFailure> {
    let get = get("localhost", path)?;
    within_time(within, async {
        let stream = connection::connect(&to).await;
        let stream = stream.map_err(|error| CheckFailure::Connect(error.kind()))?;
        status(exchange(stream, get.request(), None).await)
    })
    .await
}

/// Every path that [`is_path`](crate::values::ready_target::is_path) accepts is accepted here.
fn get(host: &str, path: &str) -> Result<Get, CheckFailure> {
    Get::new(host, path).ok_or(CheckFailure::Connect(io::ErrorKind::InvalidInput))
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
    use crate::values::ready_target::is_path;

    #[test]
    fn every_path_that_is_taken_fits_into_a_request() {
        for byte in 0..=0x7f_u8 {
            for path in [format!("/{}", char::from(byte)), format!("/x?{}", char::from(byte))] {
                assert!(Get::new("localhost", &path).is_some() || !is_path(&path), "{path:?}");
            }
        }
    }
}
