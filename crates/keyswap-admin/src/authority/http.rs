//! What the authorities share: one request out, one answer in, and what its status says of a change.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::{HeaderMap, HeaderValue, StatusCode};
use keyswap_core::Secret;
use serde::de::DeserializeOwned;
use url::Url;
use zeroize::Zeroizing;

use super::described::{asking, unless_written_down};
use super::pace::{Said, Turns};
use super::{AuthorityError, AuthorityErrorKind, ChangeAnswer};
use crate::term::LeasedBody;

/// How long one management request may take.
pub(super) const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
/// A client with all its fields is some kilobytes; more is not read.
const LONGEST_ANSWER: usize = 1024 * 1024;
/// The pause when the server asks for one and does not say how long.
pub(super) const DEFAULT_PAUSE: Duration = Duration::from_secs(2);
/// How often a request that only asks is sent while the server asks to come back later.
pub(super) const MOST_ASKED: u32 = 6;

/// An answer of a management API. Its body may echo a secret, so it stays in here and is wiped.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    headers: HeaderMap,
    body: Zeroizing<Vec<u8>>,
}

/// Sends a request once, when it is its turn, and reads the whole answer.
pub(super) async fn send(
    turns: &Turns,
    request: reqwest::RequestBuilder,
) -> Result<Answer, reqwest::Error> {
    let (http, request) = request.build_split();
    let Some(request) = unless_written_down(request?).await else { return Ok(Answer::none()) };
    turns.turn().await;
    let request = reqwest::RequestBuilder::from_parts(http, request);
    let answer = exchange(request).await?;
    turns.pace.told(&answer.said_of_limit());
    Ok(answer)
}

/// Sends a request that only asks, and sends it again while the server asks to come back later. The pace has
/// taken in how long to wait.
pub(super) async fn ask<F, E>(request: impl Fn() -> F) -> Result<Answer, E>
where
    F: Future<Output = Result<Answer, E>>,
{
    let mut asked = 1;
    loop {
        let answer = asking(request()).await?;
        if answer.turned_away().is_none() || asked == MOST_ASKED {
            return Ok(answer);
        }
        asked += 1;
    }
}

async fn exchange(request: reqwest::RequestBuilder) -> Result<Answer, reqwest::Error> {
    let mut response = request
        .header(http::header::ACCEPT, "application/json")
        .timeout(REQUEST_TIMEOUT)
        .send()
        .await
        .map_err(reqwest::Error::without_url)?;
    let (status, headers) = (response.status(), response.headers().clone());
    let mut body = Zeroizing::new(Vec::with_capacity(16 * 1024));
    while let Some(chunk) = response.chunk().await.map_err(reqwest::Error::without_url)? {
        if body.len() + chunk.len() > LONGEST_ANSWER {
            break;
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Answer { status, headers, body })
}

impl Answer {
    /// What stands for the answer to a request that was only written down: it says nothing.
    fn none() -> Self {
        let status = StatusCode::INTERNAL_SERVER_ERROR;
        Self { status, headers: HeaderMap::new(), body: Zeroizing::default() }
    }

    /// The body as JSON of this shape. No error text of the parser is kept: it may repeat a secret.
    pub(super) fn json<T: DeserializeOwned>(&self) -> Option<T> {
        serde_json::from_slice(&self.body).ok()
    }

    /// Whether it has no body.
    pub(super) fn is_empty(&self) -> bool {
        self.body.is_empty()
    }

    /// What the status says of a change, unless it is one of success, which the body decides.
    pub(super) fn as_change(&self, error: impl FnOnce() -> AuthorityError) -> Option<ChangeAnswer> {
        if let Some(pause) = self.turned_away() {
            return Some(ChangeAnswer::RetryAfter(pause));
        }
        Some(match self.status {
            status if status.is_success() => return None,
            StatusCode::REQUEST_TIMEOUT => ChangeAnswer::Unknown(self.said()),
            status if status.is_client_error() || status.is_redirection() => {
                ChangeAnswer::Refused(error())
            }
            _ => ChangeAnswer::Unknown(self.said()),
        })
    }

    /// How long to wait, if the server turned the request away without a look at it.
    pub(super) fn turned_away(&self) -> Option<Duration> {
        match self.status {
            StatusCode::TOO_MANY_REQUESTS => Some(self.pause().unwrap_or(DEFAULT_PAUSE)),
            // 503 with a time to come back is how gateways turn a request away unseen.
            StatusCode::SERVICE_UNAVAILABLE => self.pause(),
            _ => None,
        }
    }

    /// What the answer says of the limit. `X-RateLimit-Limit` is how many requests there are until the
    /// reset, not how many a second (Auth0, "Rate Limit Policy").
    fn said_of_limit(&self) -> Said {
        let number = |name| number(&self.headers, name);
        let left = number("x-ratelimit-limit").zip(number("x-ratelimit-remaining"));
        let reset = reset(&self.headers, unix_now());
        Said {
            turned_away: self.turned_away(),
            left: left.zip(reset).map(|((limit, left), reset)| (limit, left, reset)),
        }
    }

    /// The refusal that means "come back later" at every server: a rate limit, or an error of its own.
    pub(super) fn as_transient(&self) -> Option<AuthorityError> {
        let kind = match self.status {
            StatusCode::TOO_MANY_REQUESTS => AuthorityErrorKind::Throttled,
            status if status.is_server_error() => AuthorityErrorKind::Unreachable,
            _ => return None,
        };
        Some(AuthorityError::new(kind, format!("{}: come back later", self.said())))
    }

    /// Whether the access token lacks a scope (RFC 6750 section 3.1).
    pub(super) fn lacks_scope(&self) -> bool {
        let challenge = self.headers.get(http::header::WWW_AUTHENTICATE);
        let challenge = challenge.and_then(|challenge| challenge.to_str().ok());
        challenge.is_some_and(|challenge| challenge.contains("insufficient_scope"))
    }

    /// The status in words: "the server answered 503".
    pub(super) fn said(&self) -> String {
        format!("the server answered {}", self.status.as_u16())
    }

    /// How long the server asks to wait: `Retry-After` in seconds (RFC 9110 section 10.2.3), or
    /// `X-RateLimit-Reset` (Auth0), `X-Rate-Limit-Reset` (Okta) as the second it names.
    fn pause(&self) -> Option<Duration> {
        pause(&self.headers, unix_now())
    }
}

fn unix_now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

fn number(headers: &HeaderMap, name: &str) -> Option<u64> {
    headers.get(name)?.to_str().ok()?.trim().parse().ok()
}

fn pause(headers: &HeaderMap, now: u64) -> Option<Duration> {
    if let Some(seconds) = number(headers, "retry-after").filter(|seconds| *seconds > 0) {
        return Some(Duration::from_secs(seconds));
    }
    reset(headers, now)
}

fn reset(headers: &HeaderMap, now: u64) -> Option<Duration> {
    let reset =
        number(headers, "x-ratelimit-reset").or_else(|| number(headers, "x-rate-limit-reset"))?;
    // Some servers give the second, others how many seconds are left.
    let seconds = if reset > 1_000_000_000 { reset.saturating_sub(now) } else { reset };
    Some(Duration::from_secs(seconds.max(1)))
}

/// What a failed exchange means for a change: whether the server saw it is open.
pub(super) fn lost(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        format!("no answer within {} s", REQUEST_TIMEOUT.as_secs())
    } else if error.is_connect() {
        "the server could not be reached".to_owned()
    } else {
        "the connection ended before the answer".to_owned()
    }
}

/// The server cannot be reached, as an error of an authority.
pub(super) fn unreachable(base: &Url, error: &reqwest::Error) -> AuthorityError {
    let host = base.host_str().unwrap_or("an unnamed host");
    AuthorityError::new(
        AuthorityErrorKind::Unreachable,
        format!("{} at {host}: {}; check the address and the network", lost(error), cause(error)),
    )
}

/// The innermost cause, for instance "Connection refused (os error 111)".
pub(super) fn cause(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(source) => cause(source),
        None => error.to_string(),
    }
}

/// A client for requests to these addresses, each of which must be https or loopback.
pub(super) fn client_for(name: &str, urls: &[&Url]) -> Result<reqwest::Client, AuthorityError> {
    let configuration =
        |message: String| AuthorityError::new(AuthorityErrorKind::Configuration, message);
    for url in urls {
        keyswap_reqwest::check_origin(url)
            .map_err(|error| configuration(format!("{name}: {error}")))?;
    }
    keyswap_reqwest::client_builder()
        .build()
        .map_err(|error| configuration(format!("no HTTP client could be made: {error}")))
}

/// An error code of an answer, if it is one: a short name, and nothing that could be a value.
pub(super) fn error_code(text: String) -> Option<String> {
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    (text.len() <= 64 && text.bytes().all(is_name)).then_some(text)
}

/// An address with one more path segment, escaped.
pub(super) fn with_segments(base: &Url, segments: &[&str]) -> Result<Url, AuthorityError> {
    let mut url = base.clone();
    match url.path_segments_mut() {
        Ok(mut path) => {
            path.pop_if_empty().extend(segments);
        }
        Err(()) => {
            return Err(AuthorityError::new(
                AuthorityErrorKind::Configuration,
                "the address of the authorization server has no path: it should look like \
                 https://tenant.example",
            ));
        }
    }
    Ok(url)
}

/// The `Authorization` header with a token, after the name of a scheme or alone, in a buffer that is wiped with
/// its last clone; `None` if the token holds more than printable ASCII.
pub(super) fn authorization<'a>(
    scheme: impl Into<Option<&'a str>>,
    token: &Secret,
) -> Option<HeaderValue> {
    let scheme = scheme.into().map(|scheme| format!("{scheme} ")).unwrap_or_default();
    let mut value = Zeroizing::new(Vec::with_capacity(scheme.len() + token.expose().len()));
    value.extend_from_slice(scheme.as_bytes());
    value.extend_from_slice(token.expose().as_bytes());
    let printable = value.iter().all(|byte| (0x20..0x7f).contains(byte));
    let mut header = HeaderValue::from_maybe_shared(bytes::Bytes::from_owner(value)).ok()?;
    header.set_sensitive(true);
    printable.then_some(header)
}

/// A JSON body with one secret in it, in a buffer that is wiped. It is not given away once the lease is
/// over under which it was made.
pub(super) fn body_with_secret(before: &str, secret: &Secret, after: &str) -> reqwest::Body {
    leased_body(json_with_secret(before, secret, after))
}

/// A body that is not given away once the lease is over under which it was made.
pub(super) fn leased_body(bytes: bytes::Bytes) -> reqwest::Body {
    reqwest::Body::wrap(LeasedBody::new(bytes))
}

pub(super) fn json_with_secret(before: &str, secret: &Secret, after: &str) -> bytes::Bytes {
    // Large enough for every character escaped, since a buffer that grows leaves a copy behind.
    let capacity = before.len() + 6 * secret.expose().len() + 2 + after.len();
    let mut body = Zeroizing::new(Vec::with_capacity(capacity));
    body.extend_from_slice(before.as_bytes());
    // A string always serializes, and a Vec always takes it.
    let _ = serde_json::to_writer(&mut *body, secret.expose());
    body.extend_from_slice(after.as_bytes());
    bytes::Bytes::from_owner(body)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    }

    #[test]
    fn the_pause_is_what_the_server_asks_for() {
        let now = 1_700_000_000;
        let seconds =
            |pairs: &[(&'static str, &str)]| pause(&headers(pairs), now).map(|t| t.as_secs());
        assert_eq!(seconds(&[("retry-after", "3")]), Some(3));
        assert_eq!(seconds(&[("retry-after", "3"), ("x-ratelimit-reset", "1700000009")]), Some(3));
        assert_eq!(seconds(&[("x-ratelimit-reset", "1700000009")]), Some(9));
        assert_eq!(seconds(&[("x-ratelimit-reset", "1690000000")]), Some(1), "it is over already");
        assert_eq!(seconds(&[("x-ratelimit-reset", "20")]), Some(20));
        assert_eq!(seconds(&[("x-rate-limit-reset", "1700000007")]), Some(7));
        assert_eq!(seconds(&[("retry-after", "soon")]), None);
        assert_eq!(seconds(&[]), None);
    }

    /// What a server gets of a change that is sent under a lease with this end.
    async fn received(
        end: tokio::time::Instant,
        body: impl FnOnce() -> reqwest::Body,
    ) -> (String, Result<(), reqwest::Error>) {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut text = Vec::new();
            while !text.ends_with(b"}") && !text.ends_with(b"\r\n0\r\n\r\n") {
                let mut piece = [0; 4096];
                match stream.read(&mut piece).await.unwrap() {
                    0 => break,
                    length => text.extend_from_slice(&piece[..length]),
                }
            }
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
            String::from_utf8(text).unwrap()
        });
        let act = async {
            let request = reqwest::Client::new().patch(url).body(body());
            send(&Turns::default(), request).await.map(drop)
        };
        let sent = crate::term::Term::until(end).scope(act).await;
        (server.await.unwrap(), sent)
    }

    #[tokio::test]
    async fn a_change_is_not_given_away_once_its_lease_is_over() {
        let now = tokio::time::Instant::now();
        let body = || {
            let secret = Secret::new("a".parse().unwrap(), "value-of-the-secret").unwrap();
            let body = body_with_secret("{\"client_secret\":", &secret, "}");
            assert!(!format!("{body:?}").contains("value-of"));
            body
        };
        let (text, sent) = received(now + Duration::from_secs(60), body).await;
        sent.unwrap();
        assert!(text.contains("content-length: 39\r\n"), "{text}");
        assert!(text.ends_with("{\"client_secret\":\"value-of-the-secret\"}"), "{text}");

        let (text, sent) = received(now, body).await;
        assert!(!text.contains("client_secret"), "{text}");
        let error = sent.unwrap_err();
        assert!(!format!("{error:?}").contains("value-of"), "{error:?}");
    }

    #[tokio::test]
    async fn neither_is_a_change_whose_body_holds_nothing() {
        let now = tokio::time::Instant::now();
        let body = || leased_body(bytes::Bytes::new());
        let (text, sent) = received(now + Duration::from_secs(60), body).await;
        sent.unwrap();
        assert!(text.ends_with("\r\n\r\n0\r\n\r\n"), "{text}");
        let (text, sent) = received(now, body).await;
        assert!(sent.is_err() && text.is_empty(), "{text}");
    }

    #[test]
    fn a_body_escapes_the_secret_once() {
        let secret = Secret::new("a".parse().unwrap(), r#"q"\+/="#).unwrap();
        let body = json_with_secret("{\"client_secret\":", &secret, "}");
        let value: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(value["client_secret"], secret.expose());
    }
}
