//! How the answers of real servers are read.

use http::response::Parts;
use keyswap_core::Verdict;
use keyswap_tower::{Profile, ReadVerdict};
use serde_json::Value;

fn head(status: u16, content_type: Option<&str>) -> Parts {
    let mut answer = http::Response::builder().status(status);
    if let Some(content_type) = content_type {
        answer = answer.header("content-type", content_type);
    }
    answer.body(()).unwrap().into_parts().0
}

fn read(profile: Profile, head: &Parts, body: &[u8]) -> Verdict {
    profile.read_head(head).unwrap_or_else(|| profile.read_body(head, body))
}

fn json(profile: Profile, status: u16, body: &str) -> Verdict {
    read(profile, &head(status, Some("application/json")), body.as_bytes())
}

#[test]
fn recorded_answers_are_refusals_exactly_where_another_secret_may_help() {
    let text = include_str!("data/token-endpoint-answers.json");
    let file: Value = serde_json::from_str(text).unwrap();
    let cases = file["cases"].as_array().unwrap();
    assert!(cases.len() >= 17, "{}", cases.len());
    for case in cases {
        let profile = match case["provider"].as_str().unwrap() {
            "node-oidc-provider" => Profile::Rfc6749,
            name => name.parse().unwrap(),
        };
        let mut answer = http::Response::builder().status(case["status"].as_u64().unwrap() as u16);
        for (name, value) in case["headers"].as_object().unwrap() {
            answer = answer.header(name, value.as_str().unwrap());
        }
        let head = answer.body(()).unwrap().into_parts().0;
        let verdict = read(profile, &head, case["body"].to_string().as_bytes());
        let expected = match case["expect"].as_str().unwrap() {
            "secret_rejected" => Verdict::Refused,
            "not_secret" => Verdict::Inconclusive,
            other => panic!("{other}"),
        };
        assert_eq!(verdict, expected, "{profile}: {}", case["case"]);
    }
}

#[test]
fn success_is_accepted_without_a_look_at_the_body() {
    for profile in Profile::ALL {
        assert_eq!(profile.read_head(&head(200, None)), Some(Verdict::Accepted));
        assert_eq!(profile.read_head(&head(204, None)), Some(Verdict::Accepted));
        for status in [302, 307, 403, 404, 429, 500, 503] {
            let head = head(status, Some("application/json"));
            assert_eq!(profile.read_head(&head), Some(Verdict::Inconclusive), "{status}");
        }
    }
}

#[test]
fn every_other_error_proves_that_the_client_was_authenticated() {
    for error in [
        "invalid_request",
        "invalid_grant",
        "unauthorized_client",
        "unsupported_grant_type",
        "invalid_scope",
        "slow_down",
        "authorization_pending",
        "mfa_required",
        "Invalid_client",
        "invalid_client ",
        "",
    ] {
        for profile in Profile::ALL {
            for status in [400, 401] {
                let body = format!(r#"{{"error":"{error}"}}"#);
                assert_eq!(json(*profile, status, &body), Verdict::Inconclusive, "{error}");
            }
        }
    }
}

#[test]
fn near_misses_of_the_answer_of_auth0_are_inconclusive() {
    let refused = r#"{"error":"access_denied","error_description":"Unauthorized"}"#;
    assert_eq!(json(Profile::Auth0, 401, refused), Verdict::Refused);
    assert_eq!(json(Profile::Rfc6749, 401, refused), Verdict::Inconclusive);
    assert_eq!(json(Profile::Hydra, 401, refused), Verdict::Inconclusive);
    for (status, body) in [
        (400, refused),
        (403, refused),
        (401, r#"{"error":"access_denied"}"#),
        (401, r#"{"error":"access_denied","error_description":null}"#),
        (401, r#"{"error":"access_denied","error_description":"unauthorized"}"#),
        (401, r#"{"error":"access_denied","error_description":"Unauthorized."}"#),
        (401, r#"{"error":"access_denied","error_description":"Access denied"}"#),
        (401, r#"{"error":"mfa_required","error_description":"Unauthorized"}"#),
        (401, r#"{"error":"unauthorized_client","error_description":"Unauthorized"}"#),
    ] {
        assert_eq!(json(Profile::Auth0, status, body), Verdict::Inconclusive, "{status} {body}");
    }
}

#[test]
fn json_is_read_with_parameters_and_escapes_and_by_its_suffix() {
    for content_type in [
        "application/json",
        "application/json; charset=utf-8",
        "Application/JSON;charset=UTF-8",
        "application/problem+json",
    ] {
        let head = head(401, Some(content_type));
        let body = br#" {"error_uri": null, "error": "invalid\u005fclient", "x": {"y": [1]}} "#;
        assert_eq!(read(Profile::Rfc6749, &head, body), Verdict::Refused, "{content_type}");
    }
}

#[test]
fn what_is_not_a_json_error_is_inconclusive() {
    let good = r#"{"error":"invalid_client"}"#;
    for content_type in [None, Some("text/html"), Some("text/plain"), Some("+json+"), Some("")] {
        let head = head(401, content_type);
        assert_eq!(read(Profile::Rfc6749, &head, good.as_bytes()), Verdict::Inconclusive);
    }
    for cut in 0..good.len() {
        assert_eq!(json(Profile::Rfc6749, 401, &good[..cut]), Verdict::Inconclusive, "{cut}");
    }
    for body in [
        r#""invalid_client""#,
        r#"["invalid_client"]"#,
        r#"{"error":["invalid_client"]}"#,
        r#"{"error":{"error":"invalid_client"}}"#,
        r#"{"error":"invalid_client"} trailing"#,
        r#"{"error":"invalid_grant","error":"invalid_client"}"#,
        r#"{"detail":{"error":"invalid_client"}}"#,
    ] {
        assert_eq!(json(Profile::Rfc6749, 401, body), Verdict::Inconclusive, "{body}");
    }
}

#[test]
fn hydra_refuses_a_secret_with_401_alone() {
    let body = r#"{"error":"invalid_client"}"#;
    assert_eq!(json(Profile::Hydra, 401, body), Verdict::Refused);
    assert_eq!(json(Profile::Hydra, 400, body), Verdict::Inconclusive);
}
