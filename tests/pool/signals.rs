//! Signals that end most servers stay with the supervisor.

use super::python::python;
use super::{pool, uvicorn, with_apps};
use crate::harness::http;

#[test]
fn usr1_and_alrm_do_not_reach_uvicorn() {
    let run = with_apps(pool(&[], uvicorn(&[]))).start();
    let pid = run.wait_for("worker ready")["pid"].to_string();
    for (signal, name) in [(libc::SIGUSR1, "USR1"), (libc::SIGALRM, "ALRM")] {
        run.signal(signal);
        run.log.wait_for("signal ignored", |line| line["signal"] == name);
        assert_eq!(http::get(&run.address(0), "/").unwrap().body, pid);
    }
    assert!(run.log.with_message("worker exited").is_empty());
}

/// As logrotate(8) wants it: the file is moved, then the one who writes is told to open it anew.
#[test]
fn a_signal_that_is_passed_on_has_workers_open_their_logs_anew_and_nothing_is_lost() {
    let script = "
me = os.environ['PREFORK_WORKER_ID']
def open_log(*_):
    global log
    log = open('log.' + me, 'a', buffering=1)
    note('opened', me)
open_log()
signal.signal(signal.SIGUSR1, open_log)
count = 0
def body():
    global count
    log.write('%d\\n' % count)
    count += 1
    return me
serve_all(body)";
    let options = ["-n", "2", "--forward-signal", "RTMIN+1,USR1", "--rewrite-signal", "RTMIN+2=USR1"];
    let run = pool(&options, python(script)).start();
    super::wait_serving(&run, 2);
    let mut answered = [0, 0];
    for round in 1..=4 {
        for _ in 0..20 {
            let slot: usize = http::get(&run.address(0), "/").unwrap().body.parse().unwrap();
            answered[slot] += 1;
        }
        for slot in 0..2 {
            let name = |suffix: &str| run.dir().join(format!("log.{slot}{suffix}"));
            std::fs::rename(name(""), name(&format!(".{round}"))).unwrap();
        }
        run.signal(if round % 2 == 0 { libc::SIGUSR1 } else { libc::SIGRTMIN() + 2 });
        run.log.wait_count("signal forwarded", round);
        run.wait_lines("opened", 2 + 2 * round);
    }
    for (slot, answered) in answered.into_iter().enumerate() {
        let parts = (1..=4).map(|round| run.dir().join(format!("log.{slot}.{round}")));
        let logged: String = parts.map(|path| std::fs::read_to_string(path).unwrap()).collect();
        let expected: String = (0..answered).map(|count| format!("{count}\n")).collect();
        assert_eq!(logged, expected, "worker {slot}");
    }
    super::assert_stops(run);
}

/// It would end a worker that has no handler yet.
#[test]
fn who_starts_gets_no_signal_that_is_passed_on() {
    let script = "
note('starts', '')
wait_for_file('go')
signal.signal(signal.SIGUSR1, lambda *_: note('told', ''))
serve_all()";
    let run = pool(&["--forward-signal", "USR1"], python(script)).start();
    run.wait_lines("starts", 1);
    run.signal(libc::SIGUSR1);
    run.wait_for("signal forwarded");
    super::allow(&run, "go");
    run.wait_for("worker ready");
    assert!(!run.dir().join("told").exists());
    run.signal(libc::SIGUSR1);
    run.wait_lines("told", 1);
    assert_eq!(run.log.with_message("worker spawned").len(), 1);
    super::assert_stops(run);
}

const NOT_SENT: &str = "--forward-signal USR1 is not sent";

#[test]
fn a_worker_that_does_not_catch_a_signal_that_is_passed_on_lives_and_it_is_told_of_once() {
    let run = pool(&["-n", "2", "--forward-signal", "USR1,URG,RTMIN+1"], python("serve()")).start();
    super::wait_serving(&run, 2);
    for round in 1..=2 {
        run.signal(libc::SIGUSR1);
        run.log.wait_count("signal forwarded", round);
    }
    // Its default is to do nothing.
    run.signal(libc::SIGURG);
    run.log.wait_count("signal forwarded", 3);
    run.signal(libc::SIGRTMIN() + 1);
    run.wait_for("--forward-signal RTMIN+1 is not sent");
    assert_eq!(http::get(&run.address(0), "/").unwrap().status, 200);
    assert!(run.log.with_message("worker exited").is_empty(), "{}", run.log.text());
    let warnings = run.log.with_message(NOT_SENT);
    assert_eq!(warnings.len(), 1, "{}", run.log.text());
    assert_eq!((&warnings[0]["level"], &warnings[0]["signal"]), (&"WARN".into(), &"USR1".into()));
    assert_eq!(run.log.with_message("--forward-signal").len(), 2, "{}", run.log.text());
    super::assert_stops(run);
}

#[test]
fn below_a_shell_that_does_not_catch_a_signal_that_is_passed_on_the_server_gets_it() {
    let server = python("signal.signal(signal.SIGUSR1, lambda *_: note('told', ''))\nserve()");
    let shell = ["sh", "-c", "\"$@\"; :", "sh"].map(std::ffi::OsString::from);
    let run = pool(&["--forward-signal", "USR1"], shell.into_iter().chain(server).collect()).start();
    run.wait_for("worker ready");
    run.signal(libc::SIGUSR1);
    run.wait_lines("told", 1);
    assert!(run.log.with_message(NOT_SENT).is_empty(), "{}", run.log.text());
    assert!(run.log.with_message("worker exited").is_empty(), "{}", run.log.text());
    super::assert_stops(run);
}

#[test]
fn what_the_pool_itself_acts_on_or_nobody_can_catch_is_not_passed_on() {
    for (options, problem) in [
        (vec!["-n", "2", "--forward-signal", "HUP"], "--forward-signal 'HUP': the pool itself acts on HUP"),
        (vec!["-n", "2", "--forward-signal", "USR1,9"], "--forward-signal '9': nobody can catch KILL"),
        (vec!["-n", "2", "--forward-signal", "CHLD"], "--forward-signal 'CHLD': CHLD is about our own"),
        (vec!["-n", "2", "--forward-signal", "USR1", "--stop-signal", "USR1"], "it is the stop signal"),
        (vec!["-n", "2", "--forward-signal", "USR1", "--drain-signal", "USR1"], "it is the drain signal"),
        (vec!["--forward-signal", "USR1"], "--forward-signal: only a pool has workers"),
    ] {
        let (code, _, err) = crate::harness::launch(options.into_iter().chain(["--", "true"])).finish();
        assert_eq!((code, err.lines().count()), (2, 1), "{err}");
        assert!(err.contains(problem), "{err}");
    }
}

#[test]
fn no_signal_but_the_stop_signal_reaches_a_worker() {
    let script = "
for number in set(range(1, 65)) - {signal.SIGKILL, signal.SIGSTOP, signal.SIGCHLD, 32, 33}:
    signal.signal(number, lambda number, _: note('signals', str(number)) or sys.exit())
serve()";
    let mut run = pool(&[], python(script)).start();
    run.wait_for("worker ready");
    for signal in [libc::SIGHUP, libc::SIGUSR1, libc::SIGALRM, libc::SIGTTIN, libc::SIGRTMIN() + 3] {
        run.signal(signal);
    }
    super::catch_up(&run);
    run.signal(libc::SIGTERM);
    assert_eq!(run.wait_exit(), 0);
    let seen = std::fs::read_to_string(run.dir().join("signals")).unwrap();
    assert!(seen.lines().any(|line| line == "15"), "{seen}");
    // SIGCONT follows each stop signal, for the stopped; where both wait, the handler of the later one runs first.
    assert!(seen.lines().all(|line| ["15", "18"].contains(&line)), "{seen}");
}
