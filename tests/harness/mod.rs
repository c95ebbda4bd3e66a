//! The real binary, as PID 1 of a fresh PID namespace, watched through its own JSON log.
//!
//! Tests wait for events, never for a time: every wait is for a line, an answer or an end, and fails with the
//! whole log after `LIMIT`. Dropping a `Run` kills the namespace's PID 1, and the kernel everything in it.

#[allow(dead_code, reason = "the bench uses all of it")]
pub mod abuse;
pub mod cgroup;
pub mod clients;
pub mod http;
pub mod load;
pub mod prometheus;
pub mod seccomp;
pub mod servers;
pub mod strace;
pub mod suspend;
pub mod watch;

use serde_json::Value;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::{Duration, Instant};
use watch::{Took, Watch};

/// How long any single thing may take before the test fails.
pub const LIMIT: Duration = Duration::from_secs(60);

/// The binary under test.
pub fn binary() -> PathBuf {
    PathBuf::from(env!("CARGO_BIN_EXE_prefork-init"))
}

/// An example, which cargo has built beside the binary.
pub fn example(name: &str) -> PathBuf {
    let path = binary().with_file_name("examples").join(name);
    assert!(
        path.exists(),
        "{} is missing: run the whole suite, cargo builds examples for it",
        path.display()
    );
    path
}

/// Copies a program that is executed then. By another process: a descriptor of ours that is open for writing would be
/// inherited by whatever other tests start in that moment, and make it a busy text file (`ETXTBSY`, execve(2)).
pub fn install(program: &Path, to: &Path) {
    let copied = Command::new("cp").arg(program).arg(to).status();
    assert!(
        copied.is_ok_and(|status| status.success()),
        "cannot copy {} to {}",
        program.display(),
        to.display()
    );
}

/// Writes a script that is executed then; see [`install`].
pub fn install_script(text: &str, mode: u32, to: &Path) {
    let draft = to.with_extension("draft");
    fs::write(&draft, text).unwrap();
    fs::set_permissions(&draft, fs::Permissions::from_mode(mode)).unwrap();
    install(&draft, to);
    fs::remove_file(draft).unwrap();
}

/// How to start the binary.
pub struct Launch {
    args: Vec<OsString>,
    env: Vec<(String, String)>,
    pid1: bool,
    wrapper: Vec<OsString>,
    /// Another program to run instead: by this name.
    program: Option<PathBuf>,
    dir: tempfile::TempDir,
}

/// The binary with these arguments, as PID 1 of a namespace unless told otherwise.
pub fn launch<S: Into<OsString>>(args: impl IntoIterator<Item = S>) -> Launch {
    Launch {
        args: args.into_iter().map(Into::into).collect(),
        env: vec![("PREFORK_LOG_FORMAT".into(), "json".into()), ("PREFORK_LOG_LEVEL".into(), "debug".into())],
        pid1: true,
        wrapper: Vec::new(),
        program: None,
        dir: tempfile::tempdir().unwrap(),
    }
}

impl Launch {
    /// Sets an environment variable.
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.into(), value.into()));
        self
    }

    /// As an ordinary process, below a PID 1 that is a shell and knows nothing of us.
    pub fn not_pid1(mut self) -> Self {
        self.pid1 = false;
        self
    }

    /// Through another program, which must exec the rest of its arguments: `setpriv`, `strace`, ...
    pub fn through<S: Into<OsString>>(mut self, wrapper: impl IntoIterator<Item = S>) -> Self {
        self.wrapper = wrapper.into_iter().map(Into::into).collect();
        self
    }

    /// Another program, perhaps our binary by another name; it gets none of our settings.
    pub fn program(mut self, path: &Path) -> Self {
        self.program = Some(path.to_owned());
        self.env.clear();
        self
    }

    /// A copy of the binary, `supervisor` in the working directory, with our settings: another may be put in its place.
    pub fn of_a_copy(self) -> Self {
        let copy = self.dir().join("supervisor");
        install(&binary(), &copy);
        self.program(&copy).env("PREFORK_LOG_FORMAT", "json").env("PREFORK_LOG_LEVEL", "debug")
    }

    /// A directory that lives as long as the run, and is the working directory.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Starts it and waits until it runs.
    pub fn start(self) -> Run {
        let mut words: Vec<OsString> = Vec::new();
        words.extend(unshare().iter().map(Into::into));
        if !self.pid1 {
            words.extend(["sh", "-c", r#""$@"; exit "$?""#, "sh"].map(Into::into));
        }
        words.extend(self.wrapper.iter().cloned());
        let program = self.program.clone().unwrap_or_else(binary);
        words.push(program.clone().into());
        words.extend(self.args.iter().cloned());
        let out = fs::File::create(self.dir.path().join("stdout")).unwrap();
        let mut child = plain_command(&words[0])
            .args(&words[1..])
            .envs(self.env.iter().map(|(name, value)| (name, value)))
            .env_remove("WEB_CONCURRENCY")
            .envs(self.env.iter().filter(|(name, _)| name == "WEB_CONCURRENCY").map(|(n, v)| (n, v)))
            .current_dir(self.dir.path())
            .stdin(Stdio::null())
            .stdout(out)
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start {words:?}: {error}"));
        let log = Log::default();
        let reader = BufReader::new(child.stderr.take().unwrap());
        let sink = log.clone();
        thread::spawn(move || sink.fill(reader));
        let pid = find_pid(&mut child, &fs::canonicalize(&program).unwrap(), &log);
        Run { child, pid, log, dir: self.dir, status: None }
    }

    /// Starts it, waits for its end, and returns exit code, stdout and stderr.
    pub fn finish(self) -> (i32, String, String) {
        let mut run = self.start();
        let code = run.wait_exit();
        (code, run.stdout(), run.log.text())
    }
}

/// The command that makes a PID namespace here; says loudly if it cannot.
fn unshare() -> &'static [&'static str] {
    const ROOT: &[&str] = &["unshare", "--pid", "--fork", "--mount-proc", "--kill-child"];
    const USER: &[&str] =
        &["unshare", "--user", "--map-root-user", "--pid", "--fork", "--mount-proc", "--kill-child"];
    static WAYS: std::sync::OnceLock<&[&str]> = std::sync::OnceLock::new();
    WAYS.get_or_init(|| {
        let works = |way: &&&[&str]| {
            let tried = Command::new(way[0]).args(&way[1..]).arg("true").stderr(Stdio::null()).status();
            tried.is_ok_and(|status| status.success())
        };
        [ROOT, USER].iter().find(works).copied().unwrap_or_else(|| {
            panic!("no PID namespace can be made here (tried unshare as root and with a user namespace)")
        })
    })
}

/// The pid, in our namespace, of the binary, which is a descendant of what we have started.
fn find_pid(child: &mut Child, program: &Path, log: &Log) -> i32 {
    let start = Instant::now();
    let outer = child.id();
    loop {
        // Twice: it may have begun to run, and have forked, between the looks at itself and at its children.
        let found = program_below(outer as i32, program).and_then(|_| program_below(outer as i32, program));
        if let Some(pid) = found {
            return pid;
        }
        if child.try_wait().unwrap().is_some() {
            // It ended at once, as it should on a wrong option.
            return 0;
        }
        assert!(start.elapsed() < LIMIT, "it did not start:\n{}", log.text());
        thread::sleep(Duration::from_millis(1));
    }
}

fn program_below(pid: i32, program: &Path) -> Option<i32> {
    let is_it = |exe: PathBuf| {
        // What proc_pid_exe(5) adds once the file was replaced.
        exe.to_str().is_some_and(|exe| Path::new(exe.trim_end_matches(" (deleted)")) == program)
    };
    if fs::read_link(format!("/proc/{pid}/exe")).is_ok_and(is_it) {
        return Some(pid);
    }
    children(pid).into_iter().find_map(|child| program_below(child, program))
}

/// The children of a process that has one thread.
pub fn children(pid: i32) -> Vec<i32> {
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    children.split_ascii_whitespace().filter_map(|pid| pid.parse().ok()).collect()
}

/// The binary, running.
pub struct Run {
    child: Child,
    /// Its pid in our namespace; 0 if it ended at once.
    pub pid: i32,
    pub log: Log,
    dir: tempfile::TempDir,
    status: Option<i32>,
}

impl Run {
    /// Signals the supervisor.
    pub fn signal(&self, signal: i32) {
        kill(self.pid, signal);
    }

    /// Waits for a log line with this message and returns it.
    pub fn wait_for(&self, message: &str) -> Value {
        self.log.wait_for(message, |_| true)
    }

    /// The time that the supervisor was not run: its clock leaves it out.
    pub fn lost(&self) -> Duration {
        let lost = self.log.with_message("time passed without us");
        Duration::from_millis(lost.last().map_or(0, |line| line["lost_ms"].as_u64().unwrap()))
    }

    /// The time since then.
    pub fn took(&self, since: &Watch) -> Took {
        Took { all: since.elapsed(), ran: since.ran().saturating_sub(self.lost()) }
    }

    /// Waits for the end; the code, or 128 + the signal.
    pub fn wait_exit(&mut self) -> i32 {
        let log = self.log.clone();
        let status = self.wait_exit_within(LIMIT);
        status.unwrap_or_else(|| panic!("it did not end:\n{}", log.text()))
    }

    /// Waits for the end, or for the limit.
    pub fn wait_exit_within(&mut self, limit: Duration) -> Option<i32> {
        use std::os::unix::process::ExitStatusExt;
        let start = Instant::now();
        while self.status.is_none() && start.elapsed() < limit {
            if let Some(status) = self.child.try_wait().unwrap() {
                self.status = Some(status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0)));
                self.log.wait_end();
            } else {
                thread::sleep(Duration::from_millis(1));
            }
        }
        self.status
    }

    /// Where the first (or n-th) listener is, as its log line says.
    pub fn address(&self, index: usize) -> String {
        self.log.wait_until(|lines| lines.iter().filter(|l| l["message"] == "listening").count() > index);
        let lines = self.log.with_message("listening");
        lines[index]["address"].as_str().unwrap().to_owned()
    }

    /// Where the health endpoint is.
    pub fn health(&self) -> String {
        self.wait_for("health endpoint")["address"].as_str().unwrap().to_owned()
    }

    /// The working directory.
    pub fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// What the command and the supervisor have printed.
    pub fn stdout(&self) -> String {
        fs::read_to_string(self.dir.path().join("stdout")).unwrap_or_default()
    }

    /// Waits until a file in the working directory has at least this many lines, and returns its text.
    pub fn wait_lines(&self, name: &str, count: usize) -> String {
        let path = self.dir.path().join(name);
        eventually(&format!("{count} lines in {name}"), || {
            fs::read_to_string(&path).ok().filter(|text| text.lines().count() >= count)
        })
    }

    /// The command's pid in our namespace (init mode).
    pub fn command(&self) -> i32 {
        self.outer_pid(self.wait_for("command started")["pid"].as_i64().unwrap())
    }

    /// All processes in the supervisor's namespace but itself, as (pid in our namespace, state letter).
    pub fn others(&self) -> Vec<(i32, char)> {
        let namespace = fs::read_link(format!("/proc/{}/ns/pid", self.pid)).ok();
        let same =
            |pid: i32| namespace.is_some() && fs::read_link(format!("/proc/{pid}/ns/pid")).ok() == namespace;
        processes().into_iter().filter(|&(pid, _)| pid != self.pid && same(pid)).collect()
    }

    /// The pid in our namespace of a process that its own namespace knows as `inner`.
    pub fn outer_pid(&self, inner: i64) -> i32 {
        let is_it = |pid: &i32| {
            let pids = status_line(*pid, "NSpid").unwrap_or_default();
            pids.split_ascii_whitespace().last().and_then(|pid| pid.parse().ok()) == Some(inner)
        };
        let pids: Vec<i32> = self.others().into_iter().map(|(pid, _)| pid).collect();
        pids.into_iter().find(is_it).unwrap_or_else(|| panic!("no process {inner}:\n{}", self.log.text()))
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        if self.status.is_none() {
            if self.pid > 0 {
                kill(self.pid, 9);
            }
            let _ended = self.child.kill();
            let _ended = self.child.wait();
        }
        if thread::panicking() {
            eprintln!("--- log ---\n{}--- end of log ---", self.log.text());
        }
    }
}

/// The lines that the supervisor and its children have written to stderr.
#[derive(Clone, Default)]
pub struct Log(Arc<(Mutex<Lines>, Condvar)>);

#[derive(Default)]
struct Lines {
    raw: Vec<String>,
    parsed: Vec<Value>,
    ended: bool,
}

impl Log {
    fn fill(&self, reader: impl BufRead) {
        let (lines, changed) = &*self.0;
        for line in reader.split(b'\n').map_while(Result::ok) {
            let line = String::from_utf8_lossy(&line).into_owned();
            let mut lines = lines.lock().unwrap();
            lines.parsed.extend(serde_json::from_str::<Value>(&line).ok());
            lines.raw.push(line);
            changed.notify_all();
        }
        lines.lock().unwrap().ended = true;
        changed.notify_all();
    }

    /// Waits until the parsed lines satisfy a condition.
    pub fn wait_until(&self, condition: impl Fn(&[Value]) -> bool) {
        let (lines, changed) = &*self.0;
        let guard = lines.lock().unwrap();
        let (guard, late) = changed
            .wait_timeout_while(guard, LIMIT, |lines| !condition(&lines.parsed) && !lines.ended)
            .unwrap();
        let satisfied = condition(&guard.parsed);
        drop(guard);
        assert!(satisfied, "{}:\n{}", if late.timed_out() { "too late" } else { "it ended" }, self.text());
    }

    /// Waits for a line with this message that satisfies a condition, and returns it.
    pub fn wait_for(&self, message: &str, condition: impl Fn(&Value) -> bool) -> Value {
        let fits = |line: &&Value| {
            line["message"].as_str().is_some_and(|m| m.starts_with(message)) && condition(line)
        };
        self.wait_until(|lines| lines.iter().any(|line| fits(&line)));
        self.0.0.lock().unwrap().parsed.iter().find(fits).cloned().unwrap()
    }

    /// Waits until this many lines have this message.
    pub fn wait_count(&self, message: &str, count: usize) {
        self.wait_until(|lines| lines.iter().filter(|line| line["message"] == message).count() >= count);
    }

    /// The lines whose message begins so, up to now.
    pub fn with_message(&self, message: &str) -> Vec<Value> {
        let lines = self.0.0.lock().unwrap();
        let fits = |line: &&Value| line["message"].as_str().is_some_and(|m| m.starts_with(message));
        lines.parsed.iter().filter(fits).cloned().collect()
    }

    /// All parsed lines, up to now.
    pub fn lines(&self) -> Vec<Value> {
        self.0.0.lock().unwrap().parsed.clone()
    }

    /// Everything written, up to now.
    pub fn text(&self) -> String {
        self.0.0.lock().unwrap().raw.iter().map(|line| format!("{line}\n")).collect()
    }

    /// Waits until nobody can write any more.
    fn wait_end(&self) {
        let (lines, changed) = &*self.0;
        let limit = Duration::from_secs(10);
        let _late = changed.wait_timeout_while(lines.lock().unwrap(), limit, |lines| !lines.ended).unwrap();
    }
}

/// A command that starts with no signal blocked or ignored and no terminal, whatever we were started with: nohup ignores
/// HUP, and posix_spawn(3), by which cargo starts us and std starts others, leaves 32 and 33 ignored.
pub fn plain_command(program: &OsStr) -> Command {
    let mut command = Command::new(program);
    // It is the suite's own, and looks like a setting that is misspelt.
    command.env_remove("PREFORK_TEST_VENV");
    // SAFETY: system calls on a zeroed `struct sigaction` (SIG_DFL, no flags) and an empty set, as the kernel has
    // them. KILL and STOP are refused, which is right.
    unsafe {
        command.pre_exec(|| {
            libc::setsid();
            let default = [0u64; 4];
            for signal in 1..=64 {
                libc::syscall(
                    libc::SYS_rt_sigaction,
                    signal,
                    default.as_ptr(),
                    std::ptr::null_mut::<u64>(),
                    8,
                );
            }
            let none = 0u64;
            libc::syscall(
                libc::SYS_rt_sigprocmask,
                libc::SIG_SETMASK,
                &raw const none,
                std::ptr::null_mut::<u64>(),
                8,
            );
            Ok(())
        });
    }
    command
}

/// A Python without the shims and the start-up costs of version managers.
pub fn python() -> OsString {
    static PATH: std::sync::OnceLock<OsString> = std::sync::OnceLock::new();
    let found = PATH.get_or_init(|| {
        let script = "import sys; print(sys.executable, end='')";
        let output = Command::new("python3").args(["-c", script]).output().expect("python3 is needed");
        String::from_utf8(output.stdout).unwrap().into()
    });
    found.clone()
}

/// A line of `/proc/PID/status`, without its name.
pub fn status_line(pid: i32, name: &str) -> Option<String> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    Some(line.trim().to_owned())
}

/// Sends a signal to a process that this test has started.
pub fn kill(pid: i32, signal: i32) {
    assert!(pid > 1, "not a process of this test: {pid}");
    // SAFETY: takes two integers.
    unsafe { libc::kill(pid, signal) };
}

/// Tries until there is a result, or fails.
pub fn eventually<T>(what: &str, attempt: impl FnMut() -> Option<T>) -> T {
    eventually_within(LIMIT, what, attempt)
}

/// As [`eventually`], for what takes its time on a busy machine.
pub fn eventually_within<T>(limit: Duration, what: &str, mut attempt: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(result) = attempt() {
            return result;
        }
        assert!(start.elapsed() < limit, "never happened: {what}");
        thread::sleep(Duration::from_millis(2));
    }
}

/// All processes, as (pid, state letter).
fn processes() -> Vec<(i32, char)> {
    let pids = fs::read_dir("/proc").unwrap().flatten().filter_map(|e| e.file_name().to_str()?.parse().ok());
    let state = |pid: i32| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        Some((pid, stat.rsplit_once(") ")?.1.chars().next()?))
    };
    pids.filter_map(state).collect()
}
