//! One request to the supervisor, and its answer.

use super::code;
use crate::http::client::{NoAnswer, exchange};
use crate::values::address::Address;
use crate::values::error::StartError;
use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{CONNECTION, HOST, HeaderValue};
use hyper::{Method, StatusCode, Uri};
use std::fmt;
use std::io;
use std::path::Path;
use std::time::Duration;
use tokio::net::{TcpStream, UnixStream};
use tokio::time::{sleep, timeout};

/// The time for an answer that needs no work.
pub(super) const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// The most bytes of an answer: twice the status of 1024 workers.
const LONGEST_ANSWER: usize = 1 << 20;

/// The pause between attempts while a listener's queue is full.
const QUEUE_PAUSE: Duration = Duration::from_millis(2);

#[derive(Debug)]
pub(super) struct Trouble {
    address: Address,
    pub(super) what: AskFailure,
}

#[derive(Debug)]
pub(super) enum AskFailure {
    Unreachable(io::Error),
    NoAnswer(NoAnswer),
    Late,
    /// No valid request.
    Unspeakable,
}

impl fmt::Display for AskFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreachable(error) => error.fmt(f),
            Self::NoAnswer(no_answer) => no_answer.fmt(f),
            Self::Late => f.write_str("no answer in time"),
            Self::Unspeakable => f.write_str("this cannot be asked"),
        }
    }
}

impl From<Trouble> for StartError {
    fn from(Trouble { address, what }: Trouble) -> Self {
        let (code, remedy) = match &what {
            AskFailure::Unreachable(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                (code::UNREACHABLE, "ask as its own user or as root")
            }
            AskFailure::Unreachable(_) => (code::UNREACHABLE, "see whether it runs, and with this address"),
            AskFailure::NoAnswer(NoAnswer::Closed) => {
                (code::UNREACHABLE, "it has ended, or was exchanged: ask again")
            }
            AskFailure::NoAnswer(_) | AskFailure::Unspeakable => {
                (code::FAILED, "see whether another program listens there")
            }
            AskFailure::Late => (code::LATE, "give it more time with --timeout"),
        };
        Self::usage(address.to_string(), what, remedy).with_code(code)
    }
}

/// If many connect at once, the listener's queue is full for a moment: a non-blocking connect(2) then fails with
/// EAGAIN.
async fn connect(path: &Path) -> io::Result<UnixStream> {
    loop {
        match UnixStream::connect(path).await {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => sleep(QUEUE_PAUSE).await,
            result => return result,
        }
    }
}

/// Sends one request; returns the answer's status and text.
pub(super) async fn ask(
    address: &Address,
    method: Method,
    path: &str,
    within: Duration,
) -> Result<(StatusCode, String), Trouble> {
    let trouble = |what| Trouble { address: address.clone(), what };
    let mut request = hyper::Request::new(Full::<Bytes>::default());
    *request.method_mut() = method;
    *request.uri_mut() = path.parse::<Uri>().map_err(|_| trouble(AskFailure::Unspeakable))?;
    request.headers_mut().insert(HOST, HeaderValue::from_static("localhost"));
    request.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    let answer = async {
        let answer = match address {
            Address::Tcp(to) => {
                let stream = TcpStream::connect(to).await.map_err(AskFailure::Unreachable)?;
                exchange(stream, request, Some(LONGEST_ANSWER)).await
            }
            Address::Unix(path) => {
                let stream = connect(path).await.map_err(AskFailure::Unreachable)?;
                exchange(stream, request, Some(LONGEST_ANSWER)).await
            }
        };
        answer.map_err(AskFailure::NoAnswer)
    };
    let (status, body) = timeout(within, answer).await.unwrap_or(Err(AskFailure::Late)).map_err(trouble)?;
    Ok((status, String::from_utf8_lossy(&body).into_owned()))
}
