//! One request, from a program to the server and back.

use std::time::Duration;

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HOST, ORIGIN};
use http::uri::Authority;
use http::{HeaderValue, Method, Request, Response, StatusCode, request};
use http_body_util::{BodyExt, Limited};
use hyper::body::Incoming;
use keyswap_reqwest::ServiceError;
use keyswap_tower::{Deadline, Origin};
use serde_json::json;
use tokio::time::{Instant, timeout};
use tracing::field::Empty;
use tracing::{Instrument, Span};
use url::Url;

use super::asked::Asked;
use super::client::Served;
use super::headers;
use super::refusal::Refusal;
use super::routes::{Endpoint, Route, Routes};
use super::serve::Door;
use super::{Body, Shared, metrics, whole};

/// The largest request, which is what the layer holds to send it again.
const LARGEST_REQUEST: usize = 64 * 1024;
const BODY_WITHIN: Duration = Duration::from_secs(10);
/// No further attempt begins after this.
const ATTEMPTS_WITHIN: Duration = Duration::from_secs(30);
/// An attempt has 30 s of its own.
const ANSWER_WITHIN: Duration = Duration::from_secs(60);
const LARGEST_METADATA: usize = 1024 * 1024;

/// The answer to a request, whatever becomes of it, with a span and in the metrics.
pub(super) async fn answer(
    shared: &Shared,
    door: Door,
    request: Request<Incoming>,
) -> Response<Body> {
    let (head, body) = request.into_parts();
    let (began, _under_way) = (Instant::now(), shared.metrics.begin());
    let found = found(shared, door, &head);
    let route = found.as_ref().map_or("", |(route, _)| route.name()).to_owned();
    let method = metrics::known(&head.method);
    // By the semantic conventions for HTTP servers. What a program writes into an address that is not served may be
    // anything, also a secret.
    let span = tracing::info_span!(
        "http_request",
        "otel.name" = format!("{method} {route}").trim_end(),
        "otel.kind" = "server",
        "http.request.method" = method,
        "http.route" = route,
        "http.response.status_code" = Empty,
        "url.scheme" = shared.scheme,
        "keyswap.client_id" = Empty,
        "keyswap.secret_id" = Empty,
        "keyswap.attempts" = Empty,
    );
    let answering = async {
        match found {
            Ok((route, own)) => answered(shared, route, &own, &head, body).await,
            Err(refusal) => Err(refusal),
        }
    };
    let answer = answering.instrument(span.clone()).await;
    let response = answer.unwrap_or_else(Refusal::into_response);
    span.record("http.response.status_code", response.status().as_u16());
    shared.metrics.answered(&head.method, &route, response.status(), began.elapsed());
    response
}

/// What a request is for, and the address under which the program reached the proxy.
fn found<'a>(
    shared: &'a Shared,
    door: Door,
    head: &request::Parts,
) -> Result<(Route<'a>, String), Refusal> {
    match door {
        Door::Programs => {
            let own = check_is_for_us(shared, head)?;
            Ok((shared.routes.find(&head.method, head.uri.path())?, own))
        }
        Door::Monitoring => {
            Ok((Routes::find_looked_at(&head.method, head.uri.path())?, String::new()))
        }
    }
}

async fn answered(
    shared: &Shared,
    route: Route<'_>,
    own: &str,
    head: &request::Parts,
    body: Incoming,
) -> Result<Response<Body>, Refusal> {
    match route {
        Route::Health => Ok(health(shared)),
        Route::Metrics => {
            let mut response = Response::new(whole(shared.metrics.render(shared)));
            let text = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
            response.headers_mut().insert(CONTENT_TYPE, text);
            Ok(response)
        }
        Route::Discovery(url) => metadata(shared, url, own).await,
        Route::Endpoint(endpoint) => forward(shared, endpoint, head, body).await,
    }
}

/// The address under which the program reached the proxy. A request that was meant for somebody else is refused: one
/// from a web page, whose name was made to point here (DNS rebinding), and one of a program that takes this for a forward
/// proxy.
fn check_is_for_us(shared: &Shared, head: &request::Parts) -> Result<String, Refusal> {
    let misdirected = |reason: String| Refusal::new(StatusCode::MISDIRECTED_REQUEST, reason);
    let url = shared.url();
    if head.method == Method::CONNECT {
        return Err(misdirected(format!("this is no forward proxy: send token requests to {url}")));
    }
    let named = match head.uri.authority() {
        Some(authority) => Some(authority.clone()),
        None => {
            let host = head.headers.get(HOST).and_then(|host| host.to_str().ok());
            host.and_then(|host| host.parse::<Authority>().ok())
        }
    };
    let Some(named) = named else {
        return Err(Refusal::request("the request has no Host header (RFC 9112 section 3.2)"));
    };
    let is_ours = match shared.beyond_loopback {
        true => head.uri.authority().is_none(),
        false => Origin::is_loopback_host(named.host()),
    };
    if !is_ours {
        return Err(misdirected(format!(
            "the request is for another host, and this is no forward proxy: send token requests to {url}"
        )));
    }
    if head.headers.contains_key(ORIGIN) {
        return Err(Refusal::new(
            StatusCode::FORBIDDEN,
            "the request has an Origin header, so it comes from a web page, which has no business here",
        ));
    }
    Ok(format!("{}://{named}", shared.scheme))
}

/// Whether each client has secrets.
fn health(shared: &Shared) -> Response<Body> {
    let clients: serde_json::Map<_, _> = shared
        .clients
        .iter()
        .map(|client| {
            let state = match client.ring() {
                Ok(ring) => json!({ "ready": true, "revision": ring.snapshot().revision() }),
                Err(reason) => json!({ "ready": false, "reason": reason }),
            };
            (client.id.clone(), state)
        })
        .collect();
    let ready = shared.clients.iter().all(|client| client.ring().is_ok());
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    in_json(status, json!({ "ready": ready, "clients": clients }).to_string())
}

fn in_json(status: StatusCode, text: impl Into<Bytes>) -> Response<Body> {
    let mut response = Response::new(whole(text));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

async fn forward(
    shared: &Shared,
    endpoint: &Endpoint,
    head: &request::Parts,
    body: Incoming,
) -> Result<Response<Body>, Refusal> {
    if head.uri.query().is_some() {
        return Err(Refusal::request(
            "parameters belong into the body of the request, not into its address (RFC 6749 section 2.3.1)",
        ));
    }
    let body = read(body).await?;
    let asked = Asked::read(&head.headers, &body)?;
    let client = chosen(shared, asked.client.as_deref())?;
    let span = Span::current();
    span.record("keyswap.client_id", client.id.as_str());
    let mut request =
        Request::post(endpoint.url.as_str()).body(reqwest::Body::from(asked.body)).map_err(
            |_| Refusal::new(StatusCode::BAD_GATEWAY, "the server's address cannot be used"),
        )?;
    *request.headers_mut() = headers::forwarded(&head.headers);
    request.extensions_mut().insert(Deadline((Instant::now() + ATTEMPTS_WITHIN).into_std()));
    let answer = match timeout(ANSWER_WITHIN, client.send(request)).await {
        Ok(Some(Ok(answer))) => answer,
        Ok(Some(Err(error))) => return Err(no_answer(endpoint.name, &error)),
        Ok(None) => {
            let reason = client.ring().err().unwrap_or_default();
            return Err(Refusal::away(
                StatusCode::SERVICE_UNAVAILABLE,
                format!("the proxy has no secret of client {} yet: {reason}", client.id),
            ));
        }
        Err(_) => return Err(late(endpoint.name)),
    };
    if let Some(with) = answer.body().authenticated() {
        span.record("keyswap.secret_id", with.id.as_str());
        span.record("keyswap.attempts", with.attempts);
    }
    let (mut head, body) = answer.into_parts();
    head.headers = headers::returned(&head.headers);
    let mut response = Response::new(body.map_err(Into::into).boxed_unsync());
    *response.status_mut() = head.status;
    *response.headers_mut() = head.headers;
    Ok(response)
}

async fn read(body: Incoming) -> Result<Bytes, Refusal> {
    match timeout(BODY_WITHIN, Limited::new(body, LARGEST_REQUEST).collect()).await {
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.is::<http_body_util::LengthLimitError>() => Err(Refusal::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            format!("a request has at most {LARGEST_REQUEST} bytes"),
        )),
        Ok(Err(_)) => Err(Refusal::request("the body of the request broke off")),
        Err(_) => Err(Refusal::new(
            StatusCode::REQUEST_TIMEOUT,
            format!("the body of the request did not come within {BODY_WITHIN:?}"),
        )),
    }
}

/// The client that a request names, or the only one.
fn chosen<'a>(shared: &'a Shared, named: Option<&str>) -> Result<&'a Served, Refusal> {
    let ids = || {
        let ids: Vec<_> = shared.clients.iter().take(8).map(|client| client.id.as_str()).collect();
        ids.join(", ")
    };
    match (named, shared.clients.as_slice()) {
        (Some(named), clients) => {
            clients.iter().find(|client| client.id == named).map(|client| &**client).ok_or_else(
                || {
                    // It may be a secret that stands in the wrong place.
                    Refusal::client(format!(
                        "the client of the request is none that is served here: {}",
                        ids()
                    ))
                },
            )
        }
        (None, [only]) => Ok(only),
        (None, _) => Err(Refusal::client(format!(
            "the request names no client, and several are served here: add a `client_id`, one of {}",
            ids()
        ))),
    }
}

/// The server's metadata, with the endpoints that are served here.
async fn metadata(shared: &Shared, url: Url, own: &str) -> Result<Response<Body>, Refusal> {
    let fetch = async {
        let answer = shared.http.get(url).send().await?;
        let answer: Response<reqwest::Body> = answer.into();
        let (head, body) = answer.into_parts();
        let body = Limited::new(body, LARGEST_METADATA).collect().await;
        Ok::<_, reqwest::Error>((head, body.map(|body| body.to_bytes())))
    };
    let fetched = timeout(ANSWER_WITHIN, fetch).await.map_err(|_| late("metadata"))?;
    let (head, body) =
        fetched.map_err(|error| no_answer("metadata", &ServiceError::Client(error)))?;
    let body = body.map_err(|_| {
        Refusal::new(
            StatusCode::BAD_GATEWAY,
            "the server's metadata could not be read to their end",
        )
    })?;
    if head.status != StatusCode::OK {
        let mut response = Response::new(whole(body));
        *response.status_mut() = head.status;
        let content_type = head.headers.get(CONTENT_TYPE).cloned();
        response.headers_mut().extend(content_type.map(|value| (CONTENT_TYPE, value)));
        return Ok(response);
    }
    let rewritten = shared.routes.rewritten(&body, own).ok_or_else(|| {
        Refusal::new(
            StatusCode::BAD_GATEWAY,
            "what the server has for its metadata is no JSON object",
        )
    })?;
    let mut response = in_json(StatusCode::OK, rewritten);
    if let Some(value) = head.headers.get(CACHE_CONTROL) {
        response.headers_mut().insert(CACHE_CONTROL, value.clone());
    }
    Ok(response)
}

fn late(what: &str) -> Refusal {
    Refusal::away(
        StatusCode::GATEWAY_TIMEOUT,
        format!("the server's {what}: no answer within {ANSWER_WITHIN:?}"),
    )
}

/// The server cannot be reached. Its address is the operator's to know, not the program's.
fn no_answer(what: &str, error: &ServiceError) -> Refusal {
    let (status, reason) = match error {
        ServiceError::Client(error) if error.is_timeout() => {
            (StatusCode::GATEWAY_TIMEOUT, "it did not answer in time")
        }
        ServiceError::Client(error) if error.is_connect() => {
            (StatusCode::BAD_GATEWAY, "no connection could be made")
        }
        ServiceError::Origin(_) => {
            (StatusCode::BAD_GATEWAY, "it is not where a secret may be sent")
        }
        _ => (StatusCode::BAD_GATEWAY, "the connection broke"),
    };
    tracing::warn!(endpoint = what, error = %with_causes(error), "the server gave no answer");
    Refusal::away(status, format!("the server's {what}: {reason}"))
}

/// An error with what lies under it. reqwest names the address, which holds no secret here.
fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(&format!(": {error}"));
        cause = error.source();
    }
    text
}
