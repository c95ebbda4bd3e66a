//! Signals that are not from outside: the kernel raises them for what we have done ourselves. Each is blocked like any
//! other, so it does no harm, and the call that raised it fails; to pass it on, and to log that we did, would be wrong
//! and might raise the next one.
//!
//! By a call of ours, with our own number as that of the sender:
//! * PIPE: a write to a pipe, or to standard streams that are one, that nobody reads any more (pipe(7)).
//! * XFSZ: a log line, or a worker's that we write, beyond `RLIMIT_FSIZE` (setrlimit(2)).
//! * TSTP and CONT: ours to the rest of our group.
//! * HUP and CONT: the terminal that we have given up (`TIOCNOTTY`, ioctl_tty(2)). Where we have, the core expects them.
//!
//! By our use of the processor, from the kernel:
//! * XCPU: beyond `RLIMIT_CPU`, which counts for each process by itself: the command gets its own.
//! * VTALRM and PROF: a timer of setitimer(2) that was set before our exec, and counts our time alone. ALRM, by the clock,
//!   is meant for whatever runs here, and is passed on.
//!
//! TTIN and TTOU are none of them: the kernel does not raise them for a process that has them blocked. Nor is a signal of
//! the parent's death, which comes from the parent (see `os::pid1`), nor anything queued (sigqueue(3)): there the sender's
//! number is what the sender says.

use crate::core::{Received, Signal};

/// Codes of `siginfo_t` (sigaction(2)): by kill(2) or what the kernel takes for one, by tgkill(2), by the kernel itself.
const SI_USER: i32 = 0;
const SI_TKILL: i32 = -6;
const SI_KERNEL: i32 = 0x80;

/// Whether nothing but ourselves is the cause of a signal. `gave_terminal_up` is whether the core expects what comes of that.
pub fn is_our_own_echo(received: Received, gave_terminal_up: bool) -> bool {
    let Received { signal, code, .. } = received;
    let by_us = u32::try_from(received.sender) == Ok(std::process::id());
    match code {
        SI_USER | SI_TKILL => by_us && !(gave_terminal_up && [Signal::HUP, Signal::CONT].contains(&signal)),
        SI_KERNEL => [Signal::XCPU, Signal::VTALRM, Signal::PROF].contains(&signal),
        _ => false,
    }
}

/// The only way to see that a panic ends in order is to have one. Not in the program that is shipped.
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
            // From outside our PID namespace, from another process, and queued by one that says it was us.
            for (code, sender) in [(SI_USER, 0), (SI_USER, ours + 1), (SI_TKILL, ours + 1), (-1, ours)] {
                assert!(!is_our_own_echo(received(code, sender), false), "{signal} {code} {sender}");
            }
        }
    }
}
