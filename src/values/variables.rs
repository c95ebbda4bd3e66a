//! Environment variables for workers, for hooks, or for the next program at an upgrade; those of options are elsewhere.

/// The worker's slot.
pub const WORKER_ID: &str = "PREFORK_WORKER_ID";
/// The worker's number among the living workers.
pub const WORKER_NUMBER: &str = "PREFORK_WORKER_NUMBER";
/// The worker's generation.
pub const GENERATION: &str = "PREFORK_GENERATION";
/// The descriptor of the scoreboard.
pub const SCOREBOARD_FD: &str = "PREFORK_SCOREBOARD_FD";
/// The offset of the worker's line in the scoreboard, in bytes.
pub const SCOREBOARD_OFFSET: &str = "PREFORK_SCOREBOARD_OFFSET";
/// The descriptor from which the next program in this process reads the handover.
pub const HANDOVER_FD: &str = "PREFORK_HANDOVER_FD";
/// Beside `PREFORK_EXPLAIN`: asks a program what it would take over at an upgrade, instead of the plan for people.
pub const HANDOVER_TERMS: &str = "PREFORK_HANDOVER_TERMS";
/// Inherited sockets that the previous program has moved, for the next one.
pub const HANDOVER_LISTEN: &str = "PREFORK_HANDOVER_LISTEN";
/// The name of an event, and the prefix of the other variables of a hook.
pub const EVENT: &str = "PREFORK_EVENT";
