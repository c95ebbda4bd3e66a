//! `status`, `ctl` and `healthcheck`: asking one of us that runs, and turning its answer into an exit code.
//!
//! What is shown is worded by the one that is asked, so an older client understands a newer supervisor. No name is
//! looked up, and nothing but a socket is needed: it works FROM scratch.

mod address;
mod found;
pub mod options;
mod waits;
mod watch;

pub use address::Given;

use crate::http::client::{NoAnswer, exchange};
use crate::os::runtime::runtime;
use crate::os::signals;
use crate::report::log;
use crate::values::address::Address;
use crate::values::error::StartError;
use crate::values::printable::page;
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

/// Exit codes of `status` and `ctl` (docs/exit-codes.md); `healthcheck` has 0 and 1 alone, as Docker wants it.
pub mod code {
    /// Done, or well.
    pub const DONE: u8 = 0;
    /// Failed, refused, or not well.
    pub const FAILED: u8 = 1;
    /// Not done in time.
    pub const LATE: u8 = 4;
    /// Nobody answers there: `EX_UNAVAILABLE`, sysexits.h(3head).
    pub const UNREACHABLE: u8 = 69;
}

/// How long an answer may take that nothing has to be done for.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// The longest answer: the status of 1024 workers, twice over.
const LONGEST_ANSWER: usize = 1 << 20;

/// What is to be asked, and of whom.
#[derive(Debug)]
pub struct Request {
    /// Where, as far as the command line says.
    pub given: Given,
    /// What.
    pub task: Task,
}

/// What is to be asked.
#[derive(Debug)]
pub enum Task {
    /// Who runs.
    Status {
        /// Again and again.
        watch: bool,
        /// As JSON.
        json: bool,
    },
    /// That something is done.
    Order {
        /// The order.
        path: String,
        /// How long to wait for it.
        timeout: Duration,
        /// Answer in JSON.
        json: bool,
    },
    /// Whether all is well.
    Check {
        /// In which respect.
        path: &'static str,
        /// How long the answer may take.
        timeout: Duration,
    },
}

/// Between two tries for room in a listener's queue.
const QUEUE_PAUSE: Duration = Duration::from_millis(2);

/// Asks, prints the answer, and returns the exit code.
///
/// # Errors
/// If it is not known where to ask, or nobody answers.
pub fn run(request: &Request) -> Result<u8, StartError> {
    let runtime = runtime()?;
    if !matches!(request.task, Task::Status { watch: true, .. }) {
        // Ctrl-C ends the waiting.
        signals::let_act();
    }
    match &request.task {
        Task::Status { watch, json } => {
            let address = address::of_status(&request.given)?;
            let path = if *json { "/status" } else { "/status?format=text" };
            if *watch {
                return runtime.block_on(watch::watch(&address, path, *json));
            }
            let (status, text) = runtime.block_on(ask(&address, Method::GET, path, ANSWER_WITHIN))?;
            Ok(show(status, &text, *json))
        }
        Task::Order { path, timeout, json } => {
            let address = address::of_orders(&request.given)?;
            let format = if *json { "json" } else { "text" };
            let path = format!("{path}?wait={}ms&format={format}", timeout.as_millis());
            let within = timeout.saturating_add(ANSWER_WITHIN);
            let order = ask(&address, Method::POST, &path, within);
            let (status, text) = runtime.block_on(waits::beside(&address, !json, order))?;
            Ok(show(status, &text, *json))
        }
        Task::Check { path, timeout } => {
            // Docker knows 0 and 1, and reserves all others.
            let of_check = |error: StartError| error.with_code(code::FAILED);
            let address = address::of_health(&request.given).map_err(of_check)?;
            let path = format!("{path}?verbose");
            let answer = runtime.block_on(ask(&address, Method::GET, &path, *timeout));
            let (status, text) = answer.map_err(|trouble| of_check(trouble.into()))?;
            log::print(&page(&text), false);
            Ok(if status == StatusCode::OK { code::DONE } else { code::FAILED })
        }
    }
}

/// Prints an answer, in which nothing misleads whatever program gave it: what is wrong goes to stderr, unless a program is to read it.
fn show(status: StatusCode, text: &str, json: bool) -> u8 {
    let code = match status {
        StatusCode::ACCEPTED => code::LATE,
        status if status.is_success() => code::DONE,
        _ => code::FAILED,
    };
    if code == code::FAILED && !json {
        log::print(&format!("prefork-init: {}", page(text)), true);
    } else {
        log::print(&page(text), false);
    }
    code
}

/// Why there is no answer.
#[derive(Debug)]
struct Trouble {
    address: Address,
    what: What,
}

#[derive(Debug)]
enum What {
    Unreachable(io::Error),
    NoAnswer(NoAnswer),
    Late,
    /// Nothing that could be asked for.
    Unspeakable,
}

impl fmt::Display for What {
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
            What::Unreachable(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                (code::UNREACHABLE, "ask as its own user or as root")
            }
            What::Unreachable(_) => (code::UNREACHABLE, "see whether it runs, and with this address"),
            What::NoAnswer(NoAnswer::Closed) => {
                (code::UNREACHABLE, "it has ended, or was exchanged: ask again")
            }
            What::NoAnswer(_) | What::Unspeakable => {
                (code::FAILED, "see whether another program listens there")
            }
            What::Late => (code::LATE, "give it more time with --timeout"),
        };
        Self::usage(address.to_string(), what, remedy).with_code(code)
    }
}

/// Where many connect at once, the listener's queue is full for a moment: connect(2) would wait for room in it.
async fn connect(path: &Path) -> io::Result<UnixStream> {
    loop {
        match UnixStream::connect(path).await {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => sleep(QUEUE_PAUSE).await,
            result => return result,
        }
    }
}

/// One request, and its answer's status and text.
async fn ask(
    address: &Address,
    method: Method,
    path: &str,
    within: Duration,
) -> Result<(StatusCode, String), Trouble> {
    let trouble = |what| Trouble { address: address.clone(), what };
    let mut request = hyper::Request::new(Full::<Bytes>::default());
    *request.method_mut() = method;
    *request.uri_mut() = path.parse::<Uri>().map_err(|_| trouble(What::Unspeakable))?;
    request.headers_mut().insert(HOST, HeaderValue::from_static("localhost"));
    request.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    let answer = async {
        let answer = match address {
            Address::Tcp(to) => {
                let stream = TcpStream::connect(to).await.map_err(What::Unreachable)?;
                exchange(stream, request, Some(LONGEST_ANSWER)).await
            }
            Address::Unix(path) => {
                let stream = connect(path).await.map_err(What::Unreachable)?;
                exchange(stream, request, Some(LONGEST_ANSWER)).await
            }
        };
        answer.map_err(What::NoAnswer)
    };
    let (status, body) = timeout(within, answer).await.unwrap_or(Err(What::Late)).map_err(trouble)?;
    Ok((status, String::from_utf8_lossy(&body).into_owned()))
}
