//! Signing in by an assertion. The assertions are made here, with no code of keyswap.

use std::time::{SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use keyswap_testkit::{AuthorizationServer, Client, ClientAuthentication};
use serde_json::{Value, json};
use sha2::{Sha256, Sha384, Sha512};

use crate::{AUDIENCE, body, builder, read, rotator, start, token_request, update};

const TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

async fn server() -> AuthorizationServer {
    let client = Client::new("signer", "first-secret").grant(AUDIENCE);
    start(builder().client(client.authentication(ClientAuthentication::SecretJwt))).await
}

fn in_seconds(seconds: i64) -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    i64::try_from(now).unwrap() + seconds
}

fn claims(server: &AuthorizationServer, jti: &str) -> Value {
    json!({
        "iss": "signer",
        "sub": "signer",
        "aud": server.token_endpoint(),
        "jti": jti,
        "exp": in_seconds(60),
    })
}

fn signed<M: Mac + KeyInit>(algorithm: &str, claims: &Value, key: &str) -> String {
    let header = URL_SAFE_NO_PAD.encode(json!({"alg": algorithm}).to_string());
    let signed = format!("{header}.{}", URL_SAFE_NO_PAD.encode(claims.to_string()));
    let mut mac = <M as KeyInit>::new_from_slice(key.as_bytes()).unwrap();
    mac.update(signed.as_bytes());
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes()))
}

fn hs256(claims: &Value) -> String {
    signed::<Hmac<Sha256>>("HS256", claims, "first-secret")
}

async fn sign_in(server: &AuthorizationServer, assertion: &str) -> (u16, String) {
    let parameters =
        [("client_assertion", assertion), ("client_assertion_type", TYPE), ("audience", AUDIENCE)];
    let answer = token_request(server, &parameters).await;
    let status = answer.status().as_u16();
    let answer: Value = answer.json().await.unwrap();
    if status == 200 {
        assert!(server.accepts_token(answer["access_token"].as_str().unwrap(), AUDIENCE));
        return (200, String::new());
    }
    assert_eq!(answer["error"], "invalid_client");
    (status, answer["error_description"].as_str().unwrap().to_owned())
}

#[tokio::test]
async fn an_assertion_signs_in_with_each_of_the_three_algorithms() {
    let server = server().await;
    let secret = "first-secret";
    for assertion in [
        signed::<Hmac<Sha256>>("HS256", &claims(&server, "1"), secret),
        signed::<Hmac<Sha384>>("HS384", &claims(&server, "2"), secret),
        signed::<Hmac<Sha512>>("HS512", &claims(&server, "3"), secret),
    ] {
        assert_eq!(sign_in(&server, &assertion).await, (200, String::new()));
    }
    // Signed by another algorithm than it says.
    let (status, reason) =
        sign_in(&server, &signed::<Hmac<Sha512>>("HS256", &claims(&server, "4"), secret)).await;
    assert_eq!((status, &*reason), (401, "The assertion is not signed with the client's secret."));
}

#[tokio::test]
async fn an_assertion_is_taken_once() {
    let server = server().await;
    let assertion = hs256(&claims(&server, "the same"));
    assert_eq!(sign_in(&server, &assertion).await.0, 200);
    assert_eq!(sign_in(&server, &assertion).await, (401, "The assertion was used before.".into()));
    // Another one with the same id as well, and one with another id is not.
    let mut again = claims(&server, "the same");
    again["exp"] = in_seconds(90).into();
    assert_eq!(sign_in(&server, &hs256(&again)).await.1, "The assertion was used before.");
    assert_eq!(sign_in(&server, &hs256(&claims(&server, "another"))).await.0, 200);
    // A forged one uses nothing up.
    let forged = signed::<Hmac<Sha256>>("HS256", &claims(&server, "third"), "wrong");
    assert_eq!(sign_in(&server, &forged).await.0, 401);
    assert_eq!(sign_in(&server, &hs256(&claims(&server, "third"))).await.0, 200);
}

#[tokio::test]
async fn each_claim_has_to_be_right() {
    let server = server().await;
    for (claim, value, reason) in [
        ("sub", json!("nobody"), "The client is not known."),
        ("sub", json!("billing"), "The client does not sign in by an assertion."),
        ("iss", json!("billing"), "The assertion's iss is not its sub."),
        ("aud", json!("https://other.example/"), "The assertion's aud is another server."),
        ("aud", json!([]), "The assertion's aud is another server."),
        ("exp", json!(in_seconds(-1)), "The assertion has expired."),
        ("exp", json!(in_seconds(7200)), "The assertion is valid for more than an hour."),
        ("jti", json!(""), "The assertion's jti is empty."),
    ] {
        let mut claims = claims(&server, "x");
        claims[claim] = value;
        assert_eq!(sign_in(&server, &hs256(&claims)).await, (401, reason.into()), "{claim}");
    }
    for (number, audience) in
        [json!(server.url()), json!(format!("{}/", server.url())), json!(["x", server.url()])]
            .into_iter()
            .enumerate()
    {
        let mut claims = claims(&server, &number.to_string());
        claims["aud"] = audience;
        assert_eq!(sign_in(&server, &hs256(&claims)).await.0, 200, "{claims}");
    }
}

#[tokio::test]
async fn the_secret_itself_signs_no_such_client_in_and_changes_like_any_other() {
    let server = server().await;
    let parameters =
        [("client_id", "signer"), ("client_secret", "first-secret"), ("audience", AUDIENCE)];
    assert_eq!(token_request(&server, &parameters).await.status(), 401);
    assert!(server.accepts("signer", "first-secret"));
    let token = rotator(&server).await;
    let shown = body(read(&server, &token, "signer").await, 200).await;
    assert_eq!(shown["token_endpoint_auth_method"], "client_secret_jwt");
    let change = json!({"client_secret": "second-secret"});
    body(update(&server, &token, "signer", change).await.unwrap(), 200).await;
    server.until_settled("signer").await;
    assert_eq!(sign_in(&server, &hs256(&claims(&server, "1"))).await.0, 401);
    let assertion = signed::<Hmac<Sha256>>("HS256", &claims(&server, "2"), "second-secret");
    assert_eq!(sign_in(&server, &assertion).await.0, 200);
}
