//! Answers: JSON, or text for people.

use crate::values::json::Object;
use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue};
use hyper::{Response, StatusCode, Uri};

pub(super) type HttpResponse = Response<Full<Bytes>>;

/// The value of a query parameter; empty if it has none.
pub(super) fn parameter<'a>(uri: &'a Uri, name: &str) -> Option<&'a str> {
    let mut pairs = uri.query()?.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    pairs.find(|(key, _)| *key == name).map(|(_, value)| value)
}

/// The answer to a method that a path does not support.
pub(super) fn only(allowed: &'static str, reason: &str) -> HttpResponse {
    let mut response = respond(StatusCode::METHOD_NOT_ALLOWED, error(reason));
    response.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed));
    response
}

pub(super) fn error(reason: &str) -> String {
    Object::new().text("status", "error").text("reason", reason).end() + "\n"
}

/// JSON. For a HEAD request, hyper omits the body.
pub(super) fn respond(status: StatusCode, body: String) -> HttpResponse {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

pub(super) fn plain(status: StatusCode, body: String) -> HttpResponse {
    let mut response = respond(status, body);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_found() {
        let uri: Uri = "/reload?wait=3s&verbose&format=".parse().unwrap();
        assert_eq!(parameter(&uri, "wait"), Some("3s"));
        assert_eq!(parameter(&uri, "verbose"), Some(""));
        assert_eq!(parameter(&uri, "verb"), None);
        assert_eq!(parameter(&"/reload".parse().unwrap(), "wait"), None);
    }
}
