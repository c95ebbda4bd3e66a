//! Transitions as hooks (`--on-event`) see them: a name, and fields that become variables.

use crate::core::Note;
use crate::report::notes;

/// What the names of all variables begin with.
pub const PREFIX: &str = "PREFORK_EVENT";

/// A transition that waits for its hook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Happened {
    pub name: &'static str,
    /// Names as the log has them, and values.
    pub fields: Vec<(&'static str, String)>,
}

impl Happened {
    pub fn variables(&self) -> impl Iterator<Item = (String, &str)> {
        let variable = |field: &str| format!("{PREFIX}_{}", field.to_ascii_uppercase());
        let fields = self.fields.iter().map(move |(field, value)| (variable(field), value.as_str()));
        std::iter::once((PREFIX.to_owned(), self.name)).chain(fields)
    }
}

/// None: hooks do not run for it.
#[must_use]
pub fn of(note: &Note) -> Option<Happened> {
    let mut happened = None;
    notes::describe(note, "", &mut |told| {
        let fields = told.fields.into_iter().flatten().filter(|field| field.in_hooks);
        let fields = fields.map(|field| (field.name, field.value.to_string()));
        happened = told.name.map(|name| Happened { name, fields: fields.collect() });
    });
    happened
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::exit::{Exit, Reason};
    use crate::core::note::{SignalNote, WorkerNote, WorkerRef};
    use crate::core::{Pid, Signal};
    use crate::report::golden::every::notes;
    use std::collections::BTreeSet;
    use std::time::Duration;

    #[test]
    fn a_transition_has_a_name_and_fields_and_chatter_has_none() {
        let worker = WorkerRef { slot: 3, generation: 2, pid: Pid(17) };
        let exit = Exit::Signal { signal: Signal::KILL, core_dumped: false };
        let note = Note::Worker(
            worker,
            WorkerNote::Exited { exit, reason: Reason::Hung, uptime: Duration::from_millis(1_500) },
        );
        let happened = of(&note).unwrap();
        let variables: Vec<String> =
            happened.variables().map(|(name, value)| format!("{name}={value}")).collect();
        assert_eq!(
            variables,
            [
                "PREFORK_EVENT=worker-exited",
                "PREFORK_EVENT_SLOT=3",
                "PREFORK_EVENT_GEN=2",
                "PREFORK_EVENT_PID=17",
                "PREFORK_EVENT_REASON=hung",
                "PREFORK_EVENT_SIGNAL=KILL",
                "PREFORK_EVENT_UPTIME_MS=1500",
            ]
        );
        assert_eq!(of(&Note::Signal(SignalNote::Dropped { signal: Signal::HUP })), None);
    }

    /// The events of docs/hooks.md are those of the table.
    #[test]
    fn the_page_of_hooks_names_every_event() {
        let page = include_str!("../../docs/hooks.md");
        let (_, section) = page.split_once("\n## Events").unwrap();
        let names: BTreeSet<_> = notes().iter().filter_map(|note| Some(of(note)?.name)).collect();
        assert!(names.len() > 25, "{names:?}");
        let cells = section.lines().filter_map(|line| line.strip_prefix("| `")?.split(" |").next());
        assert_eq!(cells.flat_map(|cell| cell.split('`').step_by(2)).collect::<BTreeSet<_>>(), names);
    }
}
