//! Reads workers' pipes and writes to the supervisor's streams, a turn at a time. How a line looks is not known here
//! (`render`).

use super::frames::{Frame, Frames};
use super::origin::{Origin, OutputStream};
use super::render::Label;
use crate::core::Pid;
use crate::core::action::SpawnOrder;
use crate::core::policy::MOST_WORKERS;
use crate::os::process::exec;
use crate::os::process::handover;
use crate::os::stdio::channel::are_same;
use crate::os::stdio::sink::Sink;
use crate::os::worker::output_pipes::{self, OutputPipes};
use crate::report::log;
use crate::values::log::OutputStyle;
use std::collections::{HashMap, VecDeque};
use std::future::poll_fn;
use std::io::{self, PipeReader, Read};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::{Instant, timeout_at};
use tracing::{info, warn};

/// The size of one read: a quarter of a pipe's capacity.
const PIECE: usize = 16 * 1024;

/// The time for one stream before other work.
const A_TURN: Duration = Duration::from_millis(1);

/// The bytes that may wait to be written before reading stops. A piece of empty lines becomes a hundred times its
/// size in JSON.
const MOST_WAITING: usize = 256 * 1024;

/// The number of reads from the pipe of a worker that has ended: its own output fits into the pipe. Further output
/// comes from another process.
const PIECES_OF_THE_DEAD: u32 = 8;

/// Two pipes for each wanted or retiring worker, and as many for daemons that workers have left behind.
const MOST_PIPES: usize = 8 * (MOST_WORKERS as usize);

pub struct Relay {
    style: OutputStyle,
    /// The user and group of the workers, if they are not the supervisor's.
    owner: Option<(u32, u32)>,
    outs: Vec<Out>,
    /// The sink of each stream; `None` if the stream cannot be written to without waiting.
    ways: [Option<usize>; 2],
    ends: HashMap<u64, WorkerPipe>,
    next_key: u64,
    room: Vec<u8>,
}

/// One of the supervisor's streams, and the pipes that lead to it.
struct Out {
    stream: OutputStream,
    sink: Sink,
    pipes: OutputPipes,
    /// Pipes of workers that have ended, and the number of reads that are left for each.
    closing: VecDeque<(u64, u32)>,
    /// Whether the last write failed.
    fails: bool,
}

struct WorkerPipe {
    reader: PipeReader,
    frames: Frames,
    label: Label,
    origin: Origin,
    out: usize,
    /// The spawn for which it was opened.
    id: u64,
    /// Whether its worker has ended; another process may hold the other end.
    is_left: bool,
}

/// What one read has shown.
#[derive(PartialEq, Eq)]
enum Heard {
    More,
    All,
}

impl Relay {
    /// Must be called inside the runtime.
    ///
    /// # Errors
    /// As epoll_create1(2), or if a descriptor of the handover is missing.
    pub fn new(
        style: OutputStyle,
        owner: Option<(u32, u32)>,
        given: Option<&handover::Output>,
    ) -> io::Result<Self> {
        let mut relay = Self {
            style,
            owner,
            outs: Vec::new(),
            ways: [None; 2],
            ends: HashMap::new(),
            next_key: 0,
            room: vec![0; PIECE],
        };
        for stream in OutputStream::ALL {
            let same = relay.outs.iter().position(|out| are_same(out.stream.fd(), stream.fd()));
            let way = same.map_or_else(|| relay.add_out(stream), |same| Ok(Some(same)))?;
            if let Some(known) = relay.ways.get_mut(index(stream)) {
                *known = way;
            }
        }
        if let Some(given) = given {
            relay.take_over(given)?;
        }
        Ok(relay)
    }

    fn add_out(&mut self, stream: OutputStream) -> io::Result<Option<usize>> {
        let Some(sink) = Sink::of(stream.fd()) else {
            warn!(
                stream = name(stream),
                "not to be written to without waiting (a terminal that cannot be opened again): workers write to it themselves"
            );
            return Ok(None);
        };
        let (pipes, closing) = (OutputPipes::new()?, VecDeque::new());
        self.outs.push(Out { stream, sink, pipes, closing, fails: false });
        Ok(self.outs.len().checked_sub(1))
    }

    fn way(&self, stream: OutputStream) -> Option<usize> {
        self.ways.get(index(stream)).copied().flatten()
    }

    // The workers

    /// Opens pipes for a worker that is to be spawned. Returns the ends that become 1 and 2.
    ///
    /// # Errors
    /// As pipe(2) and epoll_ctl(2).
    pub fn open(&mut self, order: &SpawnOrder, least: RawFd) -> io::Result<[Option<OwnedFd>; 2]> {
        let opened = self.open_one(order, OutputStream::Stdout, least).and_then(|stdout| {
            let least = stdout.as_ref().map_or(least, |fd| fd.as_raw_fd().saturating_add(1));
            Ok([stdout, self.open_one(order, OutputStream::Stderr, least)?])
        });
        if opened.is_err() {
            self.has_not_spawned(order);
        }
        opened
    }

    fn open_one(
        &mut self,
        order: &SpawnOrder,
        stream: OutputStream,
        least: RawFd,
    ) -> io::Result<Option<OwnedFd>> {
        let Some(out) = self.way(stream) else { return Ok(None) };
        self.make_room();
        let (reader, theirs) = output_pipes::open(least, self.owner)?;
        let origin = Origin { slot: order.slot, generation: order.generation, pid: 0, stream };
        self.add_end(reader, Frames::default(), origin, out, order.id.0)?;
        Ok(Some(theirs))
    }

    fn add_end(
        &mut self,
        reader: PipeReader,
        frames: Frames,
        origin: Origin,
        out: usize,
        id: u64,
    ) -> io::Result<()> {
        let key = self.next_key;
        self.next_key = self.next_key.wrapping_add(1);
        if let Some(out) = self.outs.get(out) {
            out.pipes.watch(&reader, key)?;
        }
        let label = Label::new(self.style, &origin);
        self.ends.insert(key, WorkerPipe { reader, frames, label, origin, out, id, is_left: false });
        Ok(())
    }

    /// Output of daemons is read after their workers have ended, but the number of such pipes is limited.
    fn make_room(&mut self) {
        if self.ends.len() >= MOST_PIPES {
            let left = self.ends.iter().filter(|(_, end)| end.is_left).map(|(key, _)| *key);
            if let Some(oldest) = left.min() {
                self.remove(oldest);
            }
        }
    }

    fn remove(&mut self, key: u64) {
        if let Some(end) = self.ends.remove(&key)
            && let Some(out) = self.outs.get(end.out)
        {
            out.pipes.forget(&end.reader);
        }
    }

    pub fn has_spawned(&mut self, order: &SpawnOrder, pid: Pid) {
        for end in self.ends.values_mut().filter(|end| end.id == order.id.0) {
            end.origin.pid = pid.0;
            end.label = Label::new(self.style, &end.origin);
        }
    }

    pub fn has_not_spawned(&mut self, order: &SpawnOrder) {
        let keys: Vec<u64> =
            self.ends.iter().filter(|(_, end)| end.id == order.id.0).map(|(key, _)| *key).collect();
        keys.into_iter().for_each(|key| self.remove(key));
    }

    /// A worker has ended: its output is written before its end is logged, if the reader takes it.
    pub fn has_ended(&mut self, pid: Pid) {
        let mut found = false;
        for (key, end) in self.ends.iter_mut().filter(|(_, end)| end.origin.pid == pid.0 && !end.is_left) {
            (found, end.is_left) = (true, true);
            if let Some(out) = self.outs.get_mut(end.out) {
                out.closing.push_back((*key, PIECES_OF_THE_DEAD));
            }
        }
        if found {
            self.turn_within(Duration::ZERO);
        }
    }

    /// Ready when [`turn`](Self::turn) may have something to do.
    pub fn poll_ready(&self, cx: &mut Context<'_>) -> Poll<()> {
        // Each sink is polled, so that each registers the waker.
        let ready = self.outs.iter().filter(|out| out.poll_ready(cx).is_ready()).count();
        if ready > 0 { Poll::Ready(()) } else { Poll::Pending }
    }

    /// Reads and writes for [`A_TURN`], without waiting.
    pub fn turn(&mut self) {
        self.turn_within(A_TURN);
    }

    /// Pipes of workers that have ended are read even if the time is over.
    fn turn_within(&mut self, limit: Duration) {
        let time = match self.style {
            OutputStyle::Prefix => String::new(),
            OutputStyle::Json => log::timestamp(),
        };
        for out in &mut self.outs {
            out.turn(&mut self.ends, &mut self.room, &time, limit);
        }
    }

    /// The supervisor ends: reads what is left, and waits for the readers for `limit` at most.
    pub async fn finish(&mut self, limit: Duration) {
        let end = Instant::now().checked_add(limit).unwrap_or_else(Instant::now);
        for (key, pipe) in &self.ends {
            if let Some(out) = self.outs.get_mut(pipe.out) {
                out.closing.push_back((*key, PIECES_OF_THE_DEAD));
            }
        }
        loop {
            self.turn();
            if self.outs.iter().all(|out| out.closing.is_empty() && out.sink.is_empty()) {
                return;
            }
            if Instant::now() >= end || timeout_at(end, poll_fn(|cx| self.poll_ready(cx))).await.is_err() {
                return;
            }
        }
    }

    // Handover

    /// The state for the next program, and the bytes that belong to it.
    #[must_use]
    pub fn hand_over(&self) -> (handover::Output, Vec<u8>) {
        let mut bytes = Vec::new();
        let mut waiting = Vec::new();
        for out in &self.outs {
            let (rest, torn) = out.sink.rest();
            bytes.extend_from_slice(rest);
            waiting.push(handover::WaitingLine { stream: out.stream.fd(), length: rest.len(), torn });
        }
        let mut pipes = Vec::new();
        for WorkerPipe { reader, frames, origin, .. } in self.ends.values() {
            bytes.extend_from_slice(frames.begun());
            pipes.push(handover::Pipe {
                fd: reader.as_raw_fd(),
                stream: origin.stream.fd(),
                slot: origin.slot,
                generation: origin.generation,
                pid: Pid(origin.pid),
                length: frames.begun().len(),
            });
        }
        (handover::Output { bytes: -1, waiting, pipes }, bytes)
    }

    /// The descriptors that have to stay open for it.
    pub fn fds(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.ends.values().map(|end| end.reader.as_fd())
    }

    fn take_over(&mut self, given: &handover::Output) -> io::Result<()> {
        let bytes = exec::received_bytes(given.bytes)?;
        let mut bytes = bytes.as_slice();
        for handover::WaitingLine { stream, length, torn } in &given.waiting {
            let rest = take(&mut bytes, *length)?;
            let out = self.outs.iter_mut().find(|out| out.stream.fd() == *stream);
            if let Some(out) = out {
                out.sink.take_over(rest, *torn);
            }
        }
        for pipe in &given.pipes {
            let reader = PipeReader::from(exec::adopt(pipe.fd)?);
            let frames = Frames::begun_with(take(&mut bytes, pipe.length)?);
            let (slot, generation, pid) = (pipe.slot, pipe.generation, pipe.pid.0);
            let stream = if pipe.stream == OutputStream::Stdout.fd() {
                OutputStream::Stdout
            } else {
                OutputStream::Stderr
            };
            let origin = Origin { slot, generation, pid, stream };
            if let Some(out) = self.way(stream) {
                // Its worker was spawned before, so no spawn refers to it.
                self.add_end(reader, frames, origin, out, u64::MAX)?;
            }
        }
        Ok(())
    }
}

impl Out {
    fn poll_ready(&self, cx: &mut Context<'_>) -> Poll<()> {
        if !self.sink.is_empty() {
            self.sink.poll_ready(cx)
        } else if !self.closing.is_empty() {
            Poll::Ready(())
        } else {
            self.pipes.poll_ready(cx)
        }
    }

    fn turn(&mut self, ends: &mut HashMap<u64, WorkerPipe>, room: &mut [u8], time: &str, limit: Duration) {
        let begin = Instant::now();
        self.write();
        while !self.closing.is_empty() || begin.elapsed() < limit {
            if self.sink.len() > MOST_WAITING {
                self.write();
            }
            if self.sink.is_stuck() {
                return;
            }
            if let Some((key, times)) = self.closing.pop_front() {
                match self.read(key, ends, room, time) {
                    Heard::More if times > 0 => self.closing.push_front((key, times.saturating_sub(1))),
                    Heard::More | Heard::All => {
                        if let Some(WorkerPipe { frames, label, .. }) = ends.get_mut(&key) {
                            frames.finish(|frame| label.write(frame, time, self.sink.text()));
                        }
                    }
                }
            } else if let Some(key) = self.pipes.take() {
                self.read(key, ends, room, time);
            } else {
                break;
            }
        }
        self.write();
    }

    /// Reads once.
    fn read(&mut self, key: u64, ends: &mut HashMap<u64, WorkerPipe>, room: &mut [u8], time: &str) -> Heard {
        let Some(WorkerPipe { reader, frames, label, .. }) = ends.get_mut(&key) else { return Heard::All };
        let mut tell = |frame: Frame<'_>| label.write(frame, time, self.sink.text());
        match reader.read(room) {
            Ok(length) if length > 0 => {
                frames.feed(room.get(..length).unwrap_or_default(), tell);
                if length == room.len() { Heard::More } else { Heard::All }
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Heard::All,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Heard::More,
            Ok(_) | Err(_) => {
                frames.finish(&mut tell);
                self.pipes.forget(reader);
                ends.remove(&key);
                Heard::All
            }
        }
    }

    fn write(&mut self) {
        if self.sink.is_empty() {
            return;
        }
        match self.sink.write() {
            Ok(()) if std::mem::take(&mut self.fails) => {
                info!(stream = name(self.stream), "workers' output is taken again");
            }
            Ok(()) => {}
            // Perhaps the reader is gone. A worker that writes itself would then block for ever, or end.
            Err(error) if !std::mem::replace(&mut self.fails, true) => {
                warn!(stream = name(self.stream), %error, "workers' output is lost: it cannot be written");
            }
            Err(_) => {}
        }
    }
}

fn index(stream: OutputStream) -> usize {
    match stream {
        OutputStream::Stdout => 0,
        OutputStream::Stderr => 1,
    }
}

fn name(stream: OutputStream) -> &'static str {
    match stream {
        OutputStream::Stdout => "stdout",
        OutputStream::Stderr => "stderr",
    }
}

fn take<'a>(bytes: &mut &'a [u8], length: usize) -> io::Result<&'a [u8]> {
    let (taken, rest) = bytes.split_at_checked(length).ok_or(io::ErrorKind::UnexpectedEof)?;
    *bytes = rest;
    Ok(taken)
}
