//! The rules about particular servers.

use super::case::Case;
use super::rule::{Finding, Rule};
use crate::core::Signal;
use crate::core::time::Patience;
use crate::settings::placeholders::OF_ONE_WORKER;
use crate::settings::servers::{BIND, Between, Server, ServerKind};
use humantime::format_duration as time;
use std::time::Duration;

#[rustfmt::skip]
pub(super) const RULES: [Rule; 10] = [
    Rule { id: "server-socket", about: "the server does not take the pool's listener", look: socket },
    Rule { id: "server-workers", about: "the server has workers of its own beside the pool's", look: workers },
    Rule { id: "server-reload", about: "the server watches its files, as for development", look: reload },
    Rule { id: "server-max-requests", about: "the server has a limit of requests of its own, which the pool does not see", look: max_requests },
    Rule { id: "server-preload", about: "gunicorn --preload: no new code at HUP, and nothing shared between workers of the pool", look: preload },
    Rule { id: "server-graceful-timeout", about: "the server waits longer for its requests than we wait for it, or breaks them off sooner by its default", look: graceful_timeout },
    Rule { id: "server-stop-signal", about: "the stop signal is not the server's graceful one", look: stop_signal },
    Rule { id: "server-drain-signal", about: "the drain signal means something else to the server", look: drain_signal },
    Rule { id: "server-control-socket", about: "all gunicorn masters share the path of one control socket", look: control_socket },
    Rule { id: "server-daemon", about: "the server goes to the background", look: daemon },
];

const WORKERS: [&str; 2] = ["--workers", "-w"];

fn of_pool<'a>(case: &'a Case<'_>) -> Option<&'a Server> {
    case.pool()?;
    case.program.server.as_ref()
}

fn socket(case: &Case<'_>) -> Option<Finding> {
    let (pool, server) = (case.pool()?, of_pool(case)?);
    // Each worker has a port or a path of its own: that is intended.
    if OF_ONE_WORKER.iter().any(|own| server.mentions(own)) {
        return None;
    }
    let (name, workers) = (&server.name, pool.workers);
    let takes = server.takes_listener()?;
    let instead = match server.kind {
        ServerKind::Uvicorn => "add --fd {fd}",
        ServerKind::Gunicorn => "add nothing: it takes LISTEN_FDS",
        ServerKind::Hypercorn => "add -b fd://{fd}",
        ServerKind::Granian => {
            "use another server, such as uvicorn --fd {fd}: granian takes no socket, and is for init mode"
        }
        ServerKind::FastApi => "use uvicorn app:app --fd {fd} in its place: fastapi takes no socket",
        ServerKind::Nginx | ServerKind::PhpFpm | ServerKind::Apache | ServerKind::Uwsgi => return None,
    };
    if case.settings.pool()?.bind.is_empty() {
        return (workers > 1).then(|| {
            (
                format!(
                    "no --bind: each of the {workers} {name} binds the same address, and all but one fail"
                ),
                format!("--bind :8000, and for {name}: {instead}"),
            )
        });
    }
    match (server.kind, takes, &case.program.between) {
        (ServerKind::Gunicorn, true, Some(between @ (Between::Uv | Between::Shell(_)))) => Some((
            format!(
                "{} stays between: LISTEN_PID names it, so gunicorn does not take the listener",
                between.name()
            ),
            "run gunicorn itself, or with exec".to_owned(),
        )),
        (_, true, _) => None,
        (ServerKind::Gunicorn, false, _) => {
            let bind = server.value(&BIND).unwrap_or_default();
            let what = if bind.starts_with("fd://") { "dies of EBADF" } else { "is ignored" };
            Some((
                format!("gunicorn --bind {bind} beside the listener that it takes from LISTEN_FDS {what}"),
                "leave gunicorn's --bind out".to_owned(),
            ))
        }
        (_, false, _) => Some((
            format!("{name} binds an address of its own: nobody serves the pool's listener"),
            instead.to_owned(),
        )),
    }
}

fn workers(case: &Case<'_>) -> Option<Finding> {
    let (pool, server) = (case.pool()?, of_pool(case)?);
    let theirs = server.value(&WORKERS);
    let (name, ours) = (&server.name, pool.workers);
    let remedy = match server.kind {
        ServerKind::Hypercorn => {
            (theirs != Some("0")).then_some("--workers 0 for hypercorn: the worker itself serves")
        }
        ServerKind::Gunicorn => theirs.filter(|theirs| *theirs != "1").map(|_| "-w 1 for gunicorn"),
        ServerKind::Uvicorn | ServerKind::Granian | ServerKind::FastApi => {
            theirs.filter(|theirs| *theirs != "1").map(|_| "leave the server's --workers out")
        }
        ServerKind::Nginx | ServerKind::PhpFpm | ServerKind::Apache | ServerKind::Uwsgi => None,
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
    let variable = case.uvicorn_variable(server, &["--workers"], "UVICORN_WORKERS");
    let remedy = remedy.map(|remedy| match variable {
        Some(variable) => format!("unset {variable}, which says so"),
        None => remedy.to_owned(),
    });
    remedy.map(|remedy| (reason, remedy))
}

fn reload(case: &Case<'_>) -> Option<Finding> {
    let server = case.program.server.as_ref()?;
    let (option, remedy) = match server.kind {
        ServerKind::Uvicorn | ServerKind::Gunicorn | ServerKind::Hypercorn | ServerKind::Granian
            if server.has(&["--reload"]) =>
        {
            ("--reload", "leave it out; HUP to a pool loads new code. For development, it works with -n 1")
        }
        ServerKind::FastApi if server.args.first().is_some_and(|word| word == "dev") => {
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
        ServerKind::Uvicorn => "--limit-max-requests",
        ServerKind::Gunicorn | ServerKind::Hypercorn => "--max-requests",
        _ => return None,
    };
    // With our own placeholder in it, the limit is ours.
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
    let server = case.program.server.as_ref().filter(|server| server.kind == ServerKind::Gunicorn)?;
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
    let server = case.program.server.as_ref()?;
    let stop = case.pool().map(|pool| &pool.stop).or_else(|| case.init().map(|init| &init.stop))?;
    let (option, default) = server.kind.grace()?;
    let (name, said) = (&server.name, server.number(&[option]));
    if said.is_none() && (server.has(&[option]) || case.has_file(server)) {
        return None;
    }
    let theirs = Duration::from_secs(said.or(default)?);
    match stop.graceful {
        Patience::For(ours) if theirs > ours => Some((
            format!("{name} waits {} for its requests, and is killed after our {}", time(theirs), time(ours)),
            format!("{name} {option} {}, or a longer --graceful-timeout", ours.as_secs()),
        )),
        // A value that the user gave is intended.
        Patience::For(ours) if theirs < ours && said.is_none() => Some((
            format!(
                "{name} breaks off by itself what is in hand {} after the stop signal, though it would have our {}",
                time(theirs),
                time(ours)
            ),
            format!("{name} {option} {}", ours.as_secs()),
        )),
        Patience::Forever if said.is_none() => Some((
            format!(
                "{name} breaks off by itself what is in hand {} after the stop signal, though --graceful-timeout is infinity",
                time(theirs)
            ),
            format!("{name} {option} with as many seconds as the longest request takes"),
        )),
        Patience::For(_) | Patience::Forever => None,
    }
}

/// The first gunicorn with a control socket.
const WITH_CONTROL_SOCKET: (u32, u32) = (25, 1);

fn control_socket(case: &Case<'_>) -> Option<Finding> {
    let server = of_pool(case)?;
    let has_none = case.around.gunicorn_version.is_some_and(|version| version < WITH_CONTROL_SOCKET);
    let is_told = server.has(&["--control-socket", "--no-control-socket"]) || case.has_file(server);
    (server.kind == ServerKind::Gunicorn && !has_none && !is_told).then(|| {
        (
            "from gunicorn 25.1 on each master has a control socket, all of the pool at the same path ($XDG_RUNTIME_DIR/gunicorn.ctl \
             or ~/.gunicorn/gunicorn.ctl): each removes that of the one before, and gunicornc finds a chance one or none"
                .to_owned(),
            "gunicorn --no-control-socket: orders are given to the pool, with prefork-init ctl; or one for each, \
             --control-socket /run/gunicorn-{worker_number}.ctl"
                .to_owned(),
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
        ServerKind::Nginx | ServerKind::PhpFpm if gets == Signal::TERM || gets == Signal::INT => {
            ("cuts connections off", "QUIT")
        }
        ServerKind::Apache if gets == Signal::TERM || gets == Signal::INT => {
            ("cuts connections off", "WINCH")
        }
        ServerKind::Gunicorn if gets == Signal::INT || gets == Signal::QUIT => {
            ("cuts connections off", "TERM")
        }
        ServerKind::Uwsgi if gets == Signal::TERM && !server.has(&["--die-on-term"]) => ("reloads", ""),
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
    let hint = pool.drain.hint.filter(|_| server.kind == ServerKind::Gunicorn)?;
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
        ServerKind::Gunicorn => &["--daemon", "-D"],
        ServerKind::PhpFpm => &["--daemonize", "-D"],
        ServerKind::Uwsgi => &["--daemonize"],
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
