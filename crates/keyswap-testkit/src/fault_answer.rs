//! What a request is answered that meets a fault, in the shape of a vendor.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use axum::response::{Html, IntoResponse, Response};
use http::header::RETRY_AFTER;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};

use crate::core::Core;
use crate::fault::{Endpoint, Fault};
use crate::limit::Admission;
use crate::serve::AnswerLost;

/// How a vendor words the errors that any call may be answered with.
pub(crate) struct Vendor {
    /// 429, without the headers.
    pub(crate) throttled: fn(Endpoint) -> Response,
    /// The names of the headers that tell the limit, what remains of it, and when it is reset.
    pub(crate) limit_headers: [&'static str; 3],
    /// An error of the server's own.
    pub(crate) server_error: fn(Endpoint, StatusCode) -> Response,
}

/// Counts what asks for a change, and lets the faults of an endpoint happen; what comes back is the answer in place of the real one.
pub(crate) async fn fault_on_arrival(
    core: &Core,
    endpoint: Endpoint,
    vendor: &Vendor,
) -> Option<Response> {
    if endpoint.writes() {
        core.counters.management_writes.add_one();
    }
    let arrival = core.faults.on_arrival(endpoint);
    if !arrival.delay.is_zero() {
        tokio::time::sleep(arrival.delay).await;
    }
    arrival.instead.map(|fault| of_fault(endpoint, &fault, vendor))
}

/// What is answered in place of the vendor's own once a change met this fault, or was refused.
pub(crate) async fn after_change(
    endpoint: Endpoint,
    met: Result<Option<Fault>, Box<Response>>,
    vendor: &Vendor,
) -> Option<Response> {
    match met {
        Ok(None) => None,
        Ok(Some(Fault::LatencyAfterChange { delay })) => {
            tokio::time::sleep(delay).await;
            None
        }
        Ok(Some(fault)) => Some(of_fault(endpoint, &fault, vendor)),
        Err(refusal) => Some(*refusal),
    }
}

/// The answer that a fault gives.
fn of_fault(endpoint: Endpoint, fault: &Fault, vendor: &Vendor) -> Response {
    match fault {
        Fault::RateLimited { retry_after, reset_after, .. } => {
            let mut response = (vendor.throttled)(endpoint);
            limit(&mut response, *retry_after, *reset_after, vendor);
            response
        }
        Fault::ServerError { status, .. } | Fault::ServerErrorAfterChange { status } => {
            let status = StatusCode::from_u16(*status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
            (vendor.server_error)(endpoint, status)
        }
        Fault::Html { status, .. } => html(*status),
        // What is left closes the connection; a latency never comes here.
        _ => AnswerLost::response(),
    }
}

fn limit(
    response: &mut Response,
    retry_after: Option<Duration>,
    reset_after: Option<Duration>,
    vendor: &Vendor,
) {
    let headers = response.headers_mut();
    if let Some(wait) = retry_after {
        headers.insert(RETRY_AFTER, HeaderValue::from(seconds_rounded_up(wait)));
    }
    if let Some(reset) = reset_after {
        tell_limit(headers, &Admission { admitted: false, allowed: 10, left: 0, reset }, vendor);
    }
}

/// The answer to a request that is one too many.
pub(crate) fn over_the_limit(endpoint: Endpoint, reset: Duration, vendor: &Vendor) -> Response {
    let mut response = (vendor.throttled)(endpoint);
    limit(&mut response, Some(reset), None, vendor);
    response
}

/// What an answer says of the limit.
pub(crate) fn tell_limit(headers: &mut HeaderMap, admission: &Admission, vendor: &Vendor) {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let reset = seconds_rounded_up(since_epoch + admission.reset);
    let values = [admission.allowed, admission.left, reset];
    for (name, value) in vendor.limit_headers.into_iter().zip(values) {
        headers.insert(HeaderName::from_static(name), HeaderValue::from(value));
    }
}

/// Rounded down, a client that waits exactly as long as told would come too early.
fn seconds_rounded_up(duration: Duration) -> u64 {
    duration.as_secs() + u64::from(duration.subsec_nanos() > 0)
}

fn html(status: u16) -> Response {
    let status = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_GATEWAY);
    let title = format!("{} {}", status.as_u16(), status.canonical_reason().unwrap_or(""));
    let page =
        format!("<html><head><title>{title}</title></head><body><h1>{title}</h1></body></html>\n");
    (status, Html(page)).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_are_rounded_up() {
        assert_eq!(seconds_rounded_up(Duration::ZERO), 0);
        assert_eq!(seconds_rounded_up(Duration::from_millis(1)), 1);
        assert_eq!(seconds_rounded_up(Duration::from_secs(2)), 2);
    }
}
