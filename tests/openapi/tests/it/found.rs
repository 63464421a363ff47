//! What does not agree with a description is found, and the operation is named.

use bytes::Bytes;
use http::{Request, Response};
use keyswap_openapi_tests::Vendor;
use keyswap_testkit::Exchange;

/// A request to add a secret at Okta, and the answer of a server.
struct Sent {
    method: &'static str,
    path: &'static str,
    headers: Vec<(&'static str, &'static str)>,
    body: &'static str,
    status: u16,
    answer: &'static str,
}

const PATH: &str = "/api/v1/apps/0oa1/credentials/secrets";
const ANSWER: &str = r#"{"id":"ocs1","status":"ACTIVE","client_secret":"a-secret-value","_links":
    {"deactivate":{"href":"https://org.okta.com/x","hints":{"allow":["POST"]}}}}"#;

impl Sent {
    fn right() -> Self {
        Self {
            method: "POST",
            path: PATH,
            headers: vec![("authorization", "SSWS token"), ("content-type", "application/json")],
            body: r#"{"client_secret":"a-secret-value","status":"ACTIVE"}"#,
            status: 201,
            answer: ANSWER,
        }
    }

    fn exchange(self) -> Exchange {
        let mut request = Request::builder().method(self.method).uri(self.path);
        for (name, value) in self.headers {
            request = request.header(name, value);
        }
        let request = request.body(Bytes::from_static(self.body.as_bytes())).unwrap();
        let answer = Response::builder()
            .status(self.status)
            .header("content-type", "application/json; charset=utf-8")
            .body(Bytes::from_static(self.answer.as_bytes()))
            .unwrap();
        Exchange::new(request, Some(answer))
    }

    fn checked(self) -> Result<Option<String>, String> {
        Vendor::okta().check(&self.exchange()).map_err(|mismatch| mismatch.to_string())
    }
}

#[test]
fn what_agrees_is_known_by_its_operation() {
    let operation = Sent::right().checked().unwrap();
    assert_eq!(operation.as_deref(), Some("createOAuth2ClientSecret"));
    let unanswered = Exchange::new(Sent::right().exchange().request, None);
    assert_eq!(Vendor::okta().check(&unanswered).unwrap(), operation);
}

#[test]
fn what_does_not_agree_is_named_with_its_operation_and_without_a_value() {
    let json = ("content-type", "application/json");
    let token = ("authorization", "SSWS token");
    let right = Sent::right;
    for (sent, says) in [
        // The request.
        (Sent { path: "/api/v1/apps/0oa1/credential/secrets", ..right() }, "no operation"),
        (Sent { method: "PUT", ..right() }, "no operation"),
        (Sent { path: "/api/v1/apps/0oa1/credentials/secrets?limit=1", ..right() }, "limit"),
        (Sent { headers: vec![json], ..right() }, "no credentials (apiToken or oauth2)"),
        (Sent { headers: vec![token], ..right() }, "\"application/json\"] is described"),
        (Sent { body: r#"{"clientSecret":"a-secret-value"}"#, ..right() }, "clientSecret"),
        (Sent { body: r#"{"client_secret":1}"#, ..right() }, "at /client_secret"),
        (Sent { body: r#"{"status":"a-secret-value"}"#, ..right() }, "at /status"),
        (Sent { body: r#"{"client_secret":"a-secret-value""#, ..right() }, "not JSON"),
        // The answer.
        (Sent { status: 200, ..right() }, "an answer with status 200 is not described"),
        (Sent { answer: r#"{"id":"ocs1","secret":"a-secret-value"}"#, ..right() }, "secret"),
        (Sent { answer: r#"{"id":7}"#, ..right() }, "at /id"),
        (Sent { answer: r#"{"_links":{"delete":{}}}"#, ..right() }, "\"href\" is a required"),
        (Sent { status: 400, answer: r#"{"message":"a-secret-value"}"#, ..right() }, "message"),
    ] {
        let checked = sent.checked();
        let Err(error) = checked else { panic!("{says:?} was not found: {checked:?}") };
        assert!(error.contains(says), "{says:?} is not in {error:?}");
        assert!(error.starts_with("Okta: "), "{error}");
        assert!(!error.contains("a-secret-value"), "{error}");
        let named = error.contains("createOAuth2ClientSecret (POST /api/v1/apps/{appId}/");
        assert!(named || error.contains("no operation"), "{error}");
    }
}

#[test]
#[should_panic(expected = "an answer with status 418 is not described")]
fn a_mismatch_among_many_exchanges_fails_the_test() {
    let exchanges = [Sent::right().exchange(), Sent { status: 418, ..Sent::right() }.exchange()];
    let _ = Vendor::okta().assert_described(&exchanges);
}

#[test]
fn every_description_at_hand_can_be_checked_against() {
    let vendors = [
        Vendor::auth0(),
        Vendor::okta(),
        Vendor::keycloak(),
        Vendor::entra(),
        Vendor::hydra(),
        Vendor::hydra_without_rotated_secrets(),
        Vendor::fusionauth(),
        Vendor::wso2(),
        Vendor::registration(),
    ];
    for vendor in vendors {
        assert!(vendor.operations() > 0, "{vendor:?}");
    }
}

/// An answer with a header, to a form with a parameter beside the described one.
fn form_answered_with(header: (&str, &str)) -> Exchange {
    let request =
        Request::post("/token").header("content-type", "application/x-www-form-urlencoded");
    let request = request.body(Bytes::from_static(b"grant_type=x&scope=read")).unwrap();
    let answer = Response::builder().header(header.0, header.1).body(Bytes::new()).unwrap();
    Exchange::new(request, Some(answer))
}

#[test]
fn headers_of_an_answer_and_parameters_of_a_form_are_looked_at_as_well() {
    let description = r##"{ "openapi": "3.0.3", "paths": { "/token": { "post": {
        "operationId": "token",
        "requestBody": { "content": { "application/x-www-form-urlencoded": { "schema": {
            "type": "object", "properties": { "grant_type": { "type": "string" } } } } } },
        "responses": { "200": { "description": "", "headers": {
            "Retry-After": { "required": true, "schema": { "type": "integer" } } } } }
    } } } }"##;
    let vendor = || Vendor::new("Some", &[description]);
    let checked = |vendor: Vendor, header| {
        let checked = vendor.check(&form_answered_with(header));
        checked.map_err(|mismatch| mismatch.to_string())
    };
    let knowing = || vendor().also_takes("token", "scope");
    assert_eq!(checked(knowing(), ("retry-after", "7")).unwrap().as_deref(), Some("token"));
    for (vendor, header, says) in [
        (vendor(), ("retry-after", "7"), "scope"),
        (knowing(), ("retry-after", "soon"), "the header Retry-After of the answer: "),
        (knowing(), ("x-other", "7"), "the header Retry-After of the answer is missing"),
    ] {
        let error = checked(vendor, header).unwrap_err();
        assert!(error.contains(says) && !error.contains("soon"), "{says:?} is not in {error:?}");
    }
}
