//! Each worker has a notify socket of its own, which its own user's processes reach, and which leaves nothing behind.

use super::python::python;
use super::upgrade::put;
use super::{allow, assert_stops, catch_up, pool};
use crate::harness::{Launch, Run, binary, eventually, example, http, install, kill, launch};
use std::ffi::OsString;
use std::fs;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// A worker is ready by its word, and by nothing else.
const BY_ITS_WORD: [&str; 4] = ["--ready", "notify", "--start-timeout", "infinity"];

/// The same, as another user.
const AS_ANOTHER: [&str; 6] = ["--ready", "notify", "--start-timeout", "infinity", "--user", "www-data"];

/// Says where it is told to speak, speaks, and stays.
const SPEAKS: &str = "
note('told-' + os.environ['PREFORK_WORKER_ID'], os.environ['NOTIFY_SOCKET'])
say('READY=1')
sleep_for_ever()";

/// No directory of these can be written to.
const READ_ONLY: &str =
    "for d in /run /dev/shm /tmp; do mount --bind $d $d; mount -o remount,bind,ro $d; done";

/// Directories in which only a test's own are.
struct Surroundings {
    run: tempfile::TempDir,
    shm: tempfile::TempDir,
}

impl Surroundings {
    fn new() -> Self {
        let made = || {
            let dir = tempfile::tempdir().unwrap();
            fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
            dir
        };
        let (run, shm) = (made(), made());
        fs::set_permissions(shm.path(), fs::Permissions::from_mode(0o1777)).unwrap();
        Self { run, shm }
    }

    /// Starts a pool where these are /run and /dev/shm; `more` is a line of the shell, before.
    fn around(&self, launch: Launch, more: &str) -> Launch {
        let [run, shm] = [&self.run, &self.shm].map(|dir| dir.path().display());
        let script =
            format!("mount --bind {run} /run && mount --bind {shm} /dev/shm || exit 99\n{more}\nexec \"$@\"");
        // Where it is, is not to be looked at: it is not the same for all.
        launch.env("XDG_RUNTIME_DIR", "").through(["sh", "-ec", &script, "sh"])
    }

    /// What of ours is there.
    fn left(&self) -> Vec<PathBuf> {
        let entries = |dir: &Path| fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
        let all = entries(self.run.path()).chain(entries(self.shm.path()));
        let is_ours = |path: &PathBuf| path.file_name().unwrap().to_string_lossy().contains("prefork-");
        let mut all: Vec<_> = all.filter(is_ours).collect();
        all.sort();
        all
    }

    /// From here, what has this path there.
    fn here(&self, path: &str) -> PathBuf {
        let (base, rest) = match path.strip_prefix("/run/") {
            Some(rest) => (&self.run, rest),
            None => {
                (&self.shm, path.strip_prefix("/dev/shm/").unwrap_or_else(|| panic!("elsewhere: {path}")))
            }
        };
        base.path().join(rest)
    }
}

/// What a worker was told, each time one was started in this slot.
fn told(run: &Run, slot: u32, count: usize) -> Vec<String> {
    run.wait_lines(&format!("told-{slot}"), count).lines().map(str::to_owned).collect()
}

/// Mode, user and group.
fn kind(path: &Path) -> (u32, u32, u32) {
    let found = fs::symlink_metadata(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    (found.mode() & 0o7777, found.uid(), found.gid())
}

/// A worker that any user may execute, and that speaks.
struct ForAll(tempfile::TempDir);

impl ForAll {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        install(&example("worker"), &dir.path().join("worker"));
        install(&binary(), &dir.path().join("prefork-init"));
        Self(dir)
    }

    fn worker(&self) -> Vec<OsString> {
        [self.0.path().join("worker").into(), "--fd".into(), "{fd}".into(), "--notify".into()].into()
    }
}

/// Where the first worker that is ready is told to speak.
fn socket_of_first(run: &Run) -> String {
    let pid = run.outer_pid(run.wait_for("worker ready")["pid"].as_i64().unwrap());
    let environment = fs::read_to_string(format!("/proc/{pid}/environ")).unwrap();
    let found = environment.split('\0').find_map(|variable| variable.strip_prefix("NOTIFY_SOCKET="));
    found.unwrap_or_else(|| panic!("{environment}")).to_owned()
}

#[test]
fn a_worker_has_a_socket_of_its_own_that_goes_with_it() {
    let around = Surroundings::new();
    let options = [&BY_ITS_WORD[..], &["-n", "2", "--backoff", "1ms"]].concat();
    let run = around.around(pool(&options, python(SPEAKS)), "").start();
    run.log.wait_count("worker ready", 2);
    let (first, second) = (told(&run, 0, 1).remove(0), told(&run, 1, 1).remove(0));
    assert_ne!(first, second);
    for path in [&first, &second] {
        assert!(path.starts_with("/run/prefork-"), "{path}");
        // Root may become any other user: who knows the name can speak, and nobody can look for it.
        let path = around.here(path);
        assert_eq!(kind(&path), (0o666, 0, 0));
        assert_eq!(kind(path.parent().unwrap()), (0o711, 0, 0));
        assert_eq!(path.file_name().unwrap().len(), 32);
    }
    let shown = fs::read_to_string(format!("/proc/{}/net/unix", run.pid)).unwrap();
    assert!(!shown.contains(Path::new(&first).file_name().unwrap().to_str().unwrap()), "{shown}");

    kill(run.outer_pid(run.wait_for("worker ready")["pid"].as_i64().unwrap()), libc::SIGKILL);
    run.log.wait_count("worker ready", 3);
    let again = [told(&run, 0, 1), told(&run, 1, 1)].concat().into_iter().collect::<Vec<_>>();
    let there = again.iter().filter(|path| around.here(path).exists()).count();
    assert_eq!((again.len(), there), (3, 2), "{again:?}");
    assert_stops(run);
    assert_eq!(around.left(), Vec::<PathBuf>::new());
}

#[test]
fn workers_of_another_user_have_theirs_where_nobody_else_gets() {
    let all = ForAll::new();
    for (more, base) in [
        ("", "/run/prefork-"),
        // A user directory is not for another user.
        ("mkdir /run/mine; export XDG_RUNTIME_DIR=/run/mine", "/run/prefork-"),
        ("chmod 700 /run", "/dev/shm/prefork-"),
        ("mount -o remount,bind,ro /run", "/dev/shm/prefork-"),
        ("umask 077", "/run/prefork-"),
    ] {
        let around = Surroundings::new();
        let run = around.around(pool(&AS_ANOTHER, all.worker()), more).start();
        let path = socket_of_first(&run);
        assert!(path.starts_with(base), "{more}: {path}");
        let path = around.here(&path);
        assert_eq!(kind(&path), (0o600, 33, 33), "{more}");
        assert_eq!(kind(path.parent().unwrap()), (0o700, 33, 33), "{more}");
        assert_stops(run);
        assert_eq!(around.left(), Vec::<PathBuf>::new(), "{more}");
    }
}

/// A container with no more than it takes to change the user: nothing can be given away, nor looked into.
#[test]
fn without_the_right_to_give_a_directory_away_its_user_makes_it() {
    let around = Surroundings::new();
    let few = "exec setpriv --bounding-set=-all,+setuid,+setgid,+kill --inh-caps=-all -- \"$@\"";
    let all = ForAll::new();
    let run = around.around(pool(&AS_ANOTHER, all.worker()), few).start();
    let path = socket_of_first(&run);
    assert!(path.starts_with("/dev/shm/prefork-"), "{path}");
    assert_eq!(kind(around.here(&path).parent().unwrap()), (0o700, 33, 33));
    assert_stops(run);
    assert_eq!(around.left(), Vec::<PathBuf>::new());
}

#[test]
fn an_ordinary_user_has_them_in_the_own_directory_unless_that_will_not_do() {
    let all = ForAll::new();
    let long = format!("/run/{}", "x".repeat(60));
    for (directory, base) in [
        ("/run/mine", "/run/mine/prefork-"),
        (long.as_str(), "/dev/shm/prefork-"),
        ("/run/nowhere", "/dev/shm/prefork-"),
        ("mine", "/dev/shm/prefork-"),
    ] {
        let around = Surroundings::new();
        for name in ["mine", &long[5..]] {
            fs::create_dir(around.run.path().join(name)).unwrap();
            chown(around.run.path().join(name), Some(33), Some(33)).unwrap();
        }
        let more = format!(
            "export XDG_RUNTIME_DIR={directory}; exec setpriv --reuid 33 --regid 33 --clear-groups -- \"$@\""
        );
        let launch = pool(&BY_ITS_WORD, all.worker()).program(&all.0.path().join("prefork-init"));
        fs::set_permissions(launch.dir(), fs::Permissions::from_mode(0o777)).unwrap();
        let run = around.around(launch.env("PREFORK_LOG_FORMAT", "json"), &more).start();
        let path = socket_of_first(&run);
        assert!(path.starts_with(base), "{directory}: {path}");
        let path = around.here(&path);
        assert_eq!((kind(&path), kind(path.parent().unwrap())), ((0o600, 33, 33), (0o700, 33, 33)));
        assert_stops(run);
        assert_eq!(around.left(), Vec::<PathBuf>::new());
    }
}

#[test]
fn where_the_root_is_read_only_they_are_in_shared_memory() {
    let around = Surroundings::new();
    let more = "for d in /run /tmp; do mount --bind $d $d; mount -o remount,bind,ro $d; done";
    let run = around.around(pool(&BY_ITS_WORD, python(SPEAKS)), more).start();
    run.wait_for("worker ready");
    assert!(told(&run, 0, 1)[0].starts_with("/dev/shm/prefork-"));
    assert_stops(run);
    assert_eq!(around.left(), Vec::<PathBuf>::new());
}

/// Sends a datagram from outside the namespace.
fn say_as_a_stranger(address: &str, text: &str) {
    let address = match address.strip_prefix('@') {
        Some(name) => SocketAddr::from_abstract_name(name),
        None => SocketAddr::from_pathname(address),
    };
    UnixDatagram::unbound().unwrap().send_to_addr(text.as_bytes(), &address.unwrap()).unwrap();
}

#[test]
fn where_nothing_can_be_written_they_are_abstract_and_a_strangers_word_does_not_count() {
    let around = Surroundings::new();
    let script = "
note('told-0', os.environ['NOTIFY_SOCKET'])
wait_for_file('go')
say('READY=1')
wait_for_file('go_on')
if os.fork() == 0:
    say('X_PREFORK_REQUESTS=100')
sleep_for_ever()";
    let options = [&BY_ITS_WORD[..], &["--max-requests", "100", "--count-requests", "notify"]].concat();
    let run = around.around(pool(&options, python(script)), READ_ONLY).start();
    assert_eq!(run.wait_for("notify sockets have abstract names")["level"], "WARN");
    let name = told(&run, 0, 1).remove(0);
    assert!(name.starts_with("@prefork-") && name.len() == 9 + 32, "{name}");
    say_as_a_stranger(&name, "READY=1");
    catch_up(&run);
    assert!(run.log.with_message("worker ready").is_empty(), "{}", run.log.text());
    assert_eq!(http::get(&run.health(), "/readyz").unwrap().status, 503);
    allow(&run, "go");
    run.wait_for("worker ready");

    say_as_a_stranger(&name, "X_PREFORK_REQUESTS=1000");
    catch_up(&run);
    assert!(run.log.with_message("worker due").is_empty(), "{}", run.log.text());
    allow(&run, "go_on");
    assert_eq!(run.wait_for("worker due")["requests"], 100);
    assert_eq!(run.log.with_message("notify sockets have abstract names").len(), 1, "said once");
}

/// gunicorn's `user` does so: its word, and that of its children, count; that of other users' processes does not, though
/// they know the name.
#[test]
fn a_worker_that_drops_its_rights_itself_is_heard_and_no_other_user() {
    let around = Surroundings::new();
    let script = "
me = os.environ['PREFORK_WORKER_ID']
note('told-' + me, os.environ['NOTIFY_SOCKET'])
os.chmod('.', 0o777)
os.setuid(33 if me == '0' else 65534)
if me == '1':
    # Of another worker: a process of ours, and a stranger all the same.
    wait_for_file('told-0')
    while not (there := open('told-0').read().strip()): time.sleep(0.005)
    socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).sendto(b'READY=1', notify_address(there))
    note('said', '')
    sleep_for_ever()
wait_for_file('go')
if os.fork() == 0:
    say('READY=1')
sleep_for_ever()";
    let options = [&BY_ITS_WORD[..], &["-n", "2"]].concat();
    let run = around.around(pool(&options, python(script)), "").start();
    run.wait_lines("said", 1);
    // Of no worker at all.
    let path = around.here(&told(&run, 0, 1)[0]);
    let stranger = "import socket, sys, os; os.setuid(33); \
                    socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).sendto(b'READY=1', sys.argv[1])";
    for base in [path.parent().unwrap().parent().unwrap(), around.run.path()] {
        fs::set_permissions(base, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let python = crate::harness::python();
    let status = std::process::Command::new(&python).args(["-ISc", stranger]).arg(&path).status();
    assert!(status.unwrap().success());
    catch_up(&run);
    assert!(run.log.with_message("worker ready").is_empty(), "{}", run.log.text());
    allow(&run, "go");
    assert_eq!(run.wait_for("worker ready")["slot"], 0);
}

#[test]
fn another_user_does_not_reach_the_sockets_of_the_workers_user() {
    let around = Surroundings::new();
    let all = ForAll::new();
    let run = around.around(pool(&AS_ANOTHER, all.worker()), "").start();
    let path = around.here(&socket_of_first(&run));
    let stranger = "
import errno, os, socket, sys
os.setgid(65534); os.setuid(65534)
for act in (lambda: socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).sendto(b'STOPPING=1', sys.argv[1]),
            lambda: os.listdir(os.path.dirname(sys.argv[1]))):
    try: act()
    except PermissionError: continue
    sys.exit(7)";
    let python = crate::harness::python();
    let status = std::process::Command::new(&python).args(["-ISc", stranger]).arg(&path).status();
    assert_eq!(status.unwrap().code(), Some(0));
    assert_stops(run);
}

/// What a worker has left, in a session of its own, speaks as the worker while that lives.
#[test]
fn a_daemon_speaks_for_its_worker_until_that_has_ended() {
    let around = Surroundings::new();
    let script = "
def act():
    me, speaker = os.getpid(), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    wait_for_file('go')
    say('READY=1')
    while True:
        try: speaker.sendto(b'READY=1', notify_address())
        except OSError as error: return note('refused', str(error.errno))
        time.sleep(0.005)
if os.environ['PREFORK_GENERATION'] == '1' and not os.path.exists('once'):
    note('once', '')
    daemon(act)
    note('worker', str(os.getpid()))
sleep_for_ever()";
    let options = [&BY_ITS_WORD[..], &["--backoff", "1ms"]].concat();
    let run = around.around(pool(&options, python(script)), "").start();
    let worker: i64 = run.wait_lines("worker", 1).trim().parse().unwrap();
    assert!(run.log.with_message("worker ready").is_empty());
    allow(&run, "go");
    assert_eq!(run.wait_for("worker ready")["pid"], worker);
    kill(run.outer_pid(worker), libc::SIGKILL);
    // ENOENT or ECONNREFUSED: there is nothing to speak to.
    let errno: i32 = run.wait_lines("refused", 1).trim().parse().unwrap();
    assert!([libc::ENOENT, libc::ECONNREFUSED, libc::EPIPE].contains(&errno), "{errno}");
    run.log.wait_count("worker spawned", 2);
    catch_up(&run);
    assert_eq!(run.log.with_message("worker ready").len(), 1, "{}", run.log.text());
}

/// Other workers fill their own queues without end: with one socket for all, there was no room for a word any more.
#[test]
fn a_flood_of_one_worker_leaves_room_for_the_word_of_another() {
    for surroundings in ["", READ_ONLY] {
        let around = Surroundings::new();
        let script = "
if is_worker(0):
    for _ in range(3):
        if os.fork() == 0:
            speaker = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            while True:
                for text in (b'READY=1\\n' * 500, b'', b'STATUS=x', b'\\xff' * 4000):
                    try: speaker.sendto(text, notify_address())
                    except OSError: pass
                if not os.path.exists('flows'): note('flows', '')
    sleep_for_ever()
wait_for_file('flows')
speaker = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
speaker.setblocking(False)
failed = 0
# Ten find room though none is taken (net.unix.max_dgram_qlen): more than the supervisor ever lets wait.
for n in range(30):
    try: speaker.sendto(b'X_PREFORK_REQUESTS=%d' % n, notify_address())
    except BlockingIOError: failed += 1
    time.sleep(0.05)
note('failed', str(failed))
speaker.sendto(b'READY=1', notify_address())
sleep_for_ever()";
        let options = [&BY_ITS_WORD[..], &["-n", "2"]].concat();
        let run = around.around(pool(&options, python(script)), surroundings).start();
        let failed: u32 = run.wait_lines("failed", 1).trim().parse().unwrap();
        assert_eq!(failed, 0, "so many of 30 found no room");
        run.log.wait_for("worker ready", |line| line["slot"] == 1);
        assert_stops(run);
    }
}

fn median(health: &str) -> Duration {
    let mut times: Vec<Duration> = (0..41)
        .map(|_| {
            let begin = Instant::now();
            assert_eq!(http::get(health, "/livez").unwrap().status, 200);
            begin.elapsed()
        })
        .collect();
    times.sort();
    times[times.len() / 2]
}

/// Each had to be followed up through all of its ancestors: half a second a round.
#[test]
fn a_flood_from_deep_below_does_not_slow_the_endpoint() {
    let flood = |rights: &str| {
        format!(
            "
{rights}
for depth in range(60):
    if os.fork() != 0:
        break
if depth == 59: note('deep', '')
while not os.path.exists('go'): time.sleep(0.05)
speaker = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
while True:
    try: speaker.sendto(b'STATUS=x', notify_address())
    except OSError: pass"
        )
    };
    let drops = "os.chmod('.', 0o777); os.setuid(65534)";
    for (rights, surroundings) in [("", ""), (drops, ""), ("", READ_ONLY)] {
        let around = Surroundings::new();
        let run = around.around(pool(&["-n", "1"], python(&flood(rights))), surroundings).start();
        run.wait_lines("deep", 1);
        let quiet = median(&run.health());
        allow(&run, "go");
        let flooded = median(&run.health());
        println!("{rights:?} {surroundings:?}: {quiet:?}, flooded {flooded:?}");
        let limit = quiet * 5 + Duration::from_millis(150);
        assert!(flooded < limit, "{flooded:?}, not {quiet:?} ({rights:?} {surroundings:?})");
        drop(run);
    }
}

#[test]
fn nothing_is_left_behind_however_it_ends() {
    // Started, and given up: something else cannot be had.
    let around = Surroundings::new();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let words = ["-n", "1", "--health", &address, "--", "true"];
    let (code, ..) = around.around(launch(words), "").finish();
    assert_eq!((code, around.left()), (125, vec![]));
    // A crash loop.
    let words = ["-n", "2", "--max-restarts", "1", "--backoff", "1ms", "--", "false"];
    let (code, ..) = around.around(launch(words), "").finish();
    assert_eq!((code, around.left()), (3, vec![]));
    // What is done first fails.
    let (code, ..) = around.around(launch(["-n", "1", "--before", "false", "--", "true"]), "").finish();
    assert_eq!((code, around.left()), (1, vec![]));
    // A panic of our own.
    let all = ForAll::new();
    for options in [&BY_ITS_WORD[..], &AS_ANOTHER] {
        let launch = pool(options, all.worker()).env("PREFORK_DEBUG_PANIC", "1");
        let mut run = around.around(launch, "").start();
        run.wait_for("worker ready");
        assert_eq!(around.left().len(), 1);
        run.signal(libc::SIGUSR1);
        assert_eq!((run.wait_exit(), around.left()), (70, vec![]), "{options:?}");
    }
}

/// Killed, it can do nothing: the next that starts there does it, and leaves alone what is in use.
#[test]
fn what_a_supervisor_that_was_killed_has_left_is_removed_by_the_next() {
    let around = Surroundings::new();
    let start = || {
        let run = around.around(pool(&BY_ITS_WORD, python(SPEAKS)), "").start();
        run.wait_for("worker ready");
        run
    };
    let (mut killed, lives) = (start(), start());
    assert_eq!(around.left().len(), 2);
    killed.signal(libc::SIGKILL);
    killed.wait_exit();
    assert_eq!(around.left().len(), 2);
    let others = around.run.path().join("prefork-others");
    fs::create_dir(&others).unwrap();
    let next = start();
    assert_eq!(around.left().len(), 3, "two of ours, and what is not: {:?}", around.left());
    assert!(others.exists());
    for run in [&lives, &next] {
        assert!(around.here(&told(run, 0, 1)[0]).exists());
    }
    for run in [lives, next] {
        assert_stops(run);
    }
    assert_eq!(around.left(), [others]);
}

#[test]
fn through_an_upgrade_a_worker_speaks_as_before() {
    let all = ForAll::new();
    for options in [&BY_ITS_WORD[..], &AS_ANOTHER] {
        let around = Surroundings::new();
        let limits = ["--max-requests", "50", "--count-requests", "notify", "--drain-time", "10ms"];
        let launch = pool(&[options, &limits].concat(), all.worker()).of_a_copy();
        let run = around.around(launch, "").start();
        let path = socket_of_first(&run);
        for round in 1..=2 {
            put(&run, &binary());
            run.signal(libc::SIGUSR2);
            run.log.wait_count("upgraded", round);
            // It has begun to live, and knows where its program is.
            assert_eq!(http::get(&run.health(), "/readyz").unwrap().status, 200);
        }
        assert_eq!(around.left().len(), 1, "the same directory: {:?}", around.left());
        assert!(around.here(&path).exists());
        // A total that finds no room is made good for by the next.
        eventually("that it has served enough", || {
            assert_eq!(http::get(&run.address(0), "/").unwrap().status, 200);
            run.log.with_message("worker due").pop()
        });
        let ended = run.wait_for("worker exited");
        assert_eq!(ended["reason"], "max-requests", "{ended}");
        eventually("that its socket is gone", || (!around.here(&path).exists()).then_some(()));
        run.log.wait_count("worker ready", 2);
        assert_stops(run);
        assert_eq!(around.left(), Vec::<PathBuf>::new());
    }
}

/// The file may name another user, who takes over with the program: that one's workers reach a directory of their own.
#[test]
fn an_upgrade_to_another_user_makes_another_directory() {
    let (all, around) = (ForAll::new(), Surroundings::new());
    let launch =
        pool(&[&BY_ITS_WORD[..], &["--config", "pool.toml", "--drain-time", "10ms"]].concat(), all.worker());
    let launch = launch.of_a_copy();
    fs::write(launch.dir().join("pool.toml"), "").unwrap();
    let run = around.around(launch, "").start();
    let old = around.here(&socket_of_first(&run));
    fs::write(run.dir().join("pool.toml"), "user = \"www-data\"\n").unwrap();
    run.signal(libc::SIGUSR2);
    run.wait_for("upgraded");
    assert!(old.exists());
    run.signal(libc::SIGHUP);
    run.wait_for("reload finished");
    let kinds: Vec<_> = around.left().iter().map(|path| kind(path)).collect();
    assert!(kinds.contains(&(0o711, 0, 0)) && kinds.contains(&(0o700, 33, 33)), "{kinds:?}");
    assert!(!old.exists());
    assert_stops(run);
    assert_eq!(around.left(), Vec::<PathBuf>::new());
}

#[test]
fn a_program_that_knows_another_handover_is_refused() {
    let mut run = pool(&[], python("serve()")).of_a_copy().start();
    run.wait_for("worker ready");
    let script = run.dir().join("script");
    fs::write(&script, "#!/bin/sh\necho '                USR2 exchanges this program (handover format 2)'\n")
        .unwrap();
    put(&run, &script);
    run.signal(libc::SIGUSR2);
    let told = run.wait_for("upgrade failed");
    assert!(told["reason"].as_str().unwrap().contains("of an earlier build"), "{told}");
    assert_eq!(http::get(&run.address(0), "/").unwrap().status, 200);
    run.signal(libc::SIGTERM);
    assert_eq!(run.wait_exit(), 0);
}

/// The workers' user owns the directory, and can make it useless for us.
#[test]
fn a_directory_that_its_user_spoils_is_left_for_another_and_none_is_kept_without_use() {
    let around = Surroundings::new();
    let spoils = "chmod 0 \"${NOTIFY_SOCKET%/*}\"";
    let more = ["-n", "1", "--backoff", "1ms", "--backoff-max", "10ms", "--max-restarts", "1000"];
    let options = [&AS_ANOTHER[..], &more].concat();
    let run = around.around(pool(&options, ["/bin/sh", "-c", spoils].map(OsString::from).into()), "").start();
    // Each of them in another.
    run.log.wait_count("worker spawned", 8);
    let open = fs::read_dir(format!("/proc/{}/fd", run.pid)).unwrap().flatten();
    let kept = open.filter(|fd| fs::read_link(fd.path()).is_ok_and(|to| to.starts_with("/run")));
    let kept: Vec<_> = kept.map(|fd| fs::read_link(fd.path()).unwrap()).collect();
    assert!(kept.len() <= 3, "{kept:?}");
    assert!(around.left().len() <= 3, "{:?}", around.left());
    assert!(run.log.with_message("cannot start the command").is_empty(), "{}", run.log.text());
    assert_stops(run);
    assert_eq!(around.left(), Vec::<PathBuf>::new());
}

#[test]
fn where_a_file_system_is_full_another_is_taken() {
    let around = Surroundings::new();
    // The root, the directory and one socket.
    let full = "mount -t tmpfs -o nr_inodes=3 tmpfs /run";
    let options = [&BY_ITS_WORD[..], &["-n", "2"]].concat();
    let run = around.around(pool(&options, python(SPEAKS)), full).start();
    run.log.wait_count("worker ready", 2);
    assert!(told(&run, 0, 1).remove(0).starts_with("/run/prefork-"));
    assert!(told(&run, 1, 1).remove(0).starts_with("/dev/shm/prefork-"));
    assert_stops(run);
    assert_eq!(around.left(), Vec::<PathBuf>::new());
}
