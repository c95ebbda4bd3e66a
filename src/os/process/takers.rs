//! Signals only for processes that can take them: the default effect of most signals is the end of the process.

use crate::core::{Pid, Signal};
use crate::os::process::proc::{self, Reception};
use crate::os::process::send;
use std::io;

/// The most processes of one worker that are looked at.
const MOST_PROCESSES: usize = 64;

/// The outcome of [`send()`].
#[derive(Debug)]
pub enum Sent {
    /// At least one process takes it; this is the result of kill(2).
    ToTakers(io::Result<()>),
    /// No process takes it.
    ToNobody,
    /// No process is left.
    Gone,
}

/// Sends a signal to a worker if it takes it (see [`Reception`]). If it does not, as a shell around the server, sends
/// it to those of its children that do, and so on down. A process that takes the signal is left to pass it to its own
/// children. The worker must not be reaped yet.
///
/// # Errors
/// As kill(2), within the result; the first of several errors.
#[must_use]
pub fn send(worker: Pid, signal: Signal) -> Sent {
    let (found, somebody) = takers(worker, signal);
    if found.is_empty() {
        return if somebody { Sent::ToNobody } else { Sent::Gone };
    }
    let mut sent = Ok(());
    for pid in found {
        // After an error, the other processes still get the signal.
        sent = sent.and(send::to_process(pid, signal));
    }
    Sent::ToTakers(sent)
}

/// Whether any process of a worker would take a signal.
#[must_use]
pub fn is_taken(worker: Pid, signal: Signal) -> bool {
    !takers(worker, signal).0.is_empty()
}

/// The processes that take it, and whether any process exists that does not.
fn takers(worker: Pid, signal: Signal) -> (Vec<Pid>, bool) {
    let (mut family, mut found, mut somebody) = (vec![worker], Vec::new(), false);
    let mut place = 0usize;
    while let Some(&pid) = family.get(place) {
        place = place.saturating_add(1);
        match proc::reception(pid, signal) {
            Reception::Taken => found.push(pid),
            Reception::NotTaken => {
                somebody = true;
                let room = MOST_PROCESSES.saturating_sub(family.len());
                family.extend(proc::children(pid).into_iter().take(room));
            }
            Reception::Gone => {}
        }
    }
    (found, somebody)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{BufRead, BufReader};
    use std::process::{Child, Command, Stdio};

    fn say_when_up(script: &str) -> (Child, Pid) {
        let mut command = Command::new("bash");
        command.args(["-c", script]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let pid = Pid(i32::try_from(child.id()).unwrap());
        (child, pid)
    }

    #[test]
    fn who_catches_a_signal_takes_it_and_who_ignores_it_does_not() {
        for (trap, takes) in [("trap : USR2", true), ("trap '' USR2", false), (":", false)] {
            let (mut child, pid) = say_when_up(&format!("{trap}; echo up; read -r _"));
            assert_eq!(takers(pid, Signal::USR2), (if takes { vec![pid] } else { vec![] }, !takes), "{trap}");
            child.kill().unwrap();
            // A zombie counts as gone.
            while proc::state(pid) != Some('Z') {
                std::thread::yield_now();
            }
            assert!(matches!(send(pid, Signal::USR2), Sent::Gone), "{trap}");
            child.wait().unwrap();
        }
    }

    #[test]
    fn below_a_shell_that_does_not_take_it_its_child_does() {
        let inner = "bash -c 'trap : USR2; echo up; read -r _'; :";
        let (mut child, pid) = say_when_up(inner);
        let below = proc::children(pid);
        assert_eq!(takers(pid, Signal::USR2), (below.clone(), true));
        below.into_iter().for_each(|pid| send::to_process(pid, Signal::KILL).unwrap());
        child.wait().unwrap();
    }
}
