//! The paths of the health endpoint and their answers.

use super::edge::Edge;
use super::health::{self, Check, HealthFailure, Question};
use super::response::{HttpResponse, error, only, parameter, plain, respond};
use super::status;
use crate::core::Snapshot;
use crate::values::json::Object;
use hyper::{Method, StatusCode, Uri};

/// The question of a path: the names that Kubernetes uses, and common aliases.
fn question(path: &str) -> Option<Question> {
    match path {
        "/livez" | "/healthz" | "/health" | "/health/live" | "/live" => Some(Question::Live),
        "/readyz" | "/ready" | "/health/ready" => Some(Question::Ready),
        "/startupz" | "/health/startup" => Some(Question::Started),
        _ => None,
    }
}

/// What replacements wait for, in words; `ctl` asks this while it waits.
const WAITS: &str = "/waits";

pub(super) fn knows(path: &str) -> bool {
    question(path).is_some() || path == "/status" || path == WAITS
}

pub async fn answer(method: &Method, uri: &Uri, edge: &Edge) -> HttpResponse {
    let question = question(uri.path());
    if !knows(uri.path()) {
        let reason = "no such path; try /livez, /readyz, /startupz, /status or /metrics";
        return respond(StatusCode::NOT_FOUND, error(reason));
    }
    if ![Method::GET, Method::HEAD].contains(method) {
        return only("GET, HEAD", "only GET and HEAD");
    }
    match question {
        Some(question) => health(question, parameter(uri, "verbose").is_some(), edge),
        None if uri.path() == WAITS => plain(StatusCode::OK, status::waits(edge).await),
        None => status::answer(parameter(uri, "format") == Some("text"), edge).await,
    }
}

fn health(question: Question, verbose: bool, edge: &Edge) -> HttpResponse {
    let checks = health::checks(question, edge);
    let failure = checks.iter().find_map(|Check { failure, .. }| failure.as_ref());
    let code = if failure.is_none() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    if verbose {
        return plain(code, health::verbose(question, &checks));
    }
    let status = if failure.is_none() { "ok" } else { "unavailable" };
    respond(
        code,
        body(status, failure.map(|HealthFailure { reason, .. }| reason.as_ref()), &edge.published.get()),
    )
}

fn body(status: &str, reason: Option<&str>, snapshot: &Snapshot) -> String {
    let Snapshot { workers, ready, min_ready, .. } = snapshot;
    let body = Object::new().text("status", status);
    let body = match reason {
        Some(reason) => body.text("reason", reason),
        None => body,
    };
    body.with("ready", ready).with("min_ready", min_ready).with("workers", workers).end() + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::snapshot::Phase;
    use crate::http::Published;
    use tokio::time::Instant;

    fn status(path: &str, phase: Phase, ready: u32, started: bool) -> Option<u16> {
        let snapshot = Snapshot { phase, workers: 4, ready, min_ready: 2, started };
        let (published, (desk, _)) = (Published::new(snapshot), crate::control::open());
        let edge = Edge { published, desk, since: Instant::now() };
        Some(health(question(path)?, false, &edge).status().as_u16())
    }

    #[test]
    fn every_path_and_alias_answers_its_own_question() {
        for path in ["/livez", "/healthz", "/health", "/health/live", "/live"] {
            assert_eq!(status(path, Phase::Running, 0, false), Some(200), "{path}");
            assert_eq!(status(path, Phase::Stopping, 0, true), Some(200), "{path}");
            assert_eq!(status(path, Phase::GivenUp, 0, true), Some(503), "{path}");
        }
        for path in ["/readyz", "/ready", "/health/ready"] {
            assert_eq!(status(path, Phase::Running, 2, true), Some(200), "{path}");
            assert_eq!(status(path, Phase::Running, 1, true), Some(503), "{path}");
            assert_eq!(status(path, Phase::Draining, 4, true), Some(503), "{path}");
            assert_eq!(status(path, Phase::Stopping, 4, true), Some(503), "{path}");
        }
        for path in ["/startupz", "/health/startup"] {
            assert_eq!(status(path, Phase::Running, 1, false), Some(503), "{path}");
            assert_eq!(status(path, Phase::Running, 0, true), Some(200), "{path}");
        }
        assert_eq!(status("/", Phase::Running, 2, true), None);
    }
}
