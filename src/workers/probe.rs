//! HTTP probes of single workers. A probe goes through the public port, as a client would. If each worker has a
//! listener of its own, the source address (127.112.0.0/16) selects the worker. A probe decides nothing: its result
//! goes back to the loop.

use crate::http::client::{Get, NoAnswer, exchange};
use hyper::StatusCode;
use std::fmt;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::net::TcpSocket;
use tokio::sync::{Semaphore, mpsc};
use tokio::time::{Instant, timeout};

/// Why a probe did not pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProbeFailure {
    /// Not the worker's fault: the supervisor has no descriptor, address or port for the probe.
    NotAsked(io::ErrorKind),
    Connect(io::ErrorKind),
    TimedOut,
    /// The worker closed the connection before it had answered.
    Closed,
    /// A status that is not a success.
    Status(u16),
    /// The answer is not HTTP, or its head has no end.
    NotHttp,
}

impl fmt::Display for ProbeFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotAsked(kind) => write!(f, "could not be asked: {kind}"),
            Self::Connect(kind) => write!(f, "cannot connect: {kind}"),
            Self::TimedOut => f.write_str("no answer in time"),
            Self::Closed => f.write_str("closed without an answer"),
            Self::Status(status) => write!(f, "answered {status}"),
            Self::NotHttp => f.write_str("the answer is not HTTP"),
        }
    }
}

/// Sends one probe. Success is a status from 200 to 399, as in the kubelet. Redirects are not followed, and no body
/// is read.
///
/// # Errors
/// Why the probe did not pass.
pub async fn probe(from: Ipv4Addr, to: SocketAddr, get: &Get, within: Duration) -> Result<(), ProbeFailure> {
    match timeout(within, ask(from, to, get)).await {
        Ok(Ok(status)) if (200..400).contains(&status.as_u16()) => Ok(()),
        Ok(Ok(status)) => Err(ProbeFailure::Status(status.as_u16())),
        Ok(Err(failure)) => Err(failure),
        Err(_) => Err(ProbeFailure::TimedOut),
    }
}

async fn ask(from: Ipv4Addr, to: SocketAddr, get: &Get) -> Result<StatusCode, ProbeFailure> {
    let not_asked = |error: io::Error| ProbeFailure::NotAsked(error.kind());
    let socket = TcpSocket::new_v4().map_err(not_asked)?;
    socket.bind((from, 0).into()).map_err(not_asked)?;
    let stream = socket.connect(to).await.map_err(|error| match error.kind() {
        // All ports of this source address are taken.
        kind @ io::ErrorKind::AddrNotAvailable => ProbeFailure::NotAsked(kind),
        kind => ProbeFailure::Connect(kind),
    })?;
    let answer = exchange(stream, get.request(), None).await;
    answer.map(|(status, _)| status).map_err(|failure| match failure {
        NoAnswer::Closed => ProbeFailure::Closed,
        NoAnswer::NotHttp | NoAnswer::TooLong => ProbeFailure::NotHttp,
    })
}

#[derive(Clone, Debug)]
pub struct ProbeOrder {
    /// The answer carries this id.
    pub id: u64,
    /// The source address.
    pub from: Ipv4Addr,
    /// See [`from_loopback`](crate::values::address::from_loopback).
    pub to: SocketAddr,
    pub get: Get,
    /// The timeout of the whole probe.
    pub within: Duration,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProbeAnswer {
    pub id: u64,
    pub result: Result<(), ProbeFailure>,
    pub took: Duration,
}

/// Makes probes beside the loop, which takes the answers in its own time.
#[derive(Debug)]
pub struct Prober {
    asking: mpsc::Sender<ProbeAnswer>,
    answers: mpsc::Receiver<ProbeAnswer>,
    next: Option<ProbeAnswer>,
}

impl Prober {
    /// At most `most` probes, and at least one, are under way or wait to be taken.
    #[must_use]
    pub fn new(most: usize) -> Self {
        let (asking, answers) = mpsc::channel(most.clamp(1, Semaphore::MAX_PERMITS));
        Self { asking, answers, next: None }
    }

    /// Begins a probe. Its answer is certain to come; the caller knows whether it still matters then. Returns false
    /// if there are too many. Must be called inside the runtime.
    #[must_use]
    pub fn start(&self, order: ProbeOrder) -> bool {
        let Ok(room) = self.asking.clone().try_reserve_owned() else { return false };
        tokio::spawn(async move {
            let ProbeOrder { id, from, to, get, within } = order;
            let begin = Instant::now();
            let result = probe(from, to, &get, within).await;
            room.send(ProbeAnswer { id, result, took: begin.elapsed() });
        });
        true
    }

    /// Ready when there is an answer to take.
    pub fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.next.is_none()
            && let Poll::Ready(answer) = self.answers.poll_recv(cx)
        {
            self.next = answer;
        }
        if self.next.is_some() { Poll::Ready(()) } else { Poll::Pending }
    }

    /// Takes one answer, if there is one.
    pub fn take(&mut self) -> Option<ProbeAnswer> {
        self.next.take().or_else(|| self.answers.try_recv().ok())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};
    use std::thread::{self, JoinHandle};
    use tokio::runtime::{Builder, Runtime};

    const LONG: Duration = Duration::from_secs(20);
    const SHORT: Duration = Duration::from_millis(200);
    const FROM: Ipv4Addr = Ipv4Addr::new(127, 112, 0, 3);

    fn runtime() -> Runtime {
        Builder::new_current_thread().enable_all().build().unwrap()
    }

    fn get() -> Get {
        Get::new("app.example:8000", "/healthz?full=1").unwrap()
    }

    fn ask_once(to: SocketAddr, within: Duration) -> Result<(), ProbeFailure> {
        runtime().block_on(probe(FROM, to, &get(), within))
    }

    /// A server of one connection. It reads the request, if `reads`, and passes connection and request to `answer`.
    fn serve<T: Send + 'static>(
        reads: bool,
        answer: impl FnOnce(TcpStream, String) -> T + Send + 'static,
    ) -> (SocketAddr, JoinHandle<T>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let server = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = Vec::new();
            let mut byte = [0];
            while reads && !request.ends_with(b"\r\n\r\n") && stream.read(&mut byte).unwrap() > 0 {
                request.extend(byte);
            }
            answer(stream, String::from_utf8(request).unwrap())
        });
        (address, server)
    }

    fn asked_of(answer: &'static str, reads: bool) -> Result<(), ProbeFailure> {
        let (address, server) = serve(reads, move |mut stream, _| {
            let _hung_up = stream.write_all(answer.as_bytes());
        });
        let result = ask_once(address, LONG);
        server.join().unwrap();
        result
    }

    #[test]
    fn a_status_from_200_to_399_is_well() {
        for answer in [
            "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
            "HTTP/1.0 200 OK\r\n\r\nbody until the end",
            "HTTP/1.1 200\r\ntransfer-encoding: chunked\r\n\r\nzz not a chunk",
            "HTTP/1.1 204 No Content\r\n\r\n",
            "HTTP/1.1 301 Moved Permanently\r\nLocation: http://127.0.0.1:1/\r\n\r\n",
            "HTTP/1.1 399 Odd\r\n\r\n",
            "HTTP/1.1 103 Early Hints\r\nLink: </>\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
        ] {
            assert_eq!(asked_of(answer, true), Ok(()), "{answer:?}");
        }
        for (answer, status) in [
            ("HTTP/1.1 400 Bad Request\r\n\r\n", 400),
            ("HTTP/1.1 404 Not Found\r\nContent-Length: 9\r\n\r\nnot found", 404),
            ("HTTP/1.1 503 Service Unavailable\r\n\r\n", 503),
            ("HTTP/1.1 999 ?\r\n\r\n", 999),
            ("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n", 101),
        ] {
            assert_eq!(asked_of(answer, true), Err(ProbeFailure::Status(status)), "{answer:?}");
        }
    }

    #[test]
    fn what_is_asked_and_from_where() {
        let (address, server) = serve(true, |mut stream, request| {
            stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").unwrap();
            (stream.peer_addr().unwrap().ip(), request)
        });
        assert_eq!(ask_once(address, LONG), Ok(()));
        let (peer, request) = server.join().unwrap();
        assert_eq!(peer, std::net::IpAddr::V4(FROM));
        let agent = concat!("user-agent: prefork-init/", env!("CARGO_PKG_VERSION"));
        let mut lines: Vec<&str> = request.lines().collect();
        assert_eq!(lines.remove(0), "GET /healthz?full=1 HTTP/1.1");
        lines.sort_unstable();
        assert_eq!(lines, ["", "connection: close", "host: app.example:8000", agent]);
    }

    #[test]
    fn other_answers_are_told_apart() {
        for answer in [
            "+PONG\r\n",
            "\0\u{1}\u{2}",
            "HTTP/2 200\r\n\r\n",
            "HTTP/1.1 two\r\n\r\n",
            "HTTP/1.1 99 ?\r\n\r\n",
        ] {
            assert_eq!(asked_of(answer, true), Err(ProbeFailure::NotHttp), "{answer:?}");
        }
        // The server answers before it has read the request, or after.
        let (address, server) = serve(false, |mut stream, _| {
            stream.write_all(b"SSH-2.0-OpenSSH_9.9\r\n").unwrap();
            let _hung_up = stream.read_to_end(&mut Vec::new());
        });
        assert_eq!(ask_once(address, LONG), Err(ProbeFailure::NotHttp));
        server.join().unwrap();
        for (answer, reads) in [("", true), ("", false), ("HTTP/1.1 200 OK\r\nServer: x\r\n", true)] {
            assert_eq!(asked_of(answer, reads), Err(ProbeFailure::Closed), "{answer:?}");
        }
    }

    #[test]
    fn neither_a_head_nor_a_body_without_end_is_read() {
        for (begin, result) in [
            ("HTTP/1.1 200 OK\r\n", Err(ProbeFailure::NotHttp)),
            ("HTTP/1.1 200 OK\r\nX: ", Err(ProbeFailure::NotHttp)),
            ("HTTP/1.1 200 OK\r\n\r\n", Ok(())),
        ] {
            let (address, server) = serve(true, move |mut stream, _| {
                stream.write_all(begin.as_bytes()).unwrap();
                let piece = if begin.ends_with(' ') { "x".repeat(1000) } else { "X: y\r\n".repeat(100) };
                while stream.write_all(piece.as_bytes()).is_ok() {}
            });
            assert_eq!(ask_once(address, LONG), result, "{begin:?}");
            server.join().unwrap();
        }
    }

    #[test]
    fn all_of_it_has_one_deadline() {
        // Only the kernel accepts the connection.
        let silent = TcpListener::bind("127.0.0.1:0").unwrap();
        let begin = std::time::Instant::now();
        let result = ask_once(silent.local_addr().unwrap(), SHORT);
        assert_eq!(result, Err(ProbeFailure::TimedOut));
        assert!(begin.elapsed() >= SHORT);
        // The server is never silent for long.
        let (address, server) = serve(true, |mut stream, _| {
            let mut head = b"HTTP/1.1 200 OK\r\nX: ".iter().chain(std::iter::repeat(&b'y'));
            while stream.write_all(&[*head.next().unwrap()]).is_ok() {
                thread::sleep(SHORT / 20);
            }
        });
        assert_eq!(ask_once(address, SHORT), Err(ProbeFailure::TimedOut));
        server.join().unwrap();
        // Slow, but not too slow.
        let (address, server) = serve(true, |mut stream, _| {
            for piece in ["HTTP/1.", "1 20", "0 OK\r", "\n\r", "\n"] {
                stream.write_all(piece.as_bytes()).unwrap();
                thread::sleep(SHORT / 20);
            }
        });
        assert_eq!(ask_once(address, LONG), Ok(()));
        server.join().unwrap();
    }

    #[test]
    fn who_cannot_be_reached_and_who_cannot_ask_are_told_apart() {
        // No other test uses this address.
        let gone = TcpListener::bind("127.99.0.9:0").unwrap().local_addr().unwrap();
        assert_eq!(ask_once(gone, LONG), Err(ProbeFailure::Connect(io::ErrorKind::ConnectionRefused)));
        let not_ours = Ipv4Addr::new(203, 0, 113, 250);
        let result = runtime().block_on(probe(not_ours, gone, &get(), LONG));
        assert_eq!(result, Err(ProbeFailure::NotAsked(io::ErrorKind::AddrNotAvailable)));
    }

    #[test]
    fn each_failure_is_told_in_a_few_words() {
        for (failure, text) in [
            (ProbeFailure::NotAsked(io::ErrorKind::AddrInUse), "could not be asked: address in use"),
            (ProbeFailure::Connect(io::ErrorKind::ConnectionRefused), "cannot connect: connection refused"),
            (ProbeFailure::TimedOut, "no answer in time"),
            (ProbeFailure::Closed, "closed without an answer"),
            (ProbeFailure::Status(503), "answered 503"),
            (ProbeFailure::NotHttp, "the answer is not HTTP"),
        ] {
            assert_eq!(failure.to_string(), text);
        }
    }

    #[test]
    fn every_probe_that_begins_is_answered_and_no_more_begin_than_may() {
        let silent = TcpListener::bind("127.0.0.1:0").unwrap();
        let order = |id, to, within| ProbeOrder { id, from: FROM, to, get: get(), within };
        let (well, server) = serve(true, |mut stream, _| {
            stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").unwrap();
        });
        runtime().block_on(async {
            let mut prober = Prober::new(2);
            assert_eq!(prober.take(), None);
            let silent = silent.local_addr().unwrap();
            assert!(prober.start(order(7, silent, SHORT)));
            assert!(prober.start(order(8, well, LONG)));
            assert!(!prober.start(order(9, silent, SHORT)));
            let mut answers = Vec::new();
            while answers.len() < 2 {
                poll_fn(|cx| prober.poll_ready(cx)).await;
                // Being ready takes nothing away.
                poll_fn(|cx| prober.poll_ready(cx)).await;
                answers.extend(prober.take());
            }
            assert_eq!((answers[0].id, answers[0].result), (8, Ok(())));
            assert_eq!((answers[1].id, answers[1].result), (7, Err(ProbeFailure::TimedOut)));
            assert!(answers[1].took >= SHORT);
            assert!(prober.start(order(9, silent, Duration::ZERO)));
            poll_fn(|cx| prober.poll_ready(cx)).await;
            assert_eq!(prober.take().map(|answer| answer.id), Some(9));
            assert_eq!(prober.take(), None);
        });
        server.join().unwrap();
    }
}
