//! The loss test's clients as a program, for `benches/race`: on whatever server listens at an address.
//!
//! ```sh
//! load ADDRESS CLIENTS    # so many of each model
//! ```
//!
//! Orders come on stdin, a line each: `ok N` answers once each model has N answers since the last `take`, `take` prints what
//! became of the requests since then, a line of JSON, and `stop` does so after the last ones. The end of stdin is the end.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]
#![allow(clippy::arithmetic_side_effects)]

#[allow(dead_code, reason = "shared with the tests, which use the rest")]
#[path = "../../tests/harness/clients/mod.rs"]
mod clients;

use clients::counts::Counts;
use clients::{Clients, IsRight};
use std::io::{BufRead, stdin};
use std::thread;
use std::time::{Duration, Instant};

/// How long any wait may take.
const LIMIT: Duration = Duration::from_secs(30);

/// What the clients wait with.
fn eventually<T>(what: &str, mut attempt: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(result) = attempt() {
            return result;
        }
        assert!(start.elapsed() < LIMIT, "never happened: {what}");
        thread::sleep(Duration::from_millis(2));
    }
}

fn json(name: &str, counts: &Counts) -> String {
    format!(
        r#""{name}":{{"ok":{},"lost":{},"refused":{},"other":{},"slowest":{},"gap":{}}}"#,
        counts.ok,
        counts.lost(),
        counts.refused,
        counts.other,
        counts.slowest.as_micros(),
        counts.gap.as_micros(),
    )
}

fn main() {
    let args: Vec<String> = std::env::args().collect();
    let [_, address, each] = &args[..] else { panic!("load ADDRESS CLIENTS") };
    let each: usize = each.parse().expect("a number of clients");
    let is_right: IsRight = |number, body| body.parse() == Ok(number);
    // A connection a request, and one kept; beside them the one kept by clients that ask again.
    let plain = Clients::start(address, [each, 0, each, 0], is_right);
    let again = Clients::start_with(address, [0, 0, each, 0], is_right, true);
    let told = |plain: [Counts; 4], again: [Counts; 4]| {
        let lines = [json("close", &plain[0]), json("keep", &plain[2]), json("again", &again[2])];
        println!("{{{}}}", lines.join(","));
    };
    for order in stdin().lock().lines() {
        let order = order.unwrap();
        match order.split_once(' ').unwrap_or((&order, "")) {
            ("ok", count) => {
                let count = count.parse().expect("a number of answers");
                plain.wait_ok(count);
                again.wait_ok(count);
                println!("{{}}");
            }
            ("take", "") => told(plain.take(), again.take()),
            ("stop", "") => {
                plain.last_round();
                told(plain.stop(), again.stop());
                return;
            }
            _ => panic!("no such order: {order:?}"),
        }
    }
}
