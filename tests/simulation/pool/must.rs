//! What an event obliges to in its very step, whatever else is done.

use super::facts::{Facts, Stage, Worker};
use prefork_core::action::Ask;
use prefork_core::event::{Request, WorkerFact};
use prefork_core::note::{InitNote, PoolNote, ReloadNote, WorkerNote};
use prefork_core::{Action, Event, Note, Pid, Signal};

/// What is to be told, and how it is known among the notes.
pub type Must = (&'static str, Box<dyn Fn(&Action) -> bool>);

fn told(what: &'static str, is_it: impl Fn(&Note) -> bool + 'static) -> Option<Must> {
    Some((what, Box::new(move |action| matches!(action, Action::Note(note) if is_it(note)))))
}

impl Facts {
    /// Before the event is taken in.
    pub fn must(&self, event: Event) -> Option<Must> {
        let serves = |pid| self.of(pid).is_some_and(|w| w.serves() && w.leaves.is_none());
        let starts = |pid| self.of(pid).is_some_and(Worker::starts);
        let is_answer = |id| self.pending.is_some_and(|order| order.id == id);
        match event {
            event if self.asks_to_stop(event) => self.must_stop(),
            Event::Signalled(received) if self.is_running() => match self.name_of(received.signal)? {
                Signal::HUP => self.must_reload(),
                Signal::TTIN => must_scale(self.wanted() + 1),
                Signal::TTOU => must_scale(self.wanted() - 1),
                _ => None,
            },
            Event::Requested(Request::Reload) if self.is_running() => self.must_reload(),
            Event::Requested(Request::Scale { workers }) if self.is_running() => must_scale(workers as usize),
            Event::Spawned { id, result: Ok(_) } if is_answer(id) => {
                told("a spawn", |note| matches!(note, Note::Worker(_, WorkerNote::Spawned { .. })))
            }
            Event::Spawned { id, result: Err(_) } if is_answer(id) => {
                told("a failure", |note| matches!(note, Note::Init(InitNote::SpawnFailed { .. })))
            }
            Event::Worker { pid, fact: WorkerFact::SeenAccepting } if starts(pid) => must_be_ready(pid),
            Event::Worker { pid, fact: WorkerFact::Probed { passed: Some(true) } }
                if self.policy.ready.probe && starts(pid) =>
            {
                must_be_ready(pid)
            }
            Event::Worker { pid, fact: WorkerFact::Probed { passed: Some(false) } } if serves(pid) => {
                let most = self.policy.hang.probe.map_or(u32::MAX, |probe| probe.failures);
                self.of(pid).filter(|w| w.bad_probes + 1 >= most && !w.away).and_then(|_| must_hang(pid))
            }
            Event::Worker { pid, fact: WorkerFact::Triggered } if serves(pid) => must_hang(pid),
            Event::Worker { pid, fact: WorkerFact::Measured(found) }
                if found.request_overdue && serves(pid) =>
            {
                let hard = self.policy.recycle.max_memory_hard;
                let is_too_big = found.memory.zip(hard).is_some_and(|(memory, limit)| memory > limit);
                if is_too_big { None } else { must_hang(pid) }
            }
            _ => None,
        }
    }

    fn must_stop(&self) -> Option<Must> {
        match self.stage {
            Stage::Running => {
                told("the first stop", |note| matches!(note, Note::Pool(PoolNote::ShutdownStarted { .. })))
            }
            Stage::Draining { .. } | Stage::Closing { .. } => {
                told("the second stop", |note| matches!(note, Note::Pool(PoolNote::ShutdownHurried { .. })))
            }
            Stage::Unstarted | Stage::Ending { .. } | Stage::Killing { .. } => None,
        }
    }

    fn must_reload(&self) -> Option<Must> {
        match self.policy.rereads {
            true => Some(("a reload", Box::new(|action| *action == Action::Ask(Ask::ReadConfiguration)))),
            false => told("a reload", |note| matches!(note, Note::Reload(_, ReloadNote::Started))),
        }
    }
}

fn must_scale(to: usize) -> Option<Must> {
    let to = to.clamp(1, 1024);
    told("a number of workers", move |note| match note {
        Note::Pool(PoolNote::Scaled { workers, .. }) | Note::Pool(PoolNote::NotScaled { workers }) => {
            *workers as usize == to
        }
        _ => false,
    })
}

fn must_be_ready(of: Pid) -> Option<Must> {
    told(
        "readiness",
        move |note| matches!(note, Note::Worker(worker, WorkerNote::Ready { .. }) if worker.pid == of),
    )
}

fn must_hang(of: Pid) -> Option<Must> {
    told(
        "that it hangs",
        move |note| matches!(note, Note::Worker(worker, WorkerNote::Hung { .. }) if worker.pid == of),
    )
}
