//! Reads the handover from text.

use super::{Directory, Notify, NotifySocketRecord, Output, Pipe, ProgramHandover, WaitingLine, first_line};
use crate::core::handover::{Handover, Kept, Vacancy};
use crate::core::limits::Limits;
use crate::core::{Lane, Monotonic, Pid};
use crate::os::signals::Dispositions;
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::str::{FromStr, SplitAsciiWhitespace};
use std::time::Duration;

impl ProgramHandover {
    /// `None` if any part of the text is not understood.
    #[must_use]
    pub fn read(text: &str) -> Option<Self> {
        let mut lines = text.lines();
        (lines.next()? == first_line()).then_some(())?;
        let (mut clock, mut signals, mut pool, mut files) = (None, None, None, None);
        let mut notify = Notify::default();
        let (mut scoreboard, mut health, mut control, mut check_passes) = (None, None, None, false);
        let mut output: Option<Output> = None;
        let mut behind = Duration::ZERO;
        let (mut places, mut leftovers, mut kept, mut vacant) =
            (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for line in lines {
            let (name, rest) = line.split_once(' ')?;
            let words = &mut rest.split_ascii_whitespace();
            match name {
                "clock" => clock = Some(moment(words)?),
                "behind" => behind = Duration::from_micros(next(words)?),
                "dispositions" => signals = Some(dispositions(words)?),
                "pool" => {
                    let numbers = (next(words)?, next(words)?, next(words)?, next(words)?);
                    pool = Some((numbers, next::<u8>(words)? != 0));
                }
                "files" => files = Some(option(words.next()?)?),
                "directory" => notify.directories.push(directory(words)?),
                "notify" => notify.sockets.push(notify_socket(words)?),
                "scoreboard" => scoreboard = Some((next(words)?, next(words)?)),
                "health" => health = Some(next(words)?),
                "control" => control = Some(next(words)?),
                "check" => check_passes = next::<u8>(words)? != 0,
                "output" => {
                    output = Some(Output { bytes: next(words)?, waiting: Vec::new(), pipes: Vec::new() });
                }
                "waiting" => output.as_mut()?.waiting.push(WaitingLine {
                    stream: next(words)?,
                    length: next(words)?,
                    torn: next::<u8>(words)? != 0,
                }),
                "pipe" => output.as_mut()?.pipes.push(pipe(words)?),
                "place" => places.push((numbers(words)?, numbers(words)?)),
                "remains" => {
                    let kill_at =
                        option::<u64>(words.clone().nth(1)?)?.map(|at| Monotonic(Duration::from_micros(at)));
                    leftovers.push((Pid(next(words)?), kill_at));
                }
                "vacant" => vacant.push(vacancy(words)?),
                "worker" => kept.push(worker(words)?),
                _ => return None,
            }
        }
        let (now, ((workers, generation, newest, next_spawn), ever_ready)) = (clock?, pool?);
        let pool = Handover {
            now,
            behind,
            workers,
            generation,
            newest,
            next_spawn,
            ever_ready,
            leftovers,
            kept,
            vacant,
        };
        Some(Self {
            pool,
            signals: signals?,
            files: files?,
            notify,
            scoreboard,
            health,
            control,
            check_passes,
            output,
            places,
        })
    }
}

fn dispositions(words: &mut SplitAsciiWhitespace<'_>) -> Option<Dispositions> {
    Some(Dispositions { mask: next(words)?, ignored: next(words)?, discarded: next(words)? })
}

fn directory(words: &mut SplitAsciiWhitespace<'_>) -> Option<Directory> {
    let (lock, uid, gid) = (next(words)?, option(words.next()?)?, option(words.next()?)?);
    Some(Directory { lock, owner: uid.zip(gid), path: unhex(words.next()?)? })
}

fn notify_socket(words: &mut SplitAsciiWhitespace<'_>) -> Option<NotifySocketRecord> {
    Some(NotifySocketRecord {
        fd: next(words)?,
        id: next(words)?,
        pid: Pid(next(words)?),
        directory: option(words.next()?)?,
        believed: next(words)?,
        address: unhex(words.next()?)?,
    })
}

fn pipe(words: &mut SplitAsciiWhitespace<'_>) -> Option<Pipe> {
    Some(Pipe {
        fd: next(words)?,
        stream: next(words)?,
        slot: next(words)?,
        generation: next(words)?,
        pid: Pid(next(words)?),
        length: next(words)?,
    })
}

fn vacancy(words: &mut SplitAsciiWhitespace<'_>) -> Option<Vacancy> {
    Some(Vacancy {
        slot: next(words)?,
        lane: option(words.next()?)?.map(Lane),
        spawn_at: moment(words)?,
        failures: next(words)?,
    })
}

fn worker(words: &mut SplitAsciiWhitespace<'_>) -> Option<Kept> {
    Some(Kept {
        slot: next(words)?,
        number: next(words)?,
        lane: Lane(next(words)?),
        generation: next(words)?,
        pid: Pid(next(words)?),
        spawned: moment(words)?,
        ready: moment(words)?,
        ping_every: option(words.next()?)?.map(Duration::from_micros),
        requests: next(words)?,
        limits: Limits {
            requests: option(words.next()?)?,
            age: option(words.next()?)?.map(Duration::from_micros),
            memory: option(words.next()?)?,
        },
    })
}

fn unhex(text: &str) -> Option<OsString> {
    let digit = |byte: &u8| char::from(*byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
    let pairs = text.as_bytes().chunks(2).map(|pair| match pair {
        [high, low] => Some(digit(high)? << 4 | digit(low)?),
        _ => None,
    });
    pairs.collect::<Option<Vec<u8>>>().map(OsString::from_vec)
}

fn next<T: FromStr>(words: &mut SplitAsciiWhitespace<'_>) -> Option<T> {
    words.next()?.parse().ok()
}

fn moment(words: &mut SplitAsciiWhitespace<'_>) -> Option<Monotonic> {
    next(words).map(|micros| Monotonic(Duration::from_micros(micros)))
}

fn option<T: FromStr>(word: &str) -> Option<Option<T>> {
    if word == "-" { Some(None) } else { word.parse().ok().map(Some) }
}

fn numbers<T: FromStr>(words: &mut SplitAsciiWhitespace<'_>) -> Option<Vec<T>> {
    match words.next()? {
        "-" => Some(Vec::new()),
        list => list.split(',').map(|word| word.parse().ok()).collect(),
    }
}
