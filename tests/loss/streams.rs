//! An endless answer goes on for as long as was promised, and costs the other clients nothing.

use super::promises::{Case, Client};
use super::servers::by_name;
use crate::harness::clients::counts::Counts;
use crate::harness::clients::{Clients, Model};
use crate::harness::{Run, launch};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

const GRACEFUL: Duration = Duration::from_secs(3);
const CLIENTS: usize = 2;
/// Enough that each of two workers has one.
const STREAMS: usize = 6;

/// Reads a stream to its end, and returns how long it went on from this moment; how its server ended it does not matter.
fn follow(run: &Run, since: Instant) -> JoinHandle<Duration> {
    let mut stream = TcpStream::connect(run.address(0)).unwrap();
    stream.write_all(b"GET /stream/ HTTP/1.1\r\nHost: test\r\n\r\n").unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    thread::spawn(move || {
        let mut last = since;
        while matches!(stream.read(&mut [0; 4096]), Ok(1..)) {
            last = Instant::now();
        }
        last.duration_since(since)
    })
}

/// Has streams under way while this happens to a pool under load, and holds it to the promises.
fn holds(run: &mut Run, case: Case, happen: impl FnOnce(&mut Run)) -> Counts {
    let taken = std::fs::read_to_string(run.dir().join("taken")).map_or(0, |text| text.lines().count());
    let clients =
        Clients::start(&run.address(0), [CLIENTS, 0, 0, 0], by_name("plain-node").unwrap().is_right);
    clients.wait_ok(20);
    let since = Instant::now();
    let streams: Vec<_> = (0..STREAMS).map(|_| follow(run, since)).collect();
    run.wait_lines("taken", taken + STREAMS);
    let asked = since.elapsed();
    happen(run);
    let counts = clients.stop()[Model::Close as usize].clone();
    let promised = case.promises(Client::Stream).lasts(GRACEFUL);
    for stream in streams {
        let lasted = stream.join().unwrap();
        // Events come 50 ms apart, and on a busy machine later.
        assert!(lasted + Duration::from_millis(500) > asked + promised, "{lasted:?}\n{}", run.log.text());
    }
    assert!(case.promises(Client::Close).is_kept(&counts, CLIENTS as u64), "{counts:?}");
    counts
}

#[test]
fn a_stream_goes_on_for_the_graceful_timeout_and_costs_the_others_nothing() {
    let words = ["-n", "2", "-b", "127.0.0.1:0", "--max-surge", "2", "--graceful-timeout", "3s", "--"];
    let server = by_name("plain-node").unwrap();
    let mut run = launch(words.into_iter().map(Into::into).chain((server.command)())).start();
    run.log.wait_count("worker ready", 2);
    let counts = holds(&mut run, Case::Planned, |run| {
        run.signal(libc::SIGHUP);
        run.wait_for("reload finished");
    });
    println!("reload: {counts:?}");
    let counts = holds(&mut run, Case::Term, |run| {
        run.signal(libc::SIGTERM);
        assert_eq!(run.wait_exit(), 0, "{}", run.log.text());
    });
    println!("term: {counts:?}");
}
