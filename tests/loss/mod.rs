//! No request is lost by anything that is planned, whatever the server: counted by clients that tell exactly how each
//! request ended. `cargo bench --bench loss` prints the same counts, for other options and for other managers too.

mod clients;
mod life;
mod servers;
mod table;

use life::{CLIENTS, Phase, Row, live};
use servers::by_name;

/// Runs a server through everything, and holds it to the promise.
fn keeps_the_promise(name: &str) {
    let server = by_name(name).unwrap();
    let mut rows = Vec::new();
    for phases in server.lives() {
        let (lived, code) = live(server, &phases, &server.hint());
        assert_eq!(code, phases.contains(&Phase::Term).then_some(0));
        lived.into_iter().for_each(|row| row.join(&mut rows));
    }
    println!("{}", table::head());
    rows.iter().for_each(|row| println!("{}", table::line(row)));
    rows.iter().for_each(assert_kept);
}

fn assert_kept(row: &Row) {
    let told = table::line(row);
    let [close, think, busy] = &row.counts;
    assert!(row.counts.iter().all(|counts| counts.other == 0), "{told}");
    if row.phase == Phase::Term.name() {
        assert_eq!(close.lost(), 0, "{told}");
        return;
    }
    assert!(row.counts.iter().all(|counts| counts.refused == 0), "{told}");
    if row.phase == Phase::Crash.name() {
        // What the dead worker had in hand.
        assert!(close.lost() <= CLIENTS as u64, "{told}");
        return;
    }
    assert_eq!((close.lost(), think.lost(), busy.lost()), (0, 0, 0), "{told}");
}

#[test]
fn uvicorn_on_asyncio_loses_nothing() {
    keeps_the_promise("uvicorn-asyncio");
}

#[test]
fn uvicorn_on_uvloop_loses_nothing() {
    keeps_the_promise("uvicorn-uvloop");
}

#[test]
fn gunicorn_asgi_loses_nothing() {
    keeps_the_promise("gunicorn-asgi");
}

#[test]
fn gunicorn_gthread_loses_nothing() {
    keeps_the_promise("gunicorn-gthread");
}

#[test]
fn hypercorn_loses_nothing() {
    keeps_the_promise("hypercorn");
}

#[test]
fn node_loses_nothing() {
    keeps_the_promise("node");
}

#[test]
fn a_worker_that_blocks_in_accept_loses_nothing() {
    keeps_the_promise("blocking-accept");
}

#[test]
fn the_example_worker_loses_nothing() {
    keeps_the_promise("example-worker");
}
