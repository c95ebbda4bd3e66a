//! Every rule, triggered once and silent nearby, without a machine.

use super::case::uvicorn_arg;
use super::*;
use crate::settings::given::Only;
use crate::settings::layers::{Parsed, read};
use crate::settings::options::Unknown;
use std::collections::BTreeSet;

/// A container of 2 CPUs and 4 GiB whose command is not root.
fn container() -> Context {
    Context { cpus: 2, memory_limit: Some(4 << 30), ..Context::default() }
}

/// The warnings for a command line, whose words are separated by spaces; `~` stands for a space in a word.
fn look(line: &str, around: &Context) -> Vec<Warning> {
    judged(line, around, rules::warnings)
}

/// The warnings that the start of a pool would log too.
fn at_start(line: &str, around: &Context) -> Vec<&'static str> {
    judged(&full(line), around, certain::warnings).iter().map(|warning| warning.id).collect()
}

fn judged(line: &str, around: &Context, judge: fn(&Case<'_>) -> Vec<Warning>) -> Vec<Warning> {
    let words = ["prefork-init".to_owned()].into_iter().chain(line.split(' ').map(|w| w.replace('~', " ")));
    let options = match read(words.map(OsString::from)) {
        Ok(Parsed::Asks(options)) => options,
        other => panic!("{line}: {other:?}"),
    };
    let surroundings = Surroundings {
        web_concurrency: around.web_concurrency.as_ref().map(OsString::from),
        ..Default::default()
    };
    let (given, grace) = (options.given.clone(), options.stopping.termination_grace);
    let config = settings::resolve(*options, &surroundings).unwrap_or_else(|error| panic!("{line}: {error}"));
    judge(&Case::new(&config, &given, grace, around))
}

/// A pool without any warning, and without a command.
const GOOD: &str = "-n 4 -b :8000 --health :9000 --max-age 6h --max-age-jitter 10% --max-memory 512M --probe /health \
                    --drain-delay 5s --graceful-timeout 20s --termination-grace 30s";

const UVICORN: &str = "uvicorn app:app --fd {fd}";
const GUNICORN: &str = "gunicorn -w 1 --graceful-timeout 20 --no-control-socket app:app";

/// The rule, a part of its reason, and a command line; `G` stands for [`GOOD`].
#[rustfmt::skip]
const TRIGGERS: [(&str, &str, &str); 70] = [
    ("memory-overcommit", "4 workers (and 1 more during a replacement) x 1G of --max-memory = 5G, more than the container's 4G", "-n 4 --max-memory 1G x"),
    ("memory-overcommit", "x 1G of --worker-memory = 5G, more than the container's 4G", "-n 4 --worker-memory 1G x"),
    ("memory-overcommit", "(and 1 more during a replacement) x 1.1G of --max-memory = 5.5G, more", "-n 4 --max-memory 1G --max-memory-jitter 10% x"),
    ("memory-overcommit", "3 workers x 1.5G of --max-memory-hard = 4.5G", "-n 3 --max-surge 0 --max-unavailable 1 --max-memory 512M --max-memory-hard 1.5G x"),
    ("too-many-workers", "6 workers on 2 CPU: more than 2 x 2 + 1 = 5", "-n 6 x"),
    ("termination-grace", "--drain-delay 5s + --graceful-timeout 25s = 30s, not below --termination-grace 30s", "-n 2 --drain-delay 5s --graceful-timeout 25s --termination-grace 30s x"),
    ("termination-grace", "--graceful-timeout 30s: docker stop kills after 10s, Kubernetes after 30s", "x"),
    ("termination-grace", "--graceful-timeout 10s: docker stop kills after 10s, unless", "--graceful-timeout 10s x"),
    ("termination-grace", "infinity", "--graceful-timeout infinity --termination-grace 30s x"),
    ("termination-grace", "infinity", "--graceful-timeout infinity x"),
    ("no-drain-delay", "--drain-delay 0s", "-n 2 -b :8000 --health :9000 x"),
    ("no-recycling", "no limit of requests, age or memory", "-n 2 --max-age 0 x"),
    ("no-jitter", "2 workers reach --max-age 6h", "-n 2 --max-age 6h x"),
    ("no-jitter", "3 workers reach --max-requests 100", "-n 3 --max-requests 100 --max-age 6h --max-age-jitter 1h x {max_requests}"),
    ("no-jitter", "--max-age 1h", "-n 2 --max-age 1h --max-age-jitter 0 x"),
    ("hard-limit-alone", "--max-memory-hard 1G alone", "-n 2 --max-memory-hard 1G x"),
    ("no-hang-detection", "nothing finds out", "-n 2 x"),
    ("no-health", "no health endpoint", "-n 2 x"),
    ("min-ready-all", "--min-ready 3 of 3 workers", "-n 3 --min-ready 3 x"),
    ("no-worker-left", "--max-unavailable 1 with --workers 1", "-n 1 --max-surge 0 --max-unavailable 1 x"),
    ("no-worker-left", "--max-unavailable 5 with --workers 4", "-n 4 --max-unavailable 5 x"),
    ("no-start-limit", "--start-timeout infinity", "-n 2 --start-timeout infinity x"),
    ("shell-wrapper", "sh -c without exec: a worker gets", "-n 2 sh -c server~--port~80"),
    ("shell-wrapper", "bash -c without exec: a worker", "-n 2 env A=B /bin/bash -lc cd~/app~&&~A=1~./server"),
    ("shell-wrapper", "with --signal-scope process the command", "--signal-scope process sh -c server"),
    ("shell-wrapper", "npm stays between", "-n 2 npm run start"),
    ("server-socket", "uvicorn binds an address of its own", "G uvicorn app:app --port 8000"),
    ("server-socket", "uvicorn binds an address of its own", "G python3 -m uvicorn app:app"),
    ("server-socket", "gunicorn --bind :8000 beside the listener that it takes from LISTEN_FDS is ignored", "G gunicorn -b :8000 app:app"),
    ("server-socket", "dies of EBADF", "G gunicorn --bind=fd://3 app:app"),
    ("server-socket", "uv run stays between: LISTEN_PID names it", "G uv run gunicorn app:app"),
    ("server-socket", "sh stays between: LISTEN_PID names it", "G sh -c gunicorn~app:app"),
    ("server-socket", "hypercorn binds", "G hypercorn -b :8000 --workers 0 app:app"),
    ("server-socket", "granian binds", "G granian app:app"),
    ("server-socket", "fastapi binds", "G fastapi run app.py"),
    ("server-socket", "no --bind: each of the 2 uvicorn binds the same", "-n 2 uvicorn app:app"),
    ("server-workers", "uvicorn starts 4 of its own in each of the 4 workers", "G uvicorn app:app --fd {fd} --workers 4"),
    ("server-workers", "gunicorn starts 3 of its own", "G gunicorn -w3 app:app"),
    ("server-workers", "hypercorn starts a process below", "G hypercorn -b fd://{fd} app:app"),
    ("server-workers", "hypercorn starts 2 of its own", "G hypercorn -w 2 -b fd://{fd} app:app"),
    ("server-workers", "fastapi starts 4", "G fastapi run --workers 4"),
    ("server-reload", "uvicorn --reload", "uvicorn app:app --reload"),
    ("server-reload", "hypercorn --reload", "G hypercorn --reload app:app"),
    ("server-reload", "fastapi dev", "fastapi dev app.py"),
    ("server-max-requests", "gunicorn --max-requests 500 beside our 100", "G --max-requests 100 --count-requests notify gunicorn --max-requests 500 app:app"),
    ("server-max-requests", "gunicorn --max-requests 500 that the pool", "G gunicorn --max-requests 500 app:app"),
    ("server-max-requests", "uvicorn --limit-max-requests 500", "G uvicorn app:app --fd {fd} --limit-max-requests 500"),
    ("server-preload", "the 4 workers are separate masters", "G gunicorn --preload app:app"),
    ("server-preload", "HUP starts new workers with the old code", "gunicorn --preload app:app"),
    ("server-graceful-timeout", "gunicorn waits 30s for its requests, and is killed after our 20s", "G gunicorn app:app"),
    ("server-graceful-timeout", "gunicorn waits 1m 30s", "gunicorn --graceful-timeout 90 app:app"),
    ("server-graceful-timeout", "uvicorn waits 40s", "uvicorn app:app --timeout-graceful-shutdown=40"),
    ("server-graceful-timeout", "hypercorn breaks off by itself what is in hand 3s after the stop signal, though it would have our 20s", "G hypercorn app:app"),
    ("server-graceful-timeout", "hypercorn breaks off by itself what is in hand 3s", "hypercorn app:app"),
    ("server-graceful-timeout", "gunicorn breaks off by itself what is in hand 30s after the stop signal, though it would have our 1m", "--graceful-timeout 60s gunicorn app:app"),
    ("server-graceful-timeout", "30s after the stop signal, though --graceful-timeout is infinity", "--graceful-timeout infinity gunicorn app:app"),
    ("server-control-socket", "from gunicorn 25.1 on", "G gunicorn app:app"),
    ("runner-socket", "npm passes no descriptors on: nothing serves", "G npm start"),
    ("runner-socket", "pnpm passes no descriptors on", "-n 2 -b :8000 sh -c exec~pnpm~start"),
    ("tiny-memory", "--max-memory 500 is 500 bytes, less than any worker takes: every worker is beyond it", "-n 2 --max-memory 500 x"),
    ("tiny-memory", "--worker-memory 300 is 300 bytes, less than any worker takes: as many are started", "-n auto --worker-memory 300 x"),
    ("server-stop-signal", "at TERM nginx cuts connections off", "nginx -g daemon~off;"),
    ("server-stop-signal", "at TERM php-fpm8.2 cuts", "-n 2 php-fpm8.2 -F"),
    ("server-stop-signal", "at TERM httpd-foreground cuts", "httpd-foreground"),
    ("server-stop-signal", "at QUIT gunicorn cuts", "-n 2 --stop-signal QUIT gunicorn app:app"),
    ("server-stop-signal", "at TERM uwsgi reloads", "uwsgi --http :8000"),
    ("server-drain-signal", "at --drain-signal USR2 gunicorn starts a second master", "G --drain-signal USR2 gunicorn app:app"),
    ("server-daemon", "gunicorn goes to the background", "gunicorn -D app:app"),
    ("server-daemon", "php-fpm goes to the background", "php-fpm --daemonize"),
    ("server-daemon", "uwsgi goes to the background", "uwsgi --daemonize /log"),
];

/// Rules that need facts or layers other than a command line.
const TRIGGERED_BELOW: [&str; 4] = ["web-concurrency", "runs-as-root", "setting-ignored", "unknown-variable"];

/// Command lines close to a trigger that are fine.
#[rustfmt::skip]
const SILENT: [(&str, &str); 57] = [
    ("memory-overcommit", "-n 4 --max-memory 800M x"),
    ("memory-overcommit", "-n 2 x"),
    ("memory-overcommit", "x"),
    ("too-many-workers", "-n 5 x"),
    ("termination-grace", "-n 2 --drain-delay 5s --graceful-timeout 24s --termination-grace 30s x"),
    ("termination-grace", "--graceful-timeout infinity --termination-grace infinity x"),
    ("termination-grace", "--graceful-timeout 9s x"),
    ("no-drain-delay", "-n 2 -b unix:/s --health :9000 x"),
    ("no-recycling", "-n 2 --memory-pressure 90% x"),
    ("no-recycling", "x"),
    ("no-jitter", "-n 1 --max-age 6h x"),
    ("no-jitter", "-n 2 --max-memory 1G x"),
    ("hard-limit-alone", "-n 2 --max-memory 512M --max-memory-hard 1G x"),
    ("no-hang-detection", "-n 2 --watchdog 10s x"),
    ("no-hang-detection", "-n 2 --count-requests scoreboard x"),
    ("no-health", "x"),
    ("min-ready-all", "-n 1 x"),
    ("min-ready-all", "-n 3 --min-ready 2 x"),
    ("no-worker-left", "-n 4 --max-unavailable 3 x"),
    ("no-worker-left", "-n 1 x"),
    ("shell-wrapper", "sh -c server"),
    ("shell-wrapper", "npm start"),
    ("shell-wrapper", "-n 2 sh -c cd~/app~&&~exec~server"),
    ("shell-wrapper", "-n 2 sh -c trap~'kill~$p'~TERM;~server~&~p=$!;~wait"),
    ("shell-wrapper", "-n 2 sh script.sh"),
    ("shell-wrapper", "-n 2 poetry run server"),
    ("server-socket", "G sh -c exec~uvicorn~app:app~--fd~{fd}"),
    ("server-socket", "-n 2 -b :8000 uvicorn app:app --port 800{worker_id}"),
    ("server-socket", "-n 1 uvicorn app:app"),
    ("server-socket", "uvicorn app:app --port 8000"),
    ("server-workers", "G uvicorn app:app --fd {fd} --workers 1"),
    ("server-workers", "gunicorn -w 4 app:app"),
    ("server-reload", "uvicorn app:app --reload-dir x"),
    ("server-max-requests", "G --max-requests 100 --max-requests-jitter 10 uvicorn app:app --fd {fd} --limit-max-requests {max_requests}"),
    ("server-max-requests", "gunicorn --max-requests 100 app:app"),
    ("server-graceful-timeout", "gunicorn app:app"),
    ("server-graceful-timeout", "G gunicorn -c conf.py app:app"),
    ("server-graceful-timeout", "hypercorn --graceful-timeout 3 app:app"),
    ("server-graceful-timeout", "hypercorn -c conf.toml app:app"),
    ("server-graceful-timeout", "hypercorn --graceful-timeout $GRACE app:app"),
    ("server-graceful-timeout", "G uvicorn app:app --fd {fd}"),
    ("server-graceful-timeout", "uvicorn app:app --timeout-graceful-shutdown 3"),
    ("server-control-socket", "gunicorn app:app"),
    ("server-control-socket", "G gunicorn --no-control-socket app:app"),
    ("server-control-socket", "G gunicorn --control-socket=/run/g{worker_id}.ctl app:app"),
    ("server-control-socket", "G gunicorn -c conf.py app:app"),
    ("runner-socket", "-n 2 npm start"),
    ("runner-socket", "-n 2 -b :8000 npm start -- --port=800{worker_id}"),
    ("tiny-memory", "-n 2 --max-memory 1M x"),
    ("tiny-memory", "-n 2 --max-memory 0 x"),
    ("server-graceful-timeout", "--graceful-timeout infinity gunicorn --graceful-timeout 90 app:app"),
    ("server-stop-signal", "--rewrite-signal TERM=QUIT nginx"),
    ("server-stop-signal", "-n 2 --stop-signal QUIT nginx"),
    ("server-stop-signal", "uwsgi --die-on-term"),
    ("server-drain-signal", "G --drain-signal USR1 gunicorn app:app"),
    ("server-drain-signal", "G --drain-signal USR2 uvicorn app:app --fd {fd}"),
    ("server-daemon", "php-fpm -F"),
];

fn full(line: &str) -> String {
    line.strip_prefix("G ").map_or(line.to_owned(), |rest| format!("{GOOD} {rest}"))
}

fn said(line: &str, around: &Context, id: &str) -> Option<Warning> {
    look(&full(line), around).into_iter().find(|warning| warning.id == id)
}

#[test]
fn each_warning_is_triggered_with_its_numbers() {
    for (id, reason, line) in TRIGGERS {
        let warning = said(line, &container(), id).unwrap_or_else(|| panic!("{id} is silent: {line}"));
        assert!(warning.reason.contains(reason), "{line}: {}", warning.reason);
        assert!(!warning.remedy.is_empty(), "{line}");
    }
}

#[test]
fn no_rule_is_without_a_trigger_and_none_has_two_names() {
    let triggered: BTreeSet<&str> = TRIGGERS.iter().map(|(id, ..)| *id).chain(TRIGGERED_BELOW).collect();
    let ids: Vec<&str> = rules::all().map(|rule| rule.id).collect();
    for id in &ids {
        assert!(triggered.contains(id), "no test triggers {id}: add a line to TRIGGERS");
        let kebab = id.chars().all(|c| c.is_ascii_lowercase() || c == '-');
        assert!(kebab && *id != "all", "{id}");
    }
    assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), ids.len(), "an id stands twice");
    assert_eq!(triggered.len(), ids.len(), "a test triggers what is no rule");
}

#[test]
fn what_comes_near_is_fine() {
    for (id, line) in SILENT {
        assert_eq!(said(line, &container(), id), None, "{line}");
    }
}

#[test]
fn of_a_good_configuration_nothing_is_said() {
    let hypercorn = "hypercorn --workers 0 -b fd://{fd} --graceful-timeout 20 app:app";
    for command in [UVICORN, GUNICORN, hypercorn, "node server.js"] {
        assert_eq!(look(&format!("{GOOD} {command}"), &container()), [], "{command}");
    }
    let init = "--graceful-timeout 8s --rewrite-signal TERM=QUIT nginx";
    assert_eq!(look(init, &container()), []);
    assert_eq!(look("--graceful-timeout 8s --pause", &container()), []);
}

#[test]
fn web_concurrency_is_used_or_ignored() {
    let with = |value: &str| Context { web_concurrency: Some(value.to_owned()), ..container() };
    let about =
        |line: &str, value: &str| said(line, &with(value), "web-concurrency").map(|warning| warning.reason);
    assert!(about("-b :8000 x", "3").unwrap().contains("WEB_CONCURRENCY=3 decides that there are 3 workers"));
    assert!(about("-n 4 x", "3").unwrap().contains("WEB_CONCURRENCY=3 is ignored: --workers says 4"));
    assert!(about("-n 4 x", "many").unwrap().contains("ignored"));
    assert_eq!((about("-n 4 x", "4"), about("x", "4")), (None, None));
}

#[test]
fn root_is_told_of_where_something_runs() {
    let root = Context { command_is_root: true, ..container() };
    assert!(said("x", &root, "runs-as-root").is_some() && said("-n 2 x", &root, "runs-as-root").is_some());
    assert_eq!(said("--pause", &root, "runs-as-root"), None);
}

#[test]
fn gunicorn_has_more_arguments_in_its_variable() {
    let args = ["--bind", ":8000", "--preload"].map(str::to_owned).to_vec();
    let around = Context { gunicorn_args: args, ..container() };
    assert!(said("G gunicorn app:app", &around, "server-socket").is_some());
    assert!(said("G gunicorn app:app", &around, "server-preload").is_some());
    assert_eq!(said("G uvicorn app:app --fd {fd}", &around, "server-socket"), None);
}

/// uvicorn's options have variables; its command line takes precedence.
#[test]
fn uvicorn_has_more_arguments_in_its_variables() {
    let args =
        [("UVICORN_WORKERS", "4"), ("UVICORN_RELOAD", "0"), ("UVICORN_FD", "3"), ("WEB_CONCURRENCY", "2")];
    let uvicorn_args: Vec<String> =
        args.iter().filter_map(|(name, value)| uvicorn_arg(name, value)).collect();
    assert_eq!(uvicorn_args, ["--workers=4", "--fd=3"]);
    let around = Context { uvicorn_args, ..container() };
    let warning = said("G uvicorn app:app", &around, "server-workers").unwrap();
    assert!(warning.reason.contains("uvicorn starts 4 of its own in each of the 4 workers"), "{warning:?}");
    assert_eq!(warning.remedy, "unset UVICORN_WORKERS, which says so");
    assert_eq!(at_start("G uvicorn app:app", &around), ["server-workers"]);
    assert_eq!(said("G uvicorn app:app --workers 1", &around, "server-workers"), None);
    assert_eq!(
        said("G uvicorn app:app --workers 2", &around, "server-workers").unwrap().remedy,
        "leave the server's --workers out"
    );
    assert_eq!(said("G hypercorn --workers 0 -b fd://{fd} app:app", &around, "server-workers"), None);
}

#[test]
fn gunicorn_without_a_control_socket_or_with_a_file_is_left_alone() {
    for around in [
        Context { gunicorn_version: Some((25, 0)), ..container() },
        Context { gunicorn_file: true, ..container() },
    ] {
        assert_eq!(said("G gunicorn app:app", &around, "server-control-socket"), None);
    }
    let new = Context { gunicorn_version: Some((25, 1)), ..container() };
    assert!(said("G gunicorn app:app", &new, "server-control-socket").is_some());
    let told_by_file = Context { gunicorn_file: true, ..container() };
    assert_eq!(said("G gunicorn app:app", &told_by_file, "server-graceful-timeout"), None);
}

#[test]
fn a_variable_that_is_misspelt_is_told_with_the_nearest() {
    let unknown = |name: &str, nearest: Option<&str>| Unknown {
        name: name.to_owned(),
        nearest: nearest.map(str::to_owned),
    };
    let list = vec![unknown("PREFORK_WORKER", Some("PREFORK_WORKERS")), unknown("PREFORK_ZZZ", None)];
    let around = Context { unknown: list, ..container() };
    let reason = said("x", &around, "unknown-variable").unwrap().reason;
    for part in
        ["PREFORK_WORKER is no variable of ours: did you mean PREFORK_WORKERS?", "PREFORK_ZZZ is no variable"]
    {
        assert!(reason.contains(part), "{reason}");
    }
    assert_eq!(said("x", &container(), "unknown-variable"), None);
}

/// The findings that the start of a pool logs, and those that only `check` has.
#[test]
fn what_is_certain_is_said_at_the_start_too() {
    for (line, ids) in [
        ("G uvicorn app:app --port 8000", &["server-socket"][..]),
        ("G python3 -m uvicorn app:app", &["server-socket"]),
        ("G gunicorn -b :8000 app:app", &["server-socket"]),
        ("G gunicorn --bind=fd://3 app:app", &["server-socket"]),
        ("G uv run gunicorn app:app", &["server-socket"]),
        ("G hypercorn -b :8000 --workers 0 app:app", &["server-socket"]),
        ("G granian app:app", &["server-socket"]),
        ("-n 2 uvicorn app:app", &["server-socket"]),
        ("G uvicorn app:app --fd {fd} --workers 4", &["server-workers"]),
        ("G gunicorn -w3 -c conf.py app:app", &["server-workers"]),
        ("G hypercorn -w 2 -b fd://{fd} app:app", &["server-workers"]),
        ("G uvicorn app:app --workers 2", &["server-socket", "server-workers"]),
        ("G npm start", &["runner-socket"]),
        ("-n 2 --max-memory 500 x", &["tiny-memory"]),
        // Correct, or possibly correct.
        ("G uvicorn app:app --fd {fd}", &[]),
        ("G sh -c exec~uvicorn~\"$@\" sh app:app --fd {fd}", &[]),
        ("G hypercorn -c conf.toml app:app", &[]),
        ("-n 1 gunicorn -w 4 app:app", &[]),
        ("-n 2 uvicorn app:app --uds /s", &[]),
        ("-n 2 gunicorn app:app", &[]),
        ("-n 2 npm start", &[]),
        ("G nginx", &[]),
        ("G sh -c gunicorn~app:app", &[]),
        ("uvicorn app:app --workers 4", &[]),
    ] {
        assert_eq!(at_start(line, &container()), ids, "{line}");
    }
    let forks = Context { shell_forks: true, ..container() };
    assert_eq!(at_start("G sh -c gunicorn~app:app", &forks), ["server-socket"]);
    assert_eq!(at_start("G sh -c exec~gunicorn~app:app", &forks), [""; 0]);
}

#[test]
fn what_only_the_other_mode_has_a_use_for_is_told_by_its_name() {
    let words = ["prefork-init", "--graceful-timeout", "8s", "true"].map(OsString::from);
    let Ok(Parsed::Asks(options)) = read(words) else { panic!("not read") };
    let config = settings::resolve(*options, &Surroundings::default()).unwrap();
    let given = |source: Source, only| GivenOption {
        field: "max_age".into(),
        flag: "--max-age".into(),
        source,
        only,
    };
    let around = container();
    let said = |given: &[GivenOption]| {
        let warnings = rules::warnings(&Case::new(&config, given, None, &around));
        warnings.into_iter().map(|warning| (warning.id, warning.reason)).collect::<Vec<_>>()
    };
    for (source, name) in [
        (Source::Variable("PREFORK_MAX_AGE".into()), "PREFORK_MAX_AGE"),
        (Source::File("/f".into()), "max-age"),
    ] {
        let found = said(&[given(source.clone(), Some(Only::Pool))]);
        assert!(matches!(&found[..], [("setting-ignored", reason)] if reason.contains(name)), "{found:?}");
        assert_eq!(said(&[given(source, None)]), []);
    }
}

#[test]
fn sizes_are_shown_as_they_are_given() {
    for (bytes, shown) in [
        (0, "0"),
        (1023, "1023"),
        (1024, "1K"),
        (3 << 29, "1.5G"),
        (512 << 20, "512M"),
        (u64::MAX, "16777216T"),
    ] {
        assert_eq!(rules::size(bytes), shown);
    }
}
