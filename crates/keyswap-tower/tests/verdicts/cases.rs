//! Answers to read: the recorded ones, and those written from what vendors document.
#![allow(unreachable_pub, reason = "private modules of one test")]

use http::response::Parts;
use keyswap_core::Verdict;
use keyswap_tower::{Profile, ReadVerdict};
use serde_json::Value;

pub const JSON: &str = "application/json";
pub const FORM: &str = "application/x-www-form-urlencoded";

#[derive(Clone, Debug)]
pub struct Case {
    pub profile: Profile,
    pub name: String,
    pub head: Parts,
    pub body: Vec<u8>,
    pub expected: Verdict,
}

impl Case {
    pub fn verdict(&self, profile: Profile) -> Verdict {
        read(profile, &self.head, &self.body)
    }
}

pub fn head(status: u16, content_type: Option<&str>) -> Parts {
    let mut answer = http::Response::builder().status(status);
    if let Some(content_type) = content_type {
        answer = answer.header("content-type", content_type);
    }
    answer.body(()).unwrap().into_parts().0
}

/// Whether it is a refusal and no more: whether the grant was left alone is a question of its own.
pub fn read(profile: Profile, head: &Parts, body: &[u8]) -> Verdict {
    match read_exactly(&profile, head, body) {
        Verdict::RefusedBeforeGrant => Verdict::Refused,
        verdict => verdict,
    }
}

pub fn read_exactly(reader: &impl ReadVerdict, head: &Parts, body: &[u8]) -> Verdict {
    reader.read_head(head).unwrap_or_else(|| reader.read_body(head, body))
}

pub fn json(profile: Profile, status: u16, body: &str) -> Verdict {
    read(profile, &head(status, Some(JSON)), body.as_bytes())
}

pub fn named() -> impl Iterator<Item = Profile> {
    Profile::ALL.iter().copied().filter(|profile| *profile != Profile::Auto)
}

pub fn form_of(members: &serde_json::Map<String, Value>) -> String {
    let mut form = form_urlencoded::Serializer::new(String::new());
    for (name, value) in members {
        form.append_pair(name, value.as_str().unwrap_or(&value.to_string()));
    }
    form.finish()
}

fn cases(file: &str) -> Vec<Case> {
    let file: Value = serde_json::from_str(file).unwrap();
    let cases = file["cases"].as_array().unwrap().iter().flat_map(|case| {
        let text = |member: &str| case[member].as_str().unwrap_or_default();
        assert!(!text("source").is_empty(), "{case}");
        let expected = match text("expect") {
            "ambiguous" => {
                assert!(!text("because").is_empty(), "a choice without its reason: {case}");
                text("read_as")
            }
            clear => clear,
        };
        let expected = match expected {
            "secret_rejected" => Verdict::Refused,
            "not_secret" => Verdict::Inconclusive,
            "accepted" => Verdict::Accepted,
            other => panic!("{other}: {case}"),
        };
        let mut answer = http::Response::builder().status(case["status"].as_u64().unwrap() as u16);
        for (name, value) in case["headers"].as_object().unwrap() {
            answer = answer.header(name, value.as_str().unwrap());
        }
        let head = answer.body(()).unwrap().into_parts().0;
        let body = match &case["body"] {
            Value::String(text) => text.clone().into_bytes(),
            other => other.to_string().into_bytes(),
        };
        let profiles = match text("provider") {
            "any" => Profile::ALL.to_vec(),
            name => vec![name.parse().unwrap()],
        };
        let name = text("case").to_owned();
        profiles.into_iter().map(move |profile| {
            let (name, head, body) = (name.clone(), head.clone(), body.clone());
            Case { profile, name, head, body, expected }
        })
    });
    cases.collect()
}

pub fn recorded() -> Vec<Case> {
    cases(include_str!("../data/token-endpoint-answers.json"))
}

pub fn written() -> Vec<Case> {
    cases(include_str!("../data/written-answers.json"))
}

/// What each named profile takes for a refusal.
pub fn refusals() -> Vec<Case> {
    let all = recorded().into_iter().chain(written());
    all.filter(|case| case.expected == Verdict::Refused).collect()
}
