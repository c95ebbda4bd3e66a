//! Signals that carry a sender and a value (rt_sigqueueinfo(2)).

use crate::core::{Pid, Received, Signal};
use std::io;

/// The part of `siginfo_t` that rt_sigqueueinfo(2) reads, padded to its full 128 bytes.
#[repr(C)]
pub(super) struct QueuedInfo {
    signo: i32,
    errno: i32,
    code: i32,
    // In C a union that contains pointers: hence its alignment.
    fields: QueuedFields,
    padding: [u64; 12],
}

#[repr(C)]
struct QueuedFields {
    pid: i32,
    uid: u32,
    value: usize,
}

impl From<&Received> for QueuedInfo {
    fn from(received: &Received) -> Self {
        Self {
            signo: received.signal.number(),
            errno: 0,
            code: received.code,
            fields: QueuedFields {
                pid: received.sender,
                uid: received.uid,
                value: usize::try_from(received.value).unwrap_or(0),
            },
            padding: [0; 12],
        }
    }
}

pub(super) fn queue_to_process(pid: Pid, signal: Signal, info: &QueuedInfo) -> io::Result<()> {
    // SAFETY: `info` is a whole siginfo_t.
    let sent = unsafe { libc::syscall(libc::SYS_rt_sigqueueinfo, pid.0, signal.number(), &raw const *info) };
    if sent < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Sends ourselves a signal that looks like kill(2) from another process. A process may do so only to itself
/// (rt_sigqueueinfo(2)).
pub(crate) fn to_ourselves_from(sender: i32, signal: Signal) -> io::Result<()> {
    let info = QueuedInfo::from(&Received { sender, ..Received::plain(signal) });
    // SAFETY: always succeeds.
    let ourselves = unsafe { libc::getpid() };
    queue_to_process(Pid(ourselves), signal, &info)
}
