//! What replacing, reloading, crashing and stopping cost in requests: the loss test's clients and servers, as a table.
//!
//! ```sh
//! cargo build --release --example worker
//! cargo bench --bench loss -- [--no-hint] [--times N] [--servers A,B] [--phases age,reload] \
//!     [-- POOL OPTIONS]
//! ```
//!
//! `--no-hint`: without the drain signal. `--times`: the sums of so many lives. What follows `--` goes to the pool, such as
//! `--listener shared`. The same clients at other managers: `benches/race/run --only pool-loss`.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
#![allow(clippy::arithmetic_side_effects)]

#[allow(dead_code, reason = "shared with the tests, which use the rest")]
#[path = "../../tests/harness/mod.rs"]
mod harness;
/// The tests' modules but those that only assert.
#[path = "../../tests/loss"]
mod loss {
    pub mod life;
    #[allow(dead_code, reason = "shared with the tests, which ask by name")]
    pub mod servers;
    pub mod table;
}

use loss::life::{Phase, Row, live};
use loss::servers::{SERVERS, Server};
use loss::table;

/// What the user asked for.
#[derive(Default)]
struct Wanted {
    no_hint: bool,
    times: u32,
    servers: Option<String>,
    phases: Option<String>,
    options: Vec<String>,
}

fn main() {
    let wanted = wanted();
    println!("{}", table::head());
    for server in SERVERS.iter().filter(|server| named(&wanted.servers, server.name)) {
        wanted.print(server);
    }
}

impl Wanted {
    /// The lives of a server in our pool.
    fn live(&self, server: &Server) -> Vec<Row> {
        let mut options: Vec<&str> = self.options.iter().map(String::as_str).collect();
        if !self.no_hint {
            options.extend(server.hint());
        }
        let mut rows = Vec::new();
        for mut phases in server.lives() {
            phases.retain(|phase: &Phase| named(&self.phases, phase.name()));
            if !phases.is_empty() {
                let (lived, code) = live(server, &phases, &options);
                lived.into_iter().for_each(|row| row.join(&mut rows));
                if let Some(code @ 1..) = code {
                    println!("{:<24} ended with code {code}", server.name);
                }
            }
        }
        rows
    }

    /// Lives so many times, and prints the sums.
    fn print(&self, server: &Server) {
        let mut rows = Vec::new();
        for _ in 0..self.times.max(1) {
            self.live(server).into_iter().for_each(|row| row.join(&mut rows));
        }
        rows.iter().for_each(|row| println!("{}", table::line(row)));
    }
}

/// Whether a name is in the list; everybody is where there is none.
fn named(list: &Option<String>, name: &str) -> bool {
    list.as_ref().is_none_or(|list| list.split(',').any(|wanted| wanted == name))
}

fn wanted() -> Wanted {
    let mut wanted = Wanted::default();
    // cargo's own comes last, behind the pool's options.
    let mut args = std::env::args().skip(1).filter(|arg| arg != "--bench");
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--no-hint" => wanted.no_hint = true,
            "--times" => wanted.times = args.next().and_then(|times| times.parse().ok()).expect("a number"),
            "--servers" => wanted.servers = args.next(),
            "--phases" => wanted.phases = args.next(),
            "--" => wanted.options.extend(args.by_ref()),
            _ => panic!("unknown argument {arg:?}: see the head of benches/loss/main.rs"),
        }
    }
    wanted
}
