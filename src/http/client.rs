//! One HTTP request on a stream of its own: for probes, checks and our own client.

use crate::os::socket::connection::ByteStream;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::{CONNECTION, HOST, HeaderValue, USER_AGENT};
use hyper::http::uri::PathAndQuery;
use hyper::{Request, StatusCode, Uri};
use hyper_util::rt::TokioIo;
use std::error::Error;
use std::fmt;
use std::future::poll_fn;
use std::io;
use std::pin::pin;

/// The most bytes of an answer's head; hyper allows no less.
const LONGEST_HEAD: usize = 8 * 1024;

const NAME: HeaderValue = HeaderValue::from_static(concat!("prefork-init/", env!("CARGO_PKG_VERSION")));

/// A GET request, validated once.
#[derive(Clone, Debug)]
pub struct Get {
    host: HeaderValue,
    path: Uri,
}

impl Get {
    /// `GET path` of `host`; `None` if either is invalid in a request. The path may have a query.
    #[must_use]
    pub fn new(host: &str, path: &str) -> Option<Self> {
        let path = Some(path).filter(|path| path.starts_with('/'))?;
        let path = path.parse::<PathAndQuery>().ok()?.into();
        Some(Self { host: HeaderValue::from_str(host).ok()?, path })
    }

    #[must_use]
    pub fn request(&self) -> Request<Full<Bytes>> {
        let mut request = Request::new(Full::default());
        request.uri_mut().clone_from(&self.path);
        let headers = request.headers_mut();
        headers.insert(HOST, self.host.clone());
        headers.insert(USER_AGENT, NAME);
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
        request
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoAnswer {
    /// The peer closed the connection before its answer.
    Closed,
    /// The answer is not HTTP, or its head has no end.
    NotHttp,
    /// The body is longer than the limit.
    TooLong,
}

impl fmt::Display for NoAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Closed => "closed without an answer",
            Self::NotHttp => "the answer is not HTTP",
            Self::TooLong => "the answer is too long",
        })
    }
}

/// Sends a request and returns the answer's status and body, up to `longest` bytes; `None` reads no body. Follows no
/// redirect. The caller limits the time.
///
/// # Errors
/// The reason that there is no answer.
pub async fn exchange(
    stream: impl ByteStream,
    request: Request<Full<Bytes>>,
    longest: Option<usize>,
) -> Result<(StatusCode, Bytes), NoAnswer> {
    exchange_on(Box::new(stream), request, longest).await
}

/// For one type of stream, so that the binary contains hyper's client once.
async fn exchange_on(
    stream: Box<dyn ByteStream + '_>,
    request: Request<Full<Bytes>>,
    longest: Option<usize>,
) -> Result<(StatusCode, Bytes), NoAnswer> {
    let mut http = http1::Builder::new();
    http.max_buf_size(LONGEST_HEAD);
    let (mut sender, connection) = http.handshake(TokioIo::new(stream)).await.map_err(no_answer)?;
    let answer = async move {
        let answer = sender.send_request(request).await.map_err(no_answer)?;
        let status = answer.status();
        let Some(longest) = longest else { return Ok((status, Bytes::new())) };
        match Limited::new(answer.into_body(), longest).collect().await {
            Ok(body) => Ok((status, body.to_bytes())),
            Err(error) => match error.downcast::<hyper::Error>() {
                Ok(error) => Err(no_answer(*error)),
                Err(_) => Err(NoAnswer::TooLong),
            },
        }
    };
    let (mut answer, mut connection) = (pin!(answer), pin!(connection));
    let mut is_open = true;
    // The connection does the work; `answer` has its result.
    poll_fn(|cx| {
        is_open = is_open && connection.as_mut().poll(cx).is_pending();
        answer.as_mut().poll(cx)
    })
    .await
}

/// Whether the peer hung up or sent something else, perhaps before the request.
fn no_answer(error: hyper::Error) -> NoAnswer {
    let before = error.source().and_then(|cause| cause.downcast_ref());
    let error = before.unwrap_or(&error);
    let hung_up = error.is_incomplete_message()
        || error.is_canceled()
        || error.source().is_some_and(|cause| cause.is::<io::Error>());
    if hung_up { NoAnswer::Closed } else { NoAnswer::NotHttp }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_into_a_request_is_no_get() {
        for (host, path) in [("", "/"), ("[::1]:80", "/a//b?c=/%20"), ("a_b", "//")] {
            assert!(Get::new(host, path).is_some(), "{host} {path}");
        }
        for (host, path) in [
            ("a", ""),
            ("a", "healthz"),
            ("a", "*"),
            ("a", "?a"),
            ("a", "http://a/"),
            ("a", "/a b"),
            ("a", "/\r\nX: y"),
            ("a\r\nX: y", "/"),
            ("a\0", "/"),
        ] {
            assert!(Get::new(host, path).is_none(), "{host:?} {path:?}");
        }
    }
}
