//! Reaping: of workers and orphans the core is told, of errands it is not.

use super::fleet::Fleet;
use super::{Loop, MOST_AT_ONCE};
use crate::core::{Event, Pid, Signal};
use crate::os::reap::{self, Found};
use crate::os::send;
use crate::os::terminal::{self, Terminal};
use tracing::debug;

impl Loop {
    /// Reaps what has ended. Each is told to the core while it is still a zombie, so that what the core wants to
    /// signal is what it means. Where they end faster than this reaps, the rest waits for the next round.
    pub(super) fn reap(&mut self) {
        if !std::mem::take(&mut self.look_for_ended) {
            return;
        }
        for _ in 0..MOST_AT_ONCE {
            // Whom the terminal stops matters where we have to do with it.
            let children_left = match reap::look(self.terminal.is_some()) {
                Found::Stopped(pid, signal) => {
                    // First: it may be continued, and stopped anew, before we are told of that.
                    reap::forget_stop(pid);
                    // Below a script it may be anybody who stops and continues the command alone.
                    if signal != Signal::STOP || terminal::leads_group() {
                        let has_terminal = self.terminal.as_ref().is_some_and(Terminal::is_ours);
                        self.handle(Event::Stopped { pid, signal, has_terminal });
                    }
                    continue;
                }
                Found::Ended(pid, exit) => {
                    debug!(pid = pid.0, %exit, "child reaped");
                    let ended = |fleet: &mut Fleet| fleet.has_ended(pid, exit);
                    let out_of_memory = self.fleet.as_mut().is_some_and(ended);
                    if !self.errand_ended(pid, exit) {
                        self.handle(Event::Exited { pid, exit, out_of_memory });
                    }
                    reap::release(pid);
                    self.left_nobody(pid);
                    continue;
                }
                Found::AllAlive => true,
                Found::Nobody => false,
            };
            if !self.holds_end_back() {
                self.handle(Event::Reaped { children_left });
            }
            return;
        }
        self.look_for_ended = true;
    }

    /// A child was reaped. Mostly it was alone in its group, and then nothing of that is to be killed later.
    fn left_nobody(&mut self, pid: Pid) {
        if self.core.awaits_group(pid) && send::is_empty_group(pid) {
            self.handle(Event::GroupEnded { group: pid });
        }
    }
}
