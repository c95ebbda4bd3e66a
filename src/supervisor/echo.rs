//! Signals that are not from outside.

use crate::core::{Received, Signal};

/// Our own write to a pipe that nobody reads any more: passing the signal on, and logging that we did, would raise the
/// next one. And the TSTP and the CONT for the rest of our group.
pub fn is_our_own_echo(received: Received) -> bool {
    let ours = u32::try_from(received.sender) == Ok(std::process::id());
    ours && [Signal::PIPE, Signal::TSTP, Signal::CONT].contains(&received.signal)
}

/// The only way to see that a panic ends in order is to have one. Not in release builds.
#[cfg(debug_assertions)]
#[allow(clippy::panic)]
pub fn panic_for_a_test(signal: Signal) {
    if signal == Signal::USR1 && std::env::var_os("PREFORK_DEBUG_PANIC").is_some() {
        panic!("asked for by PREFORK_DEBUG_PANIC");
    }
}
