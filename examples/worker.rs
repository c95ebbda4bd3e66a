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

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use signal_hook::consts::{SIGINT, SIGTERM};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::fd::{AsFd, FromRawFd, RawFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::{SocketAddr, UnixDatagram, UnixStream};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::thread::{self, Scope};
use std::time::{Duration, Instant};
use std::{env, fs, process};

/// One thread each, so this bounds the memory too.
const MAX_CONNECTIONS: usize = 256;
const MAX_HEAD: usize = 16 * 1024;
const MAX_SLEEP: u64 = 60_000;
/// How long a connection may stay idle: idle ones must not hold all the threads for ever.
const IDLE: Duration = Duration::from_secs(60);
/// How long a client may take to send the rest of a head, or to take some of an answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long a stopping worker waits for a request that may be on its way: the time in which a
/// lost packet is sent again.
const LINGER: Duration = Duration::from_secs(1);
/// How long to leave the listener alone after a connection could not be taken.
const REST: Duration = Duration::from_millis(10);

fn main() -> ExitCode {
    match Options::parse(env::args().skip(1)).and_then(|options| run(&options)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("worker: {message}");
            ExitCode::from(2)
        }
    }
}

fn run(options: &Options) -> Result<(), String> {
    let listener = inherited_listener(options.fd)?;
    let worker = Worker::new(options).map_err(|error| format!("cannot start: {error}"))?;
    // The scope ends when the listener is closed and the last connection's thread has ended.
    thread::scope(|scope| worker.accept_until_stopped(scope, listener));
    Ok(())
}

struct Options {
    fd: RawFd,
    max_requests: u64,
    notify: bool,
}

impl Options {
    fn parse(mut args: impl Iterator<Item = String>) -> Result<Self, String> {
        let (mut fd, mut max_requests, mut notify) = (3, 0, false);
        while let Some(arg) = args.next() {
            let mut number = || {
                let value = args.next().and_then(|value| value.parse::<u32>().ok());
                value.ok_or_else(|| format!("{arg} needs a number"))
            };
            match arg.as_str() {
                "--fd" => fd = number()?,
                "--max-requests" => max_requests = number()?,
                "--notify" => notify = true,
                _ => return Err(format!("unknown argument {arg:?}")),
            }
        }
        let fd = RawFd::try_from(fd).map_err(|_| format!("--fd {fd} is out of range"))?;
        Ok(Self { fd, max_requests: max_requests.into(), notify })
    }
}

fn inherited_listener(fd: RawFd) -> Result<TcpListener, String> {
    let is_socket =
        fs::metadata(format!("/proc/self/fd/{fd}")).is_ok_and(|file| file.file_type().is_socket());
    if fd < 3 || !is_socket {
        return Err(format!("descriptor {fd} is not an inherited socket"));
    }
    // SAFETY: this process has opened nothing yet, so a socket open at 3 or above was inherited
    // and has no other owner here; this function is called once.
    let listener = unsafe { TcpListener::from_raw_fd(fd) };
    // The mark is on the socket, not on our descriptor: another worker may have set it already.
    // Without it, a worker whose connection was taken by another would hang in accept(2).
    let ready = listener.local_addr().and_then(|_| listener.set_nonblocking(true));
    ready.map_err(|error| format!("descriptor {fd} is not a TCP listener: {error}"))?;
    Ok(listener)
}

struct Worker {
    /// `worker_id` and `generation`, as JSON.
    identity: String,
    max_requests: u64,
    served: AtomicU64,
    stopping: Arc<AtomicBool>,
    /// Becomes readable when the worker is to stop, and is never read: so one byte wakes the
    /// accepting thread and every waiting connection, whenever each comes to look.
    stopped: UnixStream,
    stop: UnixStream,
    supervisor: Option<UnixDatagram>,
}

impl Worker {
    fn new(options: &Options) -> io::Result<Self> {
        let (stopped, stop) = UnixStream::pair()?;
        let stopping = Arc::new(AtomicBool::new(false));
        for signal in [SIGTERM, SIGINT] {
            // In this order, so that whoever is woken finds the flag set.
            signal_hook::flag::register(signal, Arc::clone(&stopping))?;
            signal_hook::low_level::pipe::register(signal, stop.try_clone()?)?;
        }
        let variable = |name| env::var(name).ok().and_then(|value| value.parse::<u64>().ok());
        let json = |name| variable(name).map_or_else(|| "null".to_owned(), |value| value.to_string());
        Ok(Self {
            identity: format!(
                r#""worker_id":{},"generation":{}"#,
                json("PREFORK_WORKER_ID"),
                json("PREFORK_GENERATION")
            ),
            max_requests: options.max_requests,
            served: AtomicU64::new(0),
            stopping,
            stopped,
            stop,
            supervisor: if options.notify { connect_to_supervisor()? } else { None },
        })
    }

    fn accept_until_stopped<'scope>(&'scope self, scope: &'scope Scope<'scope, '_>, listener: TcpListener) {
        self.notify("READY=1");
        let connections = Arc::new(());
        let mut rest = false;
        loop {
            if rest {
                wait(&mut [readable(&self.stopped)], Some(REST));
            } else {
                wait(&mut [readable(&self.stopped), readable(&listener)], None);
            }
            // Read before the last look at the queue, not after: whoever is queued when the stop
            // comes has a connection already, and would be reset if nobody else held the listener.
            let last = self.stopping.load(SeqCst);
            rest = !self.accept_queued(scope, &listener, &connections);
            if last {
                return;
            }
        }
    }

    /// Whether it makes sense to wait for the next connection.
    fn accept_queued<'scope>(
        &'scope self,
        scope: &'scope Scope<'scope, '_>,
        listener: &TcpListener,
        connections: &Arc<()>,
    ) -> bool {
        // Bounded, so that a flood cannot keep us from seeing the stop.
        for _ in 0..MAX_CONNECTIONS {
            if Arc::strong_count(connections) > MAX_CONNECTIONS {
                return false;
            }
            let stream = match listener.accept() {
                Ok((stream, _)) => Arc::new(stream),
                // Another worker was faster.
                Err(error) if error.kind() == ErrorKind::WouldBlock => return true,
                Err(error)
                    if matches!(error.kind(), ErrorKind::Interrupted | ErrorKind::ConnectionAborted) =>
                {
                    continue;
                }
                // No descriptors left, or the supervisor has shut the listener and the stop
                // signal is about to follow: poll(2) would return at once, for ever.
                Err(_) => return false,
            };
            let (ours, counted) = (Arc::clone(&stream), Arc::clone(connections));
            let thread = thread::Builder::new().stack_size(128 * 1024).spawn_scoped(scope, move || {
                self.serve(&ours, true);
                drop(counted);
            });
            if thread.is_err() {
                // Slow is better than lost; but one request only, for nobody accepts meanwhile.
                self.serve(&stream, false);
            }
        }
        true
    }

    fn serve(&self, stream: &TcpStream, keep_alive: bool) {
        let mut input = Vec::new();
        while let Some(head) = self.next_head(stream, &mut input, keep_alive) {
            let request = Request::parse(&head);
            let (status, kind, body) = self.answer(&request);
            let closing = !keep_alive || self.stopping.load(SeqCst);
            // Requests sent ahead have been accepted too: the last of them gets the `close`.
            let more = || !input.is_empty() || wait(&mut [readable(stream)], Some(Duration::ZERO));
            let last = !request.keep_alive || (closing && !more());
            let connection = if last { "close" } else { "keep-alive" };
            let answer = format!(
                "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nConnection: {connection}\r\n\r\n{body}",
                body.len()
            );
            let written = stream
                .set_write_timeout(Some(PATIENCE))
                .and_then(|()| (&*stream).write_all(answer.as_bytes()));
            self.notify(&format!("X_PREFORK_REQUESTS={}", self.served.load(SeqCst)));
            if written.is_err() {
                return;
            }
            if last {
                return close(stream);
            }
        }
    }
}
