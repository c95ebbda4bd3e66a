//! `/status`: everything visible, as JSON or as a table for people.

use super::edge::Edge;
use super::response::{HttpResponse, error, plain, respond};
use crate::core::snapshot::{Reload, ReloadState, Slot, Status, Worker};
use crate::os::process::usage::{self, Measure};
use crate::report::log;
use crate::values::duration::in_short;
use crate::values::json::{Object, list};
use hyper::StatusCode;
use std::fmt::Write;
use std::time::Duration;

/// The workers that are measured before the loop gets its turn: about 30 microseconds each.
const MEASURED_AT_ONCE: usize = 16;

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The supervisor's own facts, which the loop does not report.
struct OwnProcess {
    pid: u32,
    uptime: Duration,
}

pub(super) async fn answer(as_text: bool, edge: &Edge) -> HttpResponse {
    let Some(status) = edge.desk.status().await else {
        return respond(StatusCode::SERVICE_UNAVAILABLE, error("busy, or ending"));
    };
    let own = OwnProcess { pid: std::process::id(), uptime: edge.since.elapsed() };
    let memory = measure(&status).await;
    if as_text {
        plain(StatusCode::OK, text(&own, &status, &memory))
    } else {
        respond(StatusCode::OK, json(&own, &status, &memory) + "\n")
    }
}

/// The connections for which retiring workers are kept, one line for each worker.
pub(super) async fn waits(edge: &Edge) -> String {
    let Some(status) = edge.desk.status().await else { return String::new() };
    let of_worker = |worker: &Worker| {
        let waits = log::waits(worker.waits_for?, worker.slot, status.surge_to_go_on);
        Some(waits + "\n")
    };
    status.workers.iter().filter_map(of_worker).collect()
}

/// The resident memory of each worker and its descendants, in bytes; `None` if it is not visible.
async fn measure(status: &Status) -> Vec<Option<u64>> {
    let mut memory = Vec::with_capacity(status.workers.len());
    for workers in status.workers.chunks(MEASURED_AT_ONCE) {
        let measured = workers.iter().map(|worker| usage::memory(worker.pid?, Measure::Rss));
        memory.extend(measured);
        tokio::task::yield_now().await;
    }
    memory
}

fn json(own: &OwnProcess, status: &Status, memory: &[Option<u64>]) -> String {
    let summary = &status.summary;
    let slots = status.slots.iter().enumerate().map(|(number, slot)| {
        let respawn_in = slot.respawn_in.map(millis);
        Object::new()
            .with("slot", number)
            .with("failures", slot.failures)
            .maybe("respawn_in_ms", respawn_in)
            .end()
    });
    let workers = status.workers.iter().zip(memory).map(|(worker, memory)| of_worker(worker, *memory));
    Object::new()
        .text("version", VERSION)
        .with("pid", own.pid)
        .with("uptime_ms", millis(own.uptime))
        .text("mode", if status.slots.is_empty() { "init" } else { "pool" })
        .text("phase", summary.phase.name())
        .with("started", summary.started)
        .with("wanted", summary.workers)
        .with("ready", summary.ready)
        .with("min_ready", summary.min_ready)
        .with("gen", status.generation)
        .maybe("reload", status.reload.map(of_reload))
        .with("slots", list(slots))
        .with("workers", list(workers))
        .end()
}

fn of_reload(Reload { generation, state }: Reload) -> String {
    let object = Object::new().with("gen", generation);
    match state {
        ReloadState::Running => object.text("state", "running").end(),
        ReloadState::Finished => object.text("state", "finished").end(),
        ReloadState::Refused => object.text("state", "refused").end(),
        ReloadState::Failed(reason) => object.text("state", "failed").text("reason", reason).end(),
    }
}

fn of_worker(worker: &Worker, memory: Option<u64>) -> String {
    let object = Object::new()
        .with("slot", worker.slot)
        .with("number", worker.number)
        .with("gen", worker.generation)
        .maybe("pid", worker.pid)
        .text("state", worker.state.name());
    let object = match worker.reason {
        Some(reason) => object.text("reason", reason),
        None => object.with("reason", "null"),
    };
    let object = object
        .maybe("waits_for", worker.waits_for)
        .with("uptime_ms", millis(worker.uptime))
        .maybe("requests", worker.requests);
    let limits = worker.limits.fields().into_iter();
    limits.fold(object, |object, (name, limit)| object.maybe(name, limit)).maybe("rss", memory).end()
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

fn text(own: &OwnProcess, status: &Status, memory: &[Option<u64>]) -> String {
    let OwnProcess { pid, uptime } = own;
    let (summary, up) = (&status.summary, in_short(*uptime));
    let mut text = String::new();
    let phase = summary.phase.name();
    let _never_fails = if status.slots.is_empty() {
        writeln!(text, "init {phase}, pid {pid}, up {up}, prefork-init {VERSION}")
    } else {
        let (ready, wanted, needed) = (summary.ready, summary.workers, summary.min_ready);
        let generation = status.generation;
        writeln!(
            text,
            "pool {phase}: {ready} of {wanted} ready ({needed} needed), generation {generation}, pid {pid}, up {up}, prefork-init {VERSION}"
        )
    };
    let _never_fails = match status.reload {
        None => Ok(()),
        Some(Reload { generation, state: ReloadState::Running }) => {
            writeln!(text, "reload to generation {generation} under way")
        }
        Some(Reload { generation, state: ReloadState::Finished }) => {
            writeln!(text, "last reload finished: generation {generation}")
        }
        Some(Reload { generation, state: ReloadState::Refused }) => {
            writeln!(text, "last reload refused: the configuration of generation {generation} was wrong")
        }
        Some(Reload { generation, state: ReloadState::Failed(reason) }) => {
            writeln!(text, "last reload failed: generation {generation}, {reason}")
        }
    };
    text += "\n";
    text + &table(&rows(status, memory))
}

const HEADINGS: [&str; 8] = ["SLOT", "GEN", "PID", "STATE", "UPTIME", "REQUESTS", "RSS", "REASON"];

type Row = [String; 8];

/// The workers by slot, and the slots without a worker.
fn rows(status: &Status, memory: &[Option<u64>]) -> Vec<Row> {
    let mut rows: Vec<(u32, Row)> = Vec::new();
    for (worker, memory) in status.workers.iter().zip(memory) {
        let limited = worker.limits.requests.map(|most| format!("/{most}")).unwrap_or_default();
        rows.push((
            worker.slot,
            [
                worker.slot.to_string(),
                worker.generation.to_string(),
                worker.pid.map_or("-".to_owned(), |pid| pid.to_string()),
                worker.state.name().to_owned(),
                in_short(worker.uptime),
                worker.requests.map_or("-".to_owned(), |requests| format!("{requests}{limited}")),
                memory.map_or("-".to_owned(), bytes),
                worker.reason.map(|reason| reason.to_string()).unwrap_or_default(),
            ],
        ));
    }
    for (slot, Slot { failures, respawn_in, .. }) in (0u32..).zip(&status.slots) {
        let Some(respawn_in) = respawn_in else { continue };
        let none = || "-".to_owned();
        let when = format!("respawn in {}, {failures} failures in a row", in_short(*respawn_in));
        let row = [slot.to_string(), none(), none(), "vacant".to_owned(), none(), none(), none(), when];
        rows.push((slot, row));
    }
    // The sort is stable: within a slot, the holder of the seat stays first.
    rows.sort_by_key(|(slot, _)| *slot);
    rows.into_iter().map(|(_, row)| row).collect()
}

fn table(rows: &[Row]) -> String {
    let headings = HEADINGS.map(str::to_owned);
    let all = || std::iter::once(&headings).chain(rows);
    let mut text = String::new();
    let widths: Vec<usize> = (0..HEADINGS.len())
        .map(|column| all().filter_map(|row| row.get(column)).map(String::len).max().unwrap_or(0))
        .collect();
    for row in all() {
        let cells = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        let line = cells.collect::<Vec<_>>().join("   ");
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// `512K`, `38.1M`, `1.5G`.
fn bytes(number: u64) -> String {
    const UNITS: [(&str, u64); 2] = [("G", 1 << 30), ("M", 1 << 20)];
    for (unit, size) in UNITS {
        if number >= size {
            let tenths = number.saturating_mul(10).checked_div(size).unwrap_or(0);
            return format!("{}.{}{unit}", tenths / 10, tenths % 10);
        }
    }
    format!("{}K", number / 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_short() {
        for (number, shown) in
            [(0, "0K"), (1 << 20, "1.0M"), (40_000_000, "38.1M"), ((3 << 30) / 2, "1.5G"), (524_288, "512K")]
        {
            assert_eq!(bytes(number), shown);
        }
    }

    #[test]
    fn columns_are_as_wide_as_what_is_in_them() {
        let row = |pid: &str| ["0", "1", pid, "ready", "3.2s", "0", "1.0M", ""].map(str::to_owned);
        let text = table(&[row("7"), row("123456")]);
        assert_eq!(
            text,
            "SLOT   GEN   PID      STATE   UPTIME   REQUESTS   RSS    REASON\n\
             0      1     7        ready   3.2s     0          1.0M\n\
             0      1     123456   ready   3.2s     0          1.0M\n"
        );
    }
}
