//! Which of the findings are so certain that the start of a pool says them too.
//!
//! Nothing but the settings, the words of the command and variables is looked at here: a finding that a file of the server's
//! own, or a shell's `$VARIABLE`, might make wrong is not certain.

use super::case::{Case, Warning};
use super::rules::all;
use crate::settings::servers::{BIND, Between, Server, ServerKind};

/// Whether a finding is certain in a case in which there is one.
type Judge = fn(&Case<'_>) -> bool;

/// The rules whose findings may be.
const CERTAIN: [(&str, Judge); 4] = [
    ("tiny-memory", |_| true),
    ("runner-socket", |_| true),
    ("server-socket", socket),
    ("server-workers", workers),
];

/// What is certain, as `check` says it.
pub(super) fn warnings(case: &Case<'_>) -> Vec<Warning> {
    let judge_of = |id: &str| CERTAIN.iter().find(|(known, _)| *known == id).map(|(_, judge)| judge);
    let found = all().filter_map(|rule| {
        let judge = judge_of(rule.id)?;
        let (reason, remedy) = (rule.look)(case)?;
        judge(case).then_some(Warning { id: rule.id, reason, remedy })
    });
    found.collect()
}

/// The server, if its arguments are what it will see.
fn literal<'a>(case: &'a Case<'_>) -> Option<&'a Server> {
    let server = case.program.server.as_ref()?;
    (!server.mentions("$") && !server.mentions("`")).then_some(server)
}

fn socket(case: &Case<'_>) -> bool {
    let Some(server) = literal(case) else { return false };
    if case.config.pool().is_none_or(|pool| pool.bind.is_empty()) {
        // Others may share a port (SO_REUSEPORT) by a setting that is not seen here.
        let on_same_port = matches!(server.kind, ServerKind::Uvicorn | ServerKind::FastApi);
        return on_same_port && !server.has(&["--uds"]) && server.value(&["--port"]) != Some("0");
    }
    match (server.kind, server.takes_listener(), &case.program.between) {
        (ServerKind::Gunicorn, Some(true), Some(Between::Shell(_))) => case.around.shell_forks,
        (ServerKind::Hypercorn, Some(false), _) => server.has(&BIND) || !server.names_file(),
        (_, Some(_), _) => true,
        (_, None, _) => false,
    }
}

/// One master with several below it may be meant; several with several are not.
fn workers(case: &Case<'_>) -> bool {
    let theirs = literal(case).and_then(|server| server.number(&["--workers", "-w"]));
    case.pool().is_some_and(|pool| pool.workers > 1) && theirs.is_some_and(|theirs| theirs > 1)
}
