//! Who wants to know how things stand, beside the log: the manager above us, and a person at the terminal.

use crate::core::{Core, Mode, Monotonic, Note};
use crate::manager::{Manager, Variables};
use tokio::time::Instant;

/// In init mode nobody: the command speaks for itself.
#[derive(Debug, Default)]
pub struct Outlook {
    manager: Option<Manager>,
}

impl Outlook {
    /// Whoever makes himself known.
    pub fn of(mode: &Mode) -> Self {
        match mode {
            Mode::Init(_) => Self::default(),
            Mode::Pool(policy) => Self { manager: Manager::find(&Variables::read(), policy) },
        }
    }

    /// A transition.
    pub fn note(&mut self, note: &Note) {
        if let Some(manager) = &mut self.manager {
            manager.note(note);
        }
    }

    /// Everything that follows from an event has been done.
    pub fn look(&mut self, core: &Core, now: Monotonic) {
        if let Some(manager) = &mut self.manager {
            manager.tell(&core.snapshot(), core.progress(now));
        }
    }

    /// When [`act`](Self::act) has something to do.
    pub fn next_deadline(&self) -> Option<Instant> {
        self.manager.as_ref().and_then(Manager::next_deadline)
    }

    /// Does what is due. Called from the loop, and only from there: a loop that is stuck says nothing.
    pub fn act(&mut self) {
        if self.next_deadline().is_some_and(|at| at <= Instant::now())
            && let Some(manager) = &mut self.manager
        {
            manager.act(Instant::now());
        }
    }
}
