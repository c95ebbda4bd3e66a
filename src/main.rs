//! prefork-init: a small init (PID 1) for containers, and a prefork supervisor for servers in any language.
//!
//! This page is the map. The README says what the program promises; this page says how it is built.
//!
//! # The flow of data
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
//! After each event `supervisor/observers.rs` also notifies the service manager ([`report::systemd`], sd_notify(3)) and
//! the user at the terminal ([`os::stdio::progress_line`]).
//!
//! [`app`] chooses the command, and logs at the start of a pool what [`check`] finds certain to be wrong.
//! [`settings::options`] reads the command line, the variables and the file; under the name of another init,
//! [`settings::compat`] does, and turns that init's options into ours. [`settings`] checks them; the command `check`
//! ends here, and prints its remarks. [`setup`] binds and opens what is needed, and [`supervisor::Supervisor`] takes
//! over. Until then everything may fail, with a [`values::error::StartError`] of one line; from then on nothing may,
//! since no caller is left that could take an error.
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
//! *Vacant*: no worker; a time to spawn. *Starting*: the worker runs, and is looked at every few milliseconds until it
//! waits for connections. *Ready*: it serves. *Draining*: it gets no new connections, and finishes those it has.
//! *Stopping*: it has received the stop signal. *Killed*: it has received `SIGKILL`. A *lane* is the set of listeners,
//! one for each address, that one worker at a time has; [`os::socket::lanes`] holds all of them, and
//! [`os::socket::steer`] tells the kernel which of them get connections.
//!
//! The states of one worker are in `core/worker/`. Init mode, which has one command and no slots, is in `core/init.rs`.
//! The pool is in `core/pool/`; `mod` handles events, and has the table of what follows from each. Its parts are states
//! that do not know the pool:
//!
//! | part | state |
//! |---|---|
//! | `slot` | the states of a slot |
//! | `workers` | the slots and all workers |
//! | `undecided` | ended workers whose end is not understood yet |
//! | `first` | the start, until one worker has been ready |
//! | `phase` | the way from start to end |
//! | `reload` | generations |
//! | `lanes` | which lanes get connections |
//! | `memory` | when to measure, and the container's shortage of memory |
//! | `clock` | time without pauses in which nothing ran |
//!
//! The other files connect the parts:
//!
//! | file | rules |
//! |---|---|
//! | `lifecycle` | which workers come and go |
//! | `replace` | which worker is next, and how many there are |
//! | `reloading` | the effect of a new generation on the workers |
//! | `steering` | which workers get connections, and which hang |
//! | `accepting` | which workers have stopped accepting |
//! | `measuring` | measurements of workers and container |
//! | `waits` | what draining workers have in hand |
//! | `verdict` | the meaning of a worker's end |
//! | `requests` | requests over the control socket, and forwarded signals |
//! | `status` | what `/status` and the metrics show |
//! | `stop`, `refusing` | the end, and its last connections |
//! | `upgrade` | the exchange of our own program |
//!
//! Metrics count what is reported (`report/metrics/counts.rs`). Everything else is read when a scraper asks: tasks ask
//! at the [`control`] desk, and the loop answers between two events (`supervisor/scrape.rs`). What a new limit touches
//! is in CONTRIBUTING.md.
//!
//! # Invariants
//!
//! * **The core is pure.** No clock, no system call, no log, no randomness but a seeded generator; simulated years run
//!   in a second (tests/simulation). It is a `no_std` crate without dependencies, so it cannot name the system.
//! * **`unsafe`, `libc` and `nix` are in [`os`] only**, and [`os`] decides nothing.
//! * **One thread.** It spawns and reaps; no other code may wait for a child. Tasks (HTTP) see a [`core::Snapshot`] and
//!   change no state. They ask the loop at a [`control::Desk`]; the outcome of an order is found by comparing one
//!   [`core::Status`] with the next ([`control::waiting`]).
//! * **One budget.** A spawn of any kind waits while as many workers live as are wanted, plus `max_surge`. Planned
//!   replacements wait for their turn, and none empties a slot while `max_unavailable` or more workers are missing.
//! * **Connections first.** A worker gets the stop signal only when no new connection can reach it, its queue is empty,
//!   and none of its connections is busy (`core/in_hand.rs`), or its time for that is over. A worker that hangs or is
//!   beyond `--max-memory-hard` is not waited for.
//! * **Answers come before outside events.** Actions are carried out in order, and their answers are fed back before
//!   any child is reaped, so an exit cannot overtake the report of its own spawn.
//! * **A child's end is reported while the child is a zombie**, and it is released afterwards, so a signal cannot reach
//!   a stranger with a reused pid. For where waitid(2) is refused, see [`os::process::reap`].
//! * **All signals are blocked** from the first instruction of `main` and read from a descriptor; no handler ever runs.
//!   The real-time signals that mean nothing to a pool are ignored instead, so that the kernel discards them.
//! * **No wake-up without a reason**: a deadline of the core, a signal, a notice, a request. An idle init sleeps. While
//!   a deadline that hurts a process is running, the loop wakes once a second: so it notices a pause in which nothing
//!   ran, and leaves it out (`supervisor/clock.rs`).
//! * **The loop never waits for a reader**: log lines that stderr does not take are dropped and counted.
//! * **Every wait has a deadline**, unless the user chose `infinity`. The one wait in which the loop is deaf, for a new
//!   child to execute the command, is a millisecond as a rule and 10 s at most (60 s for the one command of an init).
//! * **A socket identifies its sender**: each worker has a notify socket of its own, in a directory that its user can
//!   reach. Only where other processes can reach it too is a sender looked up in /proc, a few at a time
//!   (`workers/notices.rs`).
//! * **Other users share nothing with us**: a child that changes its user is forked, and shares no memory.
//! * **The core does not know helpers**: the commands of `--before`, `--on-event` and `--ready-check` are limited in
//!   number and time, reaped before the core sees them, and gone before we end ([`helpers`]).
//! * **We own no passed descriptor**: its last close may take for ever. The kernel refuses them where it can; otherwise
//!   a child takes them and ends (`os/socket/passed.rs`).
//! * **A panic ends in order**: the hook in [`os::process::last_resort`] stops the children before it ends with code
//!   70.
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
