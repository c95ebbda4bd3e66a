//! What has a say beside the options.

use crate::os::container::capacity::Capacity;
use crate::settings::rules::activation;
use std::ffi::OsString;

/// What other programs' conventions say in our environment, and what is looked at only where it matters.
#[derive(Debug)]
pub struct Surroundings {
    /// `WEB_CONCURRENCY`: how many workers (gunicorn, uvicorn, puma).
    pub web_concurrency: Option<OsString>,
    /// `PORT`: where to listen (gunicorn, and most platforms).
    pub port: Option<OsString>,
    /// `LISTEN_FDS` and its like: sockets that are there already.
    pub activation: Option<activation::ListenVariables>,
    /// What `--workers auto` goes by.
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
