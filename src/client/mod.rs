//! `status`, `ctl` and `healthcheck`: ask a running supervisor, and turn its answer into an exit code.
//!
//! The supervisor words what is shown, so an older client works with a newer supervisor. No name is resolved, and
//! nothing but a socket is needed: it works FROM scratch.

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
    /// The addresses on the command line.
    pub given: EndpointAddresses,
    pub task: Task,
}

#[derive(Debug)]
pub enum Task {
    Status {
        /// Repeat each second.
        watch: bool,
        json: bool,
    },
    /// Have an order carried out.
    Order {
        /// The path of the request.
        path: String,
        /// The longest wait for its end.
        timeout: Duration,
        json: bool,
    },
    /// Ask whether all is well.
    Check {
        /// The path of the request.
        path: &'static str,
        /// The longest wait for the answer.
        timeout: Duration,
    },
}

/// Asks, prints the answer, and returns the exit code.
///
/// # Errors
/// If no address is known, or there is no answer.
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

/// Prints an answer, made safe for a terminal, since any program may have sent it. An error goes to stderr, unless it
/// is JSON.
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
