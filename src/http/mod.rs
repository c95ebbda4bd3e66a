//! The HTTP endpoints: health, for every client that can connect, and control, for root and our own user.
//!
//! Both see a [`Snapshot`](crate::core::Snapshot) at once and ask the loop for everything else. They run in the
//! supervisor, so a busy or stopped worker is never mistaken for a dead service, nor a dead one for a busy one.

mod beside;
pub mod client;
mod edge;
pub mod health;
pub mod metrics;
mod orders;
mod peer;
mod response;
pub mod routes;
mod status;

pub use beside::Beside;
pub use edge::{Edge, Published};

use crate::os::call::{self, named};
use crate::os::socket::connection::{self, ByteStream};
use crate::os::socket::listen::Listener;
use crate::os::socket::passed;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use peer::Peer;
use std::collections::VecDeque;
use std::convert::Infallible;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::net::{TcpListener, UnixListener};
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};
use tracing::warn;

/// The longest life of a connection, idle or not: probes come seconds apart. While an order is under way, the time
/// starts again each time it is over.
const CONNECTION_LIFE: Duration = Duration::from_secs(10);

/// The time for a request's head, from the first byte or from the previous answer.
const HEAD_WITHIN: Duration = Duration::from_secs(3);

/// Above this number the oldest connection is closed: memory is bounded, and idle clients lock no prober out.
/// Connections that wait for an order are neither counted nor closed; the loop limits those by refusing further orders.
const MOST_CONNECTIONS: usize = 64;

/// The shortest life of a connection to the control socket: it is heard, however fast others come. They wait in the
/// kernel's queue meanwhile.
const CONTROL_LEAST_LIFE: Duration = Duration::from_millis(50);

/// The most connections of users that may not ask; each gets a refusal.
const MOST_REFUSED: usize = 8;

/// The shortest interval between log lines about refusals.
const REFUSALS_EVERY: Duration = Duration::from_secs(1);

/// The most bytes of a request's head; hyper allows no less.
const LONGEST_HEAD: usize = 8 * 1024;

/// The wait after a failed accept(2), as with EMFILE: an immediate retry would spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What may be asked at an endpoint, by which clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Health, by every client.
    Health,
    /// Health and orders, by our own user and root.
    Control,
}

enum Incoming {
    Tcp(TcpListener),
    Unix(UnixListener),
}

impl Incoming {
    /// The next connection, and its peer if it is a unix socket.
    async fn accept(&self) -> io::Result<(Box<dyn ByteStream>, Option<Peer>)> {
        match self {
            Self::Tcp(listener) => Ok((Box::new(listener.accept().await?.0), None)),
            // A child may have to close whatever is accepted.
            Self::Unix(_) if !passed::has_room() => Err(io::ErrorKind::QuotaExceeded.into()),
            Self::Unix(listener) => {
                let stream = listener.accept().await?.0;
                let peer = stream.peer_cred().ok();
                let peer = peer.map(|peer| Peer { uid: peer.uid(), pid: peer.pid().unwrap_or(0) });
                // One type, so that the binary contains hyper's server once.
                Ok((connection::guard(stream)?, peer))
            }
        }
    }
}

/// Serves for as long as the runtime runs. Must be called inside the runtime.
///
/// # Errors
/// If a call is refused, or the runtime cannot watch the listener.
pub fn serve(listener: &Listener, edge: Edge, access: Access) -> io::Result<()> {
    call::may_serve()?;
    let incoming = match (listener.to_tcp(), listener.to_unix()) {
        (Some(tcp), _) => {
            named("ioctl", tcp.set_nonblocking(true))?;
            Incoming::Tcp(named("epoll_ctl", TcpListener::from_std(tcp))?)
        }
        (None, Some(unix)) => {
            named("ioctl", unix.set_nonblocking(true))?;
            // It may come from an older program of ours, which did not set this.
            let _looked_at_instead = passed::refuse(&unix, true);
            Incoming::Unix(named("epoll_ctl", UnixListener::from_std(unix))?)
        }
        // The descriptor could not be duplicated.
        (None, None) => return named("fcntl", Err(io::Error::last_os_error())),
    };
    tokio::spawn(accept_all(incoming, edge, access));
    Ok(())
}

struct OpenConnection {
    task: JoinHandle<()>,
    since: Instant,
    /// Whether it waits for an order.
    has_order: Arc<AtomicBool>,
}

impl OpenConnection {
    fn may_go(&self) -> bool {
        !self.has_order.load(Ordering::Relaxed)
    }
}

/// Open connections, the oldest first.
struct Open {
    all: VecDeque<OpenConnection>,
    most: usize,
    /// The shortest life of each.
    least: Duration,
}

impl Open {
    fn new(most: usize, least: Duration) -> Self {
        Self { all: VecDeque::new(), most, least }
    }

    /// Whether the most connections without an order are open.
    fn is_full(&self) -> bool {
        self.all.iter().filter(|connection| connection.may_go()).count() >= self.most
    }

    async fn make_room(&mut self) {
        self.all.retain(|connection| !connection.task.is_finished());
        if self.is_full() {
            // Connections with a request are answered first.
            tokio::task::yield_now().await;
            self.all.retain(|connection| !connection.task.is_finished());
        }
        while self.is_full()
            && let Some(oldest) = self.all.iter().position(OpenConnection::may_go)
        {
            let left = self.all.get(oldest).map(|oldest| self.least.saturating_sub(oldest.since.elapsed()));
            match left.filter(|left| !left.is_zero()) {
                Some(left) => tokio::time::sleep(left).await,
                None => self.all.remove(oldest).iter().for_each(|oldest| oldest.task.abort()),
            }
            self.all.retain(|connection| !connection.task.is_finished());
        }
    }
}

async fn accept_all(incoming: Incoming, edge: Edge, access: Access) {
    let least = match access {
        Access::Health => Duration::ZERO,
        Access::Control => CONTROL_LEAST_LIFE,
    };
    let (mut open, mut refused) =
        (Open::new(MOST_CONNECTIONS, least), Open::new(MOST_REFUSED, Duration::ZERO));
    let mut told: Option<Instant> = None;
    loop {
        let Ok((stream, peer)) = incoming.accept().await else {
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let may_order = match access {
            Access::Health => None,
            Access::Control => Some(peer.filter(|peer| peer.may_order())),
        };
        let open = if let Some(None) = may_order {
            if told.is_none_or(|at| at.elapsed() >= REFUSALS_EVERY) {
                told = Some(Instant::now());
                let (uid, sender) = (peer.map(|peer| peer.uid), peer.map(|peer| peer.pid));
                warn!(uid, sender, "control socket: refused, neither root nor our own user");
            }
            &mut refused
        } else {
            &mut open
        };
        open.make_room().await;
        let has_order = Arc::new(AtomicBool::new(false));
        let task = tokio::spawn(live(stream, edge.clone(), may_order, has_order.clone()));
        open.all.push_back(OpenConnection { task, since: Instant::now(), has_order });
    }
}

/// Serves one connection for its life.
async fn live(
    stream: Box<dyn ByteStream>,
    edge: Edge,
    orders: Option<Option<Peer>>,
    has_order: Arc<AtomicBool>,
) {
    let mut serve = pin!(serve_one(stream, edge, orders, &has_order));
    while timeout(CONNECTION_LIFE, &mut serve).await.is_err() && has_order.load(Ordering::Relaxed) {}
}

/// `orders` is `None` where no orders are taken; its inner value is the peer, or `None` if that may give none.
async fn serve_one(
    stream: Box<dyn ByteStream>,
    edge: Edge,
    orders: Option<Option<Peer>>,
    has_order: &AtomicBool,
) {
    let asked = AtomicBool::new(false);
    let service = service_fn(|request: hyper::Request<hyper::body::Incoming>| {
        let (edge, asked_before) = (edge.clone(), asked.swap(true, Ordering::Relaxed));
        async move {
            // hyper would answer pipelined requests at once, 16 of each connection, before other tasks get their turn.
            if asked_before {
                tokio::task::yield_now().await;
            }
            let (method, uri) = (request.method(), request.uri());
            // No body is read: hyper closes a connection that sends one.
            Ok::<_, Infallible>(match orders {
                // A client that may not ask learns nothing.
                Some(None) => orders::answer(method, uri, &edge, None, has_order).await,
                None | Some(Some(_)) => match (metrics::answer(&request, &edge).await, orders) {
                    (Some(page), _) => page,
                    (None, Some(peer)) => orders::answer(method, uri, &edge, peer, has_order).await,
                    (None, None) => routes::answer(method, uri, &edge).await,
                },
            })
        }
    });
    let mut http = http1::Builder::new();
    http.max_buf_size(LONGEST_HEAD).timer(TokioTimer::new()).header_read_timeout(HEAD_WITHIN);
    // A prober may shut down its side after a request. A client that has given an order and hangs up waits no longer.
    http.half_close(orders.is_none());
    // A prober may hang up early.
    let _hung_up = http.serve_connection(TokioIo::new(stream), service).await;
}
