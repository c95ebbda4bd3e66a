//! Descriptors that are passed to us: whoever can send to us, of whatever user, cannot make us wait for a close.

use super::assert_stops;
use super::python::python;
use crate::harness::{self, Launch, Run, eventually, http, kill, launch, status_line};
use std::ffi::OsString;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// No process of ours.
const STRANGER: &str = "64999";

/// Where the kernel refuses descriptors to their senders, and where it does not know how.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kernel {
    New,
    Old,
}

fn script(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/pool/passed").join(name)
}

/// Whether this kernel can refuse them, `SO_PASSRIGHTS`, Linux 6.16.
fn can_refuse() -> bool {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map(|n| n.parse::<u32>().unwrap_or(0));
    (numbers.next().unwrap(), numbers.next().unwrap()) >= (6, 16)
}

fn kernels() -> Vec<Kernel> {
    let is_hidden = cfg!(target_arch = "x86_64");
    match can_refuse() {
        true if is_hidden => vec![Kernel::New, Kernel::Old],
        true => vec![Kernel::New],
        false => vec![Kernel::Old],
    }
}

/// A pool whose workers tell where they may notify. All may enter its directory.
fn start(kernel: Kernel, options: &[&str], more: &str) -> Run {
    let worker =
        "note('notify', os.environ['NOTIFY_SOCKET'])\nsay('READY=1')\n".to_owned() + more + "\nserve()";
    let quick = ["-b", "127.0.0.1:0", "--ready", "notify", "--backoff", "10ms"];
    let health = ["--health", "127.0.0.1:0"];
    let health = if options.contains(&"--health") { &[] } else { &health[..] };
    let words = quick.iter().chain(health).chain(options).chain(&["--"]).map(OsString::from);
    start_launch(kernel, launch(words.chain(python(&worker))))
}

fn start_launch(kernel: Kernel, launch: Launch) -> Run {
    fs::set_permissions(launch.dir(), PermissionsExt::from_mode(0o755)).unwrap();
    let run = match kernel {
        Kernel::Old if can_refuse() => {
            let seccomp = [harness::python(), OsString::from("-I"), script("old_kernel.py").into()];
            launch.through(seccomp).start()
        }
        Kernel::New | Kernel::Old => launch.start(),
    };
    run.wait_for("worker ready");
    run
}

fn notify_socket(run: &Run) -> String {
    run.wait_lines("notify", 1).lines().next().unwrap().to_owned()
}

/// The attacker, until it is dropped.
struct Attack {
    child: Child,
    /// How many messages with descriptors were sent, and how many refused.
    sent: u32,
    refused: u32,
}

impl Attack {
    /// As a stranger where the way is open to all.
    fn start(by_stranger: bool, kind: &str, target: &str, more: &[String]) -> Self {
        let mut words = vec![];
        if by_stranger {
            words.extend(
                ["setpriv", "--reuid", STRANGER, "--regid", STRANGER, "--clear-groups"].map(OsString::from),
            );
        }
        words.extend([
            harness::python(),
            "-I".into(),
            script("attack.py").into(),
            kind.into(),
            target.into(),
        ]);
        let mut child = Command::new(&words[0])
            .args(&words[1..])
            .args(more)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let numbers: Vec<u32> = line.split(' ').filter_map(|word| word.trim().parse().ok()).collect();
        let [sent, refused] = numbers[..] else { panic!("{kind} {target}: {line:?}") };
        Self { child, sent, refused }
    }
}

impl Drop for Attack {
    fn drop(&mut self) {
        let _ended = self.child.kill();
        let _ended = self.child.wait();
    }
}

/// While the supervisor is stopped: so it is the last to have what is sent.
fn attack_frozen(run: &Run, by_stranger: bool, kind: &str, target: &str) -> Attack {
    kill(run.pid, libc::SIGSTOP);
    eventually("a stopped supervisor", || {
        status_line(run.pid, "State").filter(|state| state.starts_with('T')).map(|_| ())
    });
    let attack = Attack::start(by_stranger, kind, target, &[]);
    kill(run.pid, libc::SIGCONT);
    attack
}

fn livez_by_path(path: &Path) -> String {
    let mut stream = UnixStream::connect(path).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream.write_all(b"GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// It answers, replaces a worker, and ends when it is told to: each in far less time than a close would take.
fn assert_unharmed(run: Run, livez: impl Fn(&Run)) {
    livez(&run);
    let ready = run.log.with_message("worker ready").len();
    let worker = run.log.with_message("worker ready").last().unwrap()["pid"].as_i64().unwrap();
    kill(run.outer_pid(worker), libc::SIGKILL);
    run.log.wait_count("worker ready", ready + 1);
    livez(&run);
    assert_stops(run);
}

fn by_port(run: &Run) {
    assert_eq!(http::get(&run.health(), "/livez").unwrap().status, 200);
}

fn is_root() -> bool {
    // SAFETY: always succeeds.
    unsafe { libc::geteuid() == 0 }
}

#[test]
fn who_passes_descriptors_to_the_notify_socket_does_not_stop_us() {
    for kernel in kernels() {
        let run = start(kernel, &["--warn-on-reap"], "");
        let socket = notify_socket(&run);
        let attack = attack_frozen(&run, is_root() && socket.starts_with('@'), "datagrams", &socket);
        assert_eq!((attack.sent, attack.refused), (6, 0), "{kernel:?}");
        by_port(&run);
        assert_eq!(run.log.with_message("orphan reaped"), [] as [serde_json::Value; 0]);
        assert_unharmed(run, by_port);
    }
}

#[test]
fn who_passes_descriptors_to_the_health_socket_does_not_stop_us() {
    for kernel in kernels() {
        let run = start(kernel, &["--health", "unix:health"], "");
        let path = run.dir().join("health");
        let attack = attack_frozen(&run, is_root(), "requests", path.to_str().unwrap());
        let refused = if kernel == Kernel::New { 6 } else { 0 };
        assert_eq!(attack.refused, refused, "{kernel:?}: {} sent", attack.sent);
        assert_unharmed(run, |_| assert!(livez_by_path(&path).starts_with("HTTP/1.1 200"), "{kernel:?}"));
    }
}

/// More connections than are kept: the oldest are closed unread.
#[test]
fn connections_with_descriptors_that_are_closed_unread_do_not_stop_us() {
    for kernel in kernels() {
        let run = start(kernel, &["--health", "unix:health"], "");
        let path = run.dir().join("health");
        let attack = attack_frozen(&run, is_root(), "crowd", path.to_str().unwrap());
        let refused = if kernel == Kernel::New { 100 } else { 0 };
        assert_eq!(attack.refused, refused, "{kernel:?}: {} sent", attack.sent);
        assert_unharmed(run, |_| {
            eventually("an answer", || livez_by_path(&path).starts_with("HTTP/1.1 200").then_some(()));
        });
    }
}

#[test]
fn who_passes_descriptors_to_the_control_socket_does_not_stop_us() {
    for kernel in kernels() {
        let run = start(kernel, &["--control", "control"], "");
        let path = run.dir().join("control");
        let attack = attack_frozen(&run, false, "requests", path.to_str().unwrap());
        let refused = if kernel == Kernel::New { 6 } else { 0 };
        assert_eq!(attack.refused, refused, "{kernel:?}: {} sent", attack.sent);
        assert_unharmed(run, by_port);
    }
}

#[test]
fn an_application_that_passes_descriptors_with_its_answer_does_not_stop_us() {
    for kernel in kernels() {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("ready");
        let check = format!("unix:{}:/", socket.display());
        let options =
            ["--ready-check", &check, "--ready-check-interval", "20ms", "--ready-check-timeout", "5s"];
        let run = start(kernel, &options, "");
        let _attack = Attack::start(false, "answer", socket.to_str().unwrap(), &[run.pid.to_string()]);
        let log = dir.path().join("ready.log");
        let told = eventually("answers with descriptors", || {
            fs::read_to_string(&log).ok().filter(|text| text.lines().count() >= 3)
        });
        let expected = if kernel == Kernel::New { "sent 0 refused 1" } else { "sent 1 refused 0" };
        assert_eq!(told.lines().next(), Some(expected), "{kernel:?}");
        assert_unharmed(run, by_port);
    }
}

/// The queue is closed with the listener.
#[test]
fn what_waits_in_the_queue_of_a_listener_does_not_keep_us_from_the_end() {
    let words = ["-b", "unix:app", "--ready", "delay:1ms", "--graceful-timeout", "1s", "--", "sleep", "1000"];
    let run = start_launch(Kernel::New, launch(words));
    let attack = Attack::start(false, "crowd", run.dir().join("app").to_str().unwrap(), &[]);
    assert_eq!((attack.sent, attack.refused), (100, 0));
    assert_stops(run);
}

#[test]
fn a_flood_of_descriptors_makes_nobody_wait() {
    for kernel in kernels() {
        let run = start(kernel, &[], "");
        let socket = notify_socket(&run);
        let _attack = Attack::start(is_root() && socket.starts_with('@'), "flood", &socket, &[]);
        for _ in 0..20 {
            by_port(&run);
        }
        assert_unharmed(run, by_port);
    }
}

/// As sd_notify_barrier(3): the write end of a pipe is passed, and its last close awaited for 5 s.
#[test]
fn a_barrier_is_lifted_when_what_came_before_was_read() {
    let barrier = "
name = os.environ['NOTIFY_SOCKET']
address = '\\0' + name[1:] if name[0] == '@' else name
def barrier():
    reader, writer = os.pipe()
    along = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, writer.to_bytes(4, sys.byteorder))]
    socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).sendmsg([b'BARRIER=1'], along, 0, address)
    os.close(writer)
    poll = select.poll()
    poll.register(reader, 0)
    return bool(poll.poll(5000))
note('lifted', str([barrier() for _ in range(20)].count(True)))
import shutil, subprocess
program = shutil.which('systemd-notify')
note('program', str(subprocess.run([program, 'STATUS=x', 'READY=1']).returncode if program else 0))";
    for kernel in kernels() {
        let run = start(kernel, &["--warn-on-reap"], barrier);
        assert_eq!(run.wait_lines("lifted", 1).trim(), "20", "{kernel:?}");
        assert_eq!(run.wait_lines("program", 1).trim(), "0", "{kernel:?}");
        assert_eq!(run.log.with_message("orphan reaped"), [] as [serde_json::Value; 0]);
        assert_stops(run);
    }
}
