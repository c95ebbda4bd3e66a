//! prefork-init: a small init (PID 1) for containers, and a prefork supervisor for servers in any language.
//!
//! This page is the map. The README says what the program promises; here is how it is built to keep it.
//!
//! # The way of the data
//!
//! ```text
//!      signalfd   NOTIFY_SOCKET   pipes, probes   clock   waitid
//!          │            │               │           │        │
//!          ▼            ▼               ▼           ▼        ▼
//!           ┌──────────────────────────────────────────────────────┐
//!           │  supervisor: waits for one Event at a time           │
//!           └──────┬────────────────────────────────────▲──────────┘
//!            Event │ now                                 │ answers: Spawned, SeenAccepting,
//!                  ▼                                     │          QueueSeen, Measured, ...  (Events too)
//!           ┌─────────────┐   [Action] in order   ┌──────┴─────┐
//!           │ core: step  ├──────────────────────▶│ os         │──▶ kernel: clone, kill, BPF, /proc, ...
//!           └──────┬──────┘                       └────────────┘
//!                  │ Snapshot         [Action::Note] ──▶ report::log ──▶ stderr
//!                  ▼
//!           ┌─────────────┐
//!           │ http        │◀── GET /livez /readyz /startupz /status /metrics, POST orders ◀── client: status, ctl
//!           └─────────────┘──▶ control: questions and orders, which the loop answers between two events
//! ```
//!
//! What stands above us hears of it too: `supervisor/observers.rs` has the manager ([`report::systemd`], sd_notify(3)) and the person at
//! the terminal ([`os::stdio::progress_line`]) told after each event.
//!
//! [`app`] sees which command it is, and says at the start of a pool what [`check`] knows for certain to be wrong.
//! [`settings::options`] reads the command line, the variables and the file (or [`settings::compat`], under the name of another init, whose
//! options it turns into ours), [`settings`] checks them ([`check`] goes no further, and tells what it thinks of them),
//! [`setup`] binds and opens what is needed, and [`supervisor::Supervisor`] takes over. Until then everything may
//! fail, with a [`values::error::StartError`] of one line; from then on nothing may, for there is no caller to return an error to.
//!
//! # A slot of the pool
//!
//! ```text
//!            spawn                 ready                 due: requests, age, memory, reload
//!  Vacant ─────────▶ Starting ───────────────▶ Ready ───────────────┐
//!    ▲ keeps its        │ exit                   │ exit            ▼
//!    │ lane             │ start timeout          │ hung    Ready + successor: Starting
//!    ├──────────────────┴────────────────────────┤                 │ successor ready: connections are steered to it
//!    │  backoff                                  │                 ▼
//!    │            the pool stops:                │        successor takes the seat: Ready
//!    └── (stays) ◀── Stopping ──▶ Killed         │        old, retiring: Draining ──▶ Stopping ──▶ Killed ──▶ reaped
//!                         graceful timeout       └─ a worker that ends at its {max_requests}: no backoff
//! ```
//!
//! *Vacant*: no worker; a time to spawn. *Starting*: runs, and is looked at every few milliseconds until it
//! waits for connections. *Ready*: serves. *Draining*: gets no new connections, and finishes what it has. *Stopping*: has
//! received the stop signal. *Killed*: has received `SIGKILL`. A *lane* is the set of listeners, one for each address, that one worker
//! at a time has; [`os::socket::lanes`] holds all of them, and [`os::socket::steer`] tells the kernel which of them get connections.
//!
//! The states of one worker are in `core/worker/`, those of a slot in `core/pool/slot.rs`. The pool is in `core/pool/`: `mod`
//! handles events and has the table of what follows. Its parts know themselves alone: `workers`, `reload`, `lanes`, `memory`,
//! `phase`, `first`, `clock`. What one means for another is in the other files: `lifecycle` has which workers come and go,
//! `replace` which is next and how many there are, `reloading` what a new generation does to them, `steering` which get
//! connections and which hang, `accepting` which take none any more, `waits` what is in hand, `verdict` what the end of a
//! worker means, `stop` the end, `refusing` its last connections, `upgrade` the exchange of our own program. Init mode, which
//! has one command and no slots, is in `core/init.rs`.
//!
//! Metrics count what is reported (`report/metrics/counts.rs`), and look at everything else when a scraper asks: tasks ask at
//! the [`control`] desk, and the loop answers between two events (`supervisor/scrape.rs`).
//!
//! # Invariants
//!
//! * **The core is pure.** No clock, no system call, no log, no chance but a seeded generator; it can be run for
//!   simulated years in a second (tests/simulation). It is a `no_std` crate without
//!   dependencies, so it cannot name the system.
//! * **`unsafe`, `libc` and `nix` are in [`os`] only**, and [`os`] decides nothing.
//! * **One thread.** It spawns and reaps; nothing else may wait for a child. Tasks (HTTP) see a [`core::Snapshot`] and
//!   touch no state; what they want of the loop they ask at a [`control::Desk`], and what became of an order is found by
//!   looking at one [`core::Status`] after the other ([`control::waiting`]).
//! * **One budget.** A spawn of any kind waits until fewer are alive than are wanted and `max_surge` together; what is
//!   planned waits for its turn, and no slot is emptied by plan while `max_unavailable` workers or more are missing.
//! * **Connections first.** A worker is told to stop only when no new connection can come to it, its queue is empty, and
//!   none of its connections is busy (`core/in_hand.rs`), or its time for that is over. A worker that hangs or is beyond
//!   `--max-memory-hard` is not waited for.
//! * **Answers come before outside events.** Actions are carried out in order and their answers are fed back before
//!   anything is reaped, so an exit cannot overtake the report of its own spawn.
//! * **A child is told of while it is a zombie** and let go afterwards, so a signal cannot reach a stranger that has
//!   received its number. Where waitid(2) is refused, [`os::process::reap`] says what holds instead.
//! * **All signals are blocked** from the first instruction of `main` and read from a descriptor; no handler ever runs. The
//!   real-time signals that mean nothing to a pool are ignored instead, so that the kernel discards them.
//! * **No wake-up without a reason**: a deadline of the core, a signal, a notice, a request. An idle init sleeps. While a
//!   deadline runs by which a process is hurt, the loop wakes once a second: so a pause in which nothing ran is noticed,
//!   and left out (`supervisor/clock.rs`).
//! * **Nothing waits for a reader**: log lines that stderr does not take are dropped and counted.
//! * **Every wait has a deadline**, unless the user said `infinity`. The one in which nothing else is heard, for a new
//!   child to execute the command, is 10 s at most (60 s for the one command of an init) and a millisecond as a rule.
//! * **A socket names its speaker**: each worker has a notify socket of its own, in a directory that its user reaches; only
//!   where others can reach it too is a sender looked up in /proc, a few at a time (`workers/notices.rs`).
//! * **Other users share nothing with us**: a child that changes its user is forked, and given no memory of ours.
//! * **Helpers are none of the core's business**: what `--before`, `--on-event` and `--ready-check` run is bounded in number
//!   and time, reaped before the core hears of it, and gone before we are ([`helpers`]).
//! * **No passed descriptor is ours**: the last close of one may take for ever. The kernel refuses them where it can, and
//!   otherwise a child of ours takes them and ends (`os/socket/passed.rs`).
//! * **A panic ends in order**: the hook in [`os::process::last_resort`] stops the children before it ends with code 70.
//!
//! # Where to start reading
//!
//! `core/lib.rs`, then `core/init.rs`, `core/worker/mod.rs`, `core/pool/mod.rs`; then [`supervisor`].

#![cfg_attr(not(test), no_main)]
#![cfg_attr(
    test,
    allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, clippy::arithmetic_side_effects)
)]

extern crate alloc;

mod app;
mod check;
mod client;
mod control;
#[cfg(feature = "generate")]
mod generate;
mod helpers;
mod http;
mod os;
mod report;
mod settings;
mod setup;
mod supervisor;
mod values;
mod workers;

use os::entry;
use prefork_core as core;
use report::log;

entry::entry_point!(exit_code);

fn exit_code() -> u8 {
    app::run(entry::args()).unwrap_or_else(|error| log::start_error(&error))
}
