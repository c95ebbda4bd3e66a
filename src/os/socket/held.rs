//! The sockets that a worker and its descendants hold.

use super::inode_of;
use crate::core::Pid;
use crate::os::process::descriptors::{Family, descriptors};
use crate::os::process::proc;
use crate::os::socket::connections;
use crate::os::socket::listen::SocketId;
use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

/// The most processes, the most descriptors of each, and the time for all.
const MOST_PROCESSES: usize = 64;
const MOST_FDS: usize = 1024;
const BUDGET: Duration = Duration::from_millis(50);

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Held {
    sockets: HashSet<u64>,
    all: bool,
}

impl Held {
    /// Looks at a worker and its descendants; for a worker of another user, call it within
    /// [`acting_as`](crate::os::process::privileges::acting_as). Takes two microseconds for each descriptor, and 50 ms
    /// at most.
    #[must_use]
    pub fn by(worker: Pid) -> Self {
        if !proc::is_ours() {
            return Self::default();
        }
        let begin = Instant::now();
        let mut found = Self { sockets: HashSet::new(), all: true };
        let mut family = Family::of(worker, MOST_PROCESSES);
        while begin.elapsed() <= BUDGET
            && let Some(pid) = family.next()
        {
            found.look_at(pid, begin);
        }
        found.all &= !family.is_cut() && begin.elapsed() <= BUDGET;
        found
    }

    fn look_at(&mut self, pid: Pid, begin: Instant) {
        let Ok(open) = descriptors(pid) else {
            self.all = false;
            return;
        };
        for (count, found) in open.enumerate() {
            if count >= MOST_FDS || begin.elapsed() > BUDGET {
                self.all = false;
                return;
            }
            self.sockets.extend(found.ok().and_then(|(_, target)| inode_of(&target)));
        }
    }

    /// Whether nothing was left out.
    #[must_use]
    pub fn is_all(&self) -> bool {
        self.all
    }

    #[must_use]
    pub fn has_any(&self, inodes: &HashSet<u64>) -> bool {
        !self.sockets.is_disjoint(inodes)
    }

    /// The addresses of the held sockets that listen and are not in `known`, as `127.0.0.1:8000` or
    /// `unix:/run/app.sock`, sorted. Those that the kernel does not show are left out.
    #[must_use]
    pub fn listening_but_on(&self, known: &[SocketId]) -> Vec<String> {
        let is_other = |inode: &u64| !known.iter().any(|known| known.inode == *inode);
        let others: HashSet<u64> = self.sockets.iter().copied().filter(is_other).collect();
        if others.is_empty() {
            return Vec::new();
        }
        let listening: HashMap<u64, String> = connections::listeners();
        let mut found: Vec<String> =
            others.iter().filter_map(|inode| listening.get(inode).cloned()).collect();
        found.sort_unstable();
        found.dedup();
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::AsRawFd;
    use std::os::unix::net::UnixListener;

    fn own() -> Held {
        Held::by(Pid(i32::try_from(std::process::id()).unwrap()))
    }

    fn id(socket: &impl AsRawFd) -> SocketId {
        let link = fs::read_link(format!("/proc/self/fd/{}", socket.as_raw_fd())).unwrap();
        SocketId { inode: inode_of(&link).unwrap(), device: 0 }
    }

    #[test]
    fn what_listens_is_named_and_what_is_known_is_not() {
        let (four, six) = (TcpListener::bind("127.0.0.1:0").unwrap(), TcpListener::bind("[::1]:0").unwrap());
        let path = std::env::temp_dir().join(format!("held {}.sock", std::process::id()));
        let _fresh = fs::remove_file(&path);
        let unix = UnixListener::bind(&path).unwrap();
        let [at_four, at_six] = [&four, &six].map(|listener| listener.local_addr().unwrap().to_string());
        let at_unix = format!("unix:{}", path.display());
        // A look may end early on a busy machine, and the kernel's list may miss a line while other sockets close.
        let named = |known: &[SocketId], addresses: &[&String]| {
            (0..1000).any(|_| {
                let found = own().listening_but_on(known);
                addresses.iter().all(|address| found.contains(address))
            })
        };
        assert!(named(&[], &[&at_four, &at_six, &at_unix]));
        let but_one = own().listening_but_on(&[id(&four), id(&unix)]);
        assert!(!but_one.contains(&at_four) && !but_one.contains(&at_unix), "{but_one:?}");
        assert!(named(&[id(&four), id(&unix)], &[&at_six]));
        fs::remove_file(&path).unwrap();
    }

    #[test]
    fn a_connection_is_held_and_does_not_listen() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (server, _) = listener.accept().unwrap();
        assert!(own().has_any(&HashSet::from([id(&server).inode])));
        let near = client.local_addr().unwrap().to_string();
        assert!(!own().listening_but_on(&[]).contains(&near));
        assert_eq!(Held::by(Pid(i32::MAX)), Held { sockets: HashSet::new(), all: false });
    }
}
