//! What a step does, in words of its own: the hash over whole histories is the same before and after a change of the
//! core's types.

use prefork_init::core::action::{
    Ask, Forward, ListenerAction, PoolCheck, Recipients, SpawnOrder, Target, TerminalAction, WorkerAction,
};
use prefork_init::core::handover::Handover;
use prefork_init::core::note::WorkerRef;
use prefork_init::core::{Action, Core, Lane, Monotonic, Note, Pid};
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
    let SpawnOrder { id, slot, number, lane, generation, max_requests } = order;
    format!("spawn {} {slot} {number} {} {generation} {max_requests:?}", id.0, lane.0)
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
        let _ = write!(text, " {:?} {:?} {:?};", kept.max_requests, kept.max_age, kept.max_memory);
    }
    for vacancy in &given.vacant {
        let lane = vacancy.lane.map(|lane| lane.0);
        let _ = write!(text, " {} {lane:?} {:?} {}", vacancy.slot, vacancy.spawn_at.0, vacancy.failures);
    }
    text
}

fn of_note(note: &Note) -> String {
    match note {
        Note::CommandStarted { pid } => format!("command-started {pid}"),
        Note::CommandExited { pid, exit, uptime } => format!("command-exited {pid} {exit} {uptime:?}"),
        Note::SignalReceived { received } => format!("signal-received {received:?}"),
        Note::SignalForwarded { signal, came } => format!("signal-forwarded {signal} {came}"),
        Note::SignalDropped { signal } => format!("signal-dropped {signal}"),
        Note::SignalIgnored { signal } => format!("signal-ignored {signal}"),
        Note::HandOffIgnored { signal } => format!("hand-off-ignored {signal}"),
        Note::TerminalGivenUp => "terminal-given-up".to_owned(),
        Note::OrphansLeft { signal, code } => format!("orphans-left {signal:?} {code}"),
        Note::Suspending => "suspending".to_owned(),
        Note::OrphanReaped { pid, exit, warn } => format!("orphan-reaped {pid} {exit} {warn}"),
        Note::WorkerSpawned { worker, max_requests, max_age, max_memory } => {
            format!("worker-spawned {} {max_requests:?} {max_age:?} {max_memory:?}", named(*worker))
        }
        Note::WorkerReady { worker, by, after } => {
            format!("worker-ready {} {by:?} {after:?}", named(*worker))
        }
        Note::WorkerUnobservable { worker } => format!("worker-unobservable {}", named(*worker)),
        Note::WorkerDue { worker, reason, requests } => {
            format!("worker-due {} {reason} {requests}", named(*worker))
        }
        Note::WorkerDraining { worker, reason } => format!("worker-draining {} {reason}", named(*worker)),
        Note::DrainCutShort { worker } => format!("drain-cut-short {}", named(*worker)),
        Note::WorkerBusy { worker, connections, surge } => {
            format!("worker-busy {} {connections} {surge:?}", named(*worker))
        }
        Note::WorkerHung { worker, sign } => format!("worker-hung {} {}", named(*worker), sign.name()),
        Note::WorkerSuspected { worker, verdict } => {
            format!("worker-suspected {} {verdict:?}", named(*worker))
        }
        Note::WorkerStoppedAccepting { worker } => format!("worker-stopped-accepting {}", named(*worker)),
        Note::WorkerAcceptsAgain { worker } => format!("worker-accepts-again {}", named(*worker)),
        Note::WorkerStopping { worker, reason, signal } => {
            format!("worker-stopping {} {reason} {signal}", named(*worker))
        }
        Note::WorkerKilled { worker, reason } => format!("worker-killed {} {reason}", named(*worker)),
        Note::WorkerExited { worker, exit, reason, uptime } => {
            format!("worker-exited {} {exit} {reason} {uptime:?}", named(*worker))
        }
        Note::ReloadRefused { generation } => format!("reload-refused {generation}"),
        Note::ReloadStarted { generation } => format!("reload-started {generation}"),
        Note::ReloadConfirmed { generation } => format!("reload-confirmed {generation}"),
        Note::ReloadPaused { generation, reason } => format!("reload-paused {generation} {reason}"),
        Note::ReloadFinished { generation, took } => format!("reload-finished {generation} {took:?}"),
        Note::ReloadFailed { generation, reason } => format!("reload-failed {generation} {reason}"),
        Note::ReloadResumed { generation } => format!("reload-resumed {generation}"),
        Note::UpgradeAsked { at_rest } => format!("upgrade-asked {at_rest}"),
        Note::Scaled { workers, from } => format!("scaled {workers} {from}"),
        Note::NotScaled { workers } => format!("not-scaled {workers}"),
        Note::SpawnFailed { slot, failure } => {
            format!("spawn-failed {slot} {} {} {}", failure.step, failure.errno, failure.code)
        }
        Note::RespawnDelayed { slot, delay, failures } => {
            format!("respawn-delayed {slot} {delay:?} {failures}")
        }
        Note::PoolReady { ready } => format!("pool-ready {ready}"),
        Note::PoolStopped => "pool-stopped".to_owned(),
        Note::GaveUp { slot, restarts, window } => format!("gave-up {slot} {restarts} {window:?}"),
        Note::ShutdownStarted { signal, drain_delay } => format!("shutdown-started {signal} {drain_delay:?}"),
        Note::ShutdownHurried { signal } => format!("shutdown-hurried {signal}"),
        Note::DeadlinePassed { after } => format!("deadline-passed {after:?}"),
        Note::ClosingCutShort => "closing-cut-short".to_owned(),
        Note::KillingAll => "killing-all".to_owned(),
        Note::StoppingOrphans => "stopping-orphans".to_owned(),
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
