//! Sends datagrams to our manager's socket (`$NOTIFY_SOCKET`, sd_notify(3)) without waiting.

use nix::sys::socket::{self, AddressFamily, MsgFlags, SockFlag, SockType, UnixAddr};
use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

#[derive(Debug)]
pub struct ManagerSocket {
    fd: OwnedFd,
    to: UnixAddr,
}

impl ManagerSocket {
    /// Opens a sending socket. `name` is a path, or an abstract name after an `@`. Does not check for a receiver: a
    /// manager may be away for a moment.
    ///
    /// # Errors
    /// `InvalidInput` if the name has another form (systemd also knows `vsock:`, for virtual machines); `ENAMETOOLONG`;
    /// as socket(2).
    pub fn open(name: &OsStr) -> io::Result<Self> {
        let to = match name.as_bytes() {
            [b'@', name @ ..] if !name.is_empty() => UnixAddr::new_abstract(name)?,
            [b'/', _, ..] => UnixAddr::new(Path::new(name))?,
            _ => return Err(io::ErrorKind::InvalidInput.into()),
        };
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let fd = socket::socket(AddressFamily::Unix, SockType::Datagram, flags, None)?;
        Ok(Self { fd, to })
    }

    /// Sends one datagram.
    ///
    /// # Errors
    /// As sendto(2): `EAGAIN` if the manager's queue is full, `ENOENT` or `ECONNREFUSED` if it has no receiver.
    pub fn send(&self, text: &str) -> io::Result<()> {
        let flags = MsgFlags::MSG_DONTWAIT | MsgFlags::MSG_NOSIGNAL;
        socket::sendto(self.fd.as_raw_fd(), text.as_bytes(), &self.to, flags)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::linux::net::SocketAddrExt;
    use std::os::unix::net::{SocketAddr, UnixDatagram};

    #[test]
    fn datagrams_go_to_a_path_and_to_an_abstract_name() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let name = format!("prefork-init test {}", std::process::id());
        let bound = SocketAddr::from_abstract_name(&name).unwrap();
        let ends = [
            (UnixDatagram::bind(&path).unwrap(), path.as_os_str().to_owned()),
            (UnixDatagram::bind_addr(&bound).unwrap(), format!("@{name}").into()),
        ];
        for (end, name) in ends {
            ManagerSocket::open(&name).unwrap().send("READY=1").unwrap();
            let mut text = [0; 100];
            let length = end.recv(&mut text).unwrap();
            assert_eq!(&text[..length], b"READY=1");
        }
    }

    #[test]
    fn one_that_is_full_or_gone_is_an_error_and_no_wait() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let socket = ManagerSocket::open(path.as_os_str()).unwrap();
        assert_eq!(socket.send("x").unwrap_err().kind(), io::ErrorKind::NotFound);
        let end = UnixDatagram::bind(&path).unwrap();
        let full = (0..100_000).find_map(|_| socket.send("x").err());
        assert_eq!(full.unwrap().kind(), io::ErrorKind::WouldBlock);
        drop(end);
        assert_eq!(socket.send("x").unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
    }

    #[test]
    fn what_is_no_name_is_refused() {
        for name in ["", "@", "/", "relative", "vsock:2:1234"] {
            assert!(ManagerSocket::open(OsStr::new(name)).is_err(), "{name}");
        }
        assert!(ManagerSocket::open(OsStr::new(&format!("/{}", "x".repeat(200)))).is_err());
    }
}
