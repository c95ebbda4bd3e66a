//! How a process ended, what that means for a worker, and the supervisor's own exit codes.

use super::signal::Signal;
use core::fmt;

/// How a process ended (wait(2)).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    Code(u8),
    Signal { signal: Signal, core_dumped: bool },
}

impl Exit {
    /// The exit code that a shell would give: the process's own, or 128 + the signal's number.
    #[must_use]
    pub fn code(self) -> u8 {
        match self {
            Self::Code(code) => code,
            Self::Signal { signal, .. } => u8::try_from(signal.number()).unwrap_or(0).saturating_add(128),
        }
    }

    /// Whether this is how a process ends that was asked to stop: code 0, death by `stop` or by another signal that
    /// asks to stop, or the code that stands for such a signal.
    #[must_use]
    pub fn is_as_asked(self, stop: Signal) -> bool {
        let asks = |signal| {
            signal == stop || [Signal::TERM, Signal::INT, Signal::QUIT, Signal::ABRT].contains(&signal)
        };
        match self {
            Self::Code(0) => true,
            Self::Code(code) => {
                let signal = i32::from(code).checked_sub(128).and_then(Signal::from_number);
                signal.is_some_and(asks)
            }
            Self::Signal { signal, .. } => asks(signal),
        }
    }

    /// The signal that ended the process; `None` if it called exit(3).
    #[must_use]
    pub fn signal(self) -> Option<Signal> {
        match self {
            Self::Code(_) => None,
            Self::Signal { signal, .. } => Some(signal),
        }
    }
}

/// `code 3`, `signal 11 (SEGV), core dumped`.
impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(code) => write!(f, "code {code}"),
            Self::Signal { signal, core_dumped } => {
                write!(f, "signal {} ({signal})", signal.number())?;
                f.write_str(if *core_dumped { ", core dumped" } else { "" })
            }
        }
    }
}

/// Why a worker ended or is to be replaced; one word each, the same in every log line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// It ended by itself after it was ready.
    Crash,
    /// The kernel killed it for want of memory.
    Oom,
    /// It ended before it was ready.
    BootError,
    /// It was not ready within the start timeout.
    BootTimeout,
    /// It showed a sign of a hang (see [`Sign`](super::note::Sign)).
    Hung,
    /// It reached its limit of requests.
    MaxRequests,
    /// It reached its limit of age.
    MaxAge,
    /// It reached its limit of memory.
    MaxMemory,
    /// A newer generation takes its place.
    Reload,
    /// A caller asked for its replacement.
    Asked,
    /// Connections wait in a queue that lost its worker: this worker gives its place to one that takes them.
    Queue,
    /// Fewer workers are wanted.
    Scale,
    /// The whole pool is being stopped.
    Stop,
}

impl Reason {
    /// All of them, failures first.
    pub const ALL: [Self; 13] = [
        Self::Crash,
        Self::Oom,
        Self::BootError,
        Self::BootTimeout,
        Self::Hung,
        Self::MaxRequests,
        Self::MaxAge,
        Self::MaxMemory,
        Self::Reload,
        Self::Asked,
        Self::Queue,
        Self::Scale,
        Self::Stop,
    ];

    /// Whether a worker that ended for this reason was replaced by plan.
    #[must_use]
    pub fn is_recycling(self) -> bool {
        !self.is_failure() && ![Self::Scale, Self::Stop].contains(&self)
    }

    /// Whether the worker failed, rather than was replaced by plan.
    #[must_use]
    pub fn is_failure(self) -> bool {
        match self {
            Self::Crash | Self::Oom | Self::BootError | Self::BootTimeout | Self::Hung => true,
            Self::MaxRequests
            | Self::MaxAge
            | Self::MaxMemory
            | Self::Reload
            | Self::Asked
            | Self::Queue
            | Self::Scale
            | Self::Stop => false,
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Crash => "crash",
            Self::Oom => "oom",
            Self::BootError => "boot-error",
            Self::BootTimeout => "boot-timeout",
            Self::Hung => "hung",
            Self::MaxRequests => "max-requests",
            Self::MaxAge => "max-age",
            Self::MaxMemory => "max-memory",
            Self::Reload => "reload",
            Self::Asked => "asked",
            Self::Queue => "queue",
            Self::Scale => "scale",
            Self::Stop => "stop",
        })
    }
}

/// The supervisor's own exit codes, apart from the command's (README, "Exit codes").
pub mod code {
    /// The pool was stopped in order.
    pub const OK: u8 = 0;
    /// A wrong option, value or combination.
    pub const USAGE: u8 = 2;
    /// A crash loop was given up.
    pub const CRASH_LOOP: u8 = 3;
    /// The supervisor failed (a panic), and stopped the children in order.
    pub const INTERNAL: u8 = 70;
    /// A deadline has passed, and everything was stopped in order; the same code as timeout(1).
    pub const DEADLINE: u8 = 124;
    /// Something could not be set up or started.
    pub const CANNOT_START: u8 = 125;
    /// The command was found and cannot be executed.
    pub const CANNOT_EXECUTE: u8 = 126;
    /// The command was not found.
    pub const NOT_FOUND: u8 = 127;
}
