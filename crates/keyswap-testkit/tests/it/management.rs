//! The management API: scopes, tokens, what is shown and what is refused.

use std::time::Duration;

use keyswap_testkit::{AuthorizationServer, Client, ClientAuthentication};
use serde_json::{Value, json};

use crate::{
    AUDIENCE, body, builder, client_url, read, rotate_secret, rotator, sign_in, start, token_of,
    update,
};

/// A server whose management client `limited` has these scopes, and a token of that client.
async fn limited(scopes: &[&'static str]) -> (AuthorizationServer, String) {
    let client = Client::management("limited", "s").scopes(scopes.iter().copied());
    let server = start(builder().management_client(client)).await;
    let token = token_of(&server, "limited", "s").await;
    (server, token)
}

fn forbidden(any_of: &str) -> Value {
    json!({
        "statusCode": 403,
        "error": "Forbidden",
        "message": format!("Insufficient scope, expected any of: {any_of}"),
        "errorCode": "insufficient_scope",
    })
}

#[tokio::test]
async fn a_client_is_shown_whole_or_by_fields() {
    let server = start(builder()).await;
    let token = rotator(&server).await;
    let whole = body(read(&server, &token, "billing").await, 200).await;
    assert_eq!(whole["client_id"], "billing");
    assert_eq!(whole["client_secret"], "first-secret");
    assert_eq!(whole["token_endpoint_auth_method"], "client_secret_post");
    assert_eq!(whole["grant_types"], json!(["client_credentials"]));
    assert_eq!(whole.get("client_authentication_methods"), None);
    let some = "billing?fields=client_id,client_secret&include_fields=true";
    let some = body(read(&server, &token, some).await, 200).await;
    assert_eq!(some, json!({"client_id": "billing", "client_secret": "first-secret"}));
    let but = "billing?fields=client_secret&include_fields=false";
    let but = body(read(&server, &token, but).await, 200).await;
    assert_eq!((but.get("client_secret"), &but["name"]), (None, &json!("billing")));
    let bad = body(read(&server, &token, "billing?fields=secret").await, 400).await;
    assert_eq!(bad["errorCode"], "invalid_query_string");
}

#[tokio::test]
async fn the_secret_is_shown_only_to_those_who_may_read_keys() {
    let (server, token) = limited(&["read:clients", "update:client_keys"]).await;
    let shown = body(read(&server, &token, "billing").await, 200).await;
    assert_eq!(shown.get("client_secret"), None);
    let asked = body(read(&server, &token, "billing?fields=client_secret,name").await, 200).await;
    assert_eq!(asked, json!({"name": "billing"}));
    let updated = update(&server, &token, "billing", json!({"client_secret": "second"})).await;
    assert_eq!(body(updated.unwrap(), 200).await.get("client_secret"), None);
    assert!(server.accepts("billing", "second"));
    // Whoever may have a secret made is shown that one.
    let rotated = body(rotate_secret(&server, &token, "billing").await.unwrap(), 200).await;
    assert!(server.accepts("billing", rotated["client_secret"].as_str().unwrap()));
}

#[tokio::test]
async fn a_missing_scope_is_named() {
    let (server, token) = limited(&["update:clients"]).await;
    let reading = body(read(&server, &token, "billing").await, 403).await;
    assert_eq!(reading, forbidden("read:clients,read:client_keys,read:client_credentials"));
    let changing = update(&server, &token, "billing", json!({"client_secret": "x"})).await.unwrap();
    assert_eq!(body(changing, 403).await, forbidden("update:client_keys"));
    let rotating = rotate_secret(&server, &token, "billing").await.unwrap();
    assert_eq!(body(rotating, 403).await, forbidden("update:client_keys"));
    let naming = update(&server, &token, "billing", json!({"name": "Billing"})).await.unwrap();
    assert_eq!(body(naming, 200).await["name"], "Billing");

    let (server, token) = limited(&["update:client_keys"]).await;
    let both = json!({"client_secret": "x", "name": "Billing"});
    let both = update(&server, &token, "billing", both).await.unwrap();
    assert_eq!(body(both, 403).await, forbidden("update:clients"));
    assert!(server.accepts("billing", "first-secret"), "nothing of a refused update is applied");
    let (server, token) = limited(&["read:clients"]).await;
    let updating = update(&server, &token, "billing", json!({"name": "x"})).await.unwrap();
    assert_eq!(body(updating, 403).await, forbidden("update:clients,update:client_keys"));
    assert_eq!(server.counts().changes, 0);
}

#[tokio::test]
async fn a_chosen_secret_replaces_the_old_one() {
    let server = start(builder()).await;
    let token = rotator(&server).await;
    let updated = update(&server, &token, "billing", json!({"client_secret": "second"})).await;
    let updated = body(updated.unwrap(), 200).await;
    assert_eq!(
        (&updated["client_secret"], &updated["name"]),
        (&json!("second"), &json!("billing"))
    );
    assert_eq!(sign_in(&server, "second").await.status(), 200);
    assert_eq!(sign_in(&server, "first-secret").await.status(), 401);
    assert_eq!(server.counts().changes, 1);
    assert_eq!(server.accepted_secrets("billing"), 1);
}

#[tokio::test]
async fn every_rotation_makes_another_secret() {
    let server = start(builder()).await;
    let token = rotator(&server).await;
    let mut made = vec![];
    for _ in 0..2 {
        let answer = body(rotate_secret(&server, &token, "billing").await.unwrap(), 200).await;
        made.push(answer["client_secret"].as_str().unwrap().to_owned());
    }
    assert_ne!(made[0], made[1]);
    assert!(made.iter().all(|secret| secret.len() == 64));
    assert_eq!(sign_in(&server, &made[1]).await.status(), 200);
    assert_eq!(sign_in(&server, &made[0]).await.status(), 401);
    assert_eq!(server.counts().changes, 2);
}

#[tokio::test]
async fn the_management_client_can_change_its_own_secret() {
    let server = start(builder()).await;
    let token = rotator(&server).await;
    let updated = update(&server, &token, "rotator", json!({"client_secret": "next"})).await;
    body(updated.unwrap(), 200).await;
    // The token outlives the secret that it was got with.
    body(read(&server, &token, "rotator").await, 200).await;
    token_of(&server, "rotator", "next").await;
}

#[tokio::test]
async fn a_client_that_is_not_there_is_not_found() {
    let server = start(builder()).await;
    let token = rotator(&server).await;
    let missing = json!({
        "statusCode": 404,
        "error": "Not Found",
        "message": "The client does not exist",
        "errorCode": "inexistent_client",
    });
    assert_eq!(body(read(&server, &token, "nope").await, 404).await, missing);
    let updated = update(&server, &token, "nope", json!({"client_secret": "x"})).await.unwrap();
    assert_eq!(body(updated, 404).await, missing);
    assert_eq!(body(rotate_secret(&server, &token, "nope").await.unwrap(), 404).await, missing);
    let path = body(read(&server, &token, "billing/credentials").await, 404).await;
    assert_eq!(path["message"], "Not Found");
}

#[tokio::test]
async fn an_update_that_does_not_fit_the_schema_changes_nothing() {
    let server = start(builder()).await;
    let token = rotator(&server).await;
    for (wanted, reason) in [
        (json!({}), "Too few properties"),
        (json!({"client_secret": ""}), "minimum 1"),
        (json!({"client_secret": null}), "found type null"),
        (json!({"client_secret": "x", "secret": "y"}), "Additional properties not allowed: secret"),
        (json!(["client_secret"]), "Expected type object"),
    ] {
        let answer = update(&server, &token, "billing", wanted).await.unwrap();
        let answer = body(answer, 400).await;
        assert_eq!(answer["errorCode"], "invalid_body");
        let message = answer["message"].as_str().unwrap();
        assert!(message.starts_with("Payload validation error: "), "{message}");
        assert!(message.contains(reason), "{message}");
    }
    let request = reqwest::Client::new().patch(client_url(&server, "billing")).bearer_auth(&token);
    let broken = request.header("content-type", "application/json").body("{").send().await.unwrap();
    body(broken, 400).await;
    assert!(server.accepts("billing", "first-secret"));
    assert_eq!(server.counts().changes, 0);
}

#[tokio::test]
async fn only_a_living_token_for_this_api_is_taken() {
    let server = start(builder()).await;
    let invalid = body(read(&server, "not-a-token", "billing").await, 401).await;
    assert_eq!(invalid["message"], "Invalid token");
    assert_eq!((&invalid["statusCode"], &invalid["error"]), (&json!(401), &json!("Unauthorized")));

    let without = reqwest::Client::new().get(client_url(&server, "billing")).send().await.unwrap();
    assert_eq!(body(without, 401).await["message"], "Missing authentication");

    let other = body(sign_in(&server, "first-secret").await, 200).await;
    let other = read(&server, other["access_token"].as_str().unwrap(), "billing").await;
    assert_eq!(body(other, 401).await["message"], format!("Bad audience: {AUDIENCE}"));

    let token = rotator(&server).await;
    server.revoke_tokens();
    let revoked = body(read(&server, &token, "billing").await, 401).await;
    assert_eq!(revoked["message"], "Invalid token");
    body(read(&server, &rotator(&server).await, "billing").await, 200).await;

    let short = start(builder().token_lifetime(Duration::ZERO)).await;
    let expired = body(read(&short, &rotator(&short).await, "billing").await, 401).await;
    assert_eq!(expired["message"], "Expired token received for JSON Web Token validation");

    let elsewhere = start(builder()).await;
    let foreign = read(&server, &rotator(&elsewhere).await, "billing").await;
    assert_eq!(body(foreign, 401).await["message"], "Invalid token");
}

#[tokio::test]
async fn how_a_client_authenticates_is_shown_and_rotation_refused_where_there_is_no_secret_to_rotate()
 {
    let jwt = Client::new("jwt", "s").authentication(ClientAuthentication::PrivateKeyJwt);
    let public = Client::new("public", "s").authentication(ClientAuthentication::None);
    let basic = Client::new("basic", "s").authentication(ClientAuthentication::SecretBasic);
    let server = start(builder().client(jwt).client(public).client(basic)).await;
    let token = rotator(&server).await;
    let shown = body(read(&server, &token, "jwt").await, 200).await;
    assert!(shown["client_authentication_methods"]["private_key_jwt"].is_object());
    assert_eq!(shown.get("token_endpoint_auth_method"), None);
    for (id, method) in [("public", "none"), ("basic", "client_secret_basic")] {
        let shown = body(read(&server, &token, id).await, 200).await;
        assert_eq!(shown["token_endpoint_auth_method"], method);
    }
    let refused = body(rotate_secret(&server, &token, "jwt").await.unwrap(), 400).await;
    assert!(refused["message"].as_str().unwrap().contains("Private Key JWT"), "{refused}");
    assert_eq!(server.counts().changes, 0);
}

#[tokio::test]
async fn the_two_ways_to_authenticate_exclude_each_other() {
    let server = start(builder()).await;
    let token = rotator(&server).await;
    let methods = json!({"private_key_jwt": {"credentials": [{"id": "cred_1"}]}});
    let both = json!({"client_authentication_methods": methods});
    body(update(&server, &token, "billing", both).await.unwrap(), 400).await;
    let exchanged =
        json!({"client_authentication_methods": methods, "token_endpoint_auth_method": null});
    let shown = body(update(&server, &token, "billing", exchanged).await.unwrap(), 200).await;
    assert_eq!(shown["client_authentication_methods"], methods);
    assert_eq!(sign_in(&server, "first-secret").await.status(), 401);
    let back = json!({
        "client_authentication_methods": null,
        "token_endpoint_auth_method": "client_secret_basic",
    });
    let shown = body(update(&server, &token, "billing", back).await.unwrap(), 200).await;
    assert_eq!(shown["token_endpoint_auth_method"], "client_secret_basic");
    assert_eq!(sign_in(&server, "first-secret").await.status(), 200);
}

#[tokio::test]
async fn attributes_are_kept_and_metadata_is_merged() {
    let server = start(builder()).await;
    let token = rotator(&server).await;
    let first = json!({"description": "pays", "client_metadata": {"a": "1", "b": "2"}});
    body(update(&server, &token, "billing", first).await.unwrap(), 200).await;
    let second = json!({"client_metadata": {"a": null, "c": "3"}});
    let shown = body(update(&server, &token, "billing", second).await.unwrap(), 200).await;
    assert_eq!(shown["description"], "pays");
    assert_eq!(shown["client_metadata"], json!({"b": "2", "c": "3"}));
    assert_eq!(server.counts().changes, 0, "no secret was changed");
}
