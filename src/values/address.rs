//! Addresses to listen on, in the forms that users write. Nothing is bound or looked up here.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Component, Path, PathBuf};

/// The longest path that fits into `sun_path` with its final zero (unix(7)).
const LONGEST_UNIX_PATH: usize = 107;

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// IPv4 or IPv6; `[::]` takes both.
    Tcp(SocketAddr),
    /// A unix stream socket.
    Unix(PathBuf),
}

impl Address {
    /// Reads `HOST:PORT`, `[V6]:PORT`, `:PORT` (all IPv4 addresses, as in gunicorn) and `unix:PATH`. HOST is an IP
    /// address or `localhost`: names are not looked up, because an init must not depend on DNS.
    ///
    /// # Errors
    /// The problem and the remedy.
    pub fn parse(text: &str) -> Result<Self, (&'static str, &'static str)> {
        if let Some(path) = text.strip_prefix("unix:") {
            return match path.len() {
                0 => Err(("the path is missing", "write unix:/path/to/socket")),
                1..=LONGEST_UNIX_PATH => Ok(Self::Unix(path.into())),
                _ => Err((
                    "the path is longer than 107 bytes, the most a unix socket can have",
                    "use a shorter path",
                )),
            };
        }
        const FORMS: &str =
            "use HOST:PORT, [V6]:PORT, :PORT or unix:/path, with an IP address or localhost as host";
        let Some((host, port)) = text.rsplit_once(':') else {
            return Err(("not an address", FORMS));
        };
        let Ok(port) = port.parse::<u16>() else {
            return Err(("the port is not a number from 0 to 65535", FORMS));
        };
        let bracketed = host.strip_prefix('[').and_then(|h| h.strip_suffix(']'));
        let ip = match (host, bracketed) {
            ("", _) => Some(IpAddr::V4(Ipv4Addr::UNSPECIFIED)),
            ("localhost", _) => Some(IpAddr::V4(Ipv4Addr::LOCALHOST)),
            (_, Some(v6)) => v6.parse().ok().map(IpAddr::V6),
            (v4, None) => v4.parse().ok().map(IpAddr::V4),
        };
        match ip {
            Some(ip) => Ok(Self::Tcp(SocketAddr::new(ip, port))),
            None => Err(("the host is not an IP address", FORMS)),
        }
    }
}

impl Address {
    /// Whether only one of the two can be bound. Port 0 is a different port each time; `[::]` takes IPv4 too.
    #[must_use]
    pub fn collides_with(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Tcp(one), Self::Tcp(other)) => {
                let (of_one, of_other) = (one.ip().to_canonical(), other.ip().to_canonical());
                let overlap = of_one == of_other || covers(of_one, of_other) || covers(of_other, of_one);
                one.port() != 0 && one.port() == other.port() && overlap
            }
            // `/run//s` and `/run/./s` are the same file, and so are `s` and `./s`.
            (Self::Unix(one), Self::Unix(other)) => parts(one).eq(parts(other)),
            (Self::Tcp(_), Self::Unix(_)) | (Self::Unix(_), Self::Tcp(_)) => false,
        }
    }
}

fn parts(path: &Path) -> impl Iterator<Item = Component<'_>> {
    path.components().filter(|part| *part != Component::CurDir)
}

/// Whether `all` stands for all addresses, and `one` is one of them.
fn covers(all: IpAddr, one: IpAddr) -> bool {
    all.is_unspecified() && (all.is_ipv6() || one.is_ipv4())
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// The address by which a client in 127.0.0.0/8 reaches a listener that is bound to `bound`. `None` if only IPv6
/// reaches it; `[::]` takes IPv4 too.
#[must_use]
pub fn from_loopback(bound: SocketAddr) -> Option<SocketAddr> {
    let ip = match bound.ip() {
        IpAddr::V4(ip) => ip,
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv4Addr::UNSPECIFIED,
        IpAddr::V6(ip) => ip.to_ipv4_mapped()?,
    };
    let ip = if ip.is_unspecified() { Ipv4Addr::LOCALHOST } else { ip };
    Some(SocketAddr::from((ip, bound.port())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_forms_people_write_are_read() {
        for (text, shown) in [
            ("127.0.0.1:80", "127.0.0.1:80"),
            (":8000", "0.0.0.0:8000"),
            ("localhost:0", "127.0.0.1:0"),
            ("[::1]:8000", "[::1]:8000"),
            ("[::]:8000", "[::]:8000"),
            ("unix:/run/app.sock", "unix:/run/app.sock"),
        ] {
            assert_eq!(Address::parse(text).unwrap().to_string(), shown);
        }
        let long = format!("unix:/{}", "x".repeat(299));
        for bad in [
            "",
            "8000",
            "host:80",
            "::1:80",
            "127.0.0.1:65536",
            "127.0.0.1:",
            "unix:",
            &long,
            "[::1]",
            "[127.0.0.1]:1",
        ] {
            assert!(Address::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_cannot_be_bound_together_collides() {
        let collide = |one: &str, other: &str| {
            let (one, other) = (Address::parse(one).unwrap(), Address::parse(other).unwrap());
            assert_eq!(one.collides_with(&other), other.collides_with(&one));
            one.collides_with(&other)
        };
        for (one, other) in [
            (":8000", ":8000"),
            ("0.0.0.0:8000", "127.0.0.1:8000"),
            ("[::]:8000", "[::1]:8000"),
            ("[::]:8000", ":8000"),
            ("[::]:8000", "192.0.2.1:8000"),
            ("[::ffff:127.0.0.1]:8000", "localhost:8000"),
            ("unix:/run/s", "unix:/run//./s"),
            ("unix:s", "unix:./s"),
        ] {
            assert!(collide(one, other), "{one} {other}");
        }
        for (one, other) in [
            (":8000", ":8001"),
            (":0", ":0"),
            ("127.0.0.1:8000", "127.0.0.2:8000"),
            ("0.0.0.0:8000", "[::1]:8000"),
            ("unix:/run/s", "unix:/run/t"),
            ("unix:s", "unix:/s"),
            (":8000", "unix::8000"),
        ] {
            assert!(!collide(one, other), "{one} {other}");
        }
    }

    #[test]
    fn a_listener_is_reached_by_ipv4_where_it_can_be() {
        for (bound, to) in [
            ("0.0.0.0:80", Some("127.0.0.1:80")),
            ("[::]:80", Some("127.0.0.1:80")),
            ("10.1.2.3:80", Some("10.1.2.3:80")),
            ("127.0.0.5:80", Some("127.0.0.5:80")),
            ("[::ffff:10.1.2.3]:80", Some("10.1.2.3:80")),
            ("[::ffff:0.0.0.0]:80", Some("127.0.0.1:80")),
            ("[::1]:80", None),
            ("[fe80::1]:80", None),
        ] {
            assert_eq!(from_loopback(bound.parse().unwrap()), to.map(|to| to.parse().unwrap()), "{bound}");
        }
    }
}
