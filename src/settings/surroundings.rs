//! Inputs beside the options.

use crate::os::container::capacity::Capacity;
use crate::settings::rules::activation;
use std::ffi::OsString;

/// Variables of other programs' conventions, and functions for what is needed only in some cases.
#[derive(Debug)]
pub struct Surroundings {
    /// `WEB_CONCURRENCY`: the number of workers (gunicorn, uvicorn, puma).
    pub web_concurrency: Option<OsString>,
    /// `PORT`: the port to listen on (gunicorn, and most platforms).
    pub port: Option<OsString>,
    /// `LISTEN_FDS` and the like: inherited sockets.
    pub activation: Option<activation::ListenVariables>,
    /// The basis of `--workers auto`.
    pub capacity: fn() -> Capacity,
    /// Whether our stdin is a terminal.
    pub terminal: fn() -> bool,
}

impl Default for Surroundings {
    fn default() -> Self {
        let (capacity, terminal) = (Capacity::here, || false);
        Self { web_concurrency: None, port: None, activation: None, capacity, terminal }
    }
}
