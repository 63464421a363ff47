//! Codes and refresh tokens: another secret is tried only where the first attempt cannot have used them up.

mod common;

use std::collections::HashSet;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use common::*;
use http::Request;
use http_body_util::Full;
use keyswap_tower::{ClientFirst, ClientSecretPost, FallbackLayer, Profile};
use tower::{Layer, ServiceExt};

const CODE: &str =
    "grant_type=authorization_code&code=Splx&redirect_uri=https%3A%2F%2Fbilling.example";
const REFRESH: &str = "grant_type=refresh_token&refresh_token=tGzv3";
const JSON_CODE: &str = r#"{"grant_type":"authorization_code","code":"Splx"}"#;
const JSON: &str = "application/json";
/// What each server here says to a wrong secret: it is a refusal in every profile of these tests.
const UNAUTHORIZED: &str = r#"{"error":"invalid_client","error_description":"no"}"#;

fn token_request(content_type: &str, body: &'static str) -> Request<Full<Bytes>> {
    let request = Request::post("https://auth.example/token").header("content-type", content_type);
    request.body(Full::from(body)).unwrap()
}

/// A server that has moved on to the secret `b`, and takes each grant once.
fn server(client_first: bool) -> Server {
    let redeemed = Arc::new(Mutex::new(HashSet::new()));
    Server::new(move |seen| {
        let body = String::from_utf8_lossy(&seen.body);
        let single_use = !body.contains("client_credentials");
        let right = seen.id().as_deref() == Some("b");
        if client_first && !right {
            return Reply::Answer(answer(401, UNAUTHORIZED));
        }
        let fresh = redeemed.lock().unwrap().insert(body.into_owned());
        Reply::Answer(match (right, single_use && !fresh) {
            (false, _) => answer(401, UNAUTHORIZED),
            (true, true) => answer(400, r#"{"error":"invalid_grant"}"#),
            (true, false) => answer(200, TOKEN),
        })
    })
}

#[tokio::test]
async fn a_grant_for_single_use_falls_back_at_a_server_that_is_known_to_look_at_the_client_first() {
    for profile in [Profile::Hydra, Profile::Keycloak, Profile::OidcProvider] {
        for (content_type, body) in [(FORM, CODE), (FORM, REFRESH), (JSON, JSON_CODE)] {
            let server = server(true);
            let service = layer(&settled_ring(&["a", "b"])).profile(profile).layer(server.clone());
            let answer = service.oneshot(token_request(content_type, body)).await.unwrap();
            let with = answer.body().authenticated().expect("accepted");
            assert_eq!((with.id.as_str(), with.attempts), ("b", 2), "{profile}: {body}");
            assert_eq!(text(answer).await, TOKEN);
            assert_eq!(server.ids(), ["a", "b"]);
            assert!(server.seen().iter().all(|seen| seen.body == body), "{profile}");
        }
    }
}

#[tokio::test]
async fn at_a_server_of_unknown_order_it_is_sent_once_and_the_refusal_is_the_callers() {
    for profile in [Profile::Rfc6749, Profile::Auth0, Profile::Okta, Profile::Wso2, Profile::Auto] {
        for (content_type, body) in [(FORM, CODE), (FORM, REFRESH), (JSON, JSON_CODE)] {
            let server = server(false);
            let ring = settled_ring(&["a", "b"]);
            let service = layer(&ring).profile(profile).layer(server.clone());
            let answer = service.oneshot(token_request(content_type, body)).await.unwrap();
            assert_eq!(answer.status(), 401, "{profile}: {body}");
            assert!(answer.body().authenticated().is_none());
            assert_eq!(text(answer).await, UNAUTHORIZED, "{profile}: {body}");
            assert_eq!(server.ids(), ["a"], "{profile}: {body}");
            let usage = ring.usage().secrets;
            assert_eq!((usage[0].refused, usage[1].used()), (1, 0), "it is counted");
        }
    }
}

#[tokio::test]
async fn client_credentials_fall_back_everywhere_also_after_a_grant_that_could_not() {
    for profile in [Profile::Rfc6749, Profile::Auth0, Profile::Hydra, Profile::Auto] {
        let ring = settled_ring(&["a", "b"]);
        let server = server(false);
        let service = layer(&ring).profile(profile).layer(server.clone());
        service.clone().oneshot(token_request(FORM, CODE)).await.unwrap();
        let before = server.ids().len();
        let answer = service.oneshot(token_request(FORM, GRANT)).await.unwrap();
        assert_eq!(text(answer).await, TOKEN, "{profile}");
        assert_eq!(server.ids()[before..], ["a", "b"], "{profile}");
    }
}

#[tokio::test]
async fn a_user_who_knows_the_order_of_the_server_gets_the_fallback() {
    for body in [CODE, REFRESH] {
        let server = server(true);
        let ring = settled_ring(&["a", "b"]);
        let service = layer(&ring).profile(ClientFirst(Profile::Auth0)).layer(server.clone());
        let answer = service.oneshot(token_request(FORM, body)).await.unwrap();
        assert_eq!(text(answer).await, TOKEN, "{body}");
        assert_eq!(server.ids(), ["a", "b"], "{body}");
    }
}

/// Why the rule is there: such servers exist, and the user's word is believed.
#[tokio::test]
async fn a_user_who_is_wrong_about_the_order_loses_the_grant() {
    let server = server(false);
    let ring = settled_ring(&["a", "b"]);
    let service = layer(&ring).profile(ClientFirst(Profile::Rfc6749)).layer(server.clone());
    let answer = service.oneshot(token_request(FORM, CODE)).await.unwrap();
    assert_eq!(text(answer).await, r#"{"error":"invalid_grant"}"#);
    assert_eq!(server.ids(), ["a", "b"]);
}

#[tokio::test]
async fn the_grant_is_found_in_the_callers_body_where_the_secret_goes_into_it_too() {
    let server = Server::new(|_| accept(false));
    let ring = settled_ring(&["a", "b"]);
    let layer = FallbackLayer::new(ring, ClientSecretPost::new("billing"));
    let service = layer.layer(server.clone());
    let answer = service.oneshot(token_request(FORM, REFRESH)).await.unwrap();
    assert_eq!(text(answer).await, REFUSED);
    assert_eq!(server.seen().len(), 1);
}
