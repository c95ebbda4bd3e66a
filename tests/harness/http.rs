//! The smallest HTTP client that can tell a refused connection from a lost request.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// A server that takes longer than this has lost the request.
const PATIENCE: Duration = Duration::from_secs(10);

/// An answer.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: String,
}

/// One request on a connection of its own.
pub fn get(address: &str, path: &str) -> io::Result<Answer> {
    request(address, "GET", path)
}

/// One request with any method.
pub fn request(address: &str, method: &str, path: &str) -> io::Result<Answer> {
    Pending::send(address, method, path)?.answer()
}

/// A request that is sent and not answered yet.
pub struct Pending(TcpStream);

impl Pending {
    /// Sends it on a connection of its own.
    pub fn send(address: &str, method: &str, path: &str) -> io::Result<Self> {
        let mut stream = connect(address)?;
        // In one piece: a server that reads only once must not find half of it.
        let head = format!("{method} {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n");
        stream.write_all(head.as_bytes())?;
        Ok(Self(stream))
    }

    /// A GET.
    pub fn get(address: &str, path: &str) -> io::Result<Self> {
        Self::send(address, "GET", path)
    }

    /// Waits for the answer.
    pub fn answer(mut self) -> io::Result<Answer> {
        let mut bytes = Vec::new();
        self.0.read_to_end(&mut bytes)?;
        parse(&bytes)
    }
}

/// A connection that is kept for many requests, one after the other.
pub struct KeptAlive(TcpStream);

impl KeptAlive {
    /// Connects.
    pub fn connect(address: &str) -> io::Result<Self> {
        connect(address).map(Self)
    }

    /// One request; the answer must tell its length.
    pub fn get(&mut self, path: &str) -> io::Result<Answer> {
        self.0.write_all(format!("GET {path} HTTP/1.1\r\nHost: test\r\n\r\n").as_bytes())?;
        let mut bytes = Vec::new();
        loop {
            let mut chunk = [0; 4096];
            let length = self.0.read(&mut chunk)?;
            bytes.extend_from_slice(&chunk[..length]);
            let whole =
                parse(&bytes).ok().filter(|answer| length == 0 || answer.body.len() >= answer.length());
            if let Some(answer) = whole {
                return Ok(answer);
            }
            if length == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }
}

impl Answer {
    /// A header's value, empty if there is none.
    pub fn header(&self, name: &str) -> &str {
        let mut fields = self.head.lines().filter_map(|line| line.split_once(':'));
        fields.find(|(key, _)| key.eq_ignore_ascii_case(name)).map_or("", |(_, value)| value.trim())
    }

    fn length(&self) -> usize {
        self.header("content-length").parse().unwrap_or(0)
    }
}

fn connect(address: &str) -> io::Result<TcpStream> {
    let address: SocketAddr = address.parse().map_err(io::Error::other)?;
    let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Takes an answer apart. An empty or cut answer is a lost request.
fn parse(bytes: &[u8]) -> io::Result<Answer> {
    let text = String::from_utf8_lossy(bytes);
    let lost = || io::Error::new(io::ErrorKind::UnexpectedEof, format!("no whole answer: {text:?}"));
    let (head, body) = text.split_once("\r\n\r\n").ok_or_else(lost)?;
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).ok_or_else(lost)?;
    Ok(Answer { status, head: head.to_owned(), body: body.to_owned() })
}
