//! Which requests the layer puts a secret on, and with which client id.

mod common;

use std::collections::HashMap;
use std::sync::{Arc, RwLock};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use common::*;
use http_body_util::Full;
use keyswap_core::SecretId;
use keyswap_tower::{
    ClientIds, ClientSecretBasic, ClientSecretJwt, ClientSecretPost, FallbackLayer,
};
use tower::{Layer, ServiceExt};

#[tokio::test]
async fn a_request_that_signs_in_already_goes_out_once_as_it_is() {
    let ring = settled_ring(&["a", "b"]);
    let server = Server::accepting("none");
    let form = format!("{GRANT}&client_secret=own");
    let own = request_with(Full::<Bytes>::from(form.clone()));
    let answer = layer(&ring).layer(server.clone()).oneshot(own).await.unwrap();
    assert_eq!(text(answer).await, REFUSED);
    let mut own = request();
    own.headers_mut().insert("authorization", "Basic b3duOm93bg==".parse().unwrap());
    let post = FallbackLayer::new(ring.clone(), ClientSecretPost::new("billing"));
    let answer = post.layer(server.clone()).oneshot(own).await.unwrap();
    assert_eq!(text(answer).await, REFUSED);
    let seen = server.seen();
    assert_eq!(seen.len(), 2);
    assert_eq!((&seen[0].body[..], &seen[1].body[..]), (form.as_bytes(), GRANT.as_bytes()));
    assert!(!seen[0].head.headers.contains_key("authorization"));
    assert_eq!(seen[1].head.headers["authorization"], "Basic b3duOm93bg==");
    // Nothing is known about the secrets of the ring.
    assert_eq!(ring.usage().secrets.iter().map(|usage| usage.used()).sum::<u64>(), 0);
}

#[tokio::test]
async fn each_attempt_has_an_assertion_of_its_own() {
    let server = Server::accepting("none");
    let layer = FallbackLayer::new(settled_ring(&["a", "b"]), ClientSecretJwt::new("billing"));
    let answer = layer.layer(server.clone()).oneshot(request()).await.unwrap();
    assert_eq!(text(answer).await, REFUSED);
    let assertions: Vec<_> = server.seen().iter().map(|seen| seen.body.clone()).collect();
    assert_eq!(assertions.len(), 2);
    let claims = |body: &Bytes| {
        let form = form_urlencoded::parse(body).find(|(name, _)| name == "client_assertion");
        let claims = URL_SAFE_NO_PAD.decode(form.unwrap().1.split('.').nth(1).unwrap()).unwrap();
        serde_json::from_slice::<serde_json::Value>(&claims).unwrap()
    };
    let (one, other) = (claims(&assertions[0]), claims(&assertions[1]));
    assert_eq!(one["aud"], "https://auth.example/token");
    assert_eq!(one["aud"], other["aud"]);
    assert_ne!(one["jti"], other["jti"]);
}

#[tokio::test]
async fn a_client_id_that_changes_with_its_secret_changes_with_the_attempt() {
    let known = Arc::new(RwLock::new(HashMap::from([
        ("a".parse::<SecretId>().unwrap(), Arc::<str>::from("client-a")),
        ("b".parse().unwrap(), "client-b".into()),
    ])));
    let asked = known.clone();
    let ids = ClientIds::by(move |id| asked.read().unwrap().get(id).cloned());
    let ring = settled_ring(&["a", "b"]);
    let server = Server::new(|seen| {
        let form: HashMap<_, _> = form_urlencoded::parse(&seen.body).collect();
        let pair = (&*form["client_id"], form["client_secret"].to_string());
        accept(pair == ("client-b", value_of("b")) || pair == ("client-c", value_of("c")))
    });
    let service =
        FallbackLayer::new(ring.clone(), ClientSecretPost::new(ids)).layer(server.clone());
    let answer = service.clone().oneshot(request()).await.unwrap();
    assert_eq!(answer.body().authenticated().unwrap().id.as_str(), "b");
    known.write().unwrap().insert("c".parse().unwrap(), "client-c".into());
    ring.replace(list(&["c", "b"]));
    let answer = service.oneshot(request()).await.unwrap();
    let with = answer.body().authenticated().unwrap();
    assert_eq!((with.id.as_str(), with.attempts), ("c", 1));
}

/// Pairs of which that of `staged` is not known yet.
fn pairs() -> ClientIds {
    ClientIds::paired(["a", "b"].map(|id| (id.parse().unwrap(), format!("client-{id}"))))
}

#[tokio::test]
async fn a_secret_whose_client_id_is_not_known_yet_is_passed_over_for_the_next() {
    for (list, sent, attempts) in
        [(&["staged", "b"][..], &["b"][..], 1), (&["a", "staged", "b"], &["a", "b"], 2)]
    {
        let ring = settled_ring(list);
        let server = Server::accepting("b");
        let layer = FallbackLayer::new(ring.clone(), ClientSecretBasic::new(pairs()));
        let answer = layer.layer(server.clone()).oneshot(request()).await.unwrap();
        let with = answer.body().authenticated().expect("accepted");
        assert_eq!((with.id.as_str(), with.attempts), ("b", attempts), "{list:?}");
        assert_eq!(server.ids(), sent, "{list:?}");
        let usage = ring.usage();
        assert_eq!(usage.of(&"staged".parse().unwrap()).unwrap().used(), 0, "{list:?}");
    }
}

#[tokio::test]
async fn a_body_that_is_sent_once_goes_with_the_first_secret_that_fits() {
    let ring = settled_ring(&["staged", "a", "b"]);
    let server = Server::accepting("a");
    let layer = FallbackLayer::new(ring, ClientSecretBasic::new(pairs())).max_body(1);
    let answer = layer.layer(server.clone()).oneshot(request()).await.unwrap();
    assert!(answer.body().authenticated().is_some());
    assert_eq!(text(answer).await, TOKEN);
    assert_eq!(server.ids(), ["a"]);
}

#[tokio::test]
async fn where_what_is_left_does_not_fit_the_caller_gets_the_refusal() {
    let ring = settled_ring(&["a", "staged"]);
    let server = Server::accepting("none");
    let layer = FallbackLayer::new(ring, ClientSecretBasic::new(pairs()));
    let answer = layer.layer(server.clone()).oneshot(request()).await.unwrap();
    assert_eq!(text(answer).await, REFUSED);
    assert_eq!(server.ids(), ["a"]);
}

#[tokio::test]
async fn a_request_that_no_secret_fits_goes_out_once_as_it_is() {
    let ring = settled_ring(&["staged", "another"]);
    let server = Server::accepting("none");
    let layer = FallbackLayer::new(ring.clone(), ClientSecretBasic::new(pairs()));
    let answer = layer.layer(server.clone()).oneshot(request()).await.unwrap();
    assert_eq!(text(answer).await, REFUSED);
    assert_eq!(server.ids(), [""]);
    assert_eq!(ring.usage().secrets.iter().map(|usage| usage.used()).sum::<u64>(), 0);
}

#[tokio::test]
async fn a_request_to_another_origin_gets_no_secret_and_is_not_even_held() {
    let ring = settled_ring(&["a", "b"]);
    let server = Server::accepting("none");
    let pinned = layer(&ring).origin("https://auth.example/token".parse().unwrap());
    for uri in ["https://auth.example:8443/token", "http://auth.example/token", "/token"] {
        let mut request =
            request_with(pieces(vec![Ok("grant".into()), Ok("_type=x".into())], false));
        *request.uri_mut() = uri.parse().unwrap();
        let answer = pinned.layer(server.clone()).oneshot(request).await.unwrap();
        assert!(answer.body().authenticated().is_none());
        assert_eq!(text(answer).await, REFUSED);
    }
    let seen = server.seen();
    assert_eq!(seen.len(), 3);
    for seen in seen {
        assert_eq!(seen.body, "grant_type=x");
        assert!(!seen.head.headers.contains_key("authorization"), "{seen:?}");
    }
    assert_eq!(ring.usage().secrets.iter().map(|usage| usage.used()).sum::<u64>(), 0);
    // Its own origin has its fallback as ever.
    let server = Server::accepting("b");
    let answer = pinned.layer(server.clone()).oneshot(request()).await.unwrap();
    assert_eq!(answer.body().authenticated().unwrap().attempts, 2);
}

#[tokio::test]
async fn of_two_pinned_layers_each_signs_what_goes_to_its_own_origin() {
    let outer = layer(&settled_ring(&["a", "b"])).origin("https://auth.example".parse().unwrap());
    let inner = layer(&settled_ring(&["c"])).origin("https://other.example".parse().unwrap());
    let server = Server::accepting("c");
    let service = outer.layer(inner.layer(server.clone()));
    let mut elsewhere = request();
    *elsewhere.uri_mut() = "https://other.example/token".parse().unwrap();
    assert_eq!(service.clone().oneshot(elsewhere).await.unwrap().status(), 200);
    let answer = service.oneshot(request()).await.unwrap();
    assert_eq!(text(answer).await, REFUSED);
    assert_eq!(server.ids(), ["c", "a", "b"]);
}
