//! Which metrics there are. Names, kinds, labels and help are told here and nowhere else; the README's table is held
//! against the page.

use super::counts::{Counts, Reloaded};
use super::exposition::MetricKind::{Counter, Gauge, Info};
use super::exposition::{Exposition, seconds};
use super::tally::Histogram;
use crate::core::Status;
use crate::core::snapshot::{Phase, State};
use crate::os::process::own_usage::OwnUsage;
use crate::os::process::usage::Usage;
use crate::os::socket::lanes::Queue;
use crate::os::socket::netstat::Listening;
use std::time::Duration;

/// The listener that all workers share has this in the place of a slot.
const SHARED: &str = "shared";

/// What concerns our own process and loop.
#[derive(Debug)]
pub struct Own<'a> {
    /// When our program started: seconds since 1970.
    pub started: Duration,
    /// What we use.
    pub usage: OwnUsage,
    /// Log lines that nobody took.
    pub dropped: u64,
    /// How long each turn of the loop took.
    pub turns: &'a Histogram,
    /// How late the loop was for its deadlines.
    pub lag: &'a Histogram,
}

/// What was seen of a slot.
#[derive(Clone, Copy, Debug, Default)]
pub struct SlotFigures {
    /// Its number.
    pub slot: u32,
    /// Failures in a row.
    pub failures: u32,
    /// How long until the next spawn; zero if somebody is there.
    pub respawn_in: Duration,
    /// Its own accept queue, if it has one.
    pub queue: Option<Queue>,
    /// Its worker.
    pub worker: Option<Seated>,
}

/// What was seen of a slot's worker.
#[derive(Clone, Copy, Debug, Default)]
pub struct Seated {
    /// What it and its descendants use.
    pub usage: Option<Usage>,
    /// Its proportional share of memory, if that is measured.
    pub share: Option<u64>,
    /// Since its start.
    pub uptime: Duration,
    /// What it has served, as far as it is known.
    pub requests: Option<u64>,
}

/// What was seen of a pool alone.
#[derive(Debug, Default)]
pub struct PoolSeen {
    /// The queue of listeners that all workers share.
    pub shared: Option<Queue>,
    /// What the network namespace counts.
    pub listening: Option<Listening>,
    /// Whether proportional shares are measured.
    pub shares: bool,
}

/// The page for who watches the supervisor itself.
#[must_use]
pub fn liveness(status: &Status, own: &Own<'_>) -> String {
    let mut page = Exposition::default();
    itself(&mut page, status, own);
    page.end()
}

/// The whole page; `pool` is left out in init mode.
#[must_use]
pub fn whole(
    status: &Status,
    own: &Own<'_>,
    counts: &Counts,
    seats: &[SlotFigures],
    pool: Option<&PoolSeen>,
) -> String {
    let mut page = Exposition::default();
    itself(&mut page, status, own);
    states(&mut page, status);
    if let Some(pool) = pool {
        lives(&mut page, status, counts);
        slots(&mut page, seats, pool);
    }
    workers(&mut page, seats, pool);
    processes(&mut page, counts);
    page.end()
}

fn itself(page: &mut Exposition, status: &Status, own: &Own<'_>) {
    let version = [(env!("CARGO_PKG_VERSION"), 1)];
    page.each("prefork_build", Info, "Which prefork-init this is.", "version", version);
    let phases = [Phase::Running, Phase::Draining, Phase::Stopping, Phase::GivenUp];
    let phases = phases.map(|phase| (phase.name(), u8::from(phase == status.summary.phase)));
    page.each(
        "prefork_phase",
        Gauge,
        "1 for the phase that the supervisor is in, 0 for the others.",
        "phase",
        phases,
    );
    let summary = &status.summary;
    page.one("prefork_workers_desired", Gauge, "Workers that are wanted.", summary.workers);
    page.one("prefork_workers_ready", Gauge, "Slots with a worker that serves.", summary.ready);
    let help = "Workers that have to be ready for the pool to be ready.";
    page.one("prefork_workers_min_ready", Gauge, help, summary.min_ready);
    let help =
        "How long the supervisor's loop was busy at a time, hearing nothing new; its count are the turns.";
    page.histogram("prefork_loop_turn_seconds", help, own.turns);
    let help = "How late the supervisor's loop woke for a deadline: suspended, throttled, or busy.";
    page.histogram("prefork_loop_lag_seconds", help, own.lag);
    page.one(
        "prefork_log_lines_dropped",
        Counter,
        "Log lines dropped, since nobody read stderr.",
        own.dropped,
    );
    let OwnUsage { cpu, resident, virtual_memory, open_fds, max_fds } = own.usage;
    page.one("process_cpu_seconds", Counter, "Processor time of the supervisor itself.", seconds(cpu));
    page.maybe("process_resident_memory_bytes", Gauge, "Resident memory of the supervisor itself.", resident);
    page.maybe(
        "process_virtual_memory_bytes",
        Gauge,
        "Address space of the supervisor itself.",
        virtual_memory,
    );
    page.maybe("process_open_fds", Gauge, "Open descriptors of the supervisor itself.", open_fds);
    page.maybe("process_max_fds", Gauge, "Descriptors that the supervisor may open.", max_fds);
    let help = "When this program started, since 1970; an upgrade starts it, and all counters, anew.";
    page.one("process_start_time_seconds", Gauge, help, seconds(own.started));
}

fn states(page: &mut Exposition, status: &Status) {
    let in_state = |state: State| {
        let count = status.workers.iter().filter(|worker| worker.state == state).count();
        (state.name(), u64::try_from(count).unwrap_or(u64::MAX))
    };
    let help = "Workers that are alive, those that make way among them; of init mode the command.";
    page.each("prefork_workers", Gauge, help, "state", State::ALL.map(in_state));
}

fn lives(page: &mut Exposition, status: &Status, counts: &Counts) {
    page.one("prefork_spawns", Counter, "Workers started.", counts.spawns);
    page.one("prefork_spawn_failures", Counter, "Workers that could not be started.", counts.spawn_failures);
    let help = "Workers started after the last one of the slot had failed.";
    page.one("prefork_restarts", Counter, help, counts.restarts);
    page.each("prefork_exits", Counter, "Workers that ended.", "reason", counts.exits.each());
    let recycles = counts.exits.each().filter(|(reason, _)| reason.is_recycling());
    page.each(
        "prefork_recycles",
        Counter,
        "Workers that ended after a planned replacement.",
        "reason",
        recycles,
    );
    let help = "Workers killed since they did not end in time: at the graceful timeout, or hung ones at the abort time.";
    page.each("prefork_kills", Counter, help, "reason", counts.kills.each());
    let signs = counts.hung.each().map(|(sign, count)| (sign.name(), count));
    page.each("prefork_hung", Counter, "Workers that were found to hang.", "sign", signs);
    let help = "Workers that took no connections any more, though they were ready, for a while or for good.";
    page.one("prefork_stopped_accepting", Counter, help, counts.stopped_accepting);
    page.histogram("prefork_ready_seconds", "From a worker's start until it was ready.", &counts.ready);
    let help = "From the last new connection for a worker to its stop signal.";
    page.histogram("prefork_drain_seconds", help, &counts.drain);
    page.histogram("prefork_stop_seconds", "From a worker's stop signal to its end.", &counts.stop);
    page.one("prefork_generation", Gauge, "The generation that has proved itself.", status.generation);
    page.one(
        "prefork_reload_in_progress",
        Gauge,
        "1 while a reload is under way.",
        u8::from(counts.reloading),
    );
    let help = "Reloads that are over; overtaken ones by another reload or the stop, and once more when they go on after all.";
    let reloads = counts.reloads.each().map(|(result, count): (Reloaded, u64)| (result.name(), count));
    page.each("prefork_reloads", Counter, help, "result", reloads);
}

fn slots(page: &mut Exposition, seats: &[SlotFigures], pool: &PoolSeen) {
    let failures = seats.iter().map(|seat| (seat.slot, seat.failures));
    page.each("prefork_slot_failures", Gauge, "Failures of the slot's workers in a row.", "slot", failures);
    let help = "How long until the next start in a slot without a worker; 0 with one.";
    let waits = seats.iter().map(|seat| (seat.slot, seconds(seat.respawn_in)));
    page.each("prefork_slot_respawn_delay_seconds", Gauge, help, "slot", waits);
    let own = seats.iter().filter_map(|seat| Some((seat.slot.to_string(), seat.queue?)));
    let queues: Vec<(String, Queue)> =
        own.chain(pool.shared.map(|queue| (SHARED.to_owned(), queue))).collect();
    let help = "Connections that wait to be accepted.";
    let lengths = queues.iter().map(|(slot, queue)| (slot, queue.length));
    page.each("prefork_accept_queue_length", Gauge, help, "slot", lengths);
    let help = "Connections that may wait to be accepted.";
    let limits = queues.iter().map(|(slot, queue)| (slot, queue.limit));
    page.each("prefork_accept_queue_limit", Gauge, help, "slot", limits);
    let help = "Connections that found an accept queue full, of all TCP listeners of the network namespace.";
    page.maybe(
        "prefork_listen_overflows",
        Counter,
        help,
        pool.listening.map(|listening| listening.overflows),
    );
    let help = "Connections that were dropped before accept for any reason, of all TCP listeners of the network namespace.";
    page.maybe("prefork_listen_drops", Counter, help, pool.listening.map(|listening| listening.drops));
}

fn workers(page: &mut Exposition, seats: &[SlotFigures], pool: Option<&PoolSeen>) {
    let seated: Vec<(u32, Seated)> =
        seats.iter().filter_map(|seat| Some((seat.slot, seat.worker?))).collect();
    let used: Vec<(u32, Usage)> =
        seated.iter().filter_map(|(slot, worker)| Some((*slot, worker.usage?))).collect();
    let help = "Since the start of the slot's worker.";
    let uptimes = seated.iter().map(|(slot, worker)| (slot, seconds(worker.uptime)));
    page.each("prefork_worker_uptime_seconds", Gauge, help, "slot", uptimes);
    let help = "Resident memory of the slot's worker and its descendants; what several share counts in each.";
    let resident = used.iter().map(|(slot, usage)| (slot, usage.resident));
    page.each("prefork_worker_resident_memory_bytes", Gauge, help, "slot", resident);
    if pool.is_some_and(|pool| pool.shares) {
        let help = "Proportional share of memory of the slot's worker and its descendants, as last measured.";
        let shares = seated.iter().filter_map(|(slot, worker)| Some((slot, worker.share?)));
        page.each("prefork_worker_proportional_memory_bytes", Gauge, help, "slot", shares);
    }
    let help = "Processor time of the slot's worker and its descendants; begins anew with the next worker.";
    page.each(
        "prefork_worker_cpu_seconds",
        Counter,
        help,
        "slot",
        used.iter().map(|(slot, usage)| (slot, seconds(usage.cpu))),
    );
    let help = "Open descriptors of the slot's worker and its descendants.";
    let fds = used.iter().filter_map(|(slot, usage)| Some((slot, usage.open_fds?)));
    page.each("prefork_worker_open_fds", Gauge, help, "slot", fds);
    let help = "Processes that the slot's worker is, with its descendants.";
    page.each(
        "prefork_worker_processes",
        Gauge,
        help,
        "slot",
        used.iter().map(|(slot, usage)| (slot, usage.processes)),
    );
    if pool.is_some() {
        let help = "Requests that the slot's worker has counted; begins anew with the next worker.";
        let requests = seated.iter().filter_map(|(slot, worker)| Some((slot, worker.requests?)));
        page.each("prefork_worker_requests", Counter, help, "slot", requests);
    }
}

fn processes(page: &mut Exposition, counts: &Counts) {
    page.one("prefork_orphans_reaped", Counter, "Orphans that came to us and ended.", counts.orphans);
    let help = "Signals that came, by what they came as.";
    page.each("prefork_signals_received", Counter, help, "signal", counts.received.each());
    let help = "Signals passed on, by what they were passed on as.";
    page.each("prefork_signals_forwarded", Counter, help, "signal", counts.forwarded.each());
}

/// The seats of a status: who is seated, and what remains of the status.
#[must_use]
pub fn seats(status: &Status) -> Vec<(SlotFigures, Option<crate::core::snapshot::Worker>)> {
    let seated = |slot: u32| status.workers.iter().find(|worker| worker.slot == slot).copied();
    if status.slots.is_empty() {
        // The one command of init mode.
        return vec![(SlotFigures::default(), seated(0))];
    }
    let of_slot = |(slot, state): (u32, &crate::core::snapshot::Slot)| {
        let seat = SlotFigures {
            slot,
            failures: state.failures,
            respawn_in: state.respawn_in.unwrap_or_default(),
            ..SlotFigures::default()
        };
        // Where nobody is seated, whoever is told of makes way.
        (seat, seated(slot).filter(|_| state.respawn_in.is_none()))
    };
    (0..).zip(&status.slots).map(of_slot).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::exit::Reason;
    use crate::core::snapshot::{Slot, Snapshot, Worker};
    use crate::core::{Lane, Pid};
    use crate::report::metrics::sample_worker;

    fn status(slots: Vec<Slot>, workers: Vec<Worker>) -> Status {
        let summary = Snapshot { phase: Phase::Running, workers: 2, ready: 1, min_ready: 1, started: true };
        Status { summary, generation: 1, reload: None, surge_to_go_on: None, slots, workers }
    }

    #[test]
    fn a_vacant_slot_has_no_worker_though_an_old_one_of_it_makes_way() {
        let taken = Slot { failures: 0, respawn_in: None, kept_lane: None };
        let vacant = Slot { failures: 3, respawn_in: Some(Duration::from_secs(2)), kept_lane: Some(Lane(1)) };
        let workers = vec![
            sample_worker(0, 10, State::Ready),
            sample_worker(0, 11, State::Starting),
            sample_worker(1, 12, State::Stopping),
            // Of a slot that is gone.
            sample_worker(5, 13, State::Draining),
        ];
        let seats = seats(&status(vec![taken, vacant], workers));
        let pids: Vec<_> =
            seats.iter().map(|(seat, worker)| (seat.slot, worker.and_then(|w| w.pid))).collect();
        assert_eq!(pids, [(0, Some(Pid(10))), (1, None)]);
        assert_eq!((seats[1].0.failures, seats[1].0.respawn_in), (3, Duration::from_secs(2)));
    }

    #[test]
    fn the_number_of_series_depends_on_the_number_of_slots_alone() {
        let own = Own {
            started: Duration::ZERO,
            usage: OwnUsage::default(),
            dropped: 0,
            turns: &Histogram::new(&[1.0]),
            lag: &Histogram::new(&[1.0]),
        };
        let page = |counts: &Counts, slots: u32| {
            let worker =
                Some(Seated { usage: Some(Usage::default()), requests: Some(0), ..Seated::default() });
            let seats: Vec<SlotFigures> =
                (0..slots).map(|slot| SlotFigures { slot, worker, ..SlotFigures::default() }).collect();
            let status = status(Vec::new(), Vec::new());
            whole(&status, &own, counts, &seats, Some(&PoolSeen::default()))
        };
        let series = |page: &str| page.lines().filter(|line| !line.starts_with('#')).count();
        let mut counts = Counts::default();
        let before = series(&page(&counts, 2));
        for reason in Reason::ALL {
            counts.exits.add(reason);
            counts.kills.add(reason);
        }
        assert_eq!(series(&page(&counts, 2)), before);
        assert_eq!(series(&page(&counts, 3)), before + 7);
    }
}
