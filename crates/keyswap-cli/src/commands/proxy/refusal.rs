//! What a program is told in place of the server's answer.

use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderName, HeaderValue, Response, StatusCode};
use serde_json::json;

use super::{Body, whole};

/// An error of the proxy's own, in the form of RFC 6749 section 5.2, so that a program's library shows it.
#[derive(Debug)]
pub(super) struct Refusal {
    status: StatusCode,
    error: &'static str,
    reason: String,
    header: Option<(HeaderName, HeaderValue)>,
}

impl Refusal {
    /// With the code that goes with this status.
    pub(super) fn new(status: StatusCode, reason: impl Into<String>) -> Self {
        let error = match status {
            StatusCode::UNAUTHORIZED => "invalid_client",
            StatusCode::NOT_FOUND => "not_found",
            StatusCode::METHOD_NOT_ALLOWED => "method_not_allowed",
            _ if status.is_client_error() => "invalid_request",
            _ => "temporarily_unavailable",
        };
        Self { status, error, reason: reason.into(), header: None }
    }

    /// A request that makes no sense.
    pub(super) fn request(reason: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, reason)
    }

    /// A client that is not served.
    pub(super) fn client(reason: impl Into<String>) -> Self {
        let challenge = HeaderValue::from_static("Basic realm=\"keyswap proxy\"");
        Self::new(StatusCode::UNAUTHORIZED, reason).with(WWW_AUTHENTICATE, challenge)
    }

    /// Another method than those that are served there.
    pub(super) fn method(allowed: &'static str, reason: impl Into<String>) -> Self {
        let reason = reason.into();
        Self::new(StatusCode::METHOD_NOT_ALLOWED, reason)
            .with(ALLOW, HeaderValue::from_static(allowed))
    }

    /// Something that is away and may come back.
    pub(super) fn away(status: StatusCode, reason: impl Into<String>) -> Self {
        Self::new(status, reason).with(RETRY_AFTER, HeaderValue::from_static("1"))
    }

    fn with(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.header = Some((name, value));
        self
    }

    #[cfg(test)]
    pub(super) fn reason(&self) -> &str {
        &self.reason
    }

    pub(super) fn into_response(self) -> Response<Body> {
        let text = json!({ "error": self.error, "error_description": self.reason }).to_string();
        let mut response = Response::new(whole(text));
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.extend(self.header.map(|(name, value)| (Some(name), value)));
        response
    }
}
