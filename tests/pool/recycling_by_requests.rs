//! Workers are replaced by plan at a limit of requests that is drawn for each.

use super::history::{Life, assert_made_before_broken, lives, most_alive};
use super::python::python;
use super::{allow, catch_up, example_worker, gunicorn, pool, uvicorn, with_apps};
use crate::harness::load::Load;
use crate::harness::servers::server;
use crate::harness::{Run, eventually, http};
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::path::Path;

const CLIENTS: usize = 4;

/// Loads a pool until so many workers have been recycled and replaced, and checks what holds for every pool.
/// Returns the requests answered and lost.
fn recycle(run: &Run, path: &str, recycled: usize) -> (u64, u64) {
    run.log.wait_count("worker ready", 2);
    let load = Load::start(&run.address(0), path, CLIENTS);
    let is_recycled = |l: &serde_json::Value| {
        l["reason"] == "max-requests" && l["message"].as_str().unwrap().starts_with("worker exited")
    };
    run.log.wait_until(|lines| lines.iter().filter(|line| is_recycled(line)).count() >= recycled);
    let (ok, refused, lost, other) = load.stop();
    println!("{recycled} recycles: {ok} answered, {refused} refused, {lost} lost, {other} other");
    assert_eq!((refused, other), (0, 0));
    assert_eq!(run.log.with_message("respawn delayed").len(), 0);
    let exits = run.log.with_message("worker exited");
    assert!(
        exits.iter().all(|line| line["reason"] == "max-requests" && line["level"] == "INFO"),
        "{exits:?}"
    );
    (ok, lost)
}

/// Each worker has its own limit, within the bounds.
fn assert_jittered(lives: &[Life], least: u64, most: u64) {
    let limits: Vec<u64> = lives.iter().map(|life| life.spawn["max_requests"].as_u64().unwrap()).collect();
    assert!(limits.iter().all(|limit| (least..=most).contains(limit)), "{limits:?}");
    assert!(limits.iter().collect::<BTreeSet<_>>().len() > 1, "{limits:?}");
}

#[test]
fn uvicorn_ends_at_its_own_limit_and_is_replaced_at_once() {
    let options = ["-n", "2", "--max-requests", "500", "--max-requests-jitter", "200"];
    let run = with_apps(pool(&options, uvicorn(&["--limit-max-requests", "{max_requests}"]))).start();
    let (ok, lost) = recycle(&run, "/", 6);
    // uvicorn closes what it has accepted and not read.
    assert!(lost * 50 <= ok, "{lost} of {ok}");
    let lives = lives(&run.log.lines());
    assert_jittered(&lives, 500, 700);
    // One that takes long to end has its successor before.
    assert!(most_alive(&lives) <= 3);
    assert!(lives.iter().all(|life| life.stopping.is_none()), "nobody had to be stopped");
}

#[test]
fn the_example_worker_that_counts_itself_loses_nothing() {
    let options = ["-n", "2", "--max-requests", "2000", "--max-requests-jitter", "500"];
    let run = pool(&options, example_worker(&["--fd", "{fd}", "--max-requests", "{max_requests}"])).start();
    let (_, lost) = recycle(&run, "/", 6);
    assert_eq!(lost, 0);
    assert_jittered(&lives(&run.log.lines()), 2000, 2500);
}

/// The options of a pool that counts what its workers report.
const REPORTED: [&str; 8] =
    ["-n", "2", "--max-requests", "400", "--max-requests-jitter", "200", "--count-requests", "notify"];

#[test]
fn a_worker_that_reports_its_requests_is_stopped_only_when_its_replacement_is_ready() {
    let run = pool(&REPORTED, example_worker(&["--fd", "{fd}", "--notify"])).start();
    let (_, lost) = recycle(&run, "/", 10);
    assert_eq!(lost, 0);
    let lines = run.log.lines();
    let lives = lives(&lines);
    assert_jittered(&lives, 400, 600);
    assert!(assert_made_before_broken(&lives, "max-requests", &lines) >= 10);
    assert!(most_alive(&lives) <= 3);
    for life in lives.iter().filter(|life| life.due.is_some()) {
        let due = &lines[life.due.unwrap()];
        assert!(due["requests"].as_u64() >= life.spawn["max_requests"].as_u64(), "{due}");
    }
}

#[test]
fn the_fastapi_example_is_recycled_by_what_it_reports() {
    let app = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/fastapi_app");
    let words = ["--fd", "{fd}", "--log-level", "warning", "app:app", "--app-dir"].map(OsString::from);
    let command = [OsString::from(server("uvicorn"))].into_iter().chain(words).chain([app.into()]).collect();
    let run = pool(&REPORTED, command).start();
    let (ok, lost) = recycle(&run, "/", 2);
    assert_eq!(lost, 0, "{ok} answered");
    let lines = run.log.lines();
    let lives = lives(&lines);
    assert!(assert_made_before_broken(&lives, "max-requests", &lines) >= 2);
    assert!(most_alive(&lives) <= 3);
}

/// A configuration of gunicorn with which its own worker reports what it has served: a descendant of the pool's.
const REPORTING: &str = r#"
import os, socket

def post_request(worker, req, environ, resp):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as supervisor:
        supervisor.sendto(b"X_PREFORK_REQUESTS=%d" % worker.nr, os.environ["NOTIFY_SOCKET"])
"#;

#[test]
fn gunicorn_is_recycled_by_what_it_reports_and_nothing_is_lost() {
    let launch = with_apps(pool(&REPORTED, gunicorn(&["-c", "reporting.py", "apps:wsgi"])));
    fs::write(launch.dir().join("reporting.py"), REPORTING).unwrap();
    let run = launch.start();
    // Where the load never lets gunicorn wait, its `READY=1` is believed only after 5 s.
    let (_, lost) = recycle(&run, "/", 2);
    assert_eq!(lost, 0);
    let lines = run.log.lines();
    let lives = lives(&lines);
    assert_jittered(&lives, 400, 600);
    assert!(assert_made_before_broken(&lives, "max-requests", &lines) >= 2);
    assert!(most_alive(&lives) <= 3);
    assert!(lives.iter().filter_map(|l| l.exit.as_ref()).all(|exit| exit["exit_code"] == 0), "{lives:?}");
}

/// With `{max_requests}`, gunicorn's arbiter replaces its own worker, the old one gone first, and does not end
/// itself: the pool draws the limit and sees nothing of the rest.
#[test]
fn gunicorn_that_is_given_the_limit_recycles_inside_of_itself() {
    let options = ["-n", "2", "--max-requests", "300", "--max-requests-jitter", "200"];
    let command = gunicorn(&["--max-requests", "{max_requests}", "apps:wsgi"]);
    let run = with_apps(pool(&options, command)).start();
    run.log.wait_count("worker ready", 2);
    let load = Load::start(&run.address(0), "/", CLIENTS);
    // The first two are no replacements.
    eventually("gunicorn's own recycling", || {
        (run.log.text().matches("Booting worker").count() >= 2 + 6).then_some(())
    });
    let (ok, refused, lost, other) = load.stop();
    println!("6 inside of gunicorn: {ok} answered, {refused} refused, {lost} lost, {other} other");
    assert_eq!((refused, lost, other), (0, 0, 0));
    let lives = lives(&run.log.lines());
    assert!(lives.len() == 2 && lives.iter().all(|life| life.exited.is_none()), "{lives:?}");
    assert!(lives.iter().all(|life| life.ready.is_some() && life.due.is_none()), "{lives:?}");
    for life in &lives {
        let limit = life.spawn["max_requests"].as_u64().unwrap();
        assert!((300..=500).contains(&limit), "{limit}");
        let given = fs::read(format!("/proc/{}/cmdline", run.outer_pid(life.pid))).unwrap();
        let given = String::from_utf8(given).unwrap();
        assert!(given.contains(&format!("--max-requests\0{limit}\0")), "{given:?}");
    }
}

/// Reports the number in the file that appears, then serves.
const REPORTS: &str = "
def report():
    wait_for_file('go')
    say('X_PREFORK_REQUESTS=99')
    say('X_PREFORK_REQUESTS=nonsense\\nX_PREFORK_REQUESTS=-1\\nX_PREFORK_REQUESTS=98\\n')
    note('reported', '99')
    wait_for_file('go_on')
    say('STATUS=busy\\nX_PREFORK_REQUESTS=100')
threading.Thread(target=report).start()
serve()";

#[test]
fn a_worker_is_due_at_its_limit_and_not_before() {
    let options = ["--max-requests", "100", "--count-requests", "notify"];
    let run = pool(&options, python(REPORTS)).start();
    run.wait_for("worker ready");
    allow(&run, "go");
    run.wait_lines("reported", 1);
    catch_up(&run);
    assert!(run.log.with_message("worker due").is_empty(), "{}", run.log.text());
    allow(&run, "go_on");
    let due = run.wait_for("worker due");
    assert_eq!((&due["reason"], &due["requests"]), (&"max-requests".into(), &100.into()));
}

#[test]
fn a_worker_whose_replacement_cannot_boot_goes_on_serving() {
    let options =
        ["--max-requests", "1", "--count-requests", "notify", "--backoff", "10ms", "--max-restarts", "0"];
    let script = "
if os.path.exists('first'): sys.exit(1)
note('first', '')
listener = socket.socket(fileno=3)
while True:
    answer(listener, lambda: str(os.getpid()))
    say('X_PREFORK_REQUESTS=1')";
    let run = pool(&options, python(script)).start();
    let first = run.wait_for("worker ready")["pid"].clone();
    let ask = || http::get(&run.address(0), "/").unwrap().body;
    assert_eq!(ask(), first.to_string());
    run.log.wait_count("worker exited: code 1", 3);
    assert_eq!(ask(), first.to_string());
    assert!(run.log.with_message("worker stopping").is_empty(), "{}", run.log.text());
}
