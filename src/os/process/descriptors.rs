//! What a worker and its descendants have open, as `/proc/PID/fd` shows it (proc(5)).

use crate::core::Pid;
use crate::os::process::proc;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::PathBuf;

/// A worker and its descendants, each before its own children. The iterator reads children only when it is asked for
/// the next process; a process that is gone by then has none.
#[derive(Debug)]
pub struct Family {
    found: Vec<Pid>,
    place: usize,
    most: usize,
    is_cut: bool,
}

impl Family {
    /// Yields `most` processes at most.
    #[must_use]
    pub fn of(worker: Pid, most: usize) -> Self {
        Self { found: vec![worker], place: 0, most, is_cut: false }
    }

    /// Whether processes have been left out so far.
    #[must_use]
    pub fn is_cut(&self) -> bool {
        self.is_cut
    }
}

impl Iterator for Family {
    type Item = Pid;

    fn next(&mut self) -> Option<Pid> {
        if let Some(&before) = self.place.checked_sub(1).and_then(|before| self.found.get(before)) {
            let children = proc::children(before);
            let room = self.most.saturating_sub(self.found.len());
            self.is_cut |= children.len() > room;
            self.found.extend(children.into_iter().take(room));
        }
        let pid = self.found.get(self.place).copied();
        // Past the end the last process is not read again.
        self.place = self.place.saturating_add(1);
        pid
    }
}

/// The descriptors of a process: the number as text, and the target, as in `socket:[1234]`. Those that are closed
/// meanwhile are left out. Each takes two microseconds, and only when the iterator is asked: the caller limits number
/// and time.
///
/// # Errors
/// As open(2), readdir(3) and readlink(2): `EACCES` if the process belongs to another user.
pub fn descriptors(pid: Pid) -> io::Result<impl Iterator<Item = io::Result<(OsString, PathBuf)>>> {
    let entries = fs::read_dir(format!("/proc/{pid}/fd"))?;
    Ok(entries.filter_map(|entry| {
        let target = |entry: fs::DirEntry| Ok((entry.file_name(), fs::read_link(entry.path())?));
        match entry.and_then(target) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            found => Some(found),
        }
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::os::socket::inode_of;
    use std::io::{BufRead, BufReader};
    use std::net::TcpListener;
    use std::os::fd::AsRawFd;
    use std::process::{Child, Command, Stdio};

    /// A shell, its child and its grandchild, which end when its stdin closes.
    fn three_generations() -> (Child, Pid) {
        let script = "sh -c 'sh -c \"echo up; read -r _\" <&3; :' 3<&0; :";
        let mut command = Command::new("sh");
        command.args(["-c", script]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut String::new()).unwrap();
        let pid = Pid(i32::try_from(child.id()).unwrap());
        (child, pid)
    }

    #[test]
    fn a_family_is_found_as_far_as_the_limit() {
        let (mut child, pid) = three_generations();
        for most in 1..=4 {
            let mut family = Family::of(pid, most);
            let found: Vec<Pid> = family.by_ref().collect();
            assert_eq!((found.len(), family.is_cut()), (most.min(3), most < 3));
            assert_eq!(found[0], pid);
            assert!(found.is_sorted(), "{found:?}");
            assert_eq!(family.next(), None);
        }
        drop(child.stdin.take());
        child.wait().unwrap();
        assert_eq!(Family::of(pid, 4).collect::<Vec<Pid>>(), [pid]);
    }

    #[test]
    fn a_descriptor_is_shown_by_its_number_and_what_it_is() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let number = listener.as_raw_fd().to_string();
        let own = Pid(i32::try_from(std::process::id()).unwrap());
        let found = descriptors(own).unwrap().map(Result::unwrap).find(|(fd, _)| *fd == *number);
        assert!(inode_of(&found.unwrap().1).is_some());
        assert!(descriptors(Pid(i32::MAX)).is_err());
    }
}
