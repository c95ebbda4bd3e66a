//! The processes that occupy an address we want: for one, a server that has outlived the supervisor that started it.

use super::inode_of;
use crate::core::Pid;
use crate::os::process::descriptors::descriptors;
use crate::os::process::proc;
use crate::os::socket::connections;
use crate::values::address::Address;
use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// The most descriptors of one process that are looked at, and the time for all: our end may be awaited.
const MOST_FDS: usize = 65_536;
const PATIENCE: Duration = Duration::from_secs(5);

/// A process that holds such a socket.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Occupant {
    pub pid: Pid,
    /// Its name, from `/proc/PID/comm`.
    pub name: String,
}

/// The visible processes that hold a socket which prevents listening at this address: in our PID namespace, of our own
/// user, or of any user if we are root.
#[must_use]
pub fn of(address: &Address) -> Vec<Occupant> {
    let (begin, sockets) = (Instant::now(), Sockets::at(address));
    let pids = proc::pids().into_iter().take_while(|_| begin.elapsed() < PATIENCE);
    let mut found: Vec<Occupant> = pids.filter(|pid| sockets.are_held_by(*pid)).map(Occupant::new).collect();
    found.sort_by_key(|occupant| occupant.pid);
    found
}

/// The sockets that listen at an address, by inode.
enum Sockets {
    Tcp(HashSet<u64>),
    /// Those with the wanted file name, with the path that each was bound to, and the wanted path.
    Unix(HashMap<u64, PathBuf>, PathBuf),
}

impl Sockets {
    fn at(address: &Address) -> Self {
        match address {
            Address::Tcp(address) => Self::Tcp(connections::in_the_way(*address)),
            Address::Unix(path) => {
                let named = connections::listening_as(path.file_name().unwrap_or_default());
                Self::Unix(named, std::path::absolute(path).unwrap_or_default())
            }
        }
    }

    fn are_held_by(&self, pid: Pid) -> bool {
        match self {
            Self::Tcp(listening) => {
                !listening.is_empty() && sockets(pid).any(|socket| listening.contains(&socket))
            }
            Self::Unix(named, wanted) => {
                // A relative path is usually relative to the directory where the process still is.
                let is_there = |bound: &PathBuf| {
                    let from = fs::read_link(format!("/proc/{pid}/cwd")).unwrap_or_default();
                    from.join(bound) == *wanted
                };
                !named.is_empty() && sockets(pid).any(|socket| named.get(&socket).is_some_and(is_there))
            }
        }
    }
}

fn sockets(pid: Pid) -> impl Iterator<Item = u64> {
    let open = descriptors(pid).into_iter().flatten().flatten().take(MOST_FDS);
    open.filter_map(|(_, target)| inode_of(&target))
}

impl Occupant {
    fn new(pid: Pid) -> Self {
        let name = fs::read(format!("/proc/{pid}/comm")).unwrap_or_default();
        Self { pid, name: String::from_utf8_lossy(&name).trim_end().to_owned() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;
    use std::os::unix::net::UnixListener;

    fn is_ours(address: &str) -> bool {
        let own = i32::try_from(std::process::id()).unwrap();
        Sockets::at(&Address::parse(address).unwrap()).are_held_by(Pid(own))
    }

    /// The kernel's table may miss a line while other sockets close, as in other tests.
    fn becomes_ours(address: &str) -> bool {
        (0..1000).any(|_| is_ours(address))
    }

    #[test]
    fn a_listener_is_in_the_way_of_its_address_and_of_all_addresses() {
        let here = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = here.local_addr().unwrap().port();
        for taken in [format!("127.0.0.1:{port}"), format!(":{port}"), format!("[::]:{port}")] {
            assert!(becomes_ours(&taken), "{taken}");
        }
        assert!(!is_ours(&format!("127.0.0.2:{port}")) && !is_ours(&format!("[::1]:{port}")));
        drop(here);
        let everywhere = TcpListener::bind("[::]:0").unwrap();
        let port = everywhere.local_addr().unwrap().port();
        assert!(becomes_ours(&format!("127.0.0.1:{port}")) && becomes_ours(&format!("[::1]:{port}")));
    }

    #[test]
    fn a_unix_listener_is_found_by_its_path() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("app  x.sock");
        let _listener = UnixListener::bind(&path).unwrap();
        assert!(becomes_ours(&format!("unix:{}", path.display())));
        assert!(!is_ours(&format!("unix:{}2", path.display())));
    }
}
