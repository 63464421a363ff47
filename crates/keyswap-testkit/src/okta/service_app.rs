//! Service apps: clients that sign in at the org's own server by an assertion that is signed with a private key, and
//! make management requests with the token ("Implement OAuth for Okta with a service app", developer.okta.com).

use axum::Json;
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::header::{AUTHORIZATION, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue, StatusCode};
use serde::Deserialize;
use serde_json::json;

use super::error;
use crate::client::{Client, Resource};
use crate::core::{Core, unix_now};
use crate::fault::Endpoint;
use crate::parameters::Parameters;
use crate::tokens::Claims;

const JWT_BEARER: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";
const READ: [&str; 2] = ["okta.apps.read", "okta.apps.manage"];
const WRITE: [&str; 1] = ["okta.apps.manage"];
/// The vendor's tokens for its own APIs live an hour.
const LIFETIME: u64 = 3600;

#[derive(Deserialize)]
struct Header {
    alg: String,
}

#[derive(Deserialize)]
struct Asserted {
    iss: String,
    sub: String,
    aud: String,
    jti: Option<String>,
    exp: u64,
}

/// The answer to a request with an assertion that is signed with a private key; `None`: it is another request.
pub(super) fn token(core: &Core, parameters: &Parameters) -> Option<Response> {
    let assertion = parameters.value("client_assertion")?;
    let (signed, signature) = assertion.rsplit_once('.')?;
    let (header, claims) = signed.split_once('.')?;
    let decode = |part: &str| URL_SAFE_NO_PAD.decode(part).ok();
    let header: Header = serde_json::from_slice(&decode(header)?).ok()?;
    if !["RS256", "ES256"].contains(&header.alg.as_str()) {
        return None;
    }
    let asserted: Asserted = serde_json::from_slice(&decode(claims)?).ok()?;
    Some(answer(core, parameters, (signed, &decode(signature)?), &asserted))
}

fn answer(
    core: &Core,
    parameters: &Parameters,
    (signed, signature): (&str, &[u8]),
    asserted: &Asserted,
) -> Response {
    let invalid = |why| error::token(StatusCode::UNAUTHORIZED, "invalid_client", why);
    let bad = |error, why| error::token(StatusCode::BAD_REQUEST, error, why);
    if parameters.value("client_assertion_type") != Some(JWT_BEARER) {
        return bad("invalid_request", "The client_assertion_type is not that of a JWT.");
    }
    if parameters.value("grant_type") != Some("client_credentials") {
        return bad("unsupported_grant_type", "Configured grant types: [client_credentials].");
    }
    let endpoint = format!("{}/oauth2/v1/token", core.url());
    if asserted.iss != asserted.sub || asserted.aud != endpoint {
        return invalid(
            "The audience claim for client_assertion must be the endpoint invoked for the request.",
        );
    }
    let now = unix_now();
    if asserted.exp <= now || asserted.exp > now + LIFETIME {
        return invalid(
            "The client_assertion token is expired, or its expiration is too far in the future.",
        );
    }
    if asserted.jti.as_ref().is_none_or(String::is_empty) {
        return invalid("The client_assertion has no jti.");
    }
    let granted = core.with_state(|state, _| {
        let client = state.client(&asserted.sub)?;
        let is_signature = client.signature.as_ref()?;
        if !(is_signature.0)(signed.as_bytes(), signature) {
            return None;
        }
        let org = Resource::Audience(Client::OKTA_ORG.to_owned());
        let grant = client.grants.iter().find(|grant| grant.resource == org);
        Some(grant.map(|grant| grant.scopes.clone()).unwrap_or_default())
    });
    let Some(granted) = granted else {
        return invalid("The client_assertion signature is invalid.");
    };
    let scope = parameters.value("scope").unwrap_or_default();
    if scope.is_empty() || !scope.split(' ').all(|asked| granted.iter().any(|one| one == asked)) {
        return bad(
            "invalid_scope",
            "The client requests scopes that were not granted to it: grant them in the Okta API Scopes tab.",
        );
    }
    let claims = Claims {
        iss: core.url(),
        sub: asserted.sub.clone(),
        aud: core.url(),
        iat: now,
        exp: now + LIFETIME,
        azp: asserted.sub.clone(),
        scope: scope.to_owned(),
    };
    let body = json!({
        "token_type": "Bearer",
        "expires_in": LIFETIME,
        "access_token": core.issuer.issue(&claims),
        "scope": scope,
    });
    Json(body).into_response()
}

/// Whether the token of a service app permits the request; `None`: it carries no such token.
pub(super) fn authorize(
    core: &Core,
    headers: &HeaderMap,
    endpoint: Endpoint,
) -> Option<Result<(), Box<Response>>> {
    let token = headers.get(AUTHORIZATION)?.to_str().ok()?.strip_prefix("Bearer ")?;
    let wanted: &[&str] = if endpoint.reads() { &READ } else { &WRITE };
    Some(match core.issuer.verify(token, unix_now()) {
        Err(_) => Err(Box::new(error::invalid_token())),
        Ok(claims) if claims.aud != core.url() => Err(Box::new(error::invalid_token())),
        Ok(claims) if !claims.has_any_scope(wanted) => {
            let mut refused = error::access_denied();
            let challenge = "Bearer error=\"insufficient_scope\", error_description=\"The access token provided \
                             does not contain the required scopes.\"";
            let challenge = HeaderValue::from_static(challenge);
            refused.headers_mut().insert(WWW_AUTHENTICATE, challenge);
            Err(Box::new(refused))
        }
        Ok(_) => Ok(()),
    })
}
