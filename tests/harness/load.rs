//! Load: closed loops of clients, a connection a request, that count what became of each.

use super::http;
use std::io::ErrorKind;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};

/// What became of the requests.
#[derive(Debug, Default)]
pub struct Counts {
    /// Answered with 200.
    pub ok: AtomicU64,
    /// Never taken: the client may safely try again.
    pub refused: AtomicU64,
    /// Taken and not answered.
    pub lost: AtomicU64,
    /// Answered with something else.
    pub other: AtomicU64,
}

/// Clients at work.
pub struct Load {
    counts: Arc<Counts>,
    stop: Arc<AtomicBool>,
    clients: Vec<JoinHandle<()>>,
}

impl Load {
    /// Starts `clients` loops of GET `path`.
    pub fn start(address: &str, path: &str, clients: usize) -> Self {
        let (counts, stop) = (Arc::new(Counts::default()), Arc::new(AtomicBool::new(false)));
        let client = |_| {
            let (counts, stop) = (Arc::clone(&counts), Arc::clone(&stop));
            let (address, path) = (address.to_owned(), path.to_owned());
            thread::spawn(move || {
                while !stop.load(Ordering::Relaxed) {
                    let count = match http::get(&address, &path) {
                        Ok(answer) if answer.status == 200 => &counts.ok,
                        Ok(_) => &counts.other,
                        Err(error) if error.kind() == ErrorKind::ConnectionRefused => &counts.refused,
                        Err(_) => &counts.lost,
                    };
                    count.fetch_add(1, Ordering::Relaxed);
                }
            })
        };
        let clients = (0..clients).map(client).collect();
        Self { counts, stop, clients }
    }

    /// Answered so far.
    pub fn ok(&self) -> u64 {
        self.counts.ok.load(Ordering::Relaxed)
    }

    /// Waits until so many more have been answered.
    pub fn wait_ok(&self, more: u64) {
        let target = self.ok() + more;
        super::eventually("more answers", || (self.ok() >= target).then_some(()));
    }

    /// Stops the clients and returns (ok, refused, lost, other).
    pub fn stop(self) -> (u64, u64, u64, u64) {
        self.stop.store(true, Ordering::Relaxed);
        for client in self.clients {
            client.join().unwrap();
        }
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let counts = &*self.counts;
        (read(&counts.ok), read(&counts.refused), read(&counts.lost), read(&counts.other))
    }
}
