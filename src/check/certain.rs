//! The findings that are certain enough for the start of a pool to report.
//!
//! They depend on the settings, the words of the command and variables alone: a finding that a file of the server's
//! own, or a shell's `$VARIABLE`, might disprove is not certain.

use super::case::{Case, Warning};
use super::rules::all;
use crate::settings::servers::{BIND, Between, Server, ServerKind};

/// Whether a rule's finding is certain in this case.
type Judge = fn(&Case<'_>) -> bool;

/// The rules whose findings may be certain.
const CERTAIN: [(&str, Judge); 4] = [
    ("tiny-memory", |_| true),
    ("runner-socket", |_| true),
    ("server-socket", socket),
    ("server-workers", workers),
];

/// The certain findings, worded as `check` does.
pub(super) fn warnings(case: &Case<'_>) -> Vec<Warning> {
    let judge_of = |id: &str| CERTAIN.iter().find(|(known, _)| *known == id).map(|(_, judge)| judge);
    let found = all().filter_map(|rule| {
        let judge = judge_of(rule.id)?;
        let (reason, remedy) = (rule.look)(case)?;
        judge(case).then_some(Warning { id: rule.id, reason, remedy })
    });
    found.collect()
}

/// The server, if no shell changes its arguments.
fn literal<'a>(case: &'a Case<'_>) -> Option<&'a Server> {
    let server = case.program.server.as_ref()?;
    (!server.mentions("$") && !server.mentions("`")).then_some(server)
}

fn socket(case: &Case<'_>) -> bool {
    let Some(server) = literal(case) else { return false };
    if case.settings.pool().is_none_or(|pool| pool.bind.is_empty()) {
        // Other servers may share a port (SO_REUSEPORT) by a setting that is not visible here.
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

/// One master with several workers may be intended; several masters with several workers are not.
fn workers(case: &Case<'_>) -> bool {
    let theirs = literal(case).and_then(|server| server.number(&["--workers", "-w"]));
    case.pool().is_some_and(|pool| pool.workers > 1) && theirs.is_some_and(|theirs| theirs > 1)
}
