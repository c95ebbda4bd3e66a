//! The health endpoint. It sees a [`Snapshot`] and nothing else, and it runs in the supervisor, so that a busy
//! or stopped worker is never mistaken for a dead service, nor a dead one for a busy one.

mod beside;
pub mod client;
pub mod metrics;
pub mod routes;

pub use beside::{Beside, Check};

use crate::control::Desk;
use crate::core::Snapshot;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use std::collections::VecDeque;
use std::convert::Infallible;
use std::io;
use std::net;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// A connection lives at most this long, idle or not: probes come seconds apart.
const CONNECTION_LIFE: Duration = Duration::from_secs(10);

/// When more come at once, the oldest makes way: memory is bounded, and idle clients lock no prober out.
const MOST_CONNECTIONS: usize = 64;

/// The most a request's head may take; hyper allows no less.
const LONGEST_HEAD: usize = 8 * 1024;

/// Wait after a failed accept(2), EMFILE for instance: trying again at once would spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The latest snapshot, and what there is to know beside it, for whoever asks.
#[derive(Clone, Debug)]
pub struct Published(Arc<Mutex<Snapshot>>, Arc<Mutex<Beside>>);

impl Published {
    /// Starts with this one.
    #[must_use]
    pub fn new(snapshot: Snapshot) -> Self {
        Self(Arc::new(Mutex::new(snapshot)), Arc::default())
    }

    /// Replaces it.
    pub fn set(&self, snapshot: Snapshot) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = snapshot;
    }

    /// The latest.
    #[must_use]
    pub fn get(&self) -> Snapshot {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Replaces what there is to know beside it.
    pub fn set_beside(&self, beside: Beside) {
        *self.1.lock().unwrap_or_else(PoisonError::into_inner) = beside;
    }

    /// What there is to know beside it.
    #[must_use]
    pub fn beside(&self) -> Beside {
        self.1.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// What the endpoint may know: the latest snapshot at once, and the rest by asking the loop.
#[derive(Clone, Debug)]
pub struct Edge {
    /// Whether we live, are ready, have started.
    pub published: Published,
    /// For everything else.
    pub desk: Desk,
}

/// Serves for as long as the runtime runs. Must be called inside it.
///
/// # Errors
/// If the runtime cannot watch the listener.
pub fn serve(listener: net::TcpListener, edge: Edge) -> io::Result<()> {
    listener.set_nonblocking(true)?;
    let listener = TcpListener::from_std(listener)?;
    tokio::spawn(accept_all(listener, edge));
    Ok(())
}

async fn accept_all(listener: TcpListener, edge: Edge) {
    let mut open: VecDeque<JoinHandle<()>> = VecDeque::new();
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                if open.len() >= MOST_CONNECTIONS {
                    // Those that have been asked something answer first.
                    tokio::task::yield_now().await;
                    open.retain(|connection| !connection.is_finished());
                }
                if open.len() >= MOST_CONNECTIONS
                    && let Some(oldest) = open.pop_front()
                {
                    oldest.abort();
                }
                let edge = edge.clone();
                open.push_back(tokio::spawn(async move {
                    let _late = tokio::time::timeout(CONNECTION_LIFE, serve_one(stream, edge)).await;
                }));
            }
            Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
        }
    }
}

async fn serve_one(stream: TcpStream, edge: Edge) {
    let service = service_fn(|request: hyper::Request<hyper::body::Incoming>| {
        let edge = edge.clone();
        async move {
            if let Some(answer) = metrics::answer(&request, &edge).await {
                return Ok(answer);
            }
            Ok::<_, Infallible>(routes::answer(request.method(), request.uri(), &edge).await)
        }
    });
    let mut http = http1::Builder::new();
    // A prober that hangs up early is its own business.
    let _hung_up = http.max_buf_size(LONGEST_HEAD).serve_connection(TokioIo::new(stream), service).await;
}
