//! `status`, `ctl` and `healthcheck`: asking one of us that runs, and turning its answer into an exit code.
//!
//! What is shown is worded by the one that is asked, so an older client understands a newer supervisor. No name is
//! looked up, and nothing but a socket is needed: it works FROM scratch.

mod address;
mod ask;
mod code;
mod endpoint;
mod found;
pub mod options;
mod waits;
mod watch;

pub use address::EndpointAddresses;

use crate::os::runtime::runtime;
use crate::os::signals;
use crate::report::log;
use crate::values::error::StartError;
use crate::values::printable::page;
use ask::{ANSWER_WITHIN, ask};
use hyper::{Method, StatusCode};
use std::time::Duration;

#[derive(Debug)]
pub struct ClientRequest {
    /// Where to ask, as far as the command line says.
    pub given: EndpointAddresses,
    pub task: Task,
}

/// What is to be asked.
#[derive(Debug)]
pub enum Task {
    /// What runs.
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

/// Asks, prints the answer, and returns the exit code.
///
/// # Errors
/// If it is not known where to ask, or there is no answer.
pub fn run(request: &ClientRequest) -> Result<u8, StartError> {
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
