//! The same load on servers under their own managers: reload by HUP, their own limit of requests, and TERM.

use crate::harness::clients::counts::Counts;
use crate::harness::clients::{ByModel, Clients};
use crate::harness::servers::server;
use crate::harness::{Run, eventually, http, launch};
use crate::loss::life::{CLIENTS, Phase, Row};
use crate::loss::servers::apps;
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::net::TcpListener;
use std::path::Path;

/// How many workers the manager keeps, and how many more it has started when a life by requests is over.
const WORKERS: usize = 2;
const REPLACEMENTS: usize = 6;
/// HUPs in a life, one after the other.
const RELOADS: usize = 2;

/// A server that manages its own workers.
pub struct Peer {
    pub name: &'static str,
    /// What follows `python -m`, with `{address}` and `{port}` for where to listen.
    command: &'static [&'static str],
    /// What follows that, so that a worker ends after so many requests.
    limit: [&'static str; 2],
}

/// All of them.
pub const PEERS: [Peer; 5] = [
    Peer {
        name: "uvicorn-asyncio",
        command: &[
            "uvicorn",
            "--workers=2",
            "--port={port}",
            "--loop=asyncio",
            "--log-level=warning",
            "app:asgi",
        ],
        limit: ["--limit-max-requests", "1000"],
    },
    Peer {
        name: "uvicorn-uvloop",
        command: &[
            "uvicorn",
            "--workers=2",
            "--port={port}",
            "--loop=uvloop",
            "--log-level=warning",
            "app:asgi",
        ],
        limit: ["--limit-max-requests", "1000"],
    },
    Peer {
        name: "gunicorn-asgi",
        command: &["gunicorn", "-w2", "-b{address}", "-kasgi", "--no-control-socket", "app:asgi"],
        limit: ["--max-requests", "1000"],
    },
    Peer {
        name: "gunicorn-gthread",
        command: &[
            "gunicorn",
            "-w2",
            "-b{address}",
            "-kgthread",
            "--threads=8",
            "--no-control-socket",
            "app:wsgi",
        ],
        limit: ["--max-requests", "1000"],
    },
    Peer {
        name: "hypercorn",
        command: &["hypercorn", "-w2", "-b{address}", "--log-level=WARNING", "app:asgi"],
        limit: ["--max-requests", "1000"],
    },
];

impl Peer {
    /// A life with reloads, and one with a limit of requests.
    pub fn live(&self) -> Vec<Row> {
        let row = |phase, counts| Row { server: format!("{} alone", self.name), phase, counts };
        let (mut run, clients, address) = self.start(&[]);
        for _ in 0..RELOADS {
            reload(&run, &address);
        }
        let reloaded = clients.take();
        run.signal(libc::SIGTERM);
        run.wait_exit();
        let ended: ByModel<Counts> = clients.stop();

        let (_run, clients, address) = self.start(&self.limit);
        all_seen(&address, WORKERS + REPLACEMENTS);
        vec![row(Phase::Requests, clients.stop()), row(Phase::Reload, reloaded), row(Phase::Term, ended)]
    }

    fn start(&self, more: &[&str]) -> (Run, Clients, String) {
        // Free until a moment ago: the managers do not tell which port they took.
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let (port, address) = (address.port().to_string(), address.to_string());
        let word = |word: &&str| OsString::from(word.replace("{address}", &address).replace("{port}", &port));
        let words = ["-m"].iter().chain(self.command).chain(more).map(word);
        let launch = launch(words).not_pid1().program(&server("python"));
        let run = launch.env("PYTHONPATH", apps().to_str().unwrap()).start();
        all_seen(&address, WORKERS);
        let clients = Clients::start(&address, [CLIENTS, CLIENTS, CLIENTS, 0], |number, body| {
            body.parse() == Ok(number)
        });
        clients.wait_ok(20);
        let _steady = clients.take();
        (run, clients, address)
    }
}

/// Asks who answers, and remembers it.
fn see(address: &str, seen: &mut BTreeSet<i64>) {
    let answer = http::get(address, "/pid").ok();
    seen.extend(answer.and_then(|answer| answer.body.parse::<i64>().ok()));
}

/// Those who answer, once it is so many.
fn all_seen(address: &str, count: usize) -> BTreeSet<i64> {
    let mut seen = BTreeSet::new();
    eventually("answers of so many workers", || {
        see(address, &mut seen);
        (seen.len() >= count).then(|| seen.clone())
    })
}

/// HUP, and waits until all who were there are gone and as many others answer.
fn reload(run: &Run, address: &str) {
    let old = all_seen(address, WORKERS);
    let outside: Vec<i32> = old.iter().map(|pid| run.outer_pid(*pid)).collect();
    let mut now = BTreeSet::new();
    run.signal(libc::SIGHUP);
    eventually("a new generation", || {
        see(address, &mut now);
        let gone = outside.iter().all(|pid| !Path::new(&format!("/proc/{pid}")).exists());
        (gone && now.difference(&old).count() >= WORKERS).then_some(())
    });
}
