//! A worker that takes no connections any more gets none, has a successor, and finishes what it has in hand.

use super::python::{SERVER, python};
use super::{allow, assert_stops, pool, wait_serving, who_answers};
use crate::harness::http::{self, Pending};
use crate::harness::servers::server;
use crate::harness::{Launch, Run, eventually, kill};
use serde_json::Value;
use std::ffi::OsString;
use std::fs;
use std::thread;
use std::time::{Duration, Instant};

/// Answers with the pid; `/hold` when there is the file `go`.
const APP: &str = r#"
import asyncio, os

async def app(scope, receive, send):
    if scope["type"] != "http":
        return
    body = str(os.getpid()).encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
    if scope["path"] == "/hold":
        with open("held", "a") as file:
            file.write("%d\n" % os.getpid())
        while not os.path.exists("go"):
            await asyncio.sleep(0.02)
    await send({"type": "http.response.body", "body": body})
"#;

/// A request this slow has waited for something that it should not wait for.
const SLOW: Duration = Duration::from_secs(5);

fn command(name: &str, words: &[&str]) -> Vec<OsString> {
    [server(name).into()].into_iter().chain(words.iter().map(OsString::from)).collect()
}

fn with_app(launch: Launch) -> Run {
    fs::write(launch.dir().join("app.py"), APP).unwrap();
    launch.start()
}

/// Has both workers hold requests, and returns those.
fn all_hold(run: &Run, workers: usize) -> Vec<Pending> {
    let mut held = Vec::new();
    eventually("a request held by every worker", || {
        held.push(Pending::get(&run.address(0), "/hold").unwrap());
        let lines = run.wait_lines("held", held.len());
        let mut pids: Vec<&str> = lines.lines().collect();
        pids.sort_unstable();
        pids.dedup();
        (pids.len() == workers).then_some(())
    });
    held
}

/// Asks so many times, one after the other, and returns how many were answered, each in time.
fn answered(run: &Run, times: usize) -> usize {
    let ask = || {
        let begun = Instant::now();
        let answer = http::get(&run.address(0), "/");
        assert!(begun.elapsed() < SLOW, "{:?}: {answer:?}\n{}", begun.elapsed(), run.log.text());
        answer
    };
    (0..times).filter(|_| ask().is_ok_and(|answer| answer.status == 200)).count()
}

fn is_about(pid: i64) -> impl Fn(&Value) -> bool {
    move |line: &Value| line["pid"] == pid
}

/// One of two workers gets TERM from another program, while both have something in hand.
fn asked_by_another(command: Vec<OsString>) {
    let run = with_app(pool(&["-n", "2"], command));
    wait_serving(&run, 2);
    let held = all_hold(&run, 2);
    let victim = run.log.wait_for("worker ready", |line| line["slot"] == 0)["pid"].as_i64().unwrap();
    kill(run.outer_pid(victim), libc::SIGTERM);
    let begun = Instant::now();
    let stopped = |run: &Run| {
        let lines = run.log.with_message("worker stopped accepting: new connections go elsewhere");
        lines.into_iter().any(|line| line["pid"] == victim)
    };
    // At its end a server may close what it has accepted and not read, but no client waits for it.
    eventually("that it is noticed", || {
        answered(&run, 1);
        stopped(&run).then_some(())
    });
    println!("noticed after {:?}", begun.elapsed());
    assert_eq!(answered(&run, 20), 20);
    let due = run.log.wait_for("worker due for recycling", is_about(victim));
    assert_eq!(due["reason"], "stop");
    run.log.wait_for("worker draining", is_about(victim));
    run.log.wait_count("worker ready", 3);
    allow(&run, "go");
    for request in held {
        assert_eq!(request.answer().unwrap().status, 200, "what it had in hand");
    }
    let exited = run.log.wait_for("worker exited", is_about(victim));
    assert_eq!(exited["reason"], "stop", "{exited}");
    let stopping = run.log.with_message("worker stopping");
    assert!(!stopping.iter().any(is_about(victim)), "it ends by itself: {stopping:?}");
    assert!(!run.log.lines().iter().any(|line| line["level"] == "ERROR"), "{}", run.log.text());
    assert_stops(run);
}

#[test]
fn uvicorn_that_is_told_to_stop_by_another_loses_nobody() {
    asked_by_another(command(
        "uvicorn",
        &["--fd", "{fd}", "--log-level", "error", "--lifespan", "off", "app:app"],
    ));
}

#[test]
fn hypercorn_that_is_told_to_stop_by_another_loses_nobody() {
    let words = ["--bind", "fd://{fd}", "--workers", "0", "--graceful-timeout", "60", "app:app"];
    asked_by_another(command("hypercorn", &words));
}

#[test]
fn uvicorn_at_its_own_limit_with_a_stream_open_keeps_nobody_waiting() {
    let words =
        ["--fd", "{fd}", "--log-level", "error", "--lifespan", "off", "--limit-max-requests", "9", "app:app"];
    // A client that has a stream open counts among those that may be alive.
    let run = with_app(pool(&["-n", "2", "--max-surge", "8"], command("uvicorn", &words)));
    wait_serving(&run, 2);
    let held = all_hold(&run, 2);
    // It looks at its count ten times a second, and closes what it has accepted and not read by then.
    eventually("that it is noticed", || {
        answered(&run, 1);
        (!run.log.with_message("worker stopped accepting").is_empty()).then_some(())
    });
    let answered = answered(&run, 40);
    assert!(answered >= 37, "{answered}: {}", run.log.text());
    allow(&run, "go");
    for request in held {
        assert_eq!(request.answer().unwrap().status, 200, "what it had in hand");
    }
    assert_stops(run);
}

#[test]
fn gunicorn_whose_own_worker_dies_and_boots_slowly_gets_no_connections_meanwhile() {
    let script = format!(
        "import os, time\nif os.path.exists('slow-%d' % os.getppid()):\n    open('boots', 'a').write('x\\n')\n    \
         while not os.path.exists('boot'): time.sleep(0.02)\n{}",
        super::python::APPS
    );
    let words =
        ["-w", "1", "--no-control-socket", "-k", "gthread", "--threads", "4", "--log-level", "critical"];
    let words: Vec<&str> = words.into_iter().chain(["apps:wsgi"]).collect();
    let launch = pool(&["-n", "2", "--start-timeout", "1h"], command("gunicorn", &words));
    fs::write(launch.dir().join("apps.py"), script).unwrap();
    let run = launch.start();
    let masters: Vec<i64> = wait_serving(&run, 2).into_iter().collect();
    let inner = who_answers(&run.address(0), 2);
    // Its own, not that of another in its place.
    masters.iter().for_each(|pid| allow(&run, &format!("slow-{pid}")));
    let victim = *inner.iter().next().unwrap();
    kill(run.outer_pid(victim), libc::SIGKILL);
    run.wait_lines("boots", 1);
    // Some of these wait for it.
    // They read at once: its threads wait for clients that do not.
    let mut waiting = Vec::new();
    let stopped = eventually("that it is noticed", || {
        let address = run.address(0);
        waiting.push(thread::spawn(move || http::get(&address, "/")));
        let lines = run.log.with_message("worker stopped accepting: new connections go elsewhere");
        lines.first().map(|line| line["pid"].as_i64().unwrap())
    });
    assert!(masters.contains(&stopped));
    assert_eq!(answered(&run, 20), 20);
    for request in waiting {
        assert_eq!(request.join().unwrap().unwrap().status, 200, "by the next");
    }
    allow(&run, "boot");
    assert_stops(run);
}

/// Serves from a set of epoll(7). In slot 0, once, it closes its listener at the file `leave`, or lets it out of the
/// set from the file `pause` to the file `resume`.
const EPOLL: &str = "
listener, polled = socket.socket(fileno=3), select.epoll()
listener.setblocking(False)
me, mine = os.getpid(), is_worker(0) and not os.path.exists('served')
if mine: note('served', '')
polled.register(listener, select.EPOLLIN)
def ends(*_): os._exit(0)
signal.signal(signal.SIGTERM, ends)
state = 'serves'
while True:
    if mine and state == 'serves' and os.path.exists('pause'):
        polled.unregister(listener)
        state = 'pauses'
        note('paused', '')
    if state == 'pauses' and os.path.exists('resume'):
        polled.register(listener, select.EPOLLIN)
        state = 'resumed'
    if mine and state == 'serves' and os.path.exists('leave'):
        polled.unregister(listener)
        listener.close()
        state = 'left'
        gone()
        note('left', '')
    for fd, _ in polled.poll(0.01):
        try: connection = listener.accept()[0]
        except OSError: continue
        with connection:
            connection.setblocking(True)
            connection.recv(65536)
            body = str(me)
            head = 'HTTP/1.1 200 OK\\r\\nConnection: close\\r\\nContent-Length: %d\\r\\n\\r\\n' % len(body)
            connection.sendall((head + body).encode())";

#[test]
fn a_worker_that_only_pauses_is_steered_back_to_and_stays() {
    let run = pool(&["-n", "2"], python(EPOLL)).start();
    let pids = wait_serving(&run, 2);
    allow(&run, "pause");
    run.wait_lines("paused", 1);
    let mut waiting = Vec::new();
    let pausing = eventually("that it is noticed", || {
        waiting.push(Pending::get(&run.address(0), "/").unwrap());
        let lines = run.log.with_message("worker stopped accepting: new connections go elsewhere");
        lines.first().map(|line| line["pid"].as_i64().unwrap())
    });
    let status: Value = serde_json::from_str(&http::get(&run.health(), "/status").unwrap().body).unwrap();
    let states: Vec<&Value> =
        status["workers"].as_array().unwrap().iter().map(|worker| &worker["state"]).collect();
    assert!(states.contains(&&Value::from("not-accepting")), "{states:?}");
    assert_eq!(answered(&run, 20), 20);
    allow(&run, "resume");
    run.log.wait_for("worker accepts again", is_about(pausing));
    for request in waiting {
        assert_eq!(request.answer().unwrap().status, 200);
    }
    assert!(pids.is_subset(&who_answers(&run.address(0), 2)) || who_answers(&run.address(0), 2) == pids);
    for message in ["worker draining", "worker stopping", "worker exited"] {
        assert!(!run.log.with_message(message).iter().any(is_about(pausing)), "{}", run.log.text());
    }
    let page = http::get(&run.health(), "/metrics").unwrap().body;
    assert!(page.contains("\nprefork_stopped_accepting_total 1\n"), "{page}");
    assert_stops(run);
}

#[test]
fn a_busy_worker_is_not_judged_by_what_waits_for_it() {
    // One that accepts, and answers, one at a time, and one that has an event loop and is stuck in a request.
    let stuck = format!("def gone(): pass\n{EPOLL}").replace(
        "connection.recv(65536)",
        "\n            if b'/block' in connection.recv(65536):\n                note('blocked', '')\n                \
         wait_for_file('go')",
    );
    for script in [format!("{SERVER}\nserver()"), stuck] {
        let mut run = pool(&["-n", "1"], python(&script)).start();
        wait_serving(&run, 1);
        assert_eq!(answered(&run, 3), 3);
        let busy = Pending::get(&run.address(0), "/block").unwrap();
        run.wait_lines("blocked", 1);
        let waiting: Vec<_> = (0..3).map(|_| Pending::get(&run.address(0), "/").unwrap()).collect();
        assert_eq!(run.wait_exit_within(Duration::from_secs(3)), None);
        let lines = run.log.with_message("worker stopped accepting");
        assert!(lines.is_empty() && run.log.with_message("worker due").is_empty(), "{}", run.log.text());
        allow(&run, "go");
        for request in waiting.into_iter().chain([busy]) {
            assert_eq!(request.answer().unwrap().status, 200);
        }
        assert_stops(run);
    }
}

/// It leaves, and has many descendants with many sets, which all have to be looked at, again and again.
#[test]
fn a_worker_that_is_costly_to_look_at_is_found_and_slows_nobody() {
    let script = format!(
        "
def gone():
    pipes = [os.pipe() for _ in range(20)]
    for _ in range(20):
        if os.fork() == 0:
            sets = [select.epoll() for _ in range(200)]
            for polled in sets:
                for reader, _ in pipes: polled.register(reader)
            note('forked', '')
            os.read(os.pipe()[0], 1)
{EPOLL}"
    );
    let run = pool(&["-n", "2"], python(&script)).start();
    wait_serving(&run, 2);
    allow(&run, "leave");
    run.wait_lines("left", 1);
    run.wait_lines("forked", 20);
    let mut waiting = Vec::new();
    let mut times = Vec::new();
    eventually("that it is noticed", || {
        waiting.push(Pending::get(&run.address(0), "/").unwrap());
        let begin = Instant::now();
        assert_eq!(http::get(&run.health(), "/livez").unwrap().status, 200);
        times.push(begin.elapsed());
        (!run.log.with_message("worker stopped accepting: new connections go elsewhere").is_empty())
            .then_some(())
    });
    times.sort();
    println!("median {:?}, slowest {:?} of {}", times[times.len() / 2], times[times.len() - 1], times.len());
    assert!(times[times.len() / 2] < Duration::from_millis(50), "{times:?}");
    assert_eq!(answered(&run, 20), 20);
    for request in waiting {
        assert_eq!(request.answer().unwrap().status, 200);
    }
}
