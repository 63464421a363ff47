//! What holds of any answer.

use std::collections::BTreeMap;

use http::response::Parts;
use keyswap_core::Verdict;
use keyswap_tower::{Profile, ReadVerdict};
use proptest::prelude::*;
use serde_json::Value;

use crate::cases::{FORM, JSON, form_of, head, named, read, recorded, written};

/// Words that mean something to one profile or another.
fn word() -> impl Strategy<Value = String> {
    let known: Vec<String> = recorded()
        .into_iter()
        .chain(written())
        .filter_map(|case| serde_json::from_slice::<BTreeMap<String, Value>>(&case.body).ok())
        .flat_map(|members| members.into_values())
        .filter_map(|value| value.as_str().map(str::to_owned))
        .collect();
    prop_oneof![8 => proptest::sample::select(known), 1 => ".{0,12}"]
}

fn member() -> impl Strategy<Value = (String, Value)> {
    let code = proptest::sample::select(vec![7_000_215, 7_000_222, 50_012, 70_002, 7_000_216, 1]);
    prop_oneof![
        word().prop_map(|word| ("error".to_owned(), word.into())),
        word().prop_map(|word| ("error_description".to_owned(), word.into())),
        word().prop_map(|word| ("error_reason".to_owned(), word.into())),
        proptest::collection::vec(code, 0..3)
            .prop_map(|codes| ("error_codes".to_owned(), codes.into())),
        any::<bool>().prop_map(|ok| ("ok".to_owned(), ok.into())),
        word().prop_map(|word| ("access_token".to_owned(), word.into())),
        ("[a-z_]{1,9}", word()).prop_map(|(name, word)| (name, word.into())),
    ]
}

fn some_head() -> impl Strategy<Value = Parts> {
    let status = prop_oneof![
        4 => proptest::sample::select(vec![200_u16, 400, 401]),
        1 => 200_u16..600,
    ];
    let media =
        proptest::sample::select(vec![JSON, JSON, JSON, FORM, "text/html", "text/xml", "x+json"]);
    let encoding = proptest::option::weighted(0.1, "[a-z]{0,8}");
    (status, media, encoding).prop_map(|(status, media, encoding)| {
        let mut head = head(status, Some(media));
        if let Some(encoding) = encoding {
            head.headers.insert("content-encoding", encoding.parse().unwrap());
        }
        head
    })
}

/// A known answer in which some members were changed.
fn members() -> impl Strategy<Value = serde_json::Map<String, Value>> {
    let known: Vec<serde_json::Map<String, Value>> = recorded()
        .into_iter()
        .chain(written())
        .filter_map(|case| serde_json::from_slice(&case.body).ok())
        .collect();
    let changes = proptest::collection::vec(member(), 0..3);
    (proptest::sample::select(known), changes).prop_map(|(mut members, changes)| {
        members.extend(changes);
        members
    })
}

fn some_body() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        6 => members().prop_map(|members| Value::from(members).to_string().into_bytes()),
        2 => members().prop_map(|members| form_of(&members).into_bytes()),
        1 => proptest::collection::vec(any::<u8>(), 0..200),
        1 => ".{0,80}".prop_map(String::into_bytes),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]

    #[test]
    fn auto_refuses_only_where_a_named_profile_does(head in some_head(), body in some_body()) {
        let by_name: Vec<_> =
            named().filter(|profile| read(*profile, &head, &body) == Verdict::Refused).collect();
        if read(Profile::Auto, &head, &body) == Verdict::Refused {
            prop_assert!(!by_name.is_empty());
        }
        for profile in by_name {
            prop_assert!(matches!(head.status.as_u16(), 200 | 400 | 401), "{profile}");
            prop_assert!(!head.headers.contains_key("content-encoding")
                || head.headers["content-encoding"] == "identity", "{profile}");
            prop_assert!(!["text/html", "text/xml"].contains(&head.headers["content-type"].to_str().unwrap()));
        }
    }

    #[test]
    fn no_bytes_make_a_profile_panic_or_refuse_under_another_status(
        status in 100_u16..1000,
        content_type in ".{0,40}|(application/json|application/x-www-form-urlencoded)( ?;.*)?|[+]json|xml",
        body in proptest::collection::vec(any::<u8>(), 0..400),
    ) {
        let mut head = head(status, None);
        if let Ok(value) = http::HeaderValue::from_bytes(content_type.as_bytes()) {
            head.headers.insert("content-type", value);
        }
        for profile in Profile::ALL {
            let whole = read(*profile, &head, &body);
            // Also where the layer would not ask for the body.
            let direct = profile.read_body(&head, &body);
            prop_assert_eq!(whole, direct);
            if !matches!(status, 200 | 400 | 401) {
                prop_assert_ne!(direct, Verdict::Refused);
            }
        }
    }
}

#[test]
fn deep_and_long_bodies_are_no_refusals_and_cost_no_stack() {
    let deep = "[".repeat(60_000);
    for body in [
        deep.clone(),
        format!("{{\"error\":{deep}"),
        format!("{{\"x\":{deep},\"error\":\"invalid_client\"}}"),
        format!("{{\"error\":\"invalid_client\",\"error_codes\":{}", "[1,".repeat(20_000)),
        "{\"error\":\"invalid_client".to_owned() + &"_".repeat(60_000),
        "&=".repeat(30_000),
    ] {
        for profile in Profile::ALL {
            for content_type in [JSON, FORM] {
                for status in [200, 400, 401] {
                    let head = head(status, Some(content_type));
                    assert_ne!(
                        read(*profile, &head, body.as_bytes()),
                        Verdict::Refused,
                        "{profile}"
                    );
                }
            }
        }
    }
}
