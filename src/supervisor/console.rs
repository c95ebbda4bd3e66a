//! The command's terminal: lent to it, taken back, and what its stop by the terminal means for us.

use crate::core::action::TerminalAction;
use crate::core::event::Answer;
use crate::core::{Event, Pid, Signal};
use crate::os::process::spawn::Placement;
use crate::os::stdio::terminal::{self, Terminal};

/// See the module.
pub struct Console {
    /// `None` where it is none of our business.
    terminal: Option<Terminal>,
    /// Whether we gave it up before the command was there.
    pub gave_up: bool,
    /// Whether we stop even where nobody could continue us (dumb-init).
    stops_for_sure: bool,
    /// Whether the command has it from us.
    lent: bool,
    /// The kernel did not make the command's group the foreground group, though it was asked to.
    lending_refused: bool,
}

impl Console {
    pub fn new(terminal: Option<Terminal>, gave_up: bool, stops_for_sure: bool) -> Self {
        Self { terminal, gave_up, stops_for_sure, lent: false, lending_refused: false }
    }

    /// While something else than the command runs.
    pub fn without_terminal(&self) -> Self {
        Self::new(None, self.gave_up, self.stops_for_sure)
    }

    pub fn carry_out(&mut self, action: TerminalAction, placement: Placement) -> Option<Event> {
        match action {
            TerminalAction::Lend { group } => {
                let lent = self.terminal.as_ref().and_then(|terminal| terminal.lend(group));
                self.lent |= lent == Some(true);
                self.lending_refused |= lent == Some(false);
                None
            }
            TerminalAction::TakeBack { group } => {
                if let Some(terminal) = &self.terminal
                    && std::mem::take(&mut self.lent)
                {
                    terminal.take_back_from(group);
                }
                None
            }
            TerminalAction::StopSelf { job } => self.stop_self(job, placement),
        }
    }

    /// A job stops as Ctrl-Z stops it, dumb-init for sure.
    fn stop_self(&mut self, job: bool, placement: Placement) -> Option<Event> {
        let how = match (job, placement) {
            (true, _) => terminal::Stop::Job,
            (false, _) if self.stops_for_sure => terminal::Stop::ForSure,
            (false, _) => terminal::Stop::LikeTheJob,
        };
        // Whoever continues us says whose the terminal is then.
        self.lent &= !job;
        (!terminal::stop_self(how)).then_some(Event::Answered(Answer::StopRefused))
    }

    /// The command runs, placed like this.
    pub fn has_spawned(&mut self, placement: Placement) {
        self.lent = matches!(placement, Placement::Group(Some(_)));
    }

    /// What could not be executed had the terminal for a moment.
    pub fn has_not_spawned(&self, placement: Placement) {
        if let (Some(terminal), Placement::Group(Some(_))) = (&self.terminal, placement) {
            terminal.take_back_from_nobody();
        }
    }

    /// Whether the terminal is there for a child that this signal has stopped; `None` where that is none of our business.
    pub fn is_to_be_had(&self, pid: Pid, signal: Signal) -> Option<bool> {
        let terminal = self.terminal.as_ref()?;
        // Below a script, another process may stop and continue the command alone.
        if signal == Signal::STOP && !terminal::leads_group() {
            return None;
        }
        Some(terminal.is_to_be_had(pid) && !self.lending_refused)
    }
}
