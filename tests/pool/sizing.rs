//! `--workers auto`: as many workers as there is room for in this container.

use super::python::python;
use super::upgrade::put;
use super::{catch_up, pool, readiness};
use crate::harness::{Launch, Run, binary, cgroup, launch};
use serde_json::Value;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

fn auto(options: &[&str]) -> Launch {
    pool(&[&["-n", "auto"], options].concat(), python("serve()"))
}

/// The line that explains the number.
fn explained(run: &Run) -> Value {
    run.log.wait_for("workers: ", |_| true)
}

/// Waits until so many workers, and no more, are ready.
fn assert_workers(run: &Run, count: u64) {
    run.log.wait_count("worker ready", usize::try_from(count).unwrap());
    catch_up(run);
    assert_eq!(run.log.with_message("worker spawned").len() as u64, count, "{}", run.log.text());
    assert_eq!(readiness(run), (200, count, 1, count));
}

/// Cgroups with limits, removed when dropped.
struct Limited(Vec<PathBuf>);

impl Limited {
    /// In version 1, one below ours for memory, and another below the root for processor time, with the limits set
    /// for the one above it. In version 2 one for both. `None` where they cannot be made.
    fn make(quota_us: u32, memory: &str) -> Option<Self> {
        // SAFETY: takes nothing.
        if unsafe { libc::geteuid() } != 0 {
            return None;
        }
        let own = cgroup::of_memory()?;
        let name = format!("prefork-init-sizing-{}", std::process::id());
        let mut made = Self(Vec::new());
        let mut make = |directory: PathBuf| {
            fs::create_dir(&directory).unwrap();
            made.0.push(directory.clone());
            directory
        };
        if own.join("memory.limit_in_bytes").exists() {
            let above = make(own.join(&name));
            fs::write(above.join("memory.limit_in_bytes"), memory).unwrap();
            make(above.join("below"));
            let above = make(Path::new("/sys/fs/cgroup/cpu").join(&name));
            fs::write(above.join("cpu.cfs_quota_us"), quota_us.to_string()).unwrap();
            make(above.join("below"));
        } else {
            let one = make(own.parent().unwrap().join(&name));
            fs::write(one.join("memory.max"), memory).unwrap();
            fs::write(one.join("cpu.max"), format!("{quota_us} 100000")).unwrap();
        }
        Some(made)
    }

    /// Starts it in these.
    fn start(&self, launch: Launch) -> Run {
        let leaves = self.0.iter().filter(|one| !self.0.iter().any(|two| two.parent() == Some(one)));
        let joins: Vec<String> =
            leaves.map(|leaf| format!("echo $$ > {}/cgroup.procs && ", leaf.display())).collect();
        launch.through(["sh", "-c", &format!("{}exec \"$@\"", joins.concat()), "sh"]).start()
    }
}

impl Drop for Limited {
    fn drop(&mut self) {
        for directory in self.0.iter().rev() {
            // Those who have ended may count as members a moment longer.
            let begin = Instant::now();
            while fs::remove_dir(directory).is_err() && begin.elapsed() < Duration::from_secs(10) {
                std::thread::yield_now();
            }
        }
    }
}

/// A quota of one and a half processors, which std takes for one; and a limit of memory.
#[test]
fn a_real_cgroup_with_a_quota_and_a_memory_limit() {
    let processors = std::thread::available_parallelism().unwrap().get();
    let Some(limited) = Limited::make(150_000, "1073741824") else {
        println!("no cgroups can be made here: what a mounted directory shows is tested all the same");
        return;
    };
    let run = limited.start(auto(&[]));
    let line = explained(&run);
    let cpus = 2.min(processors) as u64;
    let plural = if cpus == 1 { "" } else { "s" };
    let told = format!("workers: {} = 2 x {cpus} CPU{plural} + 1", 2 * cpus + 1);
    assert_eq!(line["message"], *told);
    assert_eq!((&line["cpu_quota_millis"], &line["memory_limit"]), (&1500.into(), &(1u64 << 30).into()));
    assert_workers(&run, 2 * cpus + 1);
    drop(run);

    let run = limited.start(auto(&["--worker-memory", "480M"]));
    let told = format!("workers: 2 = min(2 x {cpus} CPU{plural} + 1, (1024M - 64M) / 480M)");
    assert_eq!(explained(&run)["message"], *told);
    assert_workers(&run, 2);
}

/// The directory that stands for `/sys/fs/cgroup` of a container under version 2; ours may be version 1.
const MOUNTED: &str = r#"mount --bind "$PWD/cgroup" /sys/fs/cgroup && exec taskset -c 0 "$@""#;

fn as_in_a_container(launch: Launch, quota: &str, memory: &str) -> Launch {
    fs::create_dir(launch.dir().join("cgroup")).unwrap();
    set(launch.dir(), quota, memory);
    launch.through(["sh", "-c", MOUNTED, "sh"])
}

fn set(directory: &Path, quota: &str, memory: &str) {
    fs::write(directory.join("cgroup/cpu.max"), quota).unwrap();
    fs::write(directory.join("cgroup/memory.max"), memory).unwrap();
}

#[test]
fn one_processor_makes_three_and_the_variables_are_as_good_as_the_flags() {
    let launch = launch(["-b", "127.0.0.1:0", "--health", "127.0.0.1:0", "--", "sleep", "1000"])
        .env("PREFORK_WORKERS", "auto")
        .env("PREFORK_WORKER_MEMORY", "480M")
        .env("PREFORK_MEMORY_RESERVE", "1M");
    let run = as_in_a_container(launch, "max 100000\n", "1073741824\n").start();
    let line = explained(&run);
    assert_eq!(line["message"], "workers: 2 = min(2 x 1 CPU + 1, (1024M - 1M) / 480M)");
    assert_eq!((&line["cpus"], &line["processors"]), (&1.into(), &1.into()));
    assert!(line.get("cpu_quota_millis").is_none());

    let run = auto(&[]).through(["taskset", "-c", "0"]).start();
    assert_eq!(explained(&run)["message"], "workers: 3 = 2 x 1 CPU + 1");
    assert_workers(&run, 3);
}

#[test]
fn where_there_is_no_room_for_one_there_is_one_with_a_warning() {
    let options = ["--worker-memory", "200M", "--min-ready", "2"];
    let run = as_in_a_container(auto(&options), "max 100000", "134217728").start();
    assert_eq!(
        explained(&run)["message"],
        "workers: 1 = min(2 x 1 CPU + 1, (128M - 64M) / 200M), but 1 at least"
    );
    // The last of them.
    run.wait_for("--workers auto: --min-ready");
    let warnings: Vec<Value> = run.log.with_message("--workers auto: ");
    assert!(warnings.iter().all(|line| line["level"] == "WARN"));
    let texts: Vec<&str> = warnings.iter().filter_map(|line| line["message"].as_str()).collect();
    assert!(texts[0].contains("no room for one worker of 200M"), "{texts:?}");
    assert!(texts[1].contains("--min-ready 2 is more than there are workers"), "{texts:?}");
    assert_workers(&run, 1);
}

#[test]
fn the_plan_explains_it() {
    let words = ["-n", "auto", "--worker-memory", "480M", "--explain", "--", "sleep"];
    let (code, plan, _) = as_in_a_container(launch(words), "max 100000", "1073741824").finish();
    assert_eq!(code, 0);
    assert!(plan.contains("\nworkers         2 = min(2 x 1 CPU + 1, (1024M - 64M) / 480M)\n"), "{plan}");
    assert!(plan.contains("pool: 2 workers"), "{plan}");
}

#[test]
fn an_upgrade_keeps_as_many_as_there_are_though_there_is_less_room() {
    let options = ["--worker-memory", "300M", "--min-ready", "3", "--drain-time", "10ms"];
    let launch = as_in_a_container(auto(&options).of_a_copy(), "max 100000", "1073741824");
    let run = launch.start();
    run.log.wait_count("worker ready", 3);
    run.signal(libc::SIGTTIN);
    run.log.wait_count("worker ready", 4);
    set(run.dir(), "50000 100000", "419430400");
    put(&run, &binary());
    run.signal(libc::SIGUSR2);
    run.wait_for("upgraded");
    assert_eq!(readiness(&run), (200, 4, 3, 4));
    run.signal(libc::SIGTTOU);
    run.wait_for("scaled");
    assert_eq!(readiness(&run).3, 3);
    assert_eq!(run.log.with_message("workers: ").len(), 1, "it was decided at the start");
}
