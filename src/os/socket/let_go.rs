//! Whether stopping workers still wait for connections: a listener that refuses would then disturb them.

use super::inode_of;
use crate::core::Pid;
use crate::os::process::descriptors::{Family, descriptors};
use crate::os::process::{privileges, proc};
use crate::os::socket::accepting::epoll_targets;
use crate::os::socket::listen::SocketId;
use std::path::Path;
use std::time::{Duration, Instant};

/// The most processes of one worker that are looked at.
const MOST_PROCESSES: usize = 64;

/// The time for one look; what it does not cover may wait.
const BUDGET: Duration = Duration::from_millis(5);

/// Whether any of these workers or a descendant may still wait for connections at one of its listeners. A process does
/// not if it holds none, or waits by epoll(7) for others; an invisible one may. `ids` are those whose rights the look
/// needs.
#[must_use]
pub fn any_waits(workers: &[(Pid, Vec<SocketId>)], ids: Option<(u32, u32)>) -> bool {
    let end = Instant::now().checked_add(BUDGET);
    let look = || workers.iter().any(|(pid, listeners)| family_waits(*pid, listeners, end));
    if !proc::is_ours() {
        return true;
    }
    privileges::acting_for(ids, look)
}

fn family_waits(worker: Pid, listeners: &[SocketId], end: Option<Instant>) -> bool {
    let mut family = Family::of(worker, MOST_PROCESSES);
    family.any(|pid| waits(pid, listeners, end).unwrap_or(pid == worker && proc::runs(pid)))
        || family.is_cut()
}

/// `None` if its descriptors are not visible.
fn waits(pid: Pid, listeners: &[SocketId], end: Option<Instant>) -> Option<bool> {
    let (mut holds, mut polls) = (false, false);
    for open in descriptors(pid).ok()? {
        if end.is_none_or(|end| Instant::now() >= end) {
            return Some(true);
        }
        let (fd, target) = open.ok()?;
        if target == Path::new("anon_inode:[eventpoll]") {
            polls = true;
            let targets = epoll_targets(pid, fd.display()).unwrap_or_default();
            if targets.iter().any(|(_, target)| listeners.contains(target)) {
                return Some(true);
            }
        }
        holds |=
            inode_of(&target).is_some_and(|inode| listeners.iter().any(|listener| listener.inode == inode));
    }
    Some(holds && !polls)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::os::socket::listen::Listener;
    use crate::os::socket::rights::Rights;
    use crate::values::address::Address;
    use std::io::Read;
    use std::os::fd::{AsFd, AsRawFd};
    use std::process::{Child, Command, Stdio};

    fn listening() -> Listener {
        let here = Address::Tcp("127.0.0.1:0".parse().unwrap());
        Listener::endpoint(&here, 1, 40, Rights::OURS).unwrap()
    }

    /// A child that holds a listener and runs this program, which writes a byte once set up and ends with its stdin.
    fn child(program: &str, listener: &Listener) -> Child {
        let inherited = nix::unistd::dup(listener.as_fd()).unwrap();
        let mut child = Command::new("python3")
            .args(["-I", "-S", "-c", program, &inherited.as_raw_fd().to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        drop(inherited);
        let mut told = [0; 1];
        child.stdout.as_mut().unwrap().read_exact(&mut told).unwrap();
        child
    }

    const END: &str = "\nprint('.', flush=True)\nsys.stdin.read()";

    #[test]
    fn whoever_polls_a_listener_or_might_waits_for_connections() {
        let cases = [
            ("import sys, select\nset = select.epoll()\nset.register(int(sys.argv[1]))", true),
            ("import sys, select\nset = select.epoll()", false),
            ("import sys, select", true),
            ("import sys, os\nos.close(int(sys.argv[1]))", false),
            ("import sys, os\nif os.fork(): os.close(int(sys.argv[1])); os.wait()", true),
        ];
        for (program, waits) in cases {
            let listener = listening();
            let mut child = child(&format!("{program}{END}"), &listener);
            let pid = Pid(child.id().cast_signed());
            let ids = vec![listener.id().unwrap()];
            // A look that runs out of time answers that a worker waits.
            let seen = |ids: Vec<SocketId>, wanted: bool| {
                let begin = Instant::now();
                while any_waits(&[(pid, ids.clone())], None) != wanted {
                    assert!(begin.elapsed().as_secs() < 10, "{program}: not {wanted}");
                }
            };
            seen(ids.clone(), waits);
            let another = listening();
            seen(vec![another.id().unwrap()], false);
            drop(child.stdin.take());
            child.wait().unwrap();
            assert!(!any_waits(&[(pid, ids)], None), "one that is gone");
        }
    }
}
