//! One client's connection, which tells exactly how a request ended.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// A server that takes longer than this has lost the request.
const PATIENCE: Duration = Duration::from_secs(10);

/// How a request ended that got no whole answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// Never taken: the client may safely try again.
    Refused,
    /// The connection was reset.
    Reset,
    /// The connection was closed before the first byte of an answer.
    Empty,
    /// The connection was closed in the middle of the answer.
    Cut,
    /// Nothing came in time.
    Timeout,
}

impl Failure {
    fn of(kind: ErrorKind) -> Self {
        match kind {
            ErrorKind::ConnectionRefused => Self::Refused,
            ErrorKind::WouldBlock | ErrorKind::TimedOut => Self::Timeout,
            ErrorKind::ConnectionReset | ErrorKind::BrokenPipe | ErrorKind::NotConnected => Self::Reset,
            // As `AddrNotAvailable`, when no local port is left.
            kind => panic!("the client itself is broken: {kind}"),
        }
    }
}

/// A whole answer.
pub struct Answer {
    pub status: u16,
    pub body: String,
    /// Whether the server will close the connection.
    pub closes: bool,
}

/// A connection, and whether a request has been answered on it.
pub struct Connection {
    stream: TcpStream,
    pub reused: bool,
    /// When it was made, or the last answer was whole.
    quiet_since: Instant,
}

impl Connection {
    /// Connects. A reset counts as one after the connect: the kernel tells of both at once.
    pub fn open(address: SocketAddr) -> Result<Self, Failure> {
        let connect = || {
            let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
            stream.set_read_timeout(Some(PATIENCE))?;
            stream.set_nodelay(true)?;
            Ok(stream)
        };
        let stream = connect().map_err(|error: std::io::Error| Failure::of(error.kind()))?;
        Ok(Self { stream, reused: false, quiet_since: Instant::now() })
    }

    /// Whether the server has closed it meanwhile. Every client with a pool of connections looks before it sends.
    pub fn is_closed(&self) -> bool {
        self.stream.set_nonblocking(true).unwrap();
        let peeked = self.stream.peek(&mut [0]);
        self.stream.set_nonblocking(false).unwrap();
        !peeked.is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
    }

    /// How long nothing has come or gone on it.
    pub fn quiet(&self) -> Duration {
        self.quiet_since.elapsed()
    }

    /// Sends one request and waits for the whole answer. With `close`, for the server's close too, so that the ports
    /// that stay reserved for a while are not the client's.
    pub fn get(&mut self, path: &str, close: bool) -> Result<Answer, Failure> {
        let connection = if close { "close" } else { "keep-alive" };
        let request = format!("GET {path} HTTP/1.1\r\nHost: test\r\nConnection: {connection}\r\n\r\n");
        // A server may answer and close without having read: what counts is the answer.
        let sent = self.stream.write_all(request.as_bytes());
        let answer = self.answer().map_err(|failure| match &sent {
            Err(error) => Failure::of(error.kind()),
            Ok(()) => failure,
        })?;
        if close {
            while matches!(self.stream.read(&mut [0; 64]), Ok(1..)) {}
        }
        self.reused = true;
        self.quiet_since = Instant::now();
        Ok(answer)
    }

    fn answer(&mut self) -> Result<Answer, Failure> {
        let mut bytes = Vec::new();
        loop {
            let mut chunk = [0; 4096];
            match self.stream.read(&mut chunk) {
                Ok(0) => return Err(if bytes.is_empty() { Failure::Empty } else { Failure::Cut }),
                Ok(length) => bytes.extend_from_slice(&chunk[..length]),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(Failure::of(error.kind())),
            }
            if let Some(answer) = parse(&bytes) {
                return Ok(answer);
            }
        }
    }
}

/// The answer, once it is whole. One without `Content-Length` never is: none of the servers sends such.
fn parse(bytes: &[u8]) -> Option<Answer> {
    let (head, body) = std::str::from_utf8(bytes).ok()?.split_once("\r\n\r\n")?;
    let field = |name: &str| {
        let mut fields = head.lines().filter_map(|line| line.split_once(':'));
        fields.find_map(|(key, value)| key.eq_ignore_ascii_case(name).then_some(value.trim()))
    };
    let length = field("content-length")?.parse().ok()?;
    Some(Answer {
        status: head.split(' ').nth(1)?.parse().ok()?,
        closes: field("connection").is_some_and(|value| value.eq_ignore_ascii_case("close")),
        body: body.get(..length)?.to_owned(),
    })
}
