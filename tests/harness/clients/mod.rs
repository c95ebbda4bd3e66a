//! Clients of four kinds, each a closed loop, that tell a lost request from one that was only refused.

pub mod connection;
pub mod counts;

use connection::{Connection, Failure};
use counts::{Counts, Tally};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// How long a client that was refused waits before it tries again.
const REFUSED_PAUSE: Duration = Duration::from_millis(2);

/// A server closes a connection that is quiet for longer by its own keep-alive timeout (gunicorn: 2 s), and the next
/// request can meet that. A client is quiet for so long only where the machine lets it wait.
const QUIET_FOR_TOO_LONG: Duration = Duration::from_secs(1);

/// How a client uses its connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Model {
    /// A connection a request.
    Close,
    /// One connection, and 5 to 20 ms between an answer and the next request.
    Think,
    /// One connection, and the next request at once.
    Busy,
    /// A connection a request, of which the answer takes its time.
    Slow,
}

/// One thing for each model, in the order of [`Model::ALL`].
pub type ByModel<T> = [T; 4];

impl Model {
    /// All, in the order of the columns of a table.
    pub const ALL: ByModel<Self> = [Self::Close, Self::Think, Self::Busy, Self::Slow];
}

/// Asks for a number's path, and knows which body is right.
pub type IsRight = fn(number: u64, body: &str) -> bool;

/// Clients of every model at work.
pub struct Clients {
    tallies: ByModel<Arc<Mutex<Tally>>>,
    each: ByModel<usize>,
    opened: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Clients {
    /// Starts so many of each model.
    pub fn start(address: &str, each: ByModel<usize>, is_right: IsRight) -> Self {
        Self::start_with(address, each, is_right, false)
    }

    /// The same, where clients may ask `again`: once, over a new connection, if the server has closed the one it kept.
    pub fn start_with(address: &str, each: ByModel<usize>, is_right: IsRight, again: bool) -> Self {
        let address: SocketAddr = address.parse().unwrap();
        let (stop, numbers) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let opened = Arc::new(AtomicUsize::new(0));
        let tallies: ByModel<Arc<Mutex<Tally>>> = Default::default();
        let mut threads = Vec::new();
        for ((model, tally), each) in Model::ALL.into_iter().zip(&tallies).zip(each) {
            for seed in 1..=each {
                let client = Client {
                    address,
                    model,
                    is_right,
                    again,
                    tally: Arc::clone(tally),
                    numbers: Arc::clone(&numbers),
                    opened: Arc::clone(&opened),
                    stop: Arc::clone(&stop),
                    chance: seed as u64,
                };
                threads.push(thread::spawn(move || client.work()));
            }
        }
        Self { tallies, each, opened, stop, threads }
    }

    /// Waits until every model that is there has got so many answers since the counts were last taken.
    pub fn wait_ok(&self, count: u64) {
        let there = || self.tallies.iter().zip(self.each).filter(|(_, each)| *each > 0);
        let enough = || there().all(|(tally, _)| tally.lock().unwrap().counts().ok >= count);
        super::eventually("answers to every kind of client", || enough().then_some(()));
    }

    /// Waits until every model that is there has got so many more answers.
    pub fn wait_more(&self, count: u64) {
        let now = self.tallies.each_ref().map(|tally| tally.lock().unwrap().counts().ok);
        self.wait_ok(now.into_iter().max().unwrap_or_default() + count);
    }

    /// Waits until so many connections have been made.
    pub fn wait_opened(&self, count: usize) {
        let enough = || self.opened.load(Ordering::Relaxed) >= count;
        super::eventually("connections", || enough().then_some(()));
    }

    /// The counts of each model since the last call.
    pub fn take(&self) -> ByModel<Counts> {
        self.tallies.each_ref().map(|tally| tally.lock().unwrap().take())
    }

    /// Lets no client ask again after the request that it has in hand. Does not wait for those.
    pub fn last_round(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    /// Stops the clients, each after the request that it has in hand, and takes the counts.
    pub fn stop(mut self) -> ByModel<Counts> {
        self.last_round();
        for thread in self.threads.drain(..) {
            thread.join().unwrap();
        }
        self.take()
    }
}

impl Drop for Clients {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// One client.
struct Client {
    address: SocketAddr,
    model: Model,
    is_right: IsRight,
    again: bool,
    tally: Arc<Mutex<Tally>>,
    numbers: Arc<AtomicU64>,
    opened: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
    chance: u64,
}

impl Client {
    fn work(mut self) {
        let mut kept = None;
        while !self.stop.load(Ordering::Relaxed) {
            if self.model == Model::Think {
                let pause = self.think();
                thread::sleep(pause);
            }
            if kept.as_ref().is_some_and(Connection::is_closed) {
                kept = None;
                self.tally.lock().unwrap().closed_idle();
            }
            kept = self.ask(kept);
        }
    }

    /// One request, on the connection that was kept or on a new one; returns the connection if it can be kept.
    fn ask(&self, kept: Option<Connection>) -> Option<Connection> {
        let (begun, number) = (Instant::now(), self.numbers.fetch_add(1, Ordering::Relaxed));
        let fresh = || Connection::open(self.address);
        let mut connection = match kept.map_or_else(fresh, Ok) {
            Ok(connection) => connection,
            Err(failure) => {
                self.tally.lock().unwrap().failed(failure, false);
                thread::sleep(REFUSED_PAUSE);
                return None;
            }
        };
        self.opened.fetch_add(usize::from(!connection.reused), Ordering::Relaxed);
        let close = matches!(self.model, Model::Close | Model::Slow);
        let path = if self.model == Model::Slow { "slow" } else { "echo" };
        let quiet = connection.quiet();
        let path = format!("/{path}/{number}");
        let mut answer = connection.get(&path, close);
        if self.again
            && connection.reused
            && answer.as_ref().is_err_and(|failure| *failure != Failure::Timeout)
        {
            answer = fresh().and_then(|new| {
                connection = new;
                connection.get(&path, close)
            });
        }
        let mut tally = self.tally.lock().unwrap();
        match answer {
            Ok(answer) => {
                tally.answered(begun, answer.status == 200 && (self.is_right)(number, &answer.body));
                (!close && !answer.closes).then_some(connection)
            }
            Err(_) if connection.reused && quiet >= QUIET_FOR_TOO_LONG => {
                tally.closed_idle();
                None
            }
            Err(failure) => {
                tally.failed(failure, connection.reused);
                None
            }
        }
    }

    /// A time to think, of a seeded generator (xorshift): every run has the same.
    fn think(&mut self) -> Duration {
        self.chance ^= self.chance << 13;
        self.chance ^= self.chance >> 7;
        self.chance ^= self.chance << 17;
        Duration::from_millis(5 + self.chance % 16)
    }
}
