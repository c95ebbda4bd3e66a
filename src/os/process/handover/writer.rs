//! Writes the handover as text.

use super::{Directory, NotifySocketRecord, Output, Pipe, ProgramHandover, WaitingLine, first_line};
use crate::core::handover::{Handover, Kept, Vacancy};
use crate::core::limits::Limits;
use crate::os::signals::Dispositions;
use std::ffi::OsStr;
use std::fmt::{Display, Write};
use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

impl ProgramHandover {
    #[must_use]
    pub fn write(&self) -> String {
        let Handover { now, behind, workers, generation, newest, next_spawn, ever_ready, .. } = &self.pool;
        let Handover { leftovers, kept, vacant, .. } = &self.pool;
        let mut text = first_line() + "\n";
        let mut line = |parts: &[&dyn Display]| {
            let words: Vec<String> = parts.iter().map(ToString::to_string).collect();
            let _never_fails = writeln!(text, "{}", words.join(" "));
        };
        let Dispositions { mask, ignored, discarded } = &self.signals;
        line(&[&"clock", &micros(now.0)]);
        if !behind.is_zero() {
            line(&[&"behind", &micros(*behind)]);
        }
        line(&[&"dispositions", mask, ignored, discarded]);
        line(&[&"pool", workers, generation, newest, next_spawn, &u8::from(*ever_ready)]);
        line(&[&"files", &maybe(self.files)]);
        for Directory { lock, owner, path } in &self.notify.directories {
            let (uid, gid) = owner.unzip();
            line(&[&"directory", lock, &maybe(uid), &maybe(gid), &hex(path)]);
        }
        for NotifySocketRecord { fd, id, pid, directory, believed, address } in &self.notify.sockets {
            line(&[&"notify", fd, id, pid, &maybe(*directory), believed, &hex(address)]);
        }
        if let Some((fd, lines)) = &self.scoreboard {
            line(&[&"scoreboard", fd, lines]);
        }
        if let Some(fd) = &self.health {
            line(&[&"health", fd]);
        }
        if let Some(fd) = &self.control {
            line(&[&"control", fd]);
        }
        if self.check_passes {
            line(&[&"check", &1]);
        }
        if let Some(Output { bytes, waiting, pipes }) = &self.output {
            line(&[&"output", bytes]);
            for WaitingLine { stream, length, torn } in waiting {
                line(&[&"waiting", stream, length, &u8::from(*torn)]);
            }
            for Pipe { fd, stream, slot, generation, pid, length } in pipes {
                line(&[&"pipe", fd, stream, slot, generation, pid, length]);
            }
        }
        for (fds, order) in &self.places {
            line(&[&"place", &list(fds), &list(order)]);
        }
        for (group, kill_at) in leftovers {
            line(&[&"remains", group, &maybe(kill_at.map(|at| micros(at.0)))]);
        }
        for Vacancy { slot, lane, spawn_at, failures } in vacant {
            let lane = maybe(lane.map(|lane| u64::from(lane.0)));
            line(&[&"vacant", slot, &lane, &micros(spawn_at.0), failures]);
        }
        for worker in kept {
            let Kept { slot, number, lane, generation, pid, requests, .. } = worker;
            let (spawned, ready) = (micros(worker.spawned.0), micros(worker.ready.0));
            let Limits { requests: most, age, memory } = worker.limits;
            let ping_every = maybe(worker.ping_every.map(micros));
            line(&[
                &"worker",
                slot,
                number,
                &lane.0,
                generation,
                pid,
                &spawned,
                &ready,
                &ping_every,
                requests,
                &maybe(most),
                &maybe(age.map(micros)),
                &maybe(memory),
            ]);
        }
        text
    }
}

fn micros(span: Duration) -> u64 {
    u64::try_from(span.as_micros()).unwrap_or(u64::MAX)
}

fn maybe(number: Option<impl Display>) -> String {
    number.map_or("-".to_owned(), |number| number.to_string())
}

fn list<T: Display>(numbers: &[T]) -> String {
    let words: Vec<String> = numbers.iter().map(ToString::to_string).collect();
    if words.is_empty() { "-".to_owned() } else { words.join(",") }
}

fn hex(text: &OsStr) -> String {
    text.as_bytes().iter().map(|byte| format!("{byte:02x}")).collect()
}
