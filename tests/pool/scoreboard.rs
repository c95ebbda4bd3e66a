//! Workers that count in shared memory, with the middleware of examples/scoreboard.py.

use super::history::{assert_made_before_broken, lives, most_alive};
use super::python::python;
use super::{allow, pool};
use crate::harness::clients::Clients;
use crate::harness::http::{self, KeptAlive, Pending};
use crate::harness::load::Load;
use crate::harness::servers::server;
use crate::harness::{Launch, Run};
use std::ffi::OsString;
use std::fs;
use std::path::Path;

/// Answers `/echo/N` with N and anything else with its pid; `/wait` when a file appears.
const APP: &str = r#"
import asyncio, os, scoreboard

async def asgi(scope, receive, send):
    if scope["type"] == "lifespan":
        while True:
            event = (await receive())["type"]
            await send({"type": event + ".complete"})
            if event == "lifespan.shutdown":
                return
    path = scope["path"]
    while path == "/wait" and not os.path.exists("go"):
        await asyncio.sleep(0.005)
    body = (path[6:] if path.startswith("/echo/") else str(os.getpid())).encode()
    headers = [(b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})

app = scoreboard.ASGI(asgi)
"#;

/// A pool of uvicorns with that application behind the example's middleware.
fn uvicorn(options: &[&str]) -> Launch {
    let words = ["--fd", "{fd}", "--log-level", "warning", "app:app"].map(OsString::from);
    let command = [OsString::from(server("uvicorn"))].into_iter().chain(words).collect();
    let options: Vec<&str> = ["--count-requests", "scoreboard"].iter().chain(options).copied().collect();
    let launch = pool(&options, command);
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/scoreboard.py");
    fs::copy(example, launch.dir().join("scoreboard.py")).unwrap();
    fs::write(launch.dir().join("app.py"), APP).unwrap();
    launch
}

fn ready(launch: Launch, workers: usize) -> Run {
    let run = launch.start();
    run.log.wait_count("worker ready", workers);
    run
}

#[test]
fn a_worker_is_replaced_when_it_has_finished_enough_requests_and_none_is_lost() {
    let options = ["-n", "2", "--max-requests", "20", "--max-requests-jitter", "10%"];
    let run = ready(uvicorn(&options), 2);
    let load = Load::start(&run.address(0), "/", 4);
    let is_recycled = |line: &serde_json::Value| {
        line["reason"] == "max-requests" && line["message"].as_str().unwrap().starts_with("worker exited")
    };
    run.log.wait_until(|lines| lines.iter().filter(|line| is_recycled(line)).count() >= 3);
    let (ok, refused, lost, other) = load.stop();
    assert_eq!((refused, lost, other), (0, 0, 0), "{ok} answered: {}", run.log.text());
    assert!(ok >= 60);
    let lines = run.log.lines();
    let lives = lives(&lines);
    for life in &lives {
        let limit = life.spawn["max_requests"].as_u64().unwrap();
        assert!((20..=22).contains(&limit), "{limit}");
        let due = life.due.map(|at| &lines[at]);
        assert!(due.is_none_or(|due| due["requests"].as_u64().unwrap() >= limit), "{due:?}");
    }
    assert!(assert_made_before_broken(&lives, "max-requests", &lines) >= 3);
    assert!(most_alive(&lives) <= 3);
}

#[test]
fn requests_below_the_limit_and_those_in_hand_do_not_count() {
    let run = ready(uvicorn(&["--max-requests", "10"]), 1);
    let waiting: Vec<_> = (0..9).map(|_| Pending::get(&run.address(0), "/wait").unwrap()).collect();
    for _ in 0..9 {
        assert_eq!(http::get(&run.address(0), "/").unwrap().status, 200);
    }
    assert!(run.log.with_message("worker due").is_empty(), "{}", run.log.text());
    allow(&run, "go");
    for request in waiting {
        assert_eq!(request.answer().unwrap().status, 200);
    }
    assert_eq!(run.wait_for("worker due")["requests"], 18);
}

/// The counters are looked at once a second, and once more when a worker has ended.
#[test]
fn the_last_line_of_the_log_counts_every_request() {
    let mut run = ready(uvicorn(&["--max-requests", "1000"]), 1);
    for _ in 0..23 {
        assert_eq!(http::get(&run.address(0), "/").unwrap().status, 200);
    }
    run.signal(libc::SIGTERM);
    assert_eq!(run.wait_exit(), 0, "{}", run.log.text());
    let end = run.wait_for("pool stopped");
    assert_eq!(end["requests"], 23, "{end}");
}

#[test]
fn a_worker_whose_request_passes_its_deadline_hangs_and_another_does_not() {
    let run = ready(uvicorn(&["-n", "2"]).env("PREFORK_REQUEST_TIMEOUT", "2.5"), 2);
    let overdue = Pending::get(&run.address(0), "/wait").unwrap();
    let load = Load::start(&run.address(0), "/", 2);
    let hung = run.wait_for("worker hung");
    assert_eq!(hung["sign"], "request-deadline");
    let exited = run.wait_for("worker exited");
    assert_eq!((&exited["pid"], &exited["reason"]), (&hung["pid"], &"hung".into()));
    run.log.wait_count("worker ready", 3);
    assert!(overdue.answer().is_err());
    load.wait_ok(10);
    let (_, refused, _, other) = load.stop();
    assert_eq!((refused, other), (0, 0), "{}", run.log.text());
    assert_eq!(run.log.with_message("worker hung").len(), 1, "{}", run.log.text());
}

#[test]
fn a_worker_that_drains_says_goodbye_on_the_connections_it_has() {
    let run = ready(uvicorn(&["--drain-time", "20s"]), 1);
    let mut kept = KeptAlive::connect(&run.address(0)).unwrap();
    let before = kept.get("/").unwrap();
    assert_eq!(before.header("connection"), "");
    run.signal(libc::SIGHUP);
    run.wait_for("worker draining");
    // The flag is set when nothing waits for it, which is looked at every 20 ms.
    let last = loop {
        let answer = kept.get("/").unwrap();
        assert_eq!((answer.status, &answer.body), (200, &before.body));
        if !answer.header("connection").is_empty() {
            break answer;
        }
    };
    assert_eq!(last.header("connection"), "close");
    assert!(kept.get("/").is_err(), "and closes");
    assert!(run.log.with_message("worker stopping").is_empty(), "{}", run.log.text());
    // Its successor, with a line of its own, does not.
    let mut fresh = KeptAlive::connect(&run.address(0)).unwrap();
    let answer = fresh.get("/").unwrap();
    assert_ne!(answer.body, before.body);
    assert_eq!(answer.header("connection"), "");
}

#[test]
fn clients_that_keep_their_connections_lose_nothing_in_a_reload_without_any_signal() {
    let run = ready(uvicorn(&["-n", "2", "--replacement-gap", "100ms"]), 2);
    let clients = Clients::start(&run.address(0), [4, 4, 4, 0], |number, body| body.parse() == Ok(number));
    clients.wait_ok(50);
    for reload in 1..=2 {
        run.signal(libc::SIGHUP);
        run.log.wait_count("reload finished", reload);
    }
    let counts = clients.stop();
    for count in &counts {
        assert_eq!((count.lost(), count.refused, count.other), (0, 0, 0), "{counts:#?}");
    }
}

#[test]
fn web_sockets_count_when_they_come() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    for (module, file, class, counts) in [
        ("scoreboard", root.join("scoreboard.py"), "ASGI", "scoreboard"),
        ("counting", root.join("fastapi_app/counting.py"), "CountRequests", "notify"),
    ] {
        // None of them ends.
        let script = format!(
            "
sys.path.insert(0, os.getcwd())
import asyncio, {module}
async def application(scope, receive, send):
    await asyncio.Event().wait()
async def ten():
    counted = {module}.{class}(application)
    tasks = [asyncio.create_task(counted({{'type': 'websocket'}}, None, None)) for _ in range(10)]
    await asyncio.wait(tasks)
threading.Thread(target=lambda: asyncio.run(ten()), daemon=True).start()
serve()"
        );
        let launch = pool(&["--count-requests", counts, "--max-requests", "10"], python(&script));
        fs::copy(file, launch.dir().join(format!("{module}.py"))).unwrap();
        let run = launch.start();
        assert_eq!(run.wait_for("worker due")["requests"], 10, "{module}");
    }
}
