//! The command's terminal: how it is lent and taken back, and when the supervisor stops itself.

use crate::core::action::TerminalAction;
use crate::core::event::Answer;
use crate::core::{Event, Pid, Signal};
use crate::os::process::spawn::Placement;
use crate::os::stdio::terminal::{self, Terminal};

pub struct Console {
    /// `None` if the supervisor does not handle the terminal.
    terminal: Option<Terminal>,
    /// Whether the supervisor gave the terminal up before the command was started.
    pub gave_up: bool,
    /// Whether the supervisor stops itself even if no process could continue it (dumb-init).
    stops_for_sure: bool,
    /// Whether the terminal is lent to the command.
    lent: bool,
    /// Whether the kernel did not make the command's group the foreground group when it was asked to.
    lending_refused: bool,
}

impl Console {
    pub fn new(terminal: Option<Terminal>, gave_up: bool, stops_for_sure: bool) -> Self {
        Self { terminal, gave_up, stops_for_sure, lent: false, lending_refused: false }
    }

    /// A console for a process other than the command, which gets no terminal.
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

    /// Stops the supervisor: with its job as Ctrl-Z does, or unconditionally like dumb-init.
    fn stop_self(&mut self, job: bool, placement: Placement) -> Option<Event> {
        let how = match (job, placement) {
            (true, _) => terminal::Stop::Job,
            (false, _) if self.stops_for_sure => terminal::Stop::ForSure,
            (false, _) => terminal::Stop::LikeTheJob,
        };
        // The process that continues the supervisor decides which group has the terminal then.
        self.lent &= !job;
        (!terminal::stop_self(how)).then_some(Event::Answered(Answer::StopRefused))
    }

    pub fn has_spawned(&mut self, placement: Placement) {
        self.lent = matches!(placement, Placement::Group(Some(_)));
    }

    /// A command that could not be executed had the terminal for a moment.
    pub fn has_not_spawned(&self, placement: Placement) {
        if let (Some(terminal), Placement::Group(Some(_))) = (&self.terminal, placement) {
            terminal.take_back_from_empty_group();
        }
    }

    /// Whether the terminal is available for a child that this signal has stopped; `None` if the supervisor does not
    /// handle that.
    pub fn can_be_taken(&self, pid: Pid, signal: Signal) -> Option<bool> {
        let terminal = self.terminal.as_ref()?;
        // If a script leads the group, another process may stop and continue the command alone.
        if signal == Signal::STOP && !terminal::leads_group() {
            return None;
        }
        Some(terminal.can_be_taken(pid) && !self.lending_refused)
    }
}
