//! What the loop holds for a pool, beside what it holds for one command: the listeners, and all sources of facts
//! about workers. It decides nothing: facts go to the core as events, and actions come back.

mod accepting;
mod connections;
mod execute;
mod hint;
mod in_hand;
mod listeners;
mod measuring;
pub mod notices;
pub mod notify;
pub mod outgoing;
pub mod output;
pub mod probe;
pub mod requests;
pub mod share;

use crate::core::action::SpawnOrder;
use crate::core::event::{SpawnFailure, WorkerFact};
use crate::core::exit::{Exit, code};
use crate::core::policy::MOST_WORKERS;
use crate::core::{Event, Lane, Pid, Signal};
use crate::http::client::Get;
use crate::os::call;
use crate::os::container::cgroup::Cgroup;
use crate::os::private_directory::DirectoryLocation;
use crate::os::process::exec;
use crate::os::process::handover::ProgramHandover;
use crate::os::process::spawn::Identity;
use crate::os::process::usage::Measure;
use crate::os::socket::accepting::Observer;
use crate::os::socket::lanes::Lanes;
use crate::os::socket::queue_watch::QueueWatch;
use crate::os::socket::shut_watch::ShutWatch;
use crate::os::socket::steer::probe_source;
use crate::os::worker::ready_pipe::{ReadyOutcome, ReadyPipes};
use crate::os::worker::scoreboard::{self, Scoreboard};
use crate::settings::PoolSettings;
use crate::settings::options::MemoryMeasure;
use crate::settings::rules::activation::Activation;
use crate::setup::environment::OfWorker;
use crate::values::FIRST_FD;
use crate::workers::notices::Notices;
use crate::workers::outgoing::Outgoing;
use crate::workers::output::Relay;
use crate::workers::probe::{ProbeAnswer, ProbeFailure, ProbeOrder, Prober};
use crate::workers::requests::Requests;
use in_hand::Hands;
use std::cell::Cell;
use std::collections::VecDeque;
use std::ffi::OsString;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd, RawFd};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::time::Instant;
use tracing::{debug, warn};

/// The number of scoreboard lines, pipes and probes: one for each wanted worker, and as many for retiring workers.
const MOST_LINES: u32 = 2 * MOST_WORKERS;

pub struct Workers {
    pub notices: Notices,
    pub lanes: Lanes,
    pub adopted: Activation,
    shut: Option<ShutWatch>,
    queue_watch: Option<QueueWatch>,
    /// The workers that run, oldest first.
    rows: Vec<WorkerIo>,
    observer: Observer,
    hands: Hands,
    prober: Prober,
    probing: Option<Probing>,
    next_probe: u64,
    /// The first probe whose failure counts. Earlier ones count only if they pass, because the loop had no time to
    /// take their answers.
    counts_from: u64,
    pipes: Option<ReadyPipes>,
    scoreboard: Option<Scoreboard>,
    requests: Requests,
    /// Whether it was logged that no request is counted.
    uncounted_told: Cell<bool>,
    pub outgoing: Outgoing,
    /// `None` if workers write to the supervisor's own streams.
    pub output: Option<Relay>,
    /// When the graceful timeout ends; `None` if that is unknown.
    pub end_by: Option<Instant>,
    memory: Option<Measure>,
    counts_queues: bool,
    /// Signals of which it was logged that workers do not handle them.
    deafness_logged: Vec<Signal>,
    /// Whether it was logged that the kernel does not show queues.
    blindness_logged: Cell<bool>,
    /// Workers that are to be measured, a few in each turn of the loop.
    pub to_measure: VecDeque<(Pid, Lane)>,
    cgroup: Option<Cgroup>,
    /// Kills for want of memory that were reported.
    out_of_memory: u64,
    /// The user and group of the workers, if they are not the supervisor's.
    ids: Option<(u32, u32)>,
}

struct WorkerIo {
    pid: Pid,
    /// The key of its pipe; `None` if the previous program has spawned it.
    spawn: Option<u64>,
    lane: u32,
    probe: Option<u64>,
    probe_failed: bool,
    /// Whether the kernel reports the next connection in its queue.
    queue_watched: bool,
}

impl WorkerIo {
    fn new(pid: Pid, spawn: Option<u64>, lane: Lane) -> Self {
        Self { pid, spawn, lane: lane.0, probe: None, probe_failed: false, queue_watched: false }
    }
}

/// The probe request, its target, and its timeout.
struct Probing {
    to: SocketAddr,
    get: Get,
    within: Duration,
}

/// The descriptors that a worker inherits beside its listeners, held until the spawn is over.
pub struct Extras {
    ready: Option<OwnedFd>,
    /// Its number in the worker.
    pub ready_fd: Option<RawFd>,
    scoreboard: Option<(RawFd, u64)>,
    output: [Option<OwnedFd>; 2],
    notify_socket: OsString,
}

impl Extras {
    /// The numbers as the worker sees them.
    pub fn of_worker(&self, order: &SpawnOrder) -> OfWorker {
        let SpawnOrder { slot, number, generation, .. } = *order;
        let notify_socket = self.notify_socket.clone();
        OfWorker { slot, number, generation, notify_socket, scoreboard: self.scoreboard }
    }

    /// The worker's stdout and stderr; `None` if they are the supervisor's own.
    pub fn output(&self) -> [Option<BorrowedFd<'_>>; 2] {
        self.output.each_ref().map(|fd| fd.as_ref().map(AsFd::as_fd))
    }
}

impl Workers {
    /// Must be called inside the runtime.
    ///
    /// # Errors
    /// What could not be created, if the kernel provides no socket, epoll or memory.
    pub fn new(
        pool: &PoolSettings,
        lanes: Lanes,
        identity: Option<&Identity>,
        given: Option<&ProgramHandover>,
    ) -> Result<Self, (&'static str, io::Error)> {
        let most = usize::try_from(MOST_LINES).unwrap_or(usize::MAX);
        let ids = identity.map(Identity::ids);
        let notices = Notices::new(identity, given.map(|given| &given.notify));
        let notices = notices.map_err(|error| ("notify sockets", error))?;
        let probing = probing(pool, &lanes);
        let pipes = pool.ready_pipe.then(|| ReadyPipes::new(most)).transpose();
        let least = least_fd(pool);
        let scoreboard = match given.and_then(|given| given.scoreboard) {
            Some((fd, lines)) => exec::adopt(fd).and_then(|fd| Scoreboard::take_over(fd, lines)).map(Some),
            None => pool.scoreboard.then(|| Scoreboard::new(MOST_LINES, least)).transpose(),
        };
        let output =
            pool.output.map(|style| Relay::new(style, ids, given.and_then(|given| given.output.as_ref())));
        let output = output.transpose().map_err(|error| ("--worker-output", error))?;
        let shut = lanes.shut_set().map(ShutWatch::new).transpose().map_err(|error| ("epoll", error))?;
        let queue_watch = lanes.is_steered().then(QueueWatch::new).transpose();
        let cgroup = Cgroup::find();
        let limit = cgroup.as_ref().and_then(Cgroup::memory).and_then(|memory| memory.limit);
        if pool.memory_pressure && limit.is_none() {
            warn!(
                "--memory-pressure has no effect: the container has no memory limit, or none is to be seen"
            );
        }
        Ok(Self {
            notices,
            observer: Observer::new(lanes.addresses().cloned().collect(), ids),
            hands: Hands::new(pool.drain_time),
            prober: Prober::new(most),
            probing,
            next_probe: 0,
            counts_from: 0,
            pipes: pipes.map_err(|error| ("--ready", error))?,
            requests: Requests::new(given.map(|given| given.pool.behind).unwrap_or_default()),
            uncounted_told: Cell::default(),
            outgoing: Outgoing::default(),
            scoreboard: scoreboard.map_err(|error| ("scoreboard", error))?,
            output,
            end_by: None,
            memory: measure(pool),
            counts_queues: lanes.is_steered(),
            deafness_logged: Vec::new(),
            blindness_logged: Cell::default(),
            to_measure: VecDeque::new(),
            shut,
            queue_watch: queue_watch.map_err(|error| ("epoll", error))?,
            rows: given.map(kept).unwrap_or_default(),
            out_of_memory: cgroup.as_ref().and_then(Cgroup::oom_kills).unwrap_or(0),
            cgroup,
            lanes,
            adopted: pool.adopted.clone(),
            ids,
        })
    }

    /// Applies changed settings.
    pub fn renew(&mut self, pool: &PoolSettings) {
        self.memory = measure(pool);
        self.uncounted_told.set(false);
        self.hands.renew(pool.drain_time);
        self.probing = probing(pool, &self.lanes).or(self.probing.take());
    }

    /// Whether new connections can be steered to single workers.
    pub fn steers(&self) -> bool {
        self.lanes.is_steered()
    }

    /// Ready when [`take`](Self::take) has something to return.
    pub fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let notified = self.notices.poll_ready(cx).is_ready();
        let piped = self.pipes.as_ref().is_some_and(|pipes| pipes.poll_ready(cx).is_ready());
        let answered = self.prober.poll_ready(cx).is_ready();
        let shut = self.shut.as_ref().is_some_and(|shut| shut.poll_ready(cx).is_ready());
        let written = self.output.as_ref().is_some_and(|output| output.poll_ready(cx).is_ready());
        let woken = self.queue_watch.as_ref().is_some_and(|watch| watch.poll_ready(cx).is_ready());
        if notified || piped || answered || shut || written || woken {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }

    /// The events that have come in. Notices are first, so that a ping is never later than a failed probe.
    pub fn take(&mut self) -> Vec<Event> {
        if let Some(output) = &mut self.output {
            output.turn();
        }
        let mut events = self.notices.take();
        events.extend(self.mend_shut());
        events.extend(self.woken_queues());
        for told in self.pipes.as_mut().map(ReadyPipes::take).unwrap_or_default() {
            let row = self.rows.iter().find(|row| row.spawn == Some(told.id));
            if let (ReadyOutcome::Ready, Some(row)) = (told.what, row) {
                events.push(Event::Worker { pid: row.pid, fact: WorkerFact::SaidReady });
            }
        }
        // At most one for each worker.
        while let Some(answer) = self.prober.take() {
            events.extend(self.probe_answered(answer));
        }
        events
    }

    /// `None` if the worker has ended meanwhile.
    fn probe_answered(&mut self, answer: ProbeAnswer) -> Option<Event> {
        let row = self.rows.iter_mut().find(|row| row.probe == Some(answer.id))?;
        row.probe = None;
        let pid = row.pid;
        let counts = answer.id >= self.counts_from;
        match answer.result {
            Ok(()) => row.probe_failed = false,
            // The first failure in a row is a warning: it shows why the worker is found to hang.
            Err(failure) if counts && !std::mem::replace(&mut row.probe_failed, true) => {
                warn!(pid = pid.0, "probe failed: {failure}");
            }
            Err(failure) => debug!(pid = pid.0, "probe failed: {failure}"),
        }
        let passed = match answer.result {
            Ok(()) => Some(true),
            Err(ProbeFailure::NotAsked(_)) => None,
            Err(_) => counts.then_some(false),
        };
        Some(Event::Worker { pid, fact: WorkerFact::Probed { passed } })
    }

    /// A worker that has shut its listener down accepts no more connections, and nor does any other holder
    /// (shutdown(2)): it counts as leaving. The listener listens again, for its successor.
    fn mend_shut(&mut self) -> Vec<Event> {
        let heard = self.shut.as_ref().is_some_and(ShutWatch::is_heard);
        if !heard && !self.lanes.has_mended() {
            return Vec::new();
        }
        let (shut, mended) = self.lanes.mend_shut();
        if let Err(error) = mended {
            debug!(%error, "the listeners cannot be set right");
        }
        let mut events = Vec::new();
        for lane in &shut {
            // If two workers share the lane, the first is retiring.
            if let Some(WorkerIo { pid, .. }) = self.rows.iter().find(|row| row.lane == *lane) {
                warn!(
                    pid = pid.0,
                    "worker shut its listener down: it gets no more connections, and is replaced"
                );
                events.push(Event::Worker { pid: *pid, fact: WorkerFact::SaidStopping });
            }
        }
        events
    }

    /// The private directories of the supervisor.
    pub fn places(&self) -> Vec<DirectoryLocation> {
        self.notices.places()
    }

    /// The scoreboard, and the number of its lines.
    pub fn scoreboard_fd(&self) -> Option<(BorrowedFd<'_>, u32)> {
        self.scoreboard.as_ref().map(|board| (board.fd(), MOST_LINES))
    }

    // Spawning

    /// Prepares the listeners and other descriptors of a worker.
    pub fn prepare(&mut self, order: &SpawnOrder) -> Result<Extras, SpawnFailure> {
        let failure = |step| {
            move |error: io::Error| SpawnFailure {
                step: call::name(&error).unwrap_or(step),
                errno: call::errno(&error),
                code: code::CANNOT_START,
            }
        };
        self.outgoing.begins();
        // If the predecessor still has the lane, its listeners stay as they are.
        let is_anothers = self.rows.iter().any(|row| row.lane == order.lane.0);
        let opened = if is_anothers { Ok(()) } else { self.lanes.open(order.lane.0) };
        opened.map_err(failure("listen"))?;
        let listeners = self.lanes.fds(order.lane.0).len();
        let mut next_fd = FIRST_FD.saturating_add(i32::try_from(listeners).unwrap_or(0));
        let scoreboard = self.scoreboard.as_ref().map(|board| {
            board.clear(order.lane.0);
            let fd = next_fd;
            next_fd = next_fd.saturating_add(1);
            (fd, scoreboard::offset(order.lane.0))
        });
        // Above all descriptors that the worker will see.
        let least = next_fd.saturating_add(1);
        let ready = self.pipes.as_mut().map(|pipes| pipes.open(order.id.0, least)).transpose();
        let ready = ready.map_err(failure("pipe"))?;
        let output = self.output.as_mut().map(|output| output.open(order, least)).transpose();
        let output = output.map_err(failure("pipe"))?.unwrap_or_default();
        let notify_socket = self.notices.open(order.id.0).map_err(failure("bind"))?;
        Ok(Extras { ready_fd: ready.as_ref().map(|_| next_fd), ready, scoreboard, output, notify_socket })
    }

    /// The descriptors that become 3, 4, ... in the worker.
    pub fn fds<'a>(&'a self, order: &SpawnOrder, extras: &'a Extras) -> Vec<BorrowedFd<'a>> {
        let mut fds = self.lanes.fds(order.lane.0);
        fds.extend(self.scoreboard.as_ref().map(Scoreboard::fd));
        fds.extend(extras.ready.as_ref().map(AsFd::as_fd));
        fds
    }

    pub fn has_spawned(&mut self, order: &SpawnOrder, pid: Pid) {
        self.rows.push(WorkerIo::new(pid, Some(order.id.0), order.lane));
        self.notices.has_spawned(order.id.0, pid);
        self.requests.begins(order.lane.0);
        if let Some(output) = &mut self.output {
            output.has_spawned(order, pid);
        }
    }

    pub fn has_not_spawned(&mut self, order: &SpawnOrder) {
        self.notices.forget(order.id.0);
        if let Some(pipes) = &mut self.pipes {
            pipes.forget(order.id.0);
        }
        if let Some(output) = &mut self.output {
            output.has_not_spawned(order);
        }
    }

    /// A child has ended, and its pid may be used again. Returns whether the kernel has killed a process for want of
    /// memory.
    pub fn has_ended(&mut self, pid: Pid, exit: Exit) -> bool {
        if let Some(output) = &mut self.output {
            output.has_ended(pid);
        }
        self.notices.has_ended(pid);
        self.observer.forget(pid);
        for row in self.rows.extract_if(.., |row| row.pid == pid) {
            if let (Some(pipes), Some(id)) = (&mut self.pipes, row.spawn) {
                pipes.forget(id);
            }
        }
        if exit.signal() != Some(Signal::KILL) {
            return false;
        }
        let kills = self.cgroup.as_ref().and_then(Cgroup::oom_kills).unwrap_or(0);
        let grew = kills > self.out_of_memory;
        // Each kill belongs to one exit: two kills at once are two exits.
        self.out_of_memory = self.out_of_memory.saturating_add(1).min(kills);
        grew
    }

    // Looking at workers

    /// Begins a probe. If too many are under way, the answer comes at once: `passed` is `None`.
    fn probe(&mut self, pid: Pid, lane: Lane) -> Option<Event> {
        let id = self.next_probe;
        self.next_probe = self.next_probe.wrapping_add(1);
        let row = self.rows.iter_mut().find(|row| row.pid == pid);
        if let (Some(Probing { to, get, within }), Some(row)) = (&self.probing, row) {
            let from = probe_source(lane.0);
            if self.prober.start(ProbeOrder { id, from, to: *to, get: get.clone(), within: *within }) {
                row.probe = Some(id);
                return None;
            }
        }
        Some(Event::Worker { pid, fact: WorkerFact::Probed { passed: None } })
    }

    pub fn probes(&self) -> bool {
        self.rows.iter().any(|row| row.probe.is_some())
    }

    /// No process ran for a while. `lost` is all the time that the clock has left out so far.
    pub fn was_paused(&mut self, lost: Duration) {
        self.requests.was_paused(lost);
        self.excuse_probes();
    }

    /// Answers to probes may have come and not been taken in time, so failures of probes under way do not count.
    pub fn excuse_probes(&mut self) {
        self.counts_from = self.next_probe;
    }

    /// The number of connections that wait. If the kernel does not tell, none is waited for.
    fn queue(&self, lane: Lane) -> u32 {
        self.lanes.queue(lane.0).unwrap_or_else(|error| {
            if !self.blindness_logged.replace(true) {
                warn!(%error, "how many connections wait cannot be seen: a worker is stopped as if none did");
            }
            0
        })
    }
}

/// The workers from the handover.
fn kept(given: &ProgramHandover) -> Vec<WorkerIo> {
    given.pool.kept.iter().map(|kept| WorkerIo::new(kept.pid, None, kept.lane)).collect()
}

/// The lowest descriptor number above those that the workers see.
pub fn least_fd(pool: &PoolSettings) -> RawFd {
    const SCOREBOARD_AND_READY: i32 = 2;
    let listeners = i32::try_from(pool.listeners().count()).unwrap_or(0);
    FIRST_FD.saturating_add(listeners).saturating_add(SCOREBOARD_AND_READY)
}

fn probing(pool: &PoolSettings, lanes: &Lanes) -> Option<Probing> {
    let to = crate::settings::probe_target(lanes.addresses());
    pool.probe.as_ref().zip(to).and_then(|(probe, to)| {
        let get = Get::new(&to.to_string(), &probe.path)?;
        Some(Probing { to, get, within: probe.timeout })
    })
}

fn measure(pool: &PoolSettings) -> Option<Measure> {
    pool.memory.map(|measure| match measure {
        MemoryMeasure::Rss => Measure::Rss,
        MemoryMeasure::Pss => Measure::Pss,
    })
}
