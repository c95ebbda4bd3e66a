//! Sends signals. Errors are returned and never fatal: `ESRCH` means that the process is gone, `EPERM` that it runs as
//! a user that we may not signal (no `CAP_KILL`).

use super::proc::Awareness;
use super::queued::{QueuedInfo, queue_to_process};
use super::{pid1, privileges, proc};
use crate::core::action::Target;
use crate::core::{Pid, Received, Signal};
use crate::os::call;
use std::collections::{HashMap, HashSet};
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::ptr;
use std::time::{Duration, Instant};

/// `SI_TKILL` (sigaction(2)): only the kernel may set it.
const SI_TKILL: i32 = -6;

/// `PIDFD_SIGNAL_PROCESS_GROUP` (pidfd_send_signal(2), Linux 6.9).
const TO_GROUP: libc::c_uint = 1 << 2;

/// Signals one process.
///
/// # Errors
/// As kill(2).
pub fn to_process(pid: Pid, signal: Signal) -> io::Result<()> {
    if pid.0 <= 1 {
        return Ok(());
    }
    // SAFETY: takes two integers. A pid below 2 would mean a group, every process, or init.
    let sent = check(unsafe { libc::kill(pid.0, signal.number()) });
    or_by_descriptor(sent, pid, signal, 0)
}

/// Signals every member of a process group.
///
/// # Errors
/// As kill(2).
pub fn to_group(group: Pid, signal: Signal) -> io::Result<()> {
    if group.0 <= 1 {
        return Ok(());
    }
    // SAFETY: takes two integers. A group below 2 would mean our own, every process, or init's.
    let sent = check(unsafe { libc::kill(group.0.saturating_neg(), signal.number()) });
    or_by_descriptor(sent, group, signal, TO_GROUP)
}

/// Where kill(2) is refused, tries pidfd_send_signal(2); if that fails too, returns the first error.
fn or_by_descriptor(sent: io::Result<()>, to: Pid, signal: Signal, flags: libc::c_uint) -> io::Result<()> {
    sent.or_else(|error| {
        let refused = call::is_refused(call::errno(&error));
        let other_way = || by_descriptor(to, signal, ptr::null(), flags).is_ok();
        if refused && other_way() { Ok(()) } else { Err(error) }
    })
}

/// Forwards a signal unchanged: one that was queued with a value (sigqueue(3)) keeps its value and its sender.
///
/// # Errors
/// As kill(2) and rt_sigqueueinfo(2).
pub fn forward(to: Target, received: &Received) -> io::Result<()> {
    if received.code >= 0 || received.code == SI_TKILL {
        return match to {
            Target::Process(pid) => to_process(pid, received.signal),
            Target::Group(group) => to_group(group, received.signal),
        };
    }
    let info = QueuedInfo::from(received);
    let group = match to {
        Target::Process(pid) => return queue_to_process(pid, received.signal, &info),
        Target::Group(group) => group,
    };
    match queue_to_group(group, received.signal, &info) {
        Ok(()) => Ok(()),
        Err(error) if error.raw_os_error() == Some(libc::ESRCH) => Err(error),
        // An older kernel, or a sandbox that does not know the call: send to the leader, then to the others.
        Err(_) => {
            let sent = queue_to_process(group, received.signal, &info);
            for other in proc::targets(to) {
                if other.pid != group {
                    let _gone = queue_to_process(other.pid, received.signal, &info);
                }
            }
            sent
        }
    }
}

/// Forwards signals but spares processes that do not expect them: the default effect would end them.
#[derive(Debug)]
pub struct Sparing {
    /// The user and group whose rights the look at /proc needs; `None` for our own.
    ids: Option<(u32, u32)>,
    /// Processes that were seen to expect a signal: while a process runs, that is not visible.
    known: HashSet<(Pid, u64, Signal)>,
}

impl Sparing {
    #[must_use]
    pub fn new(ids: Option<(u32, u32)>) -> Self {
        Self { ids, known: HashSet::new() }
    }

    /// As [`forward`], but only to processes that expect the signal; where /proc does not show it, to all.
    ///
    /// # Errors
    /// As [`forward`]; the first of several errors.
    pub fn forward(&mut self, to: Target, received: &Received) -> io::Result<()> {
        let processes = proc::targets(to);
        if processes.is_empty() {
            return forward(to, received);
        }
        let ids = self.ids;
        let look = || {
            let deadline = Instant::now().checked_add(WAIT_FOR_SLEEP);
            processes.into_iter().filter(|process| self.knows(process, received.signal, deadline)).collect()
        };
        let aware: Vec<proc::Process> = privileges::acting_for(ids, look);
        let mut result = Ok(());
        for process in aware {
            // After an error, the other processes still get the signal.
            result = result.and(forward(Target::Process(process.pid), received));
        }
        result
    }

    fn knows(&mut self, process: &proc::Process, signal: Signal, deadline: Option<Instant>) -> bool {
        let (pid, started) = process.identity();
        loop {
            match proc::awareness(pid, signal) {
                Awareness::Aware => {
                    if self.known.len() >= MOST_KNOWN {
                        self.known.clear();
                    }
                    self.known.insert((pid, started, signal));
                    return true;
                }
                Awareness::Unknown => return true,
                Awareness::Unaware => return false,
                Awareness::Running if self.known.contains(&(pid, started, signal)) => return true,
                Awareness::Running if deadline.is_some_and(|at| Instant::now() < at) => {
                    call::pause(Duration::from_millis(1));
                }
                Awareness::Running => return false,
            }
        }
    }
}

/// The most processes that are remembered.
const MOST_KNOWN: usize = 4_096;

/// Continues the processes that are stopped (`T` in `/proc/PID/stat`, proc(5)); without /proc, all of them.
///
/// # Errors
/// As kill(2); the first of several errors.
pub fn continue_stopped(to: Target) -> io::Result<()> {
    let (Target::Process(leader) | Target::Group(leader)) = to;
    if proc::state(leader).is_none_or(|state| state == 'T') {
        return forward(to, &Received::plain(Signal::CONT));
    }
    let members = proc::targets(to).into_iter().map(|process| process.pid);
    to_each(members.filter(|pid| proc::state(*pid) == Some('T')), Signal::CONT)
}

/// Signals all our descendants: every process, if we are PID 1; else those that /proc shows.
///
/// # Errors
/// The first error other than `ESRCH`.
pub fn to_all(signal: Signal) -> io::Result<()> {
    if pid1::is_pid1() {
        // SAFETY: takes two integers. For PID 1 of a namespace, -1 means every other process in it.
        let sent = ignore_gone(check(unsafe { libc::kill(-1, signal.number()) }));
        if !sent.as_ref().is_err_and(|error| call::is_refused(call::errno(error))) {
            return sent;
        }
    }
    if signal != Signal::KILL {
        return to_each(proc::descendants().into_iter().map(|process| process.pid), signal);
    }
    // One walk may miss a process that forks and ends meanwhile.
    let mut seen = HashSet::new();
    let mut result = Ok(());
    for _ in 0..MOST_WALKS {
        let new: Vec<_> =
            proc::descendants().into_iter().filter(|process| seen.insert(process.identity())).collect();
        if new.is_empty() {
            break;
        }
        result = result.and(to_each(new.into_iter().map(|process| process.pid), signal));
    }
    result
}

/// The most walks over all descendants in one kill.
const MOST_WALKS: u32 = 8;

/// Whether a process group has no member. An unreaped leader is a member.
#[must_use]
pub fn is_empty_group(group: Pid) -> bool {
    // SAFETY: takes two integers, and sends nothing. A group below 2 would mean our own, every process, or init's.
    let asked = if group.0 > 1 { check(unsafe { libc::kill(group.0.saturating_neg(), 0) }) } else { Ok(()) };
    asked.is_err_and(|error| error.raw_os_error() == Some(libc::ESRCH))
}

/// Signals the members of a process group that descend from us.
///
/// # Errors
/// The first error other than `ESRCH`.
pub fn to_remains(group: Pid, signal: Signal) -> io::Result<()> {
    // Avoids a walk through all of /proc for an empty group.
    if is_empty_group(group) {
        return Ok(());
    }
    to_each(proc::remains_of(group).into_iter(), signal)
}

/// The longest wait, for all running processes together, until each is seen to expect a signal or not.
const WAIT_FOR_SLEEP: Duration = Duration::from_millis(5);

/// The processes that were asked to stop. None is asked twice: to many servers a second request means "at once".
#[derive(Debug, Default)]
pub struct Asked {
    who: HashSet<(Pid, u64)>,
    /// Set when every process was asked at once, without /proc.
    everybody: bool,
}

impl Asked {
    /// Counts the present processes of a target as asked: it is about to get a stop signal. A process that is forked
    /// later may never receive it, so it does not count. Forgets processes that are gone, since this may be called for
    /// years.
    pub fn note(&mut self, to: Target) {
        self.who.retain(|(pid, started)| proc::process(*pid).is_some_and(|now| now.started == *started));
        self.who.extend(proc::targets(to).iter().map(proc::Process::identity));
    }

    /// Whether a process was asked, or has an ancestor that was asked and still lives: that ancestor takes care of it.
    fn knows(&self, process: proc::Process, all: &HashMap<Pid, proc::Process>) -> bool {
        let mut next = Some(process);
        for _ in 0..proc::DEEPEST {
            match next {
                Some(process) if self.who.contains(&process.identity()) => return true,
                Some(process) => next = all.get(&process.parent).copied(),
                None => return false,
            }
        }
        false
    }

    /// Sends a signal to our descendants, except to these workers, their descendants and these groups; then `SIGCONT`,
    /// since a stopped process does not receive the first. As PID 1 without /proc: to every process, once there are no
    /// workers.
    ///
    /// # Errors
    /// The first error other than `ESRCH`.
    pub fn ask_orphans(&mut self, workers: &[Pid], groups: &[Pid], signal: Signal) -> io::Result<()> {
        let descendants = proc::descendants_but(workers);
        if descendants.is_empty() && workers.is_empty() && pid1::is_pid1() {
            if std::mem::replace(&mut self.everybody, true) {
                return Ok(());
            }
            return to_all(signal).and(to_all(Signal::CONT));
        }
        let by_pid: HashMap<Pid, proc::Process> =
            descendants.iter().map(|process| (process.pid, *process)).collect();
        let groups: HashSet<Pid> = groups.iter().copied().collect();
        let mut new = descendants;
        new.retain(|process| !groups.contains(&process.group) && !self.knows(*process, &by_pid));
        self.who.extend(new.iter().map(proc::Process::identity));
        let pids: Vec<Pid> = new.into_iter().map(|process| process.pid).collect();
        to_each(pids.iter().copied(), signal).and(to_each(pids.into_iter(), Signal::CONT))
    }
}

fn to_each(pids: impl Iterator<Item = Pid>, signal: Signal) -> io::Result<()> {
    let mut result = Ok(());
    for pid in pids {
        // After an error, the other processes still get the signal.
        result = result.and(ignore_gone(to_process(pid, signal)));
    }
    result
}

fn ignore_gone(result: io::Result<()>) -> io::Result<()> {
    result.or_else(|error| if error.raw_os_error() == Some(libc::ESRCH) { Ok(()) } else { Err(error) })
}

fn queue_to_group(group: Pid, signal: Signal, info: &QueuedInfo) -> io::Result<()> {
    by_descriptor(group, signal, info, TO_GROUP)
}

/// As pidfd_send_signal(2); a null `info` means a plain signal, as from kill(2).
fn by_descriptor(to: Pid, signal: Signal, info: *const QueuedInfo, flags: libc::c_uint) -> io::Result<()> {
    // SAFETY: takes two integers.
    let fd = unsafe { libc::syscall(libc::SYS_pidfd_open, to.0, 0) };
    check(fd)?;
    let fd = i32::try_from(fd).map_err(io::Error::other)?;
    // SAFETY: the kernel has just given us this descriptor.
    let fd = unsafe { OwnedFd::from_raw_fd(fd) };
    // SAFETY: `info` is a whole siginfo_t, or null.
    check(unsafe { libc::syscall(libc::SYS_pidfd_send_signal, fd.as_raw_fd(), signal.number(), info, flags) })
}

fn check(result: impl Into<i64>) -> io::Result<()> {
    if result.into() < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}
