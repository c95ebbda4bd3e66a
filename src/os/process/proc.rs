//! Our descendants, and the state of processes, from /proc (proc(5)). Without /proc there are none.

use crate::core::action::Target;
use crate::core::{Pid, Signal};
use std::collections::HashSet;
use std::fs;
use std::io;
use std::ops::RangeInclusive;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::OnceLock;
use std::time::Duration;

/// A process from `/proc/PID/stat`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Process {
    pub pid: Pid,
    pub parent: Pid,
    pub group: Pid,
    pub session: Pid,
    /// The start time in clock ticks since boot. With the pid it identifies the process.
    pub started: u64,
}

impl Process {
    /// The pair that no other process has.
    #[must_use]
    pub fn identity(&self) -> (Pid, u64) {
        (self.pid, self.started)
    }
}

/// The longest chain of parents that is followed: no process of ours is that deep.
pub(crate) const DEEPEST: usize = 64;

/// The process with this id, also a zombie.
#[must_use]
pub fn process(pid: Pid) -> Option<Process> {
    let stat = stat(pid)?;
    let mut fields = stat.split_ascii_whitespace().skip(1);
    let mut next = || fields.next().and_then(|field| field.parse().ok()).map(Pid);
    let (parent, group, session) = (next()?, next()?, next()?);
    // Field 22, proc_pid_stat(5).
    let started = fields.nth(15)?.parse().ok()?;
    Some(Process { pid, parent, group, session, started })
}

#[must_use]
pub fn own() -> Option<Process> {
    process(own_pid())
}

/// Whether our session has a controlling terminal. False where /proc does not show it.
#[must_use]
pub fn has_terminal() -> bool {
    // Field 7, proc_pid_stat(5): the terminal's device number.
    let stat = stat(own_pid());
    stat.is_some_and(|stat| stat.split_ascii_whitespace().nth(4).is_some_and(|device| device != "0"))
}

/// Whether a process ignores a signal. False where /proc does not show it.
#[must_use]
pub fn ignores(pid: Pid, signal: Signal) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    is_in_set(&status, "SigIgn:", bit_of(signal)).unwrap_or(false)
}

/// The effect that a signal would have on a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reception {
    /// Its program gets it: it catches it, or all its threads block it (signalfd(2)) or wait for it (sigwait(3)). A
    /// runtime may catch all signals and still end at those that the program did not ask for, as Ruby's does.
    Taken,
    /// It would be ignored or have its default effect; or /proc does not show it.
    NotTaken,
    /// The process is a zombie, or gone.
    Gone,
}

/// The effect of a signal on a process now.
#[must_use]
pub fn reception(pid: Pid, signal: Signal) -> Reception {
    match (state(pid), is_ours()) {
        (None, true) | (Some('Z' | 'X'), _) => return Reception::Gone,
        (Some(_), _) | (None, false) => {}
    }
    match awareness(pid, signal) {
        Awareness::Aware if !ignores(pid, signal) => Reception::Taken,
        Awareness::Aware | Awareness::Unaware | Awareness::Running | Awareness::Unknown => {
            Reception::NotTaken
        }
    }
}

/// Whether the signal set of this name in `/proc/PID/status` has this bit.
fn is_in_set(status: &str, name: &str, bit: u64) -> Option<bool> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    u64::from_str_radix(line.trim(), 16).ok().map(|set| set & bit != 0)
}

/// The bit of a signal in the sets of `/proc/PID/status`.
fn bit_of(signal: Signal) -> u64 {
    let shift = u32::try_from(signal.number().saturating_sub(1)).unwrap_or(u32::MAX);
    1u64.checked_shl(shift).unwrap_or(0)
}

/// The letter of a process's state: `T` is stopped (proc_pid_stat(5)).
#[must_use]
pub fn state(pid: Pid) -> Option<char> {
    stat(pid)?.trim_start().chars().next()
}

/// Whether a process exists and is not a zombie. The kernel shows a zombie's descriptors as forbidden, not as gone.
pub(crate) fn runs(pid: Pid) -> bool {
    state(pid).is_some_and(|state| state != 'Z')
}

/// The fields of `/proc/PID/stat` from the third, the state, on.
pub(crate) fn stat(pid: Pid) -> Option<String> {
    if !is_ours() {
        return None;
    }
    let stat = fs::read(format!("/proc/{pid}/stat")).ok()?;
    let text = String::from_utf8_lossy(&stat);
    // The name, in parentheses, may contain spaces and parentheses: the last one ends it.
    text.rsplit_once(')').map(|(_, fields)| fields.to_owned())
}

/// All our descendants, in no order.
#[must_use]
pub fn descendants() -> Vec<Process> {
    descendants_but(&[])
}

/// All our descendants except these and their descendants.
#[must_use]
pub fn descendants_but(except: &[Pid]) -> Vec<Process> {
    let except: HashSet<Pid> = except.iter().copied().collect();
    let mut others = all();
    others.retain(|process| !except.contains(&process.pid));
    let mut family = HashSet::from([own_pid()]);
    let mut found = Vec::new();
    loop {
        let (mut children, rest): (Vec<_>, Vec<_>) =
            others.into_iter().partition(|process| family.contains(&process.parent));
        if children.is_empty() {
            return found;
        }
        family.extend(children.iter().map(|process| process.pid));
        found.append(&mut children);
        others = rest;
    }
}

/// The members of a dead worker's process group that descend from us. Each worker's group is also a session: a group
/// that has received the same number since, inside another worker's session, is a stranger.
#[must_use]
pub fn remains_of(group: Pid) -> Vec<Pid> {
    let is_member = |process: &Process| process.group == group && process.session == group;
    descendants().into_iter().filter(is_member).map(|process| process.pid).collect()
}

/// The processes among our descendants that a signal is for, with a zombie leader.
#[must_use]
pub fn targets(to: Target) -> Vec<Process> {
    match to {
        Target::Process(pid) => process(pid).into_iter().collect(),
        Target::Group(group) => descendants().into_iter().filter(|process| process.group == group).collect(),
    }
}

/// Whether a process expects a signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Awareness {
    /// It handles, ignores or blocks it, or a thread sleeps in sigwait(3), where the kernel shows the signal as not
    /// blocked.
    Aware,
    /// It does not: the signal would have its default effect.
    Unaware,
    /// As `Unaware`, but a thread is running: it may have just left sigwait(3), and its mask may not be restored yet.
    Running,
    /// /proc does not show it.
    Unknown,
}

/// Whether a process expects a signal, by the state of all its threads.
#[must_use]
pub fn awareness(pid: Pid, signal: Signal) -> Awareness {
    let bit = bit_of(signal);
    let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else { return Awareness::Unknown };
    if !is_ours() {
        return Awareness::Unknown;
    }
    let mut found = Awareness::Unaware;
    let mut all_block = true;
    for thread in threads.flatten() {
        let Ok(status) = fs::read_to_string(thread.path().join("status")) else { continue };
        // A thread that has ended receives nothing.
        if status.lines().any(|line| line.starts_with("State:\tZ") || line.starts_with("State:\tX")) {
            continue;
        }
        let has = |name: &str| is_in_set(&status, name, bit);
        let (Some(blocks), Some(ignores), Some(catches)) = (has("SigBlk:"), has("SigIgn:"), has("SigCgt:"))
        else {
            return Awareness::Unknown;
        };
        if ignores || catches {
            return Awareness::Aware;
        }
        // A thread that does not block it may receive it.
        all_block &= blocks;
        match by_its_call(pid, &thread.path(), bit) {
            sure @ (Awareness::Aware | Awareness::Unknown) => return sure,
            Awareness::Running => found = Awareness::Running,
            Awareness::Unaware => {}
        }
    }
    if all_block { Awareness::Aware } else { found }
}

/// The verdict from the system call in which a thread sleeps.
fn by_its_call(pid: Pid, thread: &Path, bit: u64) -> Awareness {
    let call = match fs::read_to_string(thread.join("syscall")) {
        Ok(call) => call,
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => return Awareness::Unknown,
        // The thread has ended, or the kernel does not show its calls.
        Err(_) => return Awareness::Unaware,
    };
    let mut words = call.split_ascii_whitespace();
    match words.next() {
        Some("running") => Awareness::Running,
        Some(number) if number.parse() == Ok(libc::SYS_rt_sigtimedwait) => {
            let awaits = words.next().is_some_and(|set| awaits(pid, set, bit));
            if awaits { Awareness::Aware } else { Awareness::Unaware }
        }
        Some(_) | None => Awareness::Unaware,
    }
}

/// Whether the signal set at this address, on which a thread sleeps in sigwait(3), has this bit.
fn awaits(pid: Pid, address: &str, bit: u64) -> bool {
    let address = address.strip_prefix("0x").and_then(|hex| u64::from_str_radix(hex, 16).ok());
    let mut set = [0u8; 8];
    let memory = fs::File::open(format!("/proc/{pid}/mem"));
    let read = |memory: fs::File| memory.read_exact_at(&mut set, address?).ok();
    memory.ok().and_then(read).is_some() && u64::from_ne_bytes(set) & bit != 0
}

/// Whether /proc is that of our own PID namespace. In that of another (`unshare --pid` without `--mount-proc`),
/// strangers would look like our processes.
#[must_use]
pub fn is_ours() -> bool {
    // Only a success is kept: one failure may be a moment's lack of memory.
    static OURS: OnceLock<bool> = OnceLock::new();
    if let Some(ours) = OURS.get() {
        return *ours;
    }
    let Ok(link) = fs::read_link("/proc/self") else { return false };
    *OURS.get_or_init(|| link.as_os_str() == std::process::id().to_string().as_str())
}

/// Our child from which a process descends, or the process itself if it is our child.
#[must_use]
pub fn child_above(pid: Pid) -> Option<Pid> {
    let own = own_pid();
    let mut process = process(pid)?;
    for _ in 0..DEEPEST {
        if process.parent == own {
            return Some(process.pid);
        }
        process = self::process(process.parent)?;
    }
    None
}

/// Our own children; none where /proc does not show them.
#[must_use]
pub fn own_children() -> Vec<Pid> {
    if is_ours() { children(own_pid()) } else { Vec::new() }
}

/// The children of all threads of a process.
#[must_use]
pub fn children(pid: Pid) -> Vec<Pid> {
    let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else { return Vec::new() };
    let mut found = Vec::new();
    for thread in threads.flatten() {
        match fs::read_to_string(thread.path().join("children")) {
            Ok(list) => found.extend(list.split_ascii_whitespace().filter_map(|p| p.parse().ok()).map(Pid)),
            // A kernel built without CONFIG_PROC_CHILDREN: search all processes.
            Err(_) => return all().into_iter().filter(|p| p.parent == pid).map(|p| p.pid).collect(),
        }
    }
    found
}

fn all() -> Vec<Process> {
    pids().into_iter().filter_map(process).collect()
}

#[must_use]
pub fn pids() -> Vec<Pid> {
    if !is_ours() {
        return Vec::new();
    }
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).map(Pid).collect()
}

fn own_pid() -> Pid {
    Pid(i32::try_from(std::process::id()).unwrap_or(0))
}

/// A field of `/proc/PID/stat` by its number in proc_pid_stat(5). The text begins with field 3.
pub(crate) fn field(stat: &str, number: usize) -> Option<u64> {
    stat.split_ascii_whitespace().nth(number.checked_sub(3)?)?.parse().ok()
}

/// The sum of these fields, which count clock ticks.
pub(crate) fn cpu_of(stat: &str, fields: RangeInclusive<usize>) -> Option<Duration> {
    let ticks = fields.map(|number| field(stat, number)).sum::<Option<u64>>()?;
    // SAFETY: takes an integer.
    let a_second = u64::try_from(unsafe { libc::sysconf(libc::_SC_CLK_TCK) }).ok()?;
    Some(Duration::from_millis(ticks.saturating_mul(1000).checked_div(a_second)?))
}
