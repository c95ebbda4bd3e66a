//! Signals that do not come from outside: the kernel raises them for what the supervisor itself has done. All signals
//! are blocked, so such a signal does no harm, and the call that raised it fails. Passing it on and logging that
//! would be wrong, and might raise the next one.
//!
//! Raised by the supervisor's own calls, with its own pid as the sender:
//! * PIPE: a write to a pipe that has no reader any more, for example to standard output (pipe(7)).
//! * XFSZ: a log line, or a worker's line that the supervisor writes, beyond `RLIMIT_FSIZE` (setrlimit(2)).
//! * TSTP and CONT: sent by the supervisor to the rest of its process group.
//! * HUP and CONT: the terminal was given up (`TIOCNOTTY`, ioctl_tty(2)). If the supervisor did so, the core expects
//!   them.
//!
//! Raised by the kernel for the supervisor's use of the processor:
//! * XCPU: beyond `RLIMIT_CPU`, which counts for each process separately: the command gets its own.
//! * VTALRM and PROF: a timer of setitimer(2) that was set before the supervisor's exec, and counts its time alone.
//!   ALRM, by the clock, is meant for the program that runs in this process, and is passed on.
//!
//! TTIN and TTOU are not among them: the kernel does not raise them for a process that blocks them. Nor is the signal
//! of the parent's death, which comes from the parent (see `os::process::pid1`), nor a queued signal (sigqueue(3)),
//! whose sender's pid is what the sender claims.

use crate::core::{Received, Signal};

/// Codes of `siginfo_t` (sigaction(2)): from kill(2) and the like, from tgkill(2), from the kernel itself.
const SI_USER: i32 = 0;
const SI_TKILL: i32 = -6;
const SI_KERNEL: i32 = 0x80;

/// Whether the supervisor itself is the cause of a signal. `gave_terminal_up` is whether the core expects the
/// consequences of that.
pub fn is_our_own_echo(received: Received, gave_terminal_up: bool) -> bool {
    let Received { signal, code, .. } = received;
    let by_us = u32::try_from(received.sender) == Ok(std::process::id());
    match code {
        SI_USER | SI_TKILL => by_us && !(gave_terminal_up && [Signal::HUP, Signal::CONT].contains(&signal)),
        SI_KERNEL => [Signal::XCPU, Signal::VTALRM, Signal::PROF].contains(&signal),
        _ => false,
    }
}

/// Panics, so that a test can see an ordered end. Not in the program that is shipped.
#[cfg(any(debug_assertions, prefork_panics))]
#[allow(clippy::panic)]
pub fn panic_for_a_test(signal: Signal) {
    if signal == Signal::USR1 && std::env::var_os("PREFORK_DEBUG_PANIC").is_some() {
        panic!("asked for by PREFORK_DEBUG_PANIC");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_we_raise_ourselves_is_nobodys_word_and_the_rest_is() {
        let ours = i32::try_from(std::process::id()).unwrap();
        for number in 1..=64 {
            let signal = Signal::from_number(number).unwrap();
            let received = |code, sender| Received { code, sender, ..Received::plain(signal) };
            let of_terminal = [Signal::HUP, Signal::CONT].contains(&signal);
            assert_eq!(is_our_own_echo(received(SI_USER, ours), true), !of_terminal, "{signal}");
            assert!(is_our_own_echo(received(SI_USER, ours), false), "{signal}");
            let of_time = [Signal::XCPU, Signal::VTALRM, Signal::PROF].contains(&signal);
            assert_eq!(is_our_own_echo(received(SI_KERNEL, 0), false), of_time, "{signal}");
            // From outside the PID namespace, from another process, and queued with the supervisor's pid as the
            // claimed sender.
            for (code, sender) in [(SI_USER, 0), (SI_USER, ours + 1), (SI_TKILL, ours + 1), (-1, ours)] {
                assert!(!is_our_own_echo(received(code, sender), false), "{signal} {code} {sender}");
            }
        }
    }
}
