//! How the answers of real servers are read.

mod cases;
mod client_first;
#[path = "../common/mod.rs"]
mod common;
mod properties;
mod spoilt;
mod table;
mod through_the_layer;

use std::collections::BTreeMap;

use http::response::Parts;
use keyswap_core::Verdict;
use keyswap_tower::{Profile, ReadVerdict};
use serde_json::Value;

use cases::{FORM, JSON, form_of, head, json, named, read, recorded, refusals, written};
use spoilt::OTHER_ERRORS;

#[test]
fn recorded_answers_are_refusals_exactly_where_another_secret_may_help() {
    let cases = recorded();
    assert!(cases.len() >= 60, "{}", cases.len());
    for case in &cases {
        assert_eq!(case.verdict(case.profile), case.expected, "{}: {}", case.profile, case.name);
        assert_eq!(
            case.verdict(Profile::Auto),
            case.expected,
            "auto, {}: {}",
            case.profile,
            case.name
        );
    }
}

#[test]
fn answers_close_to_a_refusal_are_told_from_it() {
    let mut close: BTreeMap<String, usize> = BTreeMap::new();
    for case in written() {
        assert_eq!(case.verdict(case.profile), case.expected, "{}: {}", case.profile, case.name);
        if case.expected == Verdict::Inconclusive {
            *close.entry(case.profile.to_string()).or_default() += 1;
        }
    }
    for profile in Profile::ALL {
        assert!(close.get(&profile.to_string()) >= Some(&5), "{profile}: {close:?}");
    }
}

#[test]
fn auto_refuses_what_a_named_profile_refuses_of_its_own_server() {
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    for case in refusals() {
        assert_eq!(
            case.verdict(Profile::Auto),
            Verdict::Refused,
            "{}: {}",
            case.profile,
            case.name
        );
        *seen.entry(case.profile.to_string()).or_default() += 1;
    }
    for profile in named() {
        assert!(seen.contains_key(&profile.to_string()), "no refusal of {profile} is known");
    }
}

/// What `auto` refuses although the server itself means something else by it: another server means its
/// refusal by the very same answer.
const AUTO_CANNOT_TELL: &[(&str, &str)] = &[
    // Auth0 refuses so.
    ("rfc6749", "Auth0's answer"),
    // Google and others leave the description out, and nothing but a number is Entra's own.
    ("entra", "no number at all"),
    // Amazon Cognito and Salesforce refuse with 400.
    ("hydra", "another status"),
    ("zitadel", "another status"),
    ("wso2", "another status"),
    ("fusionauth", "no reason, and another status"),
    ("oidc-provider", "the client, not its secret"),
];

#[test]
fn auto_refuses_nothing_that_is_close_to_a_refusal_but_for_the_listed() {
    let mut exceptions = Vec::new();
    for case in written().iter().filter(|case| case.expected == Verdict::Inconclusive) {
        if case.verdict(Profile::Auto) == Verdict::Refused {
            exceptions.push((case.profile.to_string(), case.name.clone()));
        }
    }
    let mut listed: Vec<_> =
        AUTO_CANNOT_TELL.iter().map(|(of, name)| ((*of).to_owned(), (*name).to_owned())).collect();
    exceptions.sort();
    listed.sort();
    assert_eq!(exceptions, listed);
}

#[test]
fn a_refusal_in_a_form_counts_like_one_in_json() {
    for case in refusals() {
        let Ok(Value::Object(members)) = serde_json::from_slice(&case.body) else { continue };
        if members.values().any(|value| value.is_array()) {
            continue;
        }
        let form = form_of(&members);
        for content_type in [FORM, "Application/X-WWW-Form-Urlencoded; charset=UTF-8"] {
            let head = head(case.head.status.as_u16(), Some(content_type));
            for profile in [case.profile, Profile::Auto] {
                let verdict = read(profile, &head, form.as_bytes());
                assert_eq!(verdict, Verdict::Refused, "{profile}: {form}");
            }
        }
    }
}

#[test]
fn success_is_accepted_without_a_look_at_the_body_where_errors_have_a_status() {
    for profile in Profile::ALL {
        let looks = matches!(profile, Profile::GitHub | Profile::Slack | Profile::Auto);
        for content_type in [JSON, FORM] {
            let verdict = profile.read_head(&head(200, Some(content_type)));
            assert_eq!(verdict, if looks { None } else { Some(Verdict::Accepted) }, "{profile}");
        }
        assert_eq!(profile.read_head(&head(204, None)), Some(Verdict::Accepted));
        assert_eq!(profile.read_head(&head(201, Some(JSON))), Some(Verdict::Accepted));
        for status in [302, 307, 403, 404, 429, 500, 503] {
            let head = head(status, Some(JSON));
            assert_eq!(profile.read_head(&head), Some(Verdict::Inconclusive), "{status}");
        }
    }
}

#[test]
fn an_answer_that_cannot_be_a_refusal_is_not_read() {
    for profile in Profile::ALL {
        for content_type in [None, Some("text/html"), Some("text/plain"), Some("application/xml")] {
            for status in [400, 401] {
                let head = head(status, content_type);
                assert_eq!(profile.read_head(&head), Some(Verdict::Inconclusive), "{profile}");
            }
        }
    }
    for profile in [Profile::GitHub, Profile::Slack] {
        for status in [400, 401] {
            let head = head(status, Some(JSON));
            assert_eq!(profile.read_head(&head), Some(Verdict::Inconclusive), "{profile}");
        }
    }
    let settled = |head: &Parts| Profile::Auto.read_head(head);
    for content_type in [None, Some("text/html"), Some("application/jwt")] {
        assert_eq!(settled(&head(200, content_type)), Some(Verdict::Accepted), "{content_type:?}");
    }
    assert_eq!(settled(&head(200, Some("application/xml"))), Some(Verdict::Inconclusive));
    let mut encoded = head(200, Some(JSON));
    encoded.headers.insert("content-encoding", "gzip".parse().unwrap());
    assert_eq!(settled(&encoded), Some(Verdict::Inconclusive));
    encoded.headers.insert("content-encoding", "Identity".parse().unwrap());
    assert_eq!(settled(&encoded), None);
}

#[test]
fn every_other_error_proves_that_the_client_was_authenticated() {
    for error in OTHER_ERRORS {
        for profile in Profile::ALL {
            for status in [400, 401] {
                let body = format!(r#"{{"error":"{error}"}}"#);
                assert_eq!(json(*profile, status, &body), Verdict::Inconclusive, "{error}");
            }
        }
    }
}

#[test]
fn json_is_read_with_parameters_and_escapes_and_by_its_suffix() {
    for content_type in [
        JSON,
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
    for profile in [Profile::Rfc6749, Profile::Auto] {
        for body in [
            r#""invalid_client""#,
            r#"["invalid_client"]"#,
            r#"["invalid_client",null,null,null,null,null]"#,
            r#"{"error":["invalid_client"]}"#,
            r#"{"error":{"error":"invalid_client"}}"#,
            r#"{"error":"invalid_client","error_description":{}}"#,
            r#"{"error":"invalid_client"} trailing"#,
            r#"{"error":"invalid_grant","error":"invalid_client"}"#,
            r#"{"detail":{"error":"invalid_client"}}"#,
        ] {
            assert_eq!(json(profile, 401, body), Verdict::Inconclusive, "{profile}: {body}");
        }
        assert_eq!(
            read(profile, &head(401, Some("+json+")), br#"{"error":"invalid_client"}"#),
            Verdict::Inconclusive
        );
    }
}

#[test]
fn names_are_read_back_and_an_unknown_one_is_told_the_known() {
    for profile in Profile::ALL {
        let name = profile.to_string();
        assert_eq!(name.parse(), Ok(*profile));
        assert!(
            name.bytes().all(|byte| byte.is_ascii_lowercase() || b"0123456789-".contains(&byte))
        );
        assert!(name.to_uppercase().parse::<Profile>().is_err());
        let error = "nobody".parse::<Profile>().unwrap_err().to_string();
        assert!(error.contains(&name), "{error}");
    }
    assert_eq!("fusion-auth".parse(), Ok(Profile::FusionAuth));
    assert_eq!("node-oidc-provider".parse(), Ok(Profile::OidcProvider));
}
