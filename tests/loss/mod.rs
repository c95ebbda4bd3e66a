//! No request is lost by anything that is planned, whatever the server: counted by clients that tell exactly how each
//! request ended. `cargo bench --bench loss` prints the same counts for other options, `benches/race` for other managers.

mod clients;
mod life;
mod promises;
mod servers;
mod streams;
mod table;

use crate::harness::clients::Model;
use life::{CLIENTS, Phase, Row, live};
use promises::{Case, Client};
pub use servers::apps;
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
    for (model, counts) in Model::ALL.into_iter().zip(&row.counts) {
        let promise = Case::of(row.phase).promises(Client::of(model));
        assert!(promise.is_kept(counts, CLIENTS as u64), "{model:?}: {promise:?}\n{told}");
    }
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

#[test]
fn a_plain_uvicorn_loses_nothing() {
    keeps_the_promise("plain-uvicorn");
}

#[test]
fn a_plain_uvicorn_with_a_drain_signal_loses_nothing() {
    keeps_the_promise("plain-uvicorn-usr2");
}

#[test]
fn a_plain_gunicorn_with_threads_loses_nothing() {
    keeps_the_promise("plain-gthread");
}

#[test]
fn a_plain_gunicorn_without_threads_loses_nothing() {
    keeps_the_promise("plain-sync");
}

#[test]
fn a_plain_hypercorn_with_its_own_graceful_timeout_loses_nothing() {
    keeps_the_promise("plain-hypercorn");
}

#[test]
fn a_plain_node_loses_nothing() {
    keeps_the_promise("plain-node");
}

#[test]
fn a_plain_http_server_loses_nothing() {
    keeps_the_promise("plain-http.server");
}
