//! The control socket: the paths of the health endpoint, and orders, which are given by POST. An order is answered when
//! it is carried out, or after `?wait=D`. Everything is in the path: no body is read.

use super::edge::Edge;
use super::peer::Peer;
use super::response::{HttpResponse, error, only, parameter, plain, respond};
use super::{routes, status};
use crate::control::order::{Order, PATHS};
use crate::control::waiting::{OrderRefusal, Outcome};
use crate::values::duration::parse_duration;
use crate::values::json::Object;
use hyper::{Method, StatusCode, Uri};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::time::timeout;
use tracing::info;

/// The wait for an order if the client gives none.
const USUAL_WAIT: Duration = Duration::from_secs(300);

const LONGEST_WAIT: Duration = Duration::from_secs(24 * 60 * 60);

/// Answers one request; without a `peer`, refuses it. `has_order` is true while an order is under way.
pub(super) async fn answer(
    method: &Method,
    uri: &Uri,
    edge: &Edge,
    peer: Option<Peer>,
    has_order: &AtomicBool,
) -> HttpResponse {
    let as_text = parameter(uri, "format") == Some("text");
    let refuse = |status, reason: &str| match as_text {
        true => plain(status, format!("{reason}\n")),
        false => respond(status, error(reason)),
    };
    let Some(peer) = peer else {
        return refuse(StatusCode::FORBIDDEN, "only root and its own user may ask here");
    };
    let Some(order) = Order::read(uri.path()) else {
        if *method == Method::POST && !routes::knows(uri.path()) {
            return refuse(StatusCode::NOT_FOUND, &format!("no such order; try {PATHS}"));
        }
        return routes::answer(method, uri, edge).await;
    };
    if *method != Method::POST {
        return only("POST", "an order is given with POST");
    }
    let wait = match parameter(uri, "wait").map(parse_duration) {
        None => Ok(USUAL_WAIT),
        Some(Ok(wait)) => Ok(wait.min(LONGEST_WAIT)),
        Some(Err(_)) => Err("wait is not a duration: use one like 30s"),
    };
    match (order, wait) {
        (Ok(order), Ok(wait)) => {
            let (uid, sender) = (peer.uid, peer.pid);
            info!(order = %order, uid, sender, "order received");
            has_order.store(true, Ordering::Relaxed);
            let outcome = timeout(wait, edge.desk.order(order)).await;
            has_order.store(false, Ordering::Relaxed);
            let waits = if outcome.is_err() { status::waits(edge).await } else { String::new() };
            tell(order, outcome, waits.trim_end(), as_text)
        }
        (Err(problem), _) | (_, Err(problem)) => refuse(StatusCode::BAD_REQUEST, problem),
    }
}

/// Words the result. `outcome` is an error if the time is over, with `waits` as the reason; `None` if the loop does not
/// answer.
fn tell<E>(order: Order, outcome: Result<Option<Outcome>, E>, waits: &str, as_text: bool) -> HttpResponse {
    let (status, word, message) = match &outcome {
        Ok(Some(outcome)) => {
            let (status, word) = verdict(outcome);
            (status, word, outcome.to_string())
        }
        Ok(None) => (StatusCode::SERVICE_UNAVAILABLE, "refused", "busy, or ending: try again".to_owned()),
        Err(_) if waits.is_empty() => (StatusCode::ACCEPTED, "running", format!("{order}: still under way")),
        Err(_) => {
            let waits = waits.replace('\n', ", ");
            (StatusCode::ACCEPTED, "running", format!("{order}: still under way, {waits}"))
        }
    };
    if as_text {
        return plain(status, message + "\n");
    }
    let object = Object::new().text("order", order).text("outcome", word).text("message", message);
    let object = match outcome {
        Ok(Some(Outcome::Reloaded { generation })) => object.with("gen", generation),
        Ok(Some(Outcome::ReloadFailed { generation, reason })) => {
            object.with("gen", generation).text("reason", reason)
        }
        Ok(Some(Outcome::Replaced { slot, old, pid })) => {
            object.with("slot", slot).maybe("old_pid", old).with("pid", pid)
        }
        Ok(Some(Outcome::Sent { slot, pid })) => object.with("slot", slot).with("pid", pid),
        Ok(Some(
            Outcome::ReplacementFailed { slot } | Outcome::ScaleFailed { slot } | Outcome::SlotGone { slot },
        )) => object.with("slot", slot),
        Ok(Some(Outcome::Scaled { workers })) => object.with("workers", workers),
        Ok(_) | Err(_) => object,
    };
    respond(status, object.end() + "\n")
}

/// The outcome as a status and as one word. An order that cannot be carried out as asked is 4xx; one that was tried in
/// vain is 500.
fn verdict(outcome: &Outcome) -> (StatusCode, &'static str) {
    match outcome {
        Outcome::Reloaded { .. } | Outcome::Replaced { .. } | Outcome::Scaled { .. } => {
            (StatusCode::OK, "finished")
        }
        Outcome::Stopping => (StatusCode::OK, "stopping"),
        Outcome::Sent { .. } => (StatusCode::OK, "sent"),
        Outcome::Set => (StatusCode::OK, "set"),
        Outcome::ReloadFailed { .. }
        | Outcome::ReloadRefused
        | Outcome::ReplacementFailed { .. }
        | Outcome::ScaleFailed { .. }
        | Outcome::NotSent { .. } => (StatusCode::INTERNAL_SERVER_ERROR, "failed"),
        Outcome::Overtaken { .. } | Outcome::SlotGone { .. } => (StatusCode::CONFLICT, "overtaken"),
        Outcome::Interrupted { .. } => (StatusCode::CONFLICT, "interrupted"),
        Outcome::Refused(OrderRefusal::NoSuchSlot { .. }) => (StatusCode::NOT_FOUND, "refused"),
        Outcome::Refused(OrderRefusal::TooMany) => (StatusCode::SERVICE_UNAVAILABLE, "refused"),
        Outcome::Refused(
            OrderRefusal::NotAPool
            | OrderRefusal::NobodyThere
            | OrderRefusal::NotRunning(_)
            | OrderRefusal::NotStarted
            | OrderRefusal::Dropped,
        ) => (StatusCode::CONFLICT, "refused"),
    }
}
