//! Reaping: of workers and orphans the core is told, of errands it is not.

use super::Loop;
use super::fleet::Fleet;
use super::share::Share;
use crate::core::{Event, Signal};
use crate::os::reap::{self, Found};
use crate::os::terminal::{self, Terminal};
use tracing::debug;

impl Loop {
    /// Reaps what has ended. Each is told to the core while it is still a zombie, so that what the core wants to
    /// signal is what it means. Where they end faster than this reaps, the rest waits for the next round.
    pub(super) fn reap(&mut self) {
        if !std::mem::take(&mut self.look_for_ended) {
            return;
        }
        let share = Share::begin();
        loop {
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
                    None
                }
                Found::Ended(pid, exit) => {
                    debug!(pid = pid.0, %exit, "child reaped");
                    let ended = |fleet: &mut Fleet| fleet.has_ended(pid, exit);
                    let out_of_memory = self.fleet.as_mut().is_some_and(ended);
                    if !self.errand_ended(pid, exit) {
                        self.handle(Event::Exited { pid, exit, out_of_memory });
                    }
                    reap::release(pid);
                    None
                }
                Found::AllAlive => Some(true),
                Found::Nobody => Some(false),
            };
            if let Some(children_left) = children_left {
                if !self.holds_end_back() {
                    self.handle(Event::Reaped { children_left });
                }
                return;
            }
            if share.is_over() {
                self.look_for_ended = true;
                return;
            }
        }
    }
}
