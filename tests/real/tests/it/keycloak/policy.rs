//! What the policies of a realm make of a change.

use std::time::{SystemTime, UNIX_EPOCH};

use keyswap_admin::authority::{Authority, ChangeAnswer, Probe, ReadBack};
use keyswap_real_tests::Keycloak;
use reqwest::Method;
use serde_json::{Value, json};

use super::{MANAGEMENT, authority, secret};

/// How long a secret of the realm is in force, in seconds.
const PERIOD: u64 = 600;

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock").as_secs()
}

/// Each confidential client's secret ends after [`PERIOD`], and the one before it works on for a while.
pub(super) async fn rotate_secrets(server: &Keycloak) {
    let periods = json!({
        "expiration-period": PERIOD, "rotated-expiration-period": 300, "remaining-rotation-period": 30,
    });
    let authenticators = json!({
        "allowed-client-authenticators": ["client-secret", "client-jwt"],
        // What an update gets that names none.
        "default-client-authenticator": "client-jwt",
    });
    let profile = json!({"name": "rotated", "executors": [
        {"executor": "secret-rotation", "configuration": periods},
        {"executor": "secure-client-authenticator", "configuration": authenticators},
    ]});
    let profiles = json!({ "profiles": [profile] });
    server.ask(Method::PUT, "client-policies/profiles", Some(&profiles)).await;
    let condition =
        json!({"condition": "client-access-type", "configuration": {"type": ["confidential"]}});
    let policies = json!({"policies": [
        {"name": "all", "enabled": true, "conditions": [condition], "profiles": ["rotated"]},
    ]});
    server.ask(Method::PUT, "client-policies/policies", Some(&policies)).await;
}

fn expires(client: &Value) -> Option<u64> {
    client["attributes"]["client.secret.expiration.time"].as_str()?.parse().ok()
}

#[tokio::test]
async fn a_new_secret_gets_a_whole_period_of_the_rotation_policy_and_the_second_one_is_left_alone()
{
    let realm = "rotation-policy";
    let server = Keycloak::realm(realm).await;
    server.management("keyswap", MANAGEMENT, Some("manage-clients")).await;
    let ends = |time: u64| {
        json!({
            "clientAuthenticatorType": "client-secret",
            "attributes": {"client.secret.expiration.time": time.to_string()},
        })
    };
    // Made before there was a policy; then with none of its period left; then with little of it.
    let early = server.register("early", "first-of-early", &json!({})).await;
    let over = server.register("over", "first-of-over", &ends(now() - 10)).await;
    rotate_secrets(&server).await;
    let late = server.register("late", "first-of-late", &json!({})).await;
    let regenerate = format!("clients/{late}/client-secret");
    let chosen = server.ask(Method::POST, &regenerate, Some(&json!({}))).await;
    let chosen = chosen["value"].as_str().expect("a value").to_owned();
    server.ask(Method::PUT, &format!("clients/{late}"), Some(&ends(now() + 100))).await;
    let old = secret("first-of-late");

    for (client, id, held) in [
        ("early", &early, "first-of-early"),
        ("late", &late, chosen.as_str()),
        ("over", &over, "first-of-over"),
    ] {
        let authority = authority(&server, realm, client, "keyswap").build();
        let authority = authority.expect("loopback is allowed");
        let held = secret(held);
        let taken = if client == "over" { Probe::Refused } else { Probe::Accepted };
        assert_eq!(authority.probe(&held).await, taken, "{client}");
        authority.check().await.unwrap_or_else(|error| panic!("{error}"));
        let remarks = authority.remarks().concat();
        assert_eq!(remarks.contains("a second secret"), client == "late", "{client}: {remarks}");
        assert_eq!(remarks.contains("has expired"), client == "over", "{client}: {remarks}");

        let next = secret(&format!("next-of-{client}"));
        authority.ready().await;
        let began = now();
        let answer = authority.set_secret(&next).await;
        assert!(matches!(answer, ChangeAnswer::Applied), "{client}: {answer:?}");
        let holds = authority.read_back(std::slice::from_ref(&next)).await;
        assert_eq!(holds, ReadBack::Holds(next.id().clone()), "{client}");
        assert_eq!(authority.probe(&next).await, Probe::Accepted, "{client}");
        assert_eq!(authority.probe(&held).await, Probe::Refused, "{client}");
        let shown = server.client(client).await;
        assert_eq!(&shown["id"], id);
        assert_eq!(shown["clientAuthenticatorType"], "client-secret");
        let expires = expires(&shown).unwrap_or_else(|| panic!("{client}: {shown}"));
        assert!((began + PERIOD..=now() + PERIOD).contains(&expires), "{client}: {expires}");
        if client == "late" {
            assert_eq!(authority.probe(&old).await, Probe::Accepted, "it was not touched");
            authority.check().await.unwrap_or_else(|error| panic!("{error}"));
            assert!(authority.remarks().concat().contains("a second secret"));
        }
    }
}
