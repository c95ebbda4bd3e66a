//! Variables that tell a program of ours, or of ours anew, something: not those of options.

/// Which slot a worker has.
pub const WORKER_ID: &str = "PREFORK_WORKER_ID";
/// Its number among the living workers.
pub const WORKER_NUMBER: &str = "PREFORK_WORKER_NUMBER";
/// Its generation.
pub const GENERATION: &str = "PREFORK_GENERATION";
/// The descriptor of the scoreboard.
pub const SCOREBOARD_FD: &str = "PREFORK_SCOREBOARD_FD";
/// Where a worker's line in the scoreboard begins, in bytes.
pub const SCOREBOARD_OFFSET: &str = "PREFORK_SCOREBOARD_OFFSET";
/// The descriptor by which the next program in our process is told what it takes over.
pub const HANDOVER_FD: &str = "PREFORK_HANDOVER_FD";
/// Asks a program, beside `PREFORK_EXPLAIN`, what it would take over at an upgrade, in place of the plan for people.
pub const HANDOVER_TERMS: &str = "PREFORK_HANDOVER_TERMS";
/// Given sockets that a program before us has moved, for the next one.
pub const HANDOVER_LISTEN: &str = "PREFORK_HANDOVER_LISTEN";
/// The name of an event, and the beginning of what else a hook is told of it.
pub const EVENT: &str = "PREFORK_EVENT";
