//! Signals by name and number, including real-time signals. What a mode does at a signal is not known here.

use alloc::vec::Vec;
use core::fmt;

/// A signal number, 1 to 64.
///
/// `nix::Signal` has no name for real-time signals, but `SIGRTMIN+3` is a common stop signal: so the names are kept
/// here. The numbers are those of Linux on x86, arm, riscv, power and s390 (signal(7)); `RTMIN` is 34, as in glibc.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Signal(i32);

/// The names of 1 to 31, in order.
const NAMES: [&str; 31] = [
    "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2", "PIPE",
    "ALRM", "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG", "XCPU", "XFSZ",
    "VTALRM", "PROF", "WINCH", "IO", "PWR", "SYS",
];

/// Other names for some of them (signal(7), "Standard signals").
const ALIASES: [(&str, i32); 3] = [("IOT", 6), ("CLD", 17), ("POLL", 29)];

const RTMIN: i32 = 34;
const RTMAX: i32 = 64;

impl Signal {
    pub const HUP: Self = Self(1);
    pub const INT: Self = Self(2);
    pub const QUIT: Self = Self(3);
    pub const KILL: Self = Self(9);
    pub const ABRT: Self = Self(6);
    pub const USR1: Self = Self(10);
    pub const USR2: Self = Self(12);
    pub const PIPE: Self = Self(13);
    pub const TERM: Self = Self(15);
    pub const CHLD: Self = Self(17);
    pub const CONT: Self = Self(18);
    pub const STOP: Self = Self(19);
    pub const TSTP: Self = Self(20);
    pub const TTIN: Self = Self(21);
    pub const TTOU: Self = Self(22);
    pub const XCPU: Self = Self(24);
    pub const URG: Self = Self(23);
    pub const VTALRM: Self = Self(26);
    pub const PROF: Self = Self(27);
    pub const WINCH: Self = Self(28);

    #[must_use]
    pub fn from_number(number: i32) -> Option<Self> {
        (1..=RTMAX).contains(&number).then_some(Self(number))
    }

    /// Reads `TERM`, `SIGTERM`, `15`, `RTMIN+3` or `SIGRTMAX-1`, in upper or lower case.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if let Ok(number) = text.parse::<i32>() {
            return Self::from_number(number);
        }
        let upper = text.to_ascii_uppercase();
        let name = upper.strip_prefix("SIG").unwrap_or(&upper);
        let standard = NAMES.iter().zip(1..).find(|(known, _)| **known == name).map(|(_, n)| n);
        let alias = || ALIASES.iter().find(|(known, _)| *known == name).map(|&(_, n)| n);
        standard.or_else(alias).or_else(|| real_time(name)).and_then(Self::from_number)
    }

    /// The signals that the kernel queues, once for each time they are sent: the real-time signals, and 32 and 33,
    /// which C libraries use themselves (signal(7)).
    pub fn queued() -> impl Iterator<Item = Self> {
        (RTMIN.saturating_sub(2)..=RTMAX).map(Self)
    }

    #[must_use]
    pub fn number(self) -> i32 {
        self.0
    }

    /// Whether the signal ends a process that does not know it, although its sender did not mean to end it: so not a
    /// signal that asks to stop, nor one that asks for a core dump.
    #[must_use]
    pub fn ends_the_unaware(self) -> bool {
        const SUCH: [&str; 12] =
            ["HUP", "PIPE", "ALRM", "USR1", "USR2", "STKFLT", "XCPU", "XFSZ", "VTALRM", "PROF", "IO", "PWR"];
        let name = usize::try_from(self.0.saturating_sub(1)).ok().and_then(|index| NAMES.get(index));
        name.map_or(self.0 >= RTMIN, |name| SUCH.contains(name))
    }

    /// Whether the signal does no harm to a process that does not handle it: it is ignored, or continues the process.
    #[must_use]
    pub fn is_harmless(self) -> bool {
        [Self::CHLD, Self::CONT, Self::URG, Self::WINCH].contains(&self)
    }

    /// Whether the default action is to stop the process.
    #[must_use]
    pub fn stops(self) -> bool {
        self == Self::STOP || self.is_terminal_stop()
    }

    /// Whether the signal, other than `STOP`, stops a process that does not handle it: terminal drivers and shells
    /// stop jobs by these.
    #[must_use]
    pub fn is_terminal_stop(self) -> bool {
        [Self::TSTP, Self::TTIN, Self::TTOU].contains(&self)
    }
}

/// Signals that are passed on as others, or not at all. A signal without a rule stays itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rewrites(Vec<Rewrite>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rewrite {
    /// The signal that is received.
    pub from: Signal,
    /// The signal that is passed on; `None` drops it.
    pub to: Option<Signal>,
}

impl Rewrites {
    /// Rules in the order of the command line: the last one for a signal counts, as with dumb-init's `-r`.
    #[must_use]
    pub fn new(rules: Vec<Rewrite>) -> Self {
        Self(rules)
    }

    /// The signal that is passed on; `None` if it is dropped.
    #[must_use]
    pub fn of(&self, signal: Signal) -> Option<Signal> {
        self.0.iter().rev().find(|rule| rule.from == signal).map_or(Some(signal), |rule| rule.to)
    }

    /// The rules that count, ordered by the received signal.
    #[must_use]
    pub fn rules(&self) -> Vec<Rewrite> {
        let mut rules: Vec<Rewrite> = Vec::new();
        for rule in self.0.iter().rev() {
            if !rules.iter().any(|known| known.from == rule.from) {
                rules.push(*rule);
            }
        }
        rules.sort_by_key(|rule| rule.from);
        rules
    }
}

/// `RTMIN`, `RTMIN+n`, `RTMAX-n`.
fn real_time(name: &str) -> Option<i32> {
    let (base, offset) = if let Some(rest) = name.strip_prefix("RTMIN") {
        (RTMIN, rest.strip_prefix('+').map_or(if rest.is_empty() { Some(0) } else { None }, digits)?)
    } else if let Some(rest) = name.strip_prefix("RTMAX") {
        let back = rest.strip_prefix('-').map_or(if rest.is_empty() { Some(0) } else { None }, digits)?;
        (RTMAX, back.checked_neg()?)
    } else {
        return None;
    };
    base.checked_add(offset).filter(|n| (RTMIN..=RTMAX).contains(n))
}

fn digits(text: &str) -> Option<i32> {
    text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok()).flatten()
}

/// `TERM`, `RTMIN+3`: the name without `SIG`, as in logs and messages.
impl fmt::Display for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let index = usize::try_from(self.0.saturating_sub(1)).unwrap_or(usize::MAX);
        match NAMES.get(index) {
            Some(name) => f.write_str(name),
            None if self.0 == RTMIN => f.write_str("RTMIN"),
            None if self.0 > RTMIN => write!(f, "RTMIN+{}", self.0.saturating_sub(RTMIN)),
            None => write!(f, "{}", self.0),
        }
    }
}

/// A received signal, with what the kernel reports of its origin (sigaction(2), `siginfo_t`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Received {
    pub signal: Signal,
    /// `si_code`: zero from kill(2), negative from sigqueue(3) and the like.
    pub code: i32,
    /// The sender's pid in the supervisor's PID namespace; 0 if the sender is outside of it.
    pub sender: i32,
    /// The sender's real user id.
    pub uid: u32,
    /// `si_value`, meaningful when `code` is negative.
    pub value: u64,
}

/// `SI_KERNEL` (sigaction(2)): no process sent the signal, as with the keys of a terminal.
const FROM_KERNEL: i32 = 0x80;

impl Received {
    /// Whether the terminal's driver sent the signal to a whole process group: a key was pressed, the window was
    /// resized, or a background process reads or writes.
    #[must_use]
    pub fn is_from_terminal(&self) -> bool {
        let by_keys = [Signal::INT, Signal::QUIT, Signal::WINCH].contains(&self.signal);
        self.code == FROM_KERNEL && (by_keys || self.signal.is_terminal_stop())
    }

    /// A signal as from kill(2), from outside of the PID namespace.
    #[must_use]
    pub fn plain(signal: Signal) -> Self {
        Self { signal, code: 0, sender: 0, uid: 0, value: 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    #[test]
    fn names_and_numbers_agree_both_ways() {
        for number in 1..=64 {
            let signal = Signal::from_number(number).unwrap();
            assert_eq!(Signal::parse(&signal.to_string()), Some(signal));
            assert_eq!(Signal::parse(&number.to_string()), Some(signal));
        }
        for (text, number) in
            [("SIGTERM", 15), ("term", 15), ("RTMIN+3", 37), ("SIGRTMAX-1", 63), ("RTMAX", 64), ("iot", 6)]
        {
            assert_eq!(Signal::parse(text).map(Signal::number), Some(number), "{text}");
        }
        assert_eq!(Rewrites::default().of(Signal::TERM), Some(Signal::TERM));
        for bad in ["", "0", "65", "-1", "FOO", "RTMIN+31", "RTMIN+", "RTMIN-1", "RTMAX-31", "RTMIN+-1"] {
            assert_eq!(Signal::parse(bad), None, "{bad:?}");
        }
    }
}
