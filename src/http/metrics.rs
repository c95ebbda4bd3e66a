//! `/metrics` and `/metrics/liveness`: chooses the format for a scraper.

use super::edge::Edge;
use crate::report::metrics::Page;
use http_body_util::Full;
use hyper::body::Bytes;
use hyper::header::{ACCEPT, ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue, VARY};
use hyper::{Method, Request, Response, StatusCode};

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

const PLAIN: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Answers a request for metrics; `None` if it is for another path.
pub async fn answer<B>(request: &Request<B>, edge: &Edge) -> Option<Response<Full<Bytes>>> {
    let page = match (request.uri().path(), request.method()) {
        ("/metrics" | "/metrics/liveness", method) if ![Method::GET, Method::HEAD].contains(method) => {
            let mut response =
                respond(StatusCode::METHOD_NOT_ALLOWED, "text/plain", "only GET and HEAD\n".into());
            response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            return Some(response);
        }
        ("/metrics", _) => edge.desk.metrics().await,
        ("/metrics/liveness", _) => edge.desk.liveness().await,
        _ => return None,
    };
    let accept = request.headers().get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let wants_open_metrics = wants_open_metrics(accept);
    Some(match page {
        Some(page) if wants_open_metrics => respond(StatusCode::OK, OPEN_METRICS, page.open_metrics()),
        Some(page) => respond(StatusCode::OK, PLAIN, Page::plain(&page)),
        None => respond(StatusCode::SERVICE_UNAVAILABLE, "text/plain", "too many ask at once\n".into()),
    })
}

/// Whether the request names OpenMetrics and does not prefer the older format. All others get the older one, which
/// every tool reads: `curl | promtool check metrics` states no preference, and knows no other.
fn wants_open_metrics<'a>(accept: impl Iterator<Item = &'a str>) -> bool {
    let (mut open, mut plain) = (0u16, 0u16);
    for range in accept.flat_map(|value| value.split(',')) {
        let mut parts = range.split(';').map(str::trim);
        let kind = parts.next().unwrap_or_default().to_ascii_lowercase();
        let quality = parts.find_map(|part| part.strip_prefix("q=")).map_or(1000, thousandths);
        let best = match kind.as_str() {
            "application/openmetrics-text" => &mut open,
            // A browser displays it.
            "text/plain" | "text/*" | "text/html" => &mut plain,
            _ => continue,
        };
        *best = quality.max(*best);
    }
    open > 0 && open >= plain
}

/// `0.25` is 250; an invalid quality value (RFC 9110, 12.4.2) is 1000, as if it were missing.
fn thousandths(quality: &str) -> u16 {
    let (whole, fraction) = quality.split_once('.').unwrap_or((quality, ""));
    let parsed = format!("{fraction:0<3}").parse().ok().filter(|_| fraction.len() <= 3);
    match (whole, parsed) {
        ("0", Some(thousandths)) => thousandths,
        _ => 1000,
    }
}

fn respond(status: StatusCode, kind: &'static str, body: Bytes) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(VARY, HeaderValue::from_static("Accept"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn open_metrics_is_for_who_asks_for_it_by_name_and_likes_nothing_better() {
        let open = |accept: &[&str]| wants_open_metrics(accept.iter().copied());
        for accept in [
            &["application/openmetrics-text"][..],
            &["application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.2,*/*;q=0.1"],
            &["text/plain;q=0.2", "application/openmetrics-text; version=1.0.0; q=0.3"],
            &["text/plain;q=0.05, application/openmetrics-text;q=0.5"],
            &["text/plain;q=0.125, application/openmetrics-text;q=0.2"],
            &["Application/OpenMetrics-Text;q=0.1, */*"],
        ] {
            assert!(open(accept), "{accept:?}");
        }
        for accept in [
            &[][..],
            &["*/*"],
            &["application/*"],
            &["application/openmetrics-text;q=0"],
            &["application/openmetrics-text;q=0, */*"],
            &["text/plain"],
            &["text/plain;q=0"],
            &["TEXT/PLAIN; version=0.0.4"],
            &["text/plain;version=0.0.4;q=0.6,application/openmetrics-text;version=1.0.0;q=0.5,*/*;q=0.1"],
            &["text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"],
            &["text/plain, */*;q=0.1"],
            &["text/*"],
        ] {
            assert!(!open(accept), "{accept:?}");
        }
    }
}
