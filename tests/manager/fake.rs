//! A manager that writes down what it is told, and by whom.

use crate::harness::{LIMIT, Launch};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

pub struct Manager {
    socket: UnixDatagram,
    /// Its name, as `NOTIFY_SOCKET` has it.
    pub name: String,
}

impl Manager {
    /// At a path in this directory.
    pub fn at_path(dir: &Path) -> Self {
        let path = dir.join("manager");
        let socket = UnixDatagram::bind(&path).unwrap();
        Self::with(socket, path.to_str().unwrap().to_owned())
    }

    /// By an abstract name.
    pub fn abstractly() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = format!("prefork-init test {} {count}", std::process::id());
        let socket = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(&name).unwrap()).unwrap();
        Self::with(socket, format!("@{name}"))
    }

    fn with(socket: UnixDatagram, name: String) -> Self {
        socket.set_read_timeout(Some(LIMIT)).unwrap();
        Self { socket, name }
    }

    /// Has the pool know it.
    pub fn of(&self, launch: Launch) -> Launch {
        launch.env("NOTIFY_SOCKET", &self.name)
    }

    /// The next datagram. What differs from run to run is left out of it: the clock.
    pub fn next(&self) -> String {
        let (text, _) = self.next_with_clock();
        text
    }

    /// The next datagram, and the clock in it.
    pub fn next_with_clock(&self) -> (String, Option<u64>) {
        let text = self.raw().expect("the manager is told nothing more");
        let clock = text.lines().find_map(|line| line.strip_prefix("MONOTONIC_USEC=")?.parse().ok());
        let lines: Vec<&str> = text
            .lines()
            .map(|l| if l.starts_with("MONOTONIC_USEC=") { "MONOTONIC_USEC" } else { l })
            .collect();
        (lines.join(" "), clock)
    }

    /// Holds that these datagrams come next, in this order.
    pub fn expect(&self, messages: &[&str]) {
        for message in messages {
            assert_eq!(self.next(), *message);
        }
    }

    /// Waits for a datagram that begins so; others may come before.
    pub fn expect_at_last(&self, beginning: &str) {
        while !self.next().starts_with(beginning) {}
    }

    /// Whatever comes within this time.
    pub fn within(&self, time: Duration) -> Vec<String> {
        let end = std::time::Instant::now() + time;
        let mut all = Vec::new();
        while let Some(left) = end.checked_duration_since(std::time::Instant::now()).filter(|l| !l.is_zero())
        {
            self.socket.set_read_timeout(Some(left)).unwrap();
            all.extend(self.raw());
        }
        self.socket.set_read_timeout(Some(LIMIT)).unwrap();
        all
    }

    /// Holds that nothing more has come.
    pub fn expect_nothing(&self) {
        self.socket.set_nonblocking(true).unwrap();
        assert_eq!(self.raw(), None);
        self.socket.set_nonblocking(false).unwrap();
    }

    /// Fills its own queue.
    pub fn fill(&self) -> usize {
        let stranger = UnixDatagram::unbound().unwrap();
        stranger.set_nonblocking(true).unwrap();
        let to = self.socket.local_addr().unwrap();
        (0..100_000).take_while(|_| stranger.send_to_addr(b"full", &to).is_ok()).count()
    }

    fn raw(&self) -> Option<String> {
        let mut text = [0; 4096];
        let length = self.socket.recv(&mut text).ok()?;
        Some(String::from_utf8(text[..length].to_vec()).unwrap())
    }
}
