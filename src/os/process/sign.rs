//! How a client finds a running supervisor: each holds a sign, a file without a path that contains its addresses.
//!
//! The sign exists exactly as long as its process, so nothing has to be written to a directory or cleaned up.

use super::descriptors::descriptors;
use crate::core::Pid;
use crate::os::process::{memory_file, privileges, proc};
use crate::values::address::Address;
use std::ffi::CStr;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// The file's name, which `/proc/PID/fd` shows after `memfd:`.
const NAME: &CStr = c"prefork-init";
const LINK: &str = "/memfd:prefork-init";

/// The limits of a search: descriptors of a process, bytes of a sign, and the time for all processes.
const MOST_FDS: usize = 65_536;
const LONGEST: u64 = 4_096;
const PATIENCE: Duration = Duration::from_secs(5);

/// What a supervisor shows of itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PresenceSign {
    pub is_pool: bool,
    /// The address of its control socket.
    pub control: Option<Address>,
    /// The address of its health endpoint.
    pub health: Option<Address>,
}

impl PresenceSign {
    /// As text: one word a line, in some followed by an address. A socket's path is absolute, since the reader has
    /// another working directory.
    #[must_use]
    pub fn write(&self) -> String {
        let kind = if self.is_pool { "pool" } else { "init" };
        let line = |name: &str, address: &Option<Address>| match address {
            None => String::new(),
            Some(address) => format!("{name} {}\n", whole(address)),
        };
        format!("{kind}\n{}{}", line("control", &self.control), line("health", &self.health))
    }

    /// Skips lines that it does not understand: another version may write more.
    fn read(text: &str) -> Self {
        let place = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
            line.and_then(|address| Address::parse(address).ok())
        };
        let is_pool = text.lines().next() == Some("pool");
        Self { is_pool, control: place("control"), health: place("health") }
    }
}

fn whole(address: &Address) -> Address {
    match address {
        Address::Tcp(_) => address.clone(),
        Address::Unix(path) => Address::Unix(std::path::absolute(path).unwrap_or_else(|_| path.clone())),
    }
}

/// Holds a sign up for as long as the descriptor is open.
///
/// # Errors
/// As memfd_create(2) and write(2).
pub fn hold_up(sign: &PresenceSign) -> io::Result<OwnedFd> {
    let mut file = File::from(memory_file::create(NAME)?);
    file.write_all(sign.write().as_bytes())?;
    Ok(file.into())
}

/// The signs of all supervisors in our mount and PID namespaces, with their pids. Only those of our own user and of
/// root are believed; the kernel hides those of other users.
#[must_use]
pub fn seen() -> Vec<(i32, PresenceSign)> {
    let begin = Instant::now();
    let own = proc::own().map(|own| own.pid);
    let here = own.and_then(namespaces);
    let mut found: Vec<(Pid, PresenceSign)> = proc::pids()
        .into_iter()
        .take_while(|_| begin.elapsed() < PATIENCE)
        .filter(|pid| Some(*pid) != own && is_believed(&PathBuf::from(format!("/proc/{pid}"))))
        .filter(|pid| here.is_some() && namespaces(*pid) == here)
        .filter_map(|pid| Some((pid, sign_of(pid)?)))
        .collect();
    found.sort_by_key(|(pid, _)| *pid);
    // A child between fork and exec, or one that closes passed descriptors for us, has a copy of all our descriptors.
    let parent = |pid: &Pid| proc::process(*pid).map(|process| process.parent);
    let is_copy = |(pid, sign): &(Pid, PresenceSign)| {
        found.iter().any(|(other, held)| Some(*other) == parent(pid) && held == sign)
    };
    let copies: Vec<Pid> = found.iter().filter(|one| is_copy(one)).map(|(pid, _)| *pid).collect();
    let originals = found.into_iter().filter(|(pid, _)| !copies.contains(pid));
    originals.map(|(pid, sign)| (pid.0, sign)).collect()
}

/// Whether this belongs to our own user or to root.
fn is_believed(path: &Path) -> bool {
    let (uid, _) = privileges::own_ids();
    fs::symlink_metadata(path).is_ok_and(|found| [0, uid].contains(&found.uid()))
}

/// Whether this is a socket of our own user or of root.
#[must_use]
pub fn is_believed_socket(path: &Path) -> bool {
    let is_socket = fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_socket());
    is_socket && is_believed(path)
}

fn namespaces(pid: Pid) -> Option<[PathBuf; 2]> {
    let of = |kind| fs::read_link(format!("/proc/{pid}/ns/{kind}")).ok();
    Some([of("mnt")?, of("pid")?])
}

fn sign_of(pid: Pid) -> Option<PresenceSign> {
    let is_sign =
        |target: &Path| target.to_str().is_some_and(|target| target.trim_end_matches(" (deleted)") == LINK);
    let mut open = descriptors(pid).ok()?.flatten().take(MOST_FDS);
    let (fd, _) = open.find(|(_, target)| is_sign(target))?;
    // Opened anew: a descriptor of our own has its offset at the beginning.
    let mut text = String::new();
    File::open(format!("/proc/{pid}/fd/{}", fd.display()))
        .ok()?
        .take(LONGEST)
        .read_to_string(&mut text)
        .ok()?;
    Some(PresenceSign::read(&text))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sign(is_pool: bool, control: &str, health: &str) -> PresenceSign {
        let place = |text: &str| Address::parse(text).ok();
        PresenceSign { is_pool, control: place(control), health: place(health) }
    }

    #[test]
    fn what_is_written_is_read() {
        for sign in
            [sign(true, "unix:/run/a b", "127.0.0.1:9000"), sign(false, "", "unix:/h"), sign(true, "", "")]
        {
            assert_eq!(PresenceSign::read(&sign.write()), sign);
        }
        assert_eq!(PresenceSign::read("later\ncontrol nonsense\nhealthy\n"), sign(false, "", ""));
    }

    #[test]
    fn a_sign_is_read_as_often_as_anybody_likes_and_is_gone_with_its_descriptor() {
        let own = proc::own().unwrap().pid;
        let sign = sign(true, "unix:/x", "");
        let held = hold_up(&sign).unwrap();
        for _ in 0..2 {
            assert_eq!(sign_of(own).as_ref(), Some(&sign));
        }
        drop(held);
        assert_eq!(sign_of(own), None);
        assert_eq!(namespaces(own).map(|found| found.len()), Some(2));
    }
}
