//! Each `--ready` takes its own sign for a worker's readiness, and no other.

use super::python::python;
use super::{allow, catch_up, pool};
use crate::harness::{Launch, Run, http};
use std::ffi::OsString;

/// A pool whose workers get these arguments after the script: `sys.argv[1]` and so on.
fn with_arguments(options: &[&str], script: &str, arguments: &[&str]) -> Launch {
    let arguments = arguments.iter().map(OsString::from);
    pool(options, python(script).into_iter().chain(arguments).collect())
}

/// Nobody is ready, though all that came before this call has been heard.
fn assert_nobody_ready(run: &Run) {
    catch_up(run);
    assert!(run.log.with_message("worker ready").is_empty(), "{}", run.log.text());
}

/// Waits until one more worker is ready, and says which and how.
fn ready(run: &Run, slot: u32) -> String {
    let line = run.log.wait_for("worker ready", |line| line["slot"] == slot);
    line["by"].as_str().unwrap().to_owned()
}

/// The options of a pool that believes its workers, who may take their time.
const NOTIFY: [&str; 4] = ["--ready", "notify", "--start-timeout", "infinity"];

#[test]
fn a_worker_that_says_ready_is_ready_without_accepting() {
    let script = "wait_for_file('go')\nsay('READY=1')\nsleep_for_ever()";
    let run = pool(&NOTIFY, python(script)).start();
    run.wait_for("worker spawned");
    assert_nobody_ready(&run);
    allow(&run, "go");
    assert_eq!(ready(&run, 0), "notify");
    let after = run.wait_for("worker ready")["after_ms"].as_u64().unwrap();
    assert!(after < 5000, "no other sign is waited for: {after} ms");
}

#[test]
fn a_worker_that_only_accepts_is_not_ready_where_its_word_is_asked_for() {
    // It serves, and is seen to wait for more, for much longer than a look takes to come.
    let script = "
def speak():
    wait_for_file('served')
    time.sleep(0.3)
    note('waited', '')
    wait_for_file('go')
    say('READY=1')
threading.Thread(target=speak).start()
serve()";
    let run = pool(&NOTIFY, python(script)).start();
    assert_eq!(http::get(&run.address(0), "/").unwrap().status, 200);
    allow(&run, "served");
    run.wait_lines("waited", 1);
    assert_nobody_ready(&run);
    allow(&run, "go");
    assert_eq!(ready(&run, 0), "notify");
}

#[test]
fn a_worker_that_only_says_ready_is_not_ready_where_accepting_is_asked_for() {
    let script = "
say('READY=1')
os.write(int(sys.argv[1]), b'\\n')
note('said', '')
wait_for_file('go')
serve()";
    let options = ["--ready", "accept", "--start-timeout", "3s"];
    let run = with_arguments(&options, script, &["{notify_fd}"]).start();
    run.wait_lines("said", 1);
    assert_nobody_ready(&run);
    // Not even when its time is over, when `auto` takes its word.
    assert_eq!(run.wait_for("worker stopping")["reason"], "boot-timeout");
    assert!(run.log.with_message("worker ready").is_empty(), "{}", run.log.text());
    allow(&run, "go");
    assert_eq!(ready(&run, 0), "accept");
}

#[test]
fn a_line_on_the_descriptor_makes_a_worker_ready_and_half_a_line_does_not() {
    let script = "
fd = int(sys.argv[1])
assert fd == 4 and sys.argv[2] == 'notify=4', sys.argv
os.write(fd, b'almost')
note('said', '')
wait_for_file('go')
os.write(fd, b'\\n')
os.close(fd)
sleep_for_ever()";
    let run = with_arguments(&NOTIFY, script, &["{notify_fd}", "notify={notify_fd}"]).start();
    run.wait_lines("said", 1);
    assert_nobody_ready(&run);
    allow(&run, "go");
    assert_eq!(ready(&run, 0), "notify");
}

#[test]
fn a_descriptor_that_is_closed_without_a_word_says_nothing() {
    // The first one has another way left, the second one a child that still has it, the third one nothing.
    let script = "
fd, me = int(sys.argv[1]), int(os.environ['PREFORK_WORKER_ID'])
if me == 1 and os.fork() == 0:
    wait_for_file('go')
    os.write(fd, b'\\n')
    sleep_for_ever()
os.close(fd)
note('closed', '')
if me == 0:
    wait_for_file('go')
    say('READY=1')
sleep_for_ever()";
    let mut options = vec!["-n", "3"];
    options.extend(NOTIFY);
    let run = with_arguments(&options, script, &["{notify_fd}"]).start();
    run.wait_lines("closed", 3);
    assert_nobody_ready(&run);
    allow(&run, "go");
    assert_eq!((ready(&run, 0), ready(&run, 1)), ("notify".to_owned(), "notify".to_owned()));
    catch_up(&run);
    assert_eq!(run.log.with_message("worker ready").len(), 2, "{}", run.log.text());
}

#[test]
fn a_worker_is_ready_when_it_itself_answers_its_probe_well() {
    let script = "
listener, ill = socket.socket(fileno=3), is_worker(1)
while True:
    connection, (source, _) = listener.accept()
    path = connection.recv(65536).decode().split(' ')[1]
    code = '503 Not Yet' if ill and not os.path.exists('go') else '200 OK'
    note('asked-' + os.environ['PREFORK_WORKER_ID'], '%s %s' % (path, code))
    head = 'HTTP/1.1 %s\\r\\nConnection: close\\r\\nContent-Length: 1\\r\\n\\r\\n' % code
    connection.sendall((head + os.environ['PREFORK_WORKER_ID']).encode())
    connection.close()";
    let options = ["-n", "2", "--ready", "probe", "--probe", "/healthz?deep=1", "--probe-interval", "10m"];
    let run = pool(&options, python(script)).start();
    assert_eq!(ready(&run, 0), "probe");
    // It is asked again and again, and clients go to the other.
    let asked = run.wait_lines("asked-1", 3);
    assert!(asked.lines().all(|line| line == "/healthz?deep=1 503 Not Yet"), "{asked}");
    for _ in 0..10 {
        let answer = http::get(&run.address(0), "/").unwrap();
        assert_eq!((answer.status, answer.body.as_str()), (200, "0"));
    }
    catch_up(&run);
    assert_eq!(run.log.with_message("worker ready").len(), 1, "{}", run.log.text());
    allow(&run, "go");
    assert_eq!(ready(&run, 1), "probe");
    let asked = std::fs::read_to_string(run.dir().join("asked-0")).unwrap();
    assert_eq!(asked.matches("/healthz").count(), 1, "the probes of the one do not go to the other: {asked}");
}

#[test]
fn a_worker_that_asks_for_more_time_gets_it_and_another_does_not() {
    let script = "
if is_worker(0):
    say('EXTEND_TIMEOUT_USEC=60000000')
    wait_for_file('go')
    say('READY=1')
sleep_for_ever()";
    let options = ["-n", "2", "--ready", "notify", "--start-timeout", "2s"];
    let run = pool(&options, python(script)).start();
    // It was started after the one that asked.
    let exited = run.wait_for("worker exited");
    assert_eq!((&exited["slot"], &exited["reason"]), (&1.into(), &"boot-timeout".into()));
    assert!(exited["uptime_ms"].as_u64().unwrap() >= 2000, "{exited}");
    allow(&run, "go");
    assert_eq!(ready(&run, 0), "notify");
    let stopped = run.log.with_message("worker stopping");
    assert!(stopped.iter().all(|line| line["slot"] == 1), "{stopped:?}");
}
