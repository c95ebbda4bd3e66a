//! A worker that takes too much memory is replaced in order, or stopped at once; and one that the kernel killed for
//! want of it is told apart.

use super::history::{assert_made_before_broken, lives};
use super::python::python;
use super::{allow, pool};
use crate::harness::{Launch, Run, cgroup, kill};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Serves beside what the script does. `grow` takes so many MB; whoever comes later does not grow.
const SCRIPT: &str = r#"
threading.Thread(target=serve, daemon=True).start()
held, first = [], not os.path.exists("grown")

def grow(size):
    held.append(bytearray(b"x") * (size << 20))
    note("grown", str(os.getpid()))

def grow_when_told(size):
    if first:
        wait_for_file("go")
        grow(size)
    sleep_for_ever()
"#;

fn growing(options: &[&str], script: &str) -> Launch {
    pool(options, python(&format!("{SCRIPT}\n{script}")))
}

/// A pool whose first worker is ready, and grows now.
fn grown(options: &[&str], script: &str) -> Run {
    let run = growing(options, script).start();
    run.wait_for("worker ready");
    allow(&run, "go");
    run.wait_lines("grown", 1);
    run
}

/// Waits until the first worker has been replaced for its memory, the new one first.
fn assert_replaced(run: &Run) {
    let due = run.wait_for("worker due");
    assert_eq!((&due["reason"], &due["gen"]), (&"max-memory".into(), &1.into()), "{}", run.log.text());
    let exited = run.wait_for("worker exited");
    assert_eq!((&exited["reason"], &exited["pid"]), (&"max-memory".into(), &due["pid"]));
    assert_eq!(exited["level"], "INFO");
    let lines = run.log.lines();
    assert_eq!(assert_made_before_broken(&lives(&lines), "max-memory", &lines), 1);
    assert!(run.log.with_message("respawn delayed").is_empty(), "{}", run.log.text());
}

#[test]
fn a_worker_that_has_grown_is_replaced_the_new_one_first() {
    let options = ["--max-memory", "100M", "--max-memory-jitter", "10%"];
    let begun = Instant::now();
    let run = grown(&options, "grow_when_told(150)");
    assert_replaced(&run);
    assert!(begun.elapsed() >= Duration::from_secs(2), "three measurements, a second apart");
    let spawned = run.log.with_message("worker spawned");
    for line in spawned {
        let limit = line["max_memory"].as_u64().unwrap();
        assert!((100 << 20..=110 << 20).contains(&limit), "{line}");
    }
}

#[test]
fn a_worker_that_shrinks_again_is_left_alone() {
    // Beyond the limit for three measurements at most, three times, and within it for one at least. Then it stays.
    let script = "
if first:
    wait_for_file('go')
    for pause in [2, 2, 0]:
        grow(150)
        time.sleep(2.2)
        held.clear()
        note('shrunk', '')
        time.sleep(pause)
    wait_for_file('go_on')
    grow(150)
sleep_for_ever()";
    let run = grown(&["--max-memory", "100M", "--memory-samples", "5"], script);
    run.wait_lines("shrunk", 3);
    assert!(run.log.with_message("worker due").is_empty(), "{}", run.log.text());
    allow(&run, "go_on");
    assert_replaced(&run);
}

#[test]
fn a_worker_beyond_the_hard_limit_is_stopped_at_once() {
    let options = ["-n", "2", "--max-memory", "50M", "--max-memory-hard", "100M"];
    let script = "
if is_worker(1): sleep_for_ever()
grow_when_told(150)";
    let run = growing(&options, script).start();
    run.log.wait_count("worker ready", 2);
    allow(&run, "go");
    let stopping = run.wait_for("worker stopping");
    assert_eq!((&stopping["reason"], &stopping["slot"]), (&"max-memory".into(), &0.into()));
    let lines = run.log.lines();
    let before = lines.iter().take_while(|line| **line != stopping);
    let spawned = before.filter(|line| line["message"] == "worker spawned").count();
    assert_eq!(spawned, 2, "there was no replacement first");
    assert!(run.log.with_message("worker draining").is_empty(), "{}", run.log.text());
    assert_eq!(run.wait_for("worker exited")["reason"], "max-memory");
    run.log.wait_count("worker ready", 3);
}

#[test]
fn what_a_child_of_the_worker_takes_counts() {
    let script = "
if first and os.fork() == 0:
    if os.fork() == 0: grow_when_told(150)
sleep_for_ever()";
    let run = grown(&["--max-memory", "100M", "--memory-samples", "1"], script);
    assert_replaced(&run);
}

/// Four processes that share 60 MB, of which one takes 200 of its own when it is told to.
const SHARING: &str = "
if first:
    shared = bytearray(b'x') * (60 << 20)
    for _ in range(3):
        if os.fork() == 0: grow_when_told(200) if _ == 0 else sleep_for_ever()
note('shared', '')
time.sleep(2.5)
note('measured', '')
sleep_for_ever()";

#[test]
fn what_several_processes_share_counts_for_each_and_in_part_if_that_is_asked_for() {
    let options = ["--max-memory", "200M", "--memory-samples", "1"];
    let run = growing(&options, SHARING).start();
    assert_eq!(run.wait_for("worker due")["reason"], "max-memory");

    let options: Vec<&str> = options.into_iter().chain(["--memory-measure", "pss"]).collect();
    let run = growing(&options, SHARING).start();
    run.wait_lines("measured", 1);
    assert!(run.log.with_message("worker due").is_empty(), "{}", run.log.text());
    allow(&run, "go");
    assert_replaced(&run);
}

/// A cgroup with a limit of its own, removed when dropped.
struct Small(PathBuf);

/// What the whole pool may take.
const LIMIT: &str = "100000000";

impl Small {
    /// Below ours in version 1; in version 2 beside it, since one with processes of its own can have none below. `None`
    /// if there is no memory cgroup to be seen, or we are not root.
    fn make() -> Option<Self> {
        let own = cgroup::of_memory();
        // SAFETY: takes nothing.
        let (Some(own), 0) = (own, unsafe { libc::geteuid() }) else { return None };
        let one = own.join("memory.limit_in_bytes").exists();
        let parent = if one { &own } else { own.parent().unwrap() };
        let small = Self(parent.join(format!("prefork-init-pool-{}", std::process::id())));
        fs::create_dir(&small.0).unwrap();
        let limits = if one {
            ["memory.limit_in_bytes", "memory.memsw.limit_in_bytes"]
        } else {
            ["memory.max", "memory.swap.max"]
        };
        fs::write(small.0.join(limits[0]), LIMIT).unwrap();
        if small.0.join(limits[1]).exists() {
            fs::write(small.0.join(limits[1]), if one { LIMIT } else { "0" }).unwrap();
        }
        Some(small)
    }

    fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        // Those who have ended may count as members a moment longer.
        let begin = Instant::now();
        while fs::remove_dir(&self.0).is_err() && begin.elapsed() < Duration::from_secs(10) {
            std::thread::yield_now();
        }
    }
}

#[test]
fn a_worker_that_the_kernel_killed_for_want_of_memory_is_told_from_one_that_somebody_killed() {
    let Some(small) = Small::make() else {
        println!("no memory cgroup can be made here: nothing was tested");
        return;
    };
    let script = "
if is_worker(1) and first:
    wait_for_file('go')
    while True: grow(8)
sleep_for_ever()";
    let into = r#"echo $$ > "$0/cgroup.procs" && exec "$@""#;
    let wrapper = ["sh", "-c", into, small.path().to_str().unwrap()];
    let run = growing(&["-n", "2"], script).through(wrapper).start();
    run.log.wait_count("worker ready", 2);
    let kill_first = || {
        let ready = run.log.with_message("worker ready");
        let pid = &ready.iter().rfind(|line| line["slot"] == 0).unwrap()["pid"];
        kill(run.outer_pid(pid.as_i64().unwrap()), libc::SIGKILL);
        run.log.wait_for("worker exited", |line| line["pid"] == *pid)
    };
    assert_eq!(kill_first()["reason"], "crash");
    run.log.wait_count("worker ready", 3);
    allow(&run, "go");
    let exited = run.log.wait_for("worker exited", |line| line["slot"] == 1);
    assert_eq!(
        (&exited["reason"], &exited["signal"], &exited["level"]),
        (&"oom".into(), &"KILL".into(), &"ERROR".into())
    );
    run.log.wait_count("worker ready", 4);
    assert_eq!(kill_first()["reason"], "crash", "one death is told of once");
}
