//! What a reviewer knows of single servers.

use super::Case;
use super::program::{Between, Kind, Server};
use super::rules::{Finding, Rule, time};
use crate::core::Signal;
use crate::core::time::Patience;
use std::time::Duration;

#[rustfmt::skip]
pub(super) const RULES: [Rule; 9] = [
    Rule { id: "server-socket", about: "the server does not take the pool's listener", look: socket },
    Rule { id: "server-workers", about: "the server has workers of its own beside the pool's", look: workers },
    Rule { id: "server-reload", about: "the server watches its files, as for development", look: reload },
    Rule { id: "server-max-requests", about: "the server has a limit of requests of its own, which the pool does not see", look: max_requests },
    Rule { id: "server-preload", about: "gunicorn --preload: no new code at HUP, and nothing shared between workers of the pool", look: preload },
    Rule { id: "server-graceful-timeout", about: "the server waits longer for its requests than we wait for it", look: graceful_timeout },
    Rule { id: "server-stop-signal", about: "the stop signal is not the server's graceful one", look: stop_signal },
    Rule { id: "server-drain-signal", about: "the drain signal means something else to the server", look: drain_signal },
    Rule { id: "server-daemon", about: "the server goes to the background", look: daemon },
];

const WORKERS: [&str; 2] = ["--workers", "-w"];
const BIND: [&str; 2] = ["--bind", "-b"];

/// The server of a pool.
fn of_pool<'a>(case: &'a Case<'_>) -> Option<&'a Server> {
    case.pool()?;
    case.program.server.as_ref()
}

fn socket(case: &Case<'_>) -> Option<Finding> {
    let (pool, server) = (case.pool()?, of_pool(case)?);
    // Each has a port of its own, or a path: that is meant.
    if ["{worker_id}", "{worker_number}"].iter().any(|own| server.mentions(own)) {
        return None;
    }
    let (name, workers) = (&server.name, pool.workers);
    let (add, takes) = match server.kind {
        Kind::Uvicorn => ("--fd {fd}", server.has(&["--fd"])),
        Kind::Gunicorn => ("nothing: it takes LISTEN_FDS", !server.has(&BIND)),
        Kind::Hypercorn => {
            ("-b fd://{fd}", server.value(&BIND).is_some_and(|address| address.starts_with("fd://")))
        }
        Kind::Granian => ("another server, such as uvicorn --fd {fd}: granian takes no socket", false),
        Kind::FastApi => ("uvicorn app:app --fd {fd} in its place, since fastapi takes no socket", false),
        Kind::Nginx | Kind::PhpFpm | Kind::Apache | Kind::Uwsgi => return None,
    };
    if case.config.pool.bind.is_empty() {
        return (workers > 1).then(|| {
            (
                format!(
                    "no --bind: each of the {workers} {name} binds the same address, and all but one fail"
                ),
                format!("--bind :8000, and to {name} {add}"),
            )
        });
    }
    match (server.kind, takes, &case.program.between) {
        (Kind::Gunicorn, true, Some(between @ (Between::Uv | Between::Shell(_)))) => Some((
            format!(
                "{} stays between: LISTEN_PID names it, so gunicorn does not take the listener",
                between.name()
            ),
            "run gunicorn itself, or with exec".to_owned(),
        )),
        (_, true, _) => None,
        (Kind::Gunicorn, false, _) => {
            let bind = server.value(&BIND).unwrap_or_default();
            let what = if bind.starts_with("fd://") { "dies of EBADF" } else { "is ignored" };
            Some((
                format!("gunicorn --bind {bind} beside the listener that it takes from LISTEN_FDS {what}"),
                "leave gunicorn's --bind out".to_owned(),
            ))
        }
        (_, false, _) => Some((
            format!("{name} binds an address of its own: nobody serves the pool's listener"),
            format!("add {add}"),
        )),
    }
}

fn workers(case: &Case<'_>) -> Option<Finding> {
    let (pool, server) = (case.pool()?, of_pool(case)?);
    let theirs = server.value(&WORKERS);
    let (name, ours) = (&server.name, pool.workers);
    let remedy = match server.kind {
        Kind::Hypercorn => {
            (theirs != Some("0")).then_some("--workers 0 for hypercorn: the worker itself serves")
        }
        Kind::Gunicorn => theirs.filter(|theirs| *theirs != "1").map(|_| "-w 1 for gunicorn"),
        Kind::Uvicorn | Kind::Granian | Kind::FastApi => {
            theirs.filter(|theirs| *theirs != "1").map(|_| "leave the server's --workers out")
        }
        Kind::Nginx | Kind::PhpFpm | Kind::Apache | Kind::Uwsgi => None,
    };
    let reason = match theirs {
        Some(theirs) => {
            format!(
                "{name} starts {theirs} of its own in each of the {ours} workers, where the pool cannot see them"
            )
        }
        None => {
            format!("{name} starts a process below each of the {ours} workers, where the pool cannot see it")
        }
    };
    remedy.map(|remedy| (reason, remedy.to_owned()))
}

fn reload(case: &Case<'_>) -> Option<Finding> {
    let server = case.program.server.as_ref()?;
    let (option, remedy) = match server.kind {
        Kind::Uvicorn | Kind::Gunicorn | Kind::Hypercorn | Kind::Granian if server.has(&["--reload"]) => {
            ("--reload", "leave it out; HUP to a pool loads new code")
        }
        Kind::FastApi if server.args.first().is_some_and(|word| word == "dev") => {
            ("dev", "uvicorn app:app --fd {fd} in a pool, or fastapi run")
        }
        _ => return None,
    };
    let name = &server.name;
    let reason = format!(
        "{name} {option} watches files and ends its own workers at any change: that is for development"
    );
    Some((reason, remedy.to_owned()))
}

fn max_requests(case: &Case<'_>) -> Option<Finding> {
    let (pool, server) = (case.pool()?, of_pool(case)?);
    let option = match server.kind {
        Kind::Uvicorn => "--limit-max-requests",
        Kind::Gunicorn | Kind::Hypercorn => "--max-requests",
        _ => return None,
    };
    // With our own number in it, it is ours.
    let theirs =
        server.value(&[option]).filter(|limit| *limit != "0" && !limit.contains("{max_requests}"))?;
    let name = &server.name;
    let ours = match pool.recycle.max_requests {
        Some(limit) => format!("beside our {}", limit.base),
        None => "that the pool knows nothing of".to_owned(),
    };
    Some((
        format!("{name} {option} {theirs} {ours}: it ends before there is another, and requests are lost"),
        format!("leave it out, and give us --max-requests {theirs} with --count-requests"),
    ))
}

fn preload(case: &Case<'_>) -> Option<Finding> {
    let server = case.program.server.as_ref().filter(|server| server.kind == Kind::Gunicorn)?;
    server.has(&["--preload"]).then(|| match case.pool() {
        Some(pool) => (
            format!(
                "gunicorn --preload: the {} workers are separate masters, and share nothing by it",
                pool.workers
            ),
            "leave it out".to_owned(),
        ),
        None => (
            "gunicorn --preload: HUP starts new workers with the old code".to_owned(),
            "leave it out, or restart the container for new code".to_owned(),
        ),
    })
}

fn graceful_timeout(case: &Case<'_>) -> Option<Finding> {
    /// gunicorn's, unless told otherwise.
    const GUNICORN: u64 = 30;
    let server = case.program.server.as_ref()?;
    let stop = case.pool().map(|pool| &pool.stop).or_else(|| case.init().map(|init| &init.stop))?;
    let Patience::For(ours) = stop.graceful else { return None };
    let (option, theirs) = match server.kind {
        Kind::Gunicorn => ("--graceful-timeout", server.number(&["--graceful-timeout"]).unwrap_or(GUNICORN)),
        Kind::Hypercorn => ("--graceful-timeout", server.number(&["--graceful-timeout"])?),
        Kind::Uvicorn => ("--timeout-graceful-shutdown", server.number(&["--timeout-graceful-shutdown"])?),
        _ => return None,
    };
    let theirs = Duration::from_secs(theirs);
    let (name, seconds) = (&server.name, ours.as_secs());
    (theirs > ours).then(|| {
        (
            format!("{name} waits {} for its requests, and is killed after our {}", time(theirs), time(ours)),
            format!("{name} {option} {seconds}, or a longer --graceful-timeout"),
        )
    })
}

fn stop_signal(case: &Case<'_>) -> Option<Finding> {
    let server = case.program.server.as_ref()?;
    let gets = match (case.pool(), case.init()) {
        (Some(pool), _) => pool.stop.signal,
        (None, init) => init?.rewrites.of(Signal::TERM)?,
    };
    let name = &server.name;
    let (what, graceful) = match server.kind {
        Kind::Nginx | Kind::PhpFpm if gets == Signal::TERM || gets == Signal::INT => {
            ("cuts connections off", "QUIT")
        }
        Kind::Apache if gets == Signal::TERM || gets == Signal::INT => ("cuts connections off", "WINCH"),
        Kind::Gunicorn if gets == Signal::INT || gets == Signal::QUIT => ("cuts connections off", "TERM"),
        Kind::Uwsgi if gets == Signal::TERM && !server.has(&["--die-on-term"]) => ("reloads", ""),
        _ => return None,
    };
    let remedy = match (graceful, case.pool()) {
        ("", _) => "uwsgi --die-on-term".to_owned(),
        (graceful, Some(_)) => format!("--stop-signal {graceful}"),
        (graceful, None) if gets == Signal::TERM => format!("--rewrite-signal TERM={graceful}"),
        (_, None) => format!("do not rewrite TERM to {gets}"),
    };
    Some((format!("at {gets} {name} {what}, which is no graceful stop"), remedy))
}

fn drain_signal(case: &Case<'_>) -> Option<Finding> {
    let (pool, server) = (case.pool()?, of_pool(case)?);
    let hint = pool.drain.hint.filter(|_| server.kind == Kind::Gunicorn)?;
    let does = match hint {
        Signal::USR2 => "starts a second master",
        Signal::HUP => "starts all its workers anew",
        Signal::QUIT | Signal::INT | Signal::TERM => "stops",
        Signal::TTIN | Signal::TTOU | Signal::WINCH => "changes the number of its workers",
        _ => return None,
    };
    Some((
        format!("at --drain-signal {hint} gunicorn {does}"),
        "--drain-signal USR1, which its master passes on".to_owned(),
    ))
}

fn daemon(case: &Case<'_>) -> Option<Finding> {
    let server = case.program.server.as_ref()?;
    let names: &[&str] = match server.kind {
        Kind::Gunicorn => &["--daemon", "-D"],
        Kind::PhpFpm => &["--daemonize", "-D"],
        Kind::Uwsgi => &["--daemonize"],
        _ => return None,
    };
    let name = &server.name;
    server.has(names).then(|| {
        let reason = format!(
            "{name} goes to the background: what we have started ends at once, and we take it for gone"
        );
        (reason, format!("leave {} out", names.join(" or ")))
    })
}
