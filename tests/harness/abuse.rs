//! What keeps the supervisor busy at full speed until it is dropped, and how the others fare meanwhile.

use super::http;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// Something at full speed.
pub struct Abuse {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Abuse {
    /// What stops by itself, or with the run.
    pub fn none() -> Self {
        Self { stop: Arc::default(), threads: Vec::new() }
    }

    fn of(works: impl IntoIterator<Item = Box<dyn Fn() -> bool + Send>>) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let start = |work: Box<dyn Fn() -> bool + Send>| {
            let stop = Arc::clone(&stop);
            thread::spawn(move || while !stop.load(Ordering::Relaxed) && work() {})
        };
        let threads = works.into_iter().map(start).collect();
        Self { stop, threads }
    }

    /// These signals in turn, again and again.
    pub fn signals(pid: i32, signals: &[i32]) -> Self {
        assert!(pid > 1, "not a process of this test: {pid}");
        let signals = signals.to_vec();
        // SAFETY: takes two integers. It may be gone.
        Self::of([
            Box::new(move || signals.iter().all(|signal| unsafe { libc::kill(pid, *signal) } == 0)) as _
        ])
    }

    /// Requests by the hundred, on so many connections at once.
    pub fn pipelined(address: &str, path: &str, connections: usize) -> Self {
        let (address, batch) = (address.to_owned(), request(path).repeat(100));
        Self::of([Box::new(move || pipeline(&address, batch.as_bytes(), connections)) as _])
    }

    /// One request after the other, on so many connections to a unix socket.
    pub fn hogs(socket: &Path, path: &str, connections: usize) -> Self {
        let (socket, request) = (socket.to_owned(), request(path));
        Self::of([Box::new(move || {
            let connect = |_| UnixStream::connect(&socket).ok();
            let mut streams: Vec<UnixStream> = (0..connections).filter_map(connect).collect();
            let mut room = vec![0; 1 << 16];
            for _ in 0..100 {
                streams.retain_mut(|stream| stream.write_all(request.as_bytes()).is_ok());
                streams.retain_mut(|stream| stream.read(&mut room).is_ok_and(|length| length > 0));
            }
            true
        }) as _])
    }

    /// Requests by the hundred on so many connections, and nobody reads the answers.
    pub fn slow_readers(address: &str, connections: usize) -> Self {
        let (address, batch) = (address.to_owned(), request("/status").repeat(100));
        Self::of([Box::new(move || {
            let connect = |_| {
                let stream = TcpStream::connect(&address).ok()?;
                stream.set_nonblocking(true).ok()?;
                Some(stream)
            };
            let mut streams: Vec<TcpStream> = (0..connections).filter_map(connect).collect();
            for _ in 0..200 {
                for stream in &mut streams {
                    let _full = stream.write(batch.as_bytes());
                }
                thread::sleep(Duration::from_millis(5));
            }
            true
        }) as _])
    }
}

fn request(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: test\r\n\r\n")
}

/// Keeps so many connections full of requests until one is closed.
fn pipeline(address: &str, batch: &[u8], connections: usize) -> bool {
    let connect = |_| {
        let stream = TcpStream::connect(address).ok()?;
        stream.set_nonblocking(true).ok()?;
        Some((stream, 0))
    };
    let mut streams: Vec<(TcpStream, usize)> = (0..connections).filter_map(connect).collect();
    let mut room = vec![0; 1 << 16];
    for _ in 0..100 {
        for (stream, written) in &mut streams {
            // The next byte of the same text: what fits may end within a request.
            if let Ok(length) = stream.write(&batch[*written..]) {
                *written = (*written + length) % batch.len();
            }
            if matches!(stream.read(&mut room), Ok(0)) {
                return true;
            }
        }
    }
    !streams.is_empty()
}

impl Drop for Abuse {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            let _panicked = thread.join();
        }
    }
}

/// How long something took, many times.
pub struct Times(Vec<Duration>);

impl Times {
    /// Asks one time after the other, each on a connection of its own. What is not answered took for ever.
    pub fn of_requests(address: &str, path: &str, count: usize) -> Self {
        let ask = |_| {
            let begin = Instant::now();
            let answered = http::get(address, path).is_ok_and(|answer| answer.status == 200);
            if answered { begin.elapsed() } else { Duration::MAX }
        };
        Self::new((0..count).map(ask).collect())
    }

    /// The same for so long.
    pub fn of_requests_for(address: &str, path: &str, span: Duration) -> Self {
        let (begin, mut all) = (Instant::now(), Vec::new());
        while begin.elapsed() < span {
            all.extend(Self::of_requests(address, path, 1).0);
        }
        Self::new(all)
    }

    /// These.
    pub fn new(mut all: Vec<Duration>) -> Self {
        all.sort_unstable();
        Self(all)
    }

    /// The one in the middle.
    pub fn median(&self) -> Duration {
        self.at(50)
    }

    /// The one that this many in a hundred do not exceed.
    pub fn at(&self, hundredths: usize) -> Duration {
        self.0.get(self.0.len() * hundredths / 100).or(self.0.last()).copied().unwrap_or(Duration::MAX)
    }
}

/// What slot 0 of a pool does, or the one command, in Python.
pub const ORPHANS: &str = "
import os
while True:
    if os.fork() == 0:
        for _ in range(20):
            if os.fork() == 0: os._exit(0)
        os._exit(0)
    os.wait()";

/// Sixty processes deep, each of the last ten writes notices.
pub const NOTICES: &str = "
import os, socket, time
name = os.environ['NOTIFY_SOCKET']
name = '\\0' + name[1:] if name[0] == '@' else name
for depth in range(60):
    if os.fork() != 0:
        if depth < 50:
            while True: time.sleep(1000)
        break
out = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
while True:
    try: out.sendto(b'X_PREFORK_REQUESTS=1', name)
    except OSError: time.sleep(0.001)";

/// Short lines at full speed.
pub const LINES: &str = "
import os
text = b'y\\n' * 30000
while True: os.write(1, text)";

/// Children that end at once.
pub const CHILDREN: &str = "
import os
while True:
    if os.fork() == 0: os._exit(0)
    os.wait()";
