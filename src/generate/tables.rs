//! Tables of the man page that are the README's, too; tests/docs holds them to be the same.

/// A signal; what comes of it in init mode; and in pool mode.
pub const SIGNALS: [(&str, &str, &str); 10] = [
    (
        "TERM",
        "passed on; starts the graceful timeout",
        "not ready, drain delay, stop, graceful timeout, kill, exit 0",
    ),
    ("INT, QUIT", "passed on", "the same without the drain delay"),
    ("ABRT", "passed on", "the same: a manager's watchdog sends it to all"),
    ("a second of these", "passed on", "ends the drain delay, and leaves 5 s at most"),
    ("a third", "passed on", "kills at once"),
    ("HUP", "passed on", "reload"),
    ("TTIN, TTOU", "passed on", "one worker more, one fewer"),
    ("USR2", "passed on", "upgrade: exchange our own program"),
    (
        "real-time signals",
        "passed on, each with its value, in order",
        "discarded by the kernel, unless forwarded or rewritten",
    ),
    ("all others", "passed on", "logged, not passed on: HUP, USR1 and USR2 end most servers"),
];

/// An exit code, and its meaning.
pub const EXIT_CODES: [(&str, &str); 9] = [
    ("the command's own, 128+n", "init mode, unless remapped"),
    ("0", "the pool was stopped in order, even if some worker had to be killed (the log says so)"),
    ("2", "wrong option, value or combination"),
    ("3", "a crash loop was given up"),
    ("70", "an error of our own; everything was stopped in order first"),
    ("124", "--deadline or --before-timeout has passed, and everything was stopped in order"),
    ("of --before", "it failed: its code, or 128+n; 128+n too if signal n came while it ran"),
    (
        "125",
        "something could not be set up: an address in use, say, or a system call that a sandbox refuses and the line names",
    ),
    ("126, 127", "the command cannot be executed; was not found"),
];

/// A variable that a worker gets, and its meaning.
pub const OF_WORKERS: [(&str, &str); 7] = [
    (
        "LISTEN_FDS, LISTEN_PID, LISTEN_FDNAMES",
        "the listeners, from descriptor 3 on, as sd_listen_fds(3) has it",
    ),
    ("NOTIFY_SOCKET", "where to say READY=1 and X_PREFORK_REQUESTS=<total>, as sd_notify(3) has it"),
    ("PREFORK_WORKER_ID", "the slot, from 0; stable over replacements"),
    (
        "PREFORK_WORKER_NUMBER",
        "unlike the slot, of no two living workers the same: from 0 to workers + surge - 1, the lowest that is free",
    ),
    ("PREFORK_GENERATION", "the generation, from 1; grows at each reload"),
    ("WATCHDOG_USEC", "with --watchdog"),
    ("PREFORK_SCOREBOARD_FD, PREFORK_SCOREBOARD_OFFSET", "with --count-requests scoreboard"),
];
