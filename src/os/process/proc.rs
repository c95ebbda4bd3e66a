//! Our descendants, as /proc tells them (proc(5)). Without /proc there are none.

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

/// A process as `/proc/PID/stat` shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Process {
    /// Its id.
    pub pid: Pid,
    /// Its parent's.
    pub parent: Pid,
    /// Its process group's.
    pub group: Pid,
    /// Its session's.
    pub session: Pid,
    /// When it was started, in clock ticks since the boot: with the id, it is no other process.
    pub started: u64,
}

impl Process {
    /// What no other process has.
    #[must_use]
    pub fn identity(&self) -> (Pid, u64) {
        (self.pid, self.started)
    }
}

/// Chains of parents longer than this are not followed: no process of ours is that deep.
pub(crate) const DEEPEST: usize = 64;

/// The process with this id, zombies too.
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

/// Ourselves.
#[must_use]
pub fn own() -> Option<Process> {
    process(own_pid())
}

/// Whether a terminal controls our session, as far as /proc tells.
#[must_use]
pub fn has_terminal() -> bool {
    // Field 7, proc_pid_stat(5): the terminal's device number.
    let stat = stat(own_pid());
    stat.is_some_and(|stat| stat.split_ascii_whitespace().nth(4).is_some_and(|device| device != "0"))
}

/// Whether a process ignores a signal; not, if /proc does not tell.
#[must_use]
pub fn ignores(pid: Pid, signal: Signal) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    is_in_set(&status, "SigIgn:", bit_of(signal)).unwrap_or(false)
}

/// What becomes of a signal that is sent to a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reception {
    /// Its program gets it: it catches it, or all its threads block it (signalfd(2)) or wait for it (sigwait(3)). A
    /// runtime may catch all signals and end at those that the program did not ask for, as Ruby's does.
    Taken,
    /// It would be ignored, or have its default effect; or /proc does not tell.
    NotTaken,
    /// The process is a zombie, or gone.
    Gone,
}

/// See [`Reception`].
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

/// Whether the set of signals with this name in `/proc/PID/status` has this bit.
fn is_in_set(status: &str, name: &str, bit: u64) -> Option<bool> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    u64::from_str_radix(line.trim(), 16).ok().map(|set| set & bit != 0)
}

/// A signal's bit in the sets of `/proc/PID/status`.
fn bit_of(signal: Signal) -> u64 {
    let shift = u32::try_from(signal.number().saturating_sub(1)).unwrap_or(u32::MAX);
    1u64.checked_shl(shift).unwrap_or(0)
}

/// The letter that stands for what a process does: `T` is stopped.
#[must_use]
pub fn state(pid: Pid) -> Option<char> {
    stat(pid)?.trim_start().chars().next()
}

/// Whether a process runs: of one that has ended and is not reaped the kernel shows no descriptors, and that it may not be
/// looked at.
pub(crate) fn runs(pid: Pid) -> bool {
    state(pid).is_some_and(|state| state != 'Z')
}

/// The fields of `/proc/PID/stat` from the state on.
pub(crate) fn stat(pid: Pid) -> Option<String> {
    if !is_ours() {
        return None;
    }
    let stat = fs::read(format!("/proc/{pid}/stat")).ok()?;
    let text = String::from_utf8_lossy(&stat);
    // The name, in parentheses, may itself hold spaces and parentheses: the last one ends it.
    text.rsplit_once(')').map(|(_, fields)| fields.to_owned())
}

/// All processes that descend from us, in no order.
#[must_use]
pub fn descendants() -> Vec<Process> {
    descendants_but(&[])
}

/// All processes that descend from us, but for these and what descends from them.
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

/// What is left of a worker's process group, among those that descend from us. Every worker's group is a session
/// too; one that has received its number since, inside another worker's session, is a stranger.
#[must_use]
pub fn remains_of(group: Pid) -> Vec<Pid> {
    let is_member = |process: &Process| process.group == group && process.session == group;
    descendants().into_iter().filter(is_member).map(|process| process.pid).collect()
}

/// The processes that a signal is for, among those that descend from us. The leader of a group must be there.
#[must_use]
pub fn targets(to: Target) -> Vec<Process> {
    match to {
        Target::Process(pid) => process(pid).into_iter().collect(),
        Target::Group(group) => descendants().into_iter().filter(|process| process.group == group).collect(),
    }
}

/// What a process would make of a signal that it was not expecting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Awareness {
    /// It handles, ignores or blocks it, or a thread sleeps in sigwait(3), which the kernel shows as not blocking.
    Aware,
    /// It does not know it: the signal would have its default effect.
    Unaware,
    /// It seems not to know it, but runs just now: it may have left sigwait(3) this very moment, where its mask is not
    /// restored yet.
    Running,
    /// There is no /proc to tell.
    Unknown,
}

/// See [`Awareness`].
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
        // One that has ended hears nothing.
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
        // One that does not block it may be hit.
        all_block &= blocks;
        match by_its_call(pid, &thread.path(), bit) {
            sure @ (Awareness::Aware | Awareness::Unknown) => return sure,
            Awareness::Running => found = Awareness::Running,
            Awareness::Unaware => {}
        }
    }
    if all_block { Awareness::Aware } else { found }
}

/// What the system call in which a thread of a process sleeps says of it.
fn by_its_call(pid: Pid, thread: &Path, bit: u64) -> Awareness {
    let call = match fs::read_to_string(thread.join("syscall")) {
        Ok(call) => call,
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => return Awareness::Unknown,
        // It has ended, or the kernel does not tell.
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

/// Whether the set of signals at this address, for which a thread of a process sleeps in sigwait(3), holds this one.
fn awaits(pid: Pid, address: &str, bit: u64) -> bool {
    let address = address.strip_prefix("0x").and_then(|hex| u64::from_str_radix(hex, 16).ok());
    let mut set = [0u8; 8];
    let memory = fs::File::open(format!("/proc/{pid}/mem"));
    let read = |memory: fs::File| memory.read_exact_at(&mut set, address?).ok();
    memory.ok().and_then(read).is_some() && u64::from_ne_bytes(set) & bit != 0
}

/// Whether /proc shows our own PID namespace: that of another (`unshare --pid` without `--mount-proc`) would have us
/// take strangers for our own.
#[must_use]
pub fn is_ours() -> bool {
    // Only what was seen is kept: it may fail this once, for want of memory for one.
    static OURS: OnceLock<bool> = OnceLock::new();
    if let Some(ours) = OURS.get() {
        return *ours;
    }
    let Ok(link) = fs::read_link("/proc/self") else { return false };
    *OURS.get_or_init(|| link.as_os_str() == std::process::id().to_string().as_str())
}

/// The child of ours from which a process descends, or which it is.
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

/// Our own children; none where that is not to be seen.
#[must_use]
pub fn own_children() -> Vec<Pid> {
    if is_ours() { children(own_pid()) } else { Vec::new() }
}

/// The children of a process, all its threads' together.
#[must_use]
pub fn children(pid: Pid) -> Vec<Pid> {
    let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else { return Vec::new() };
    let mut found = Vec::new();
    for thread in threads.flatten() {
        match fs::read_to_string(thread.path().join("children")) {
            Ok(list) => found.extend(list.split_ascii_whitespace().filter_map(|p| p.parse().ok()).map(Pid)),
            // A kernel built without CONFIG_PROC_CHILDREN: the long way.
            Err(_) => return all().into_iter().filter(|p| p.parent == pid).map(|p| p.pid).collect(),
        }
    }
    found
}

fn all() -> Vec<Process> {
    pids().into_iter().filter_map(process).collect()
}

/// All processes in our PID namespace.
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

/// A field of `/proc/PID/stat` by its number in proc_pid_stat(5). The text begins with the third.
pub(crate) fn field(stat: &str, number: usize) -> Option<u64> {
    stat.split_ascii_whitespace().nth(number.checked_sub(3)?)?.parse().ok()
}

/// The sum of these fields of processor time.
pub(crate) fn cpu_of(stat: &str, fields: RangeInclusive<usize>) -> Option<Duration> {
    let ticks = fields.map(|number| field(stat, number)).sum::<Option<u64>>()?;
    // SAFETY: takes an integer.
    let a_second = u64::try_from(unsafe { libc::sysconf(libc::_SC_CLK_TCK) }).ok()?;
    Some(Duration::from_millis(ticks.saturating_mul(1000).checked_div(a_second)?))
}
