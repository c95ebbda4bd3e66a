//! What a step does, in words of its own: the hash over whole histories is the same before and after a change of the
//! core's types.

use prefork_core::action::{
    Ask, Forward, ListenerAction, PoolCheck, Recipients, SpawnOrder, Target, TerminalAction, WorkerAction,
};
use prefork_core::handover::Handover;
use prefork_core::note::{InitNote, PoolNote, ReloadNote, SignalNote, WorkerNote, WorkerRef};
use prefork_core::{Action, Core, Lane, Limits, Monotonic, Note, Pid};
use std::fmt::{Debug, Write};

/// FNV-1a, which is the same with each compiler.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hash(pub u64);

impl Default for Hash {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Hash {
    pub fn add(&mut self, text: &str) {
        for byte in text.bytes() {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}

/// A step: when it is, what it does, and what is to be seen of the core afterwards.
pub fn of_step(now: Monotonic, core: &Core, actions: &[Action]) -> String {
    let mut text = format!("{:?}:", now.0);
    for action in actions {
        let _ = write!(text, " {}", of_action(action));
    }
    let seen = core.snapshot();
    let deadline = core.next_deadline().map(|at| at.0);
    let _ = writeln!(
        text,
        " | {deadline:?} {} {} {} {} {} {}",
        core.hurts(),
        seen.phase.name(),
        seen.workers,
        seen.ready,
        seen.min_ready,
        seen.started
    );
    for worker in core.status(now).workers {
        let _ = write!(text, "{} {} {:?} ", worker.slot, worker.state.name(), worker.reason);
    }
    text
}

fn of_action(action: &Action) -> String {
    match action {
        Action::Spawn(order) => of_order(order),
        Action::Signal { to: Recipients::Process(pid), signal } => format!("signal {pid} {signal}"),
        Action::Signal { to: Recipients::Takers(pid), signal } => format!("signal-takers {pid} {signal}"),
        Action::Signal { to: Recipients::Group(pid), signal } => format!("signal-group {pid} {signal}"),
        Action::Signal { to: Recipients::Leftovers(group), signal } => {
            format!("signal-leftovers {group} {signal}")
        }
        Action::Signal { to: Recipients::Everyone, signal } => format!("signal-all {signal}"),
        Action::Signal { to: Recipients::Orphans { except: workers, asked_groups: groups }, signal } => {
            format!("signal-orphans {signal} but {} {}", pids(workers), pids(groups))
        }
        Action::Forward(Forward { to, received, spare_unaware, asks }) => {
            format!("forward {} {received:?} {spare_unaware} {asks}", target(*to))
        }
        Action::ContinueStopped(to) => format!("continue {}", target(*to)),
        Action::Terminal(TerminalAction::Lend { group }) => format!("lend-terminal {group}"),
        Action::Terminal(TerminalAction::TakeBack { group }) => format!("take-terminal-back {group}"),
        Action::Terminal(TerminalAction::StopSelf { job }) => format!("stop-self {job}"),
        Action::Worker { worker: WorkerRef { pid, .. }, lane, act: WorkerAction::Observe } => {
            format!("observe {pid} {}", lane.0)
        }
        Action::Worker { worker: WorkerRef { pid, .. }, lane, act: WorkerAction::WatchQueue } => {
            format!("watch-queue {pid} {}", lane.0)
        }
        Action::Worker { worker: WorkerRef { pid, .. }, lane, act: WorkerAction::CheckAccepting } => {
            format!("look-whether-accepting {pid} {}", lane.0)
        }
        Action::Worker { worker: WorkerRef { pid, .. }, lane, act: WorkerAction::CheckQueue } => {
            format!("look-at-queue {pid} {}", lane.0)
        }
        Action::Worker {
            worker: WorkerRef { pid, .. },
            act: WorkerAction::CheckConnections { since },
            ..
        } => format!("look-at-connections {pid} {:?}", since.0),
        Action::Worker { worker: WorkerRef { pid, .. }, lane, act: WorkerAction::Hint { signal } } => {
            format!("hint {pid} {} {signal:?}", lane.0)
        }
        Action::Worker { worker: WorkerRef { pid, .. }, lane, act: WorkerAction::Probe } => {
            format!("probe {pid} {}", lane.0)
        }
        Action::Worker { worker: WorkerRef { pid, .. }, lane, act: WorkerAction::Measure } => {
            format!("measure {pid} {}", lane.0)
        }
        Action::Worker { worker, act: WorkerAction::Inspect, .. } => format!("inspect {}", named(*worker)),
        Action::Worker { worker, lane, act: WorkerAction::ExplainLateness { watched } } => {
            format!("explain-lateness {} {} {watched}", named(*worker), lane.0)
        }
        Action::Worker { worker, act: WorkerAction::CheckCounting, .. } => {
            format!("check-counting {}", named(*worker))
        }
        Action::Listeners(ListenerAction::Restore { lane }) => format!("restore {}", lane.0),
        Action::Listeners(ListenerAction::Steer { lanes: to }) => format!("steer {}", lanes(to)),
        Action::Check(PoolCheck::Lane { lane }) => format!("look-at-lane {}", lane.0),
        Action::Check(PoolCheck::Queues { lanes: of }) => format!("look-at-queues {}", lanes(of)),
        Action::Check(PoolCheck::Connections { pids: of, since }) => {
            format!("look-at-all-connections {} {:?}", pids(of), since.0)
        }
        Action::Listeners(ListenerAction::HoldOff) => "hold".to_owned(),
        Action::Listeners(ListenerAction::Refuse { held_off }) => format!("refuse {held_off}"),
        Action::Check(PoolCheck::Listeners { workers }) => {
            let each = workers.iter().map(|(pid, lane)| format!("{pid}/{} ", lane.0));
            format!("look-at-listeners {}", each.collect::<String>())
        }
        Action::Check(PoolCheck::Container) => "measure-container".to_owned(),
        Action::Ask(Ask::ReadConfiguration) => "read-configuration".to_owned(),
        Action::Ask(Ask::Upgrade(given)) => of_handover(given),
        Action::Ask(Ask::Reap) => "reap".to_owned(),
        Action::Note(note) => of_note(note),
        Action::Exit(code) => format!("exit {code}"),
    }
}

fn of_order(order: &SpawnOrder) -> String {
    let SpawnOrder { id, slot, number, lane, generation, limits } = order;
    format!("spawn {} {slot} {number} {} {generation} {:?}", id.0, lane.0, limits.requests)
}

fn of_limits(limits: &Limits) -> String {
    format!("{:?} {:?} {:?}", limits.requests, limits.age, limits.memory)
}

fn of_handover(given: &Handover) -> String {
    let mut text = format!(
        "upgrade {:?} {:?} {} {} {} {} {} {}:",
        given.now.0,
        given.behind,
        given.workers,
        given.generation,
        given.newest,
        given.next_spawn,
        given.ever_ready,
        each(&given.leftovers.iter().map(|(group, at)| (group.0, at.map(|at| at.0))).collect::<Vec<_>>()),
    );
    for kept in &given.kept {
        let _ = write!(
            text,
            " {} {} {} {} {} {:?} {:?} {:?} {}",
            kept.slot,
            kept.number,
            kept.lane.0,
            kept.generation,
            kept.pid,
            kept.spawned.0,
            kept.ready.0,
            kept.ping_every,
            kept.requests,
        );
        let _ = write!(text, " {};", of_limits(&kept.limits));
    }
    for vacancy in &given.vacant {
        let lane = vacancy.lane.map(|lane| lane.0);
        let _ = write!(text, " {} {lane:?} {:?} {}", vacancy.slot, vacancy.spawn_at.0, vacancy.failures);
    }
    text
}

fn of_note(note: &Note) -> String {
    match note {
        Note::Init(InitNote::CommandStarted { pid }) => format!("command-started {pid}"),
        Note::Init(InitNote::CommandExited { pid, exit, uptime }) => {
            format!("command-exited {pid} {exit} {uptime:?}")
        }
        Note::Signal(SignalNote::Received(received)) => format!("signal-received {received:?}"),
        Note::Signal(SignalNote::Forwarded { signal, came }) => format!("signal-forwarded {signal} {came}"),
        Note::Signal(SignalNote::Dropped { signal }) => format!("signal-dropped {signal}"),
        Note::Signal(SignalNote::Ignored { signal }) => format!("signal-ignored {signal}"),
        Note::Signal(SignalNote::HandOffIgnored { signal }) => format!("hand-off-ignored {signal}"),
        Note::Init(InitNote::TerminalGivenUp) => "terminal-given-up".to_owned(),
        Note::Init(InitNote::OrphansLeft { signal, code }) => format!("orphans-left {signal:?} {code}"),
        Note::Init(InitNote::Suspending) => "suspending".to_owned(),
        Note::Init(InitNote::OrphanReaped { pid, exit, warn }) => {
            format!("orphan-reaped {pid} {exit} {warn}")
        }
        Note::Worker(worker, WorkerNote::Spawned { limits }) => {
            format!("worker-spawned {} {}", named(*worker), of_limits(limits))
        }
        Note::Worker(worker, WorkerNote::Ready { by, after }) => {
            format!("worker-ready {} {by:?} {after:?}", named(*worker))
        }
        Note::Worker(worker, WorkerNote::Unobservable) => format!("worker-unobservable {}", named(*worker)),
        Note::Worker(worker, WorkerNote::Due { reason, requests }) => {
            format!("worker-due {} {reason} {requests}", named(*worker))
        }
        Note::Worker(worker, WorkerNote::Draining { reason }) => {
            format!("worker-draining {} {reason}", named(*worker))
        }
        Note::Worker(worker, WorkerNote::DrainCutShort) => format!("drain-cut-short {}", named(*worker)),
        Note::Worker(worker, WorkerNote::Busy { connections, surge }) => {
            format!("worker-busy {} {connections} {surge:?}", named(*worker))
        }
        Note::Worker(worker, WorkerNote::Hung { sign }) => {
            format!("worker-hung {} {}", named(*worker), sign.name())
        }
        Note::Worker(worker, WorkerNote::Suspected { verdict }) => {
            format!("worker-suspected {} {verdict:?}", named(*worker))
        }
        Note::Worker(worker, WorkerNote::StoppedAccepting) => {
            format!("worker-stopped-accepting {}", named(*worker))
        }
        Note::Worker(worker, WorkerNote::AcceptsAgain) => format!("worker-accepts-again {}", named(*worker)),
        Note::Worker(worker, WorkerNote::Stopping { reason, signal }) => {
            format!("worker-stopping {} {reason} {signal}", named(*worker))
        }
        Note::Worker(worker, WorkerNote::Killed { reason }) => {
            format!("worker-killed {} {reason}", named(*worker))
        }
        Note::Worker(worker, WorkerNote::Exited { exit, reason, uptime }) => {
            format!("worker-exited {} {exit} {reason} {uptime:?}", named(*worker))
        }
        Note::Reload(generation, ReloadNote::Refused) => format!("reload-refused {generation}"),
        Note::Reload(generation, ReloadNote::Started) => format!("reload-started {generation}"),
        Note::Reload(generation, ReloadNote::Confirmed) => format!("reload-confirmed {generation}"),
        Note::Reload(generation, ReloadNote::Paused { reason }) => {
            format!("reload-paused {generation} {reason}")
        }
        Note::Reload(generation, ReloadNote::Finished { took }) => {
            format!("reload-finished {generation} {took:?}")
        }
        Note::Reload(generation, ReloadNote::Failed { reason }) => {
            format!("reload-failed {generation} {reason}")
        }
        Note::Reload(generation, ReloadNote::Resumed) => format!("reload-resumed {generation}"),
        Note::Pool(PoolNote::UpgradeAsked { at_rest }) => format!("upgrade-asked {at_rest}"),
        Note::Pool(PoolNote::Scaled { workers, from }) => format!("scaled {workers} {from}"),
        Note::Pool(PoolNote::NotScaled { workers }) => format!("not-scaled {workers}"),
        Note::Init(InitNote::SpawnFailed { slot, failure }) => {
            format!("spawn-failed {slot} {} {} {}", failure.step, failure.errno, failure.code)
        }
        Note::Pool(PoolNote::RespawnDelayed { slot, delay, failures }) => {
            format!("respawn-delayed {slot} {delay:?} {failures}")
        }
        Note::Pool(PoolNote::Ready { ready }) => format!("pool-ready {ready}"),
        Note::Pool(PoolNote::Stopped) => "pool-stopped".to_owned(),
        Note::Pool(PoolNote::GaveUp { slot, restarts, window }) => {
            format!("gave-up {slot} {restarts} {window:?}")
        }
        Note::Pool(PoolNote::ShutdownStarted { signal, drain_delay }) => {
            format!("shutdown-started {signal} {drain_delay:?}")
        }
        Note::Pool(PoolNote::ShutdownHurried { signal }) => format!("shutdown-hurried {signal}"),
        Note::Init(InitNote::DeadlinePassed { after }) => format!("deadline-passed {after:?}"),
        Note::Pool(PoolNote::ClosingCutShort) => "closing-cut-short".to_owned(),
        Note::Init(InitNote::KillingAll) => "killing-all".to_owned(),
        Note::Init(InitNote::StoppingOrphans) => "stopping-orphans".to_owned(),
    }
}

fn target(to: Target) -> String {
    match to {
        Target::Process(pid) => format!("process {pid}"),
        Target::Group(pid) => format!("group {pid}"),
    }
}

fn named(worker: WorkerRef) -> String {
    let WorkerRef { slot, generation, pid } = worker;
    format!("{slot} {generation} {pid}")
}

fn pids(pids: &[Pid]) -> String {
    each(&pids.iter().map(|pid| pid.0).collect::<Vec<_>>())
}

fn lanes(lanes: &[Lane]) -> String {
    each(&lanes.iter().map(|lane| lane.0).collect::<Vec<_>>())
}

fn each(values: &[impl Debug]) -> String {
    format!("{values:?}")
}
