//! The target of `--ready-check`, a server over HTTP or a command, and the state of the check.

use crate::values::address::Address;
use crate::values::command_line::Words;
use std::borrow::Cow;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

/// The port of an address that names none.
const HTTP_PORT: &str = ":80";

#[derive(Clone, Debug)]
pub enum ReadyTarget {
    /// `http://HOST:PORT/path`.
    Http {
        to: SocketAddr,
        /// The server's name, for the Host header.
        host: String,
        /// Begins with `/`; may have a query.
        path: String,
        /// As the user wrote it.
        text: String,
    },
    /// `unix:/run/app.sock:/path`.
    Unix {
        to: PathBuf,
        /// Begins with `/`; may have a query.
        path: String,
        /// As the user wrote it.
        text: String,
    },
    /// `exec:CMD`: exit code 0 is ready.
    Exec(Words),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CheckState {
    /// There is no result yet.
    Awaited,
    /// The last check passed.
    Passes,
    /// The last check failed, for this reason, in words that need no escaping in JSON.
    Fails(String),
}

impl CheckState {
    /// Whether the last check passed.
    ///
    /// # Errors
    /// Why not.
    pub fn passes(&self) -> Result<(), Cow<'static, str>> {
        match self {
            Self::Passes => Ok(()),
            Self::Awaited => Err("--ready-check has not passed yet".into()),
            Self::Fails(why) => Err(format!("--ready-check failed: {why}").into()),
        }
    }

    /// Why not, for a line that already names the option.
    #[must_use]
    pub fn detail(&self) -> Option<String> {
        match self {
            Self::Passes => None,
            Self::Awaited => Some("has not passed yet".to_owned()),
            Self::Fails(why) => Some(why.clone()),
        }
    }
}

impl PartialEq for ReadyTarget {
    fn eq(&self, other: &Self) -> bool {
        self.to_string() == other.to_string()
    }
}

impl Eq for ReadyTarget {}

impl fmt::Display for ReadyTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Http { text, .. } | Self::Unix { text, .. } => f.write_str(text),
            Self::Exec(words) => write!(f, "exec:{words}"),
        }
    }
}

impl ReadyTarget {
    /// Reads the three forms. HOST is an IP address or `localhost`: names are not looked up.
    ///
    /// # Errors
    /// The problem and the remedy.
    pub fn parse(text: &str) -> Result<Self, String> {
        const FORMS: &str = "use http://HOST:PORT/path, unix:/run/app.sock:/path or exec:CMD";
        if let Some(command) = text.strip_prefix("exec:") {
            return Words::parse(command).map(Self::Exec);
        }
        if text.starts_with("https://") {
            return Err("TLS is not spoken here: use http:// on a local address, or exec:CMD".to_owned());
        }
        let problem = |(problem, remedy): (&str, &str)| format!("{problem}: {remedy}");
        let no_path = || "the path is not one: begin it with / and escape what is no ASCII".to_owned();
        if let Some(rest) = text.strip_prefix("http://") {
            let (authority, path) = match rest.find('/') {
                Some(at) => rest.split_at(at),
                None => (rest, "/"),
            };
            // A bracket ends an IPv6 address, and the colons inside belong to no port.
            let has_port = authority.rsplit_once(']').map_or(authority, |(_, rest)| rest).contains(':');
            let with_port = if has_port { authority.to_owned() } else { format!("{authority}{HTTP_PORT}") };
            return match Address::parse(&with_port).map_err(problem)? {
                Address::Tcp(to) if to.port() == 0 || authority.is_empty() || authority.starts_with(':') => {
                    Err(format!("nobody is at that address: {FORMS}"))
                }
                Address::Tcp(to) => {
                    let path = is_path(path).then(|| path.to_owned()).ok_or_else(no_path)?;
                    Ok(Self::Http { to, host: authority.to_owned(), path, text: text.to_owned() })
                }
                Address::Unix(_) => Err(format!("not an address: {FORMS}")),
            };
        }
        let Some(rest) = text.strip_prefix("unix:") else { return Err(format!("no such way: {FORMS}")) };
        let (socket, path) = match rest.split_once(":/") {
            Some((socket, path)) => (socket, format!("/{path}")),
            None => (rest, "/".to_owned()),
        };
        match Address::parse(&format!("unix:{socket}")).map_err(problem)? {
            Address::Unix(to) if !to.is_absolute() => {
                Err("the path of the socket is not absolute: begin it with /".to_owned())
            }
            Address::Unix(to) => {
                let path = Some(path).filter(|path| is_path(path)).ok_or_else(no_path)?;
                Ok(Self::Unix { to, path, text: text.to_owned() })
            }
            Address::Tcp(_) => Err(format!("not a path: {FORMS}")),
        }
    }
}

/// Whether a text can be the path and the query of a request (RFC 9112, section 3.2.1). Servers accept more
/// characters than the standard does; a fragment is no part of a request.
#[must_use]
pub fn is_path(text: &str) -> bool {
    text.starts_with('/') && text.bytes().all(|byte| byte.is_ascii_graphic() && !b"#<>`\"".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_forms_people_write_are_read() {
        let tcp = |text: &str| match ReadyTarget::parse(text) {
            Ok(ReadyTarget::Http { to, .. }) => to.to_string(),
            other => panic!("{text}: {other:?}"),
        };
        assert_eq!(tcp("http://127.0.0.1:8000/ready?db=1"), "127.0.0.1:8000");
        assert_eq!(tcp("http://localhost"), "127.0.0.1:80");
        assert_eq!(tcp("http://[::1]:8000"), "[::1]:8000");
        assert_eq!(tcp("http://[::1]/x"), "[::1]:80");
        for (text, socket) in
            [("unix:/run/app.sock", "/run/app.sock"), ("unix:/run/a:b.sock:/ready", "/run/a:b.sock")]
        {
            match ReadyTarget::parse(text) {
                Ok(ReadyTarget::Unix { to, .. }) => assert_eq!(to, PathBuf::from(socket)),
                other => panic!("{text}: {other:?}"),
            }
        }
        match ReadyTarget::parse("exec:sh -c 'exit 0'") {
            Ok(ReadyTarget::Exec(words)) => assert_eq!(words.argv(), ["sh", "-c", "exit 0"]),
            other => panic!("{other:?}"),
        }
        for bad in [
            "",
            "ready",
            "https://127.0.0.1/",
            "http://",
            "http://example.com/",
            "http://:8000/",
            "http://127.0.0.1:0/",
            "http://127.0.0.1:x/",
            "http://127.0.0.1:1/a b",
            "unix:",
            "unix:app.sock",
            "unix:/run/app.sock:/a b",
            "exec:",
            "exec:'x",
            "tcp://127.0.0.1:1",
        ] {
            let error = ReadyTarget::parse(bad).unwrap_err();
            assert!(error.contains(": "), "{bad}: {error}");
        }
    }
}
