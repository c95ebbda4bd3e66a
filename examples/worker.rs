//! A small HTTP/1.1 server that shows what a worker must do to live well under `prefork-init`:
//!
//! - take the listener it inherits (`--fd N`, 3 by default) instead of binding one of its own,
//!   and expect that other workers wait on the same one;
//! - on SIGTERM take no new connections, answer what it has accepted, read or not yet read, with
//!   `Connection: close`, close the idle connections, and exit 0;
//! - after `--max-requests N` (0: no limit) do the same by itself. What is in flight then is
//!   still answered, so the total may end a little above N;
//! - with `--notify`, say `READY=1` and its total of requests to `$NOTIFY_SOCKET`.
//!
//! Every GET is answered with a line of JSON, `/pid` with the bare pid, and `/slow?ms=N` after
//! N ms (60 s at most).
//!
//! ```sh
//! prefork-init -n 2 -b 127.0.0.1:8000 --health 127.0.0.1:9000 \
//!     --max-requests 1000 --max-requests-jitter 100 -- \
//!     target/release/examples/worker --fd {fd} --max-requests {max_requests}
//! ```

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::fd::{AsFd, FromRawFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::{SocketAddr, UnixDatagram, UnixStream};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::thread::{self, Scope};
use std::time::{Duration, Instant};
use std::{env, fs, mem, process};

/// Each has a thread, so this bounds the memory too.
const MAX_CONNECTIONS: usize = 256;
const MAX_HEAD: usize = 16 * 1024;
const MAX_SLOW_MS: u64 = 60_000;
/// How long to wait for a request: idle connections must not hold all the threads for ever.
const IDLE: Duration = Duration::from_secs(60);
/// How long a client may take in nothing of its answer.
const STUCK: Duration = Duration::from_secs(10);
/// How long a stopping worker waits for a request that may be on its way: enough for a lost packet
/// to be sent again.
const LINGER: Duration = Duration::from_secs(1);
/// How long to leave the listener alone when a connection could not be taken.
const REST: Duration = Duration::from_millis(10);

fn main() -> ExitCode {
    match run(env::args().skip(1)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("worker: {message}");
            ExitCode::from(2)
        }
    }
}

fn run(mut args: impl Iterator<Item = String>) -> Result<(), String> {
    let (mut fd, mut max_requests, mut notify) = (3, 0, false);
    while let Some(arg) = args.next() {
        let mut number = || {
            let value = args.next().and_then(|value| value.parse().ok());
            value.ok_or_else(|| format!("{arg} needs a number"))
        };
        match arg.as_str() {
            "--fd" => fd = number()?,
            "--max-requests" => max_requests = number()?,
            "--notify" => notify = true,
            _ => return Err(format!("unknown argument {arg:?}")),
        }
    }
    let listener = inherit(fd)?;
    let worker = Worker::new(max_requests, notify).map_err(|error| format!("cannot start: {error}"))?;
    // The scope ends when the listener is closed and the thread of the last connection has ended.
    thread::scope(|scope| worker.accept(scope, listener));
    Ok(())
}

fn inherit(fd: u32) -> Result<TcpListener, String> {
    let is_socket = |file: fs::Metadata| file.file_type().is_socket();
    if fd < 3 || !fs::metadata(format!("/proc/self/fd/{fd}")).is_ok_and(is_socket) {
        return Err(format!("descriptor {fd} is not an inherited socket"));
    }
    // SAFETY: called once, before this process has opened anything. So a socket that is open at 3
    // or above was inherited, and nothing else here owns it.
    let listener = unsafe { TcpListener::from_raw_fd(fd.cast_signed()) };
    // Where another worker takes the connection first, accept(2) must not hang. The flag belongs
    // to the shared socket: a worker has to expect it whether or not it set it.
    match listener.local_addr().and_then(|_| listener.set_nonblocking(true)) {
        Ok(()) => Ok(listener),
        Err(error) => Err(format!("descriptor {fd} is not a TCP listener: {error}")),
    }
}

/// Connects to the supervisor, if there is one that listens, and tells it that we are ready.
fn say_ready() -> io::Result<Option<UnixDatagram>> {
    let Some(name) = env::var_os("NOTIFY_SOCKET") else { return Ok(None) };
    let address = match name.as_encoded_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
        _ => SocketAddr::from_pathname(&name)?,
    };
    let supervisor = UnixDatagram::unbound()?;
    supervisor.connect_addr(&address)?;
    supervisor.send(b"READY=1")?;
    // That one had to arrive. The totals must not make a request wait, and each makes good for
    // those lost before it.
    supervisor.set_nonblocking(true)?;
    Ok(Some(supervisor))
}

struct Worker {
    max_requests: u32,
    served: AtomicU64,
    stopping: Arc<AtomicBool>,
    /// Becomes readable when we are to stop, and nobody reads it: one byte wakes the accepting
    /// thread and every idle connection, whenever each comes to look.
    stopped: UnixStream,
    stop: UnixStream,
    supervisor: Option<UnixDatagram>,
}

impl Worker {
    fn new(max_requests: u32, notify: bool) -> io::Result<Self> {
        let (stopped, stop) = UnixStream::pair()?;
        let stopping = Arc::new(AtomicBool::new(false));
        for signal in [signal_hook::consts::SIGTERM, signal_hook::consts::SIGINT] {
            // In this order, so that whoever is woken finds the flag set.
            signal_hook::flag::register(signal, Arc::clone(&stopping))?;
            signal_hook::low_level::pipe::register(signal, stop.try_clone()?)?;
        }
        let supervisor = if notify { say_ready()? } else { None };
        Ok(Self { max_requests, served: AtomicU64::new(0), stopping, stopped, stop, supervisor })
    }

    fn accept<'scope>(&'scope self, scope: &'scope Scope<'scope, '_>, listener: TcpListener) {
        let connections = Arc::new(());
        let mut rest = false;
        // Who is in the queue when the stop comes has a connection, and would be reset if nobody
        // else held the listener. So the queue is emptied, but a flood of new ones is not awaited.
        let mut last_looks = 0..MAX_CONNECTIONS;
        loop {
            let mut sources = [readable(&self.stopped), readable(&listener)];
            wait(sources.split_at_mut(if rest { 1 } else { 2 }).0, rest.then_some(REST));
            let stopping = self.stopping.load(SeqCst);
            rest = Arc::strong_count(&connections) > MAX_CONNECTIONS;
            if stopping && (rest || last_looks.next().is_none()) {
                return;
            }
            if rest {
                continue;
            }
            match listener.accept() {
                Ok((stream, _)) => self.start(scope, Arc::new(stream), Arc::clone(&connections)),
                Err(error) if error.kind() == ErrorKind::ConnectionAborted => {}
                Err(_) if stopping => return,
                // Not `WouldBlock`: no descriptor is left, or the supervisor has shut the listener
                // and the stop signal is about to follow. poll(2) would return at once, for ever.
                Err(error) => rest = error.kind() != ErrorKind::WouldBlock,
            }
        }
    }

    fn start<'s>(&'s self, scope: &'s Scope<'s, '_>, stream: Arc<TcpStream>, counted: Arc<()>) {
        let ours = Arc::clone(&stream);
        let serve = move || {
            self.serve(&ours);
            drop(counted);
        };
        if thread::Builder::new().stack_size(128 * 1024).spawn_scoped(scope, serve).is_err() {
            // There is no thread to be had, and slow is better than lost.
            self.serve(&stream);
        }
    }

    fn serve(&self, stream: &TcpStream) {
        let mut input = Vec::new();
        while let Some(head) = self.next_head(stream, &mut input) {
            let request = parse(&head);
            let (status, kind, body) = self.answer(request);
            // Requests sent ahead are accepted too, so only the last of them may say `close`.
            let ahead = || !input.is_empty() || wait(&mut [readable(stream)], Some(Duration::ZERO));
            let open = request.is_some_and(|(.., keep_alive)| keep_alive)
                && (!self.stopping.load(SeqCst) || ahead());
            let (connection, length) = (if open { "keep-alive" } else { "close" }, body.len());
            let answer = format!(
                "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\
                 Connection: {connection}\r\n\r\n{body}"
            );
            let patient = stream.set_write_timeout(Some(STUCK));
            let written = patient.and_then(|()| (&mut &*stream).write_all(answer.as_bytes()));
            if let Some(supervisor) = &self.supervisor {
                // A supervisor that is slow or gone is no reason to fail a client.
                let total = self.served.load(SeqCst);
                let _ = supervisor.send(format!("X_PREFORK_REQUESTS={total}").as_bytes());
            }
            if !open || written.is_err() {
                return close(stream);
            }
        }
    }

    /// The head of the next request; `None` when no more will come.
    fn next_head(&self, mut stream: &TcpStream, input: &mut Vec<u8>) -> Option<String> {
        let (since, mut limit, mut closing) = (Instant::now(), IDLE, false);
        loop {
            if let Some(end) = input.windows(4).position(|four| four == b"\r\n\r\n") {
                let rest = input.split_off(end.saturating_add(4));
                return Some(String::from_utf8_lossy(&mem::replace(input, rest)).into_owned());
            }
            if input.len() > MAX_HEAD {
                return Some(String::new());
            }
            if !closing && self.stopping.load(SeqCst) {
                (closing, limit) = (true, since.elapsed().saturating_add(LINGER));
            }
            let left = limit.checked_sub(since.elapsed())?;
            let mut sources = [readable(stream), readable(&self.stopped)];
            let ready = wait(sources.split_at_mut(if closing { 1 } else { 2 }).0, Some(left));
            if !ready || (!closing && self.stopping.load(SeqCst)) {
                continue;
            }
            let mut chunk = [0; 4096];
            match stream.read(&mut chunk) {
                Ok(length @ 1..) => input.extend_from_slice(chunk.get(..length)?),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                _ => return None,
            }
        }
    }

    /// Status, content type and body.
    fn answer(&self, request: Option<(&str, &str, bool)>) -> (&'static str, &'static str, String) {
        let (method, target, _) = request.unwrap_or_default();
        let slow = target.strip_prefix("/slow?ms=").map_or(Ok(0), str::parse::<u64>);
        if let Ok(ms @ 1..) = slow {
            thread::sleep(Duration::from_millis(ms.min(MAX_SLOW_MS)));
        }
        let served = self.served.fetch_add(1, SeqCst).saturating_add(1);
        if self.max_requests != 0 && served >= self.max_requests.into() && !self.stopping.swap(true, SeqCst) {
            // It has room for a byte, or has one already; both wake.
            let _ = (&self.stop).write(b"!");
        }
        let pid = process::id();
        match (method, target) {
            ("", _) => ("400 Bad Request", "text/plain", String::new()),
            ("GET", _) if slow.is_err() => ("400 Bad Request", "text/plain", String::new()),
            ("GET", "/pid") => ("200 OK", "text/plain", pid.to_string()),
            ("GET", _) => {
                let number = |name| env::var(name).ok().filter(|value| value.parse::<u64>().is_ok());
                let json = |name| number(name).unwrap_or_else(|| "null".to_owned());
                let (id, generation) = (json("PREFORK_WORKER_ID"), json("PREFORK_GENERATION"));
                let identity = format!(r#""worker_id":{id},"generation":{generation},"pid":{pid}"#);
                ("200 OK", "application/json", format!("{{{identity},\"requests\":{served}}}\n"))
            }
            _ => ("405 Method Not Allowed\r\nAllow: GET", "text/plain", String::new()),
        }
    }
}

/// Method, target, and whether another request may follow on the connection.
fn parse(head: &str) -> Option<(&str, &str, bool)> {
    let (request, fields) = head.split_once("\r\n")?;
    let mut words = request.split(' ');
    let (method, target, version) = (words.next()?, words.next()?, words.next()?);
    let fields = fields.to_ascii_lowercase();
    let field = |name| {
        let mut pairs = fields.lines().filter_map(|line| line.split_once(':'));
        pairs.find_map(|(key, value)| (key == name).then_some(value.trim()))
    };
    let keep_alive = field("connection").map_or(version == "HTTP/1.1", |value| !value.contains("close"));
    // Bodies are not read, so after one we could not tell where the next head begins.
    let bare =
        field("transfer-encoding").is_none() && field("content-length").is_none_or(|length| length == "0");
    version.starts_with("HTTP/1.").then_some((method, target, keep_alive && bare))
}

/// Sends the end of the stream, then waits a moment for the client's: closing with input unread
/// would send a reset, and a reset can destroy the answer on its way.
fn close(mut stream: &TcpStream) {
    let since = Instant::now();
    let _ = stream.shutdown(Shutdown::Write);
    while let Some(left) = LINGER.checked_sub(since.elapsed())
        && wait(&mut [readable(stream)], Some(left))
        && matches!(stream.read(&mut [0; 4096]), Ok(1..))
    {}
}

fn readable(source: &impl AsFd) -> PollFd<'_> {
    PollFd::new(source.as_fd(), PollFlags::POLLIN)
}

/// Whether one of them is ready before the time is over. /proc shows what a poll(2) waits for, so
/// the supervisor can tell without a word from us when we accept connections.
fn wait(sources: &mut [PollFd], time: Option<Duration>) -> bool {
    let timeout = |time| PollTimeout::try_from(time).unwrap_or(PollTimeout::MAX);
    loop {
        match poll(sources, time.map_or(PollTimeout::NONE, timeout)) {
            Err(Errno::EINTR) => {}
            ready => return ready.is_ok_and(|count| count > 0),
        }
    }
}
