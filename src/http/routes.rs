//! Which path asks what, and the answers.

use super::{Beside, Edge};
use crate::core::Snapshot;
use crate::core::snapshot::{NotReady, Phase};
use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE};
use hyper::{Method, Response, StatusCode, Uri};
use std::borrow::Cow;

/// What can be asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Question {
    /// Should this container be restarted? False only when the pool is given up; a loop that hangs does not answer.
    Live,
    /// Should traffic come?
    Ready,
    /// Has it ever been ready?
    Started,
}

/// The Kubernetes names and the aliases in use elsewhere.
fn question(path: &str) -> Option<Question> {
    match path {
        "/livez" | "/healthz" | "/health" | "/health/live" | "/live" => Some(Question::Live),
        "/readyz" | "/ready" | "/health/ready" => Some(Question::Ready),
        "/startupz" | "/health/startup" => Some(Question::Started),
        _ => None,
    }
}

/// Answers one request.
pub async fn answer(method: &Method, uri: &Uri, edge: &Edge) -> Response<Full<Bytes>> {
    health(method, uri.path(), &edge.published.get(), &edge.published.beside())
}

fn health(method: &Method, path: &str, snapshot: &Snapshot, beside: &Beside) -> Response<Full<Bytes>> {
    let Some(question) = question(path) else {
        let reason = "no such path; try /livez, /readyz or /startupz";
        return respond(StatusCode::NOT_FOUND, error(reason));
    };
    if ![Method::GET, Method::HEAD].contains(method) {
        let mut response = respond(StatusCode::METHOD_NOT_ALLOWED, error("only GET and HEAD"));
        response.headers_mut().insert(ALLOW, hyper::header::HeaderValue::from_static("GET, HEAD"));
        return response;
    }
    match verdict(question, snapshot, beside) {
        Ok(()) => respond(StatusCode::OK, body("ok", None, snapshot)),
        Err(reason) => respond(StatusCode::SERVICE_UNAVAILABLE, body("unavailable", Some(&reason), snapshot)),
    }
}

fn verdict(question: Question, snapshot: &Snapshot, beside: &Beside) -> Result<(), Cow<'static, str>> {
    match question {
        Question::Live if snapshot.phase == Phase::GivenUp => {
            Err(reason(NotReady::Leaving(Phase::GivenUp)).into())
        }
        Question::Live => Ok(()),
        Question::Ready => match (beside.start(), snapshot.readiness()) {
            (Ok(()), Err(not_ready)) => Err(reason(not_ready).into()),
            (Err(_), _) | (Ok(()), Ok(())) => beside.readiness(),
        },
        Question::Started if beside.prepares => Ok(beside.start()?),
        Question::Started if snapshot.started => Ok(()),
        Question::Started => Err("not enough workers have been ready yet".into()),
    }
}

fn reason(not_ready: NotReady) -> &'static str {
    match not_ready {
        NotReady::TooFew => "not enough workers are ready",
        NotReady::Leaving(Phase::Draining) => "draining before the stop",
        NotReady::Leaving(Phase::GivenUp) => "a crash loop was given up",
        NotReady::Leaving(Phase::Running | Phase::Stopping) => "stopping",
    }
}

/// The reasons are our own words, without anything that JSON would have to escape.
fn body(status: &str, reason: Option<&str>, snapshot: &Snapshot) -> String {
    let reason = reason.map(|reason| format!(r#""reason":"{reason}","#)).unwrap_or_default();
    let Snapshot { workers, ready, min_ready, .. } = snapshot;
    format!(
        "{{\"status\":\"{status}\",{reason}\"ready\":{ready},\"min_ready\":{min_ready},\"workers\":{workers}}}\n"
    )
}

fn error(reason: &str) -> String {
    format!("{{\"status\":\"error\",\"reason\":\"{reason}\"}}\n")
}

/// hyper leaves the body out where the request was HEAD.
fn respond(status: StatusCode, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, hyper::header::HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, hyper::header::HeaderValue::from_static("no-store"));
    response
}

#[cfg(test)]
mod tests {
    use super::super::Check;
    use super::*;

    fn status(path: &str, phase: Phase, ready: u32, started: bool) -> u16 {
        let snapshot = Snapshot { phase, workers: 4, ready, min_ready: 2, started };
        health(&Method::GET, path, &snapshot, &Beside::default()).status().as_u16()
    }

    #[test]
    fn every_path_and_alias_answers_its_own_question() {
        for path in ["/livez", "/healthz", "/health", "/health/live", "/live"] {
            assert_eq!(status(path, Phase::Running, 0, false), 200, "{path}");
            assert_eq!(status(path, Phase::Stopping, 0, true), 200, "{path}");
            assert_eq!(status(path, Phase::GivenUp, 0, true), 503, "{path}");
        }
        for path in ["/readyz", "/ready", "/health/ready"] {
            assert_eq!(status(path, Phase::Running, 2, true), 200, "{path}");
            assert_eq!(status(path, Phase::Running, 1, true), 503, "{path}");
            assert_eq!(status(path, Phase::Draining, 4, true), 503, "{path}");
            assert_eq!(status(path, Phase::Stopping, 4, true), 503, "{path}");
        }
        for path in ["/startupz", "/health/startup"] {
            assert_eq!(status(path, Phase::Running, 1, false), 503, "{path}");
            assert_eq!(status(path, Phase::Running, 0, true), 200, "{path}");
        }
        assert_eq!(status("/", Phase::Running, 2, true), 404);
    }

    #[test]
    fn the_applications_own_word_concerns_readiness_alone() {
        let snapshot = Snapshot { phase: Phase::Running, workers: 4, ready: 4, min_ready: 2, started: true };
        let all = |beside: &Beside| {
            ["/livez", "/readyz", "/startupz"]
                .map(|path| health(&Method::GET, path, &snapshot, beside).status().as_u16())
        };
        let checked = |check| Beside { prepares: false, check: Some(check) };
        assert_eq!(all(&checked(Check::Passes)), [200, 200, 200]);
        assert_eq!(all(&checked(Check::Awaited)), [200, 503, 200]);
        assert_eq!(all(&checked(Check::Fails("answered 500".into()))), [200, 503, 200]);
        assert_eq!(all(&Beside { prepares: true, check: None }), [200, 503, 503]);
        let failed = checked(Check::Fails("answered 500".into()));
        assert_eq!(failed.readiness().unwrap_err(), "--ready-check failed: answered 500");
    }
}
