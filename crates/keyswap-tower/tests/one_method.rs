//! One client authentication method a request (RFC 6749 section 2.3).

mod apply;

use apply::{FORM, JSON, applied, head};
use http::header::AUTHORIZATION;
use http::request::Parts;
use keyswap_tower::credential::{ClientSecretBasic, ClientSecretJwt, ClientSecretPost, Credential};

#[test]
fn a_request_that_signs_in_by_another_method_gets_no_second_one() {
    let basic = ClientSecretBasic::new("id");
    let post = ClientSecretPost::new("id");
    let jwt = ClientSecretJwt::new("id").audience("https://auth.example");
    let in_header = "Authorization header";
    let (secret, assertion) = ("client_secret in its body", "client_assertion in its body");
    let query = "in its query";
    let signed_by_header = |content_type| {
        let mut head = head(content_type);
        head.headers.insert(AUTHORIZATION, "Basic b3RoZXI6c2VjcmV0".parse().unwrap());
        head
    };
    let signed_by_query = |name: &str| {
        let mut head = head(FORM);
        head.uri = format!("/token?a=b&{name}=old").parse().unwrap();
        head
    };
    type Case<'a> = (&'a str, &'a dyn Credential, Parts, &'a str, Result<(), &'a str>);
    let cases: [Case<'_>; 32] = [
        ("basic over a header", &basic, signed_by_header(FORM), "a=b", Ok(())),
        ("basic, secret", &basic, head(FORM), "a=b&client_secret=old", Err(secret)),
        ("basic, escaped", &basic, head(FORM), "client%5Fsecre%74=old", Err(secret)),
        ("basic, no value", &basic, head(FORM), "client_secret", Err(secret)),
        ("basic, assertion", &basic, head(FORM), "client_assertion=e.e.e", Err(assertion)),
        ("basic, id", &basic, head(FORM), "client_id=other&a=b", Ok(())),
        ("basic, like", &basic, head(FORM), "client_secrets=1&x=client_secret&a=b", Ok(())),
        ("basic, json", &basic, head(JSON), r#"{"client_secret":"old"}"#, Err(secret)),
        ("basic, json 2", &basic, head(JSON), r#"{"client_\u0073ecret":1}"#, Err(secret)),
        ("basic, json 3", &basic, head(JSON), r#"{"client_assertion":""}"#, Err(assertion)),
        ("basic, json deep", &basic, head(JSON), r#"{"a":{"client_secret":"x"}}"#, Ok(())),
        ("basic, json value", &basic, head(JSON), r#"{"a":"client_secret"}"#, Ok(())),
        ("basic, json broken", &basic, head(JSON), r#"{"client_secret":"#, Ok(())),
        ("basic, text", &basic, head("text/plain"), "client_secret=old", Ok(())),
        ("basic, query", &basic, signed_by_query("client_secret"), "a=b", Err(query)),
        ("basic, query 2", &basic, signed_by_query("client_assertion"), "a=b", Err(query)),
        ("basic, query id", &basic, signed_by_query("client_id"), "a=b", Ok(())),
        ("post, header", &post, signed_by_header(FORM), "a=b", Err(in_header)),
        ("post, header json", &post, signed_by_header(JSON), "{}", Err(in_header)),
        ("post over a secret", &post, head(FORM), "client_secret=old", Ok(())),
        ("post, assertion", &post, head(FORM), "client_assertion=e.e.e", Err(assertion)),
        ("post, json", &post, head(JSON), r#"{"client_assertion":"e"}"#, Err(assertion)),
        ("post over json", &post, head(JSON), r#"{"client_secret":"old"}"#, Ok(())),
        ("post, query", &post, signed_by_query("client%5fsecret"), "a=b", Err(query)),
        ("jwt, header", &jwt, signed_by_header(FORM), "a=b", Err(in_header)),
        ("jwt, secret", &jwt, head(FORM), "client_secret=old", Err(secret)),
        ("jwt, json", &jwt, head(JSON), r#"{"client_secret":"old"}"#, Err(secret)),
        ("jwt over an assertion", &jwt, head(FORM), "client_assertion=e.e.e", Ok(())),
        ("jwt over json", &jwt, head(JSON), r#"{"client_assertion":"e.e.e"}"#, Ok(())),
        ("jwt over an id", &jwt, head(FORM), "client_id=other", Ok(())),
        ("jwt, query", &jwt, signed_by_query("client_secret"), "a=b", Err(query)),
        ("jwt, text", &jwt, head("text/plain"), "a=b", Err("Content-Type")),
    ];
    for (case, credential, mut head, body, expected) in cases {
        let before = head.headers.clone();
        match (applied(credential, &mut head, body), expected) {
            (Ok(after), Ok(())) => {
                for old in ["=old", "e.e.e", r#""old""#] {
                    assert!(case == "basic, text" || !after.contains(old), "{case}: {after}");
                }
            }
            (Err(reason), Err(expected)) => {
                assert!(reason.contains(expected), "{case}: {reason}");
                assert!(!reason.contains("old") && !reason.contains("Vq3hCc0Z"), "{case}");
                assert_eq!(head.headers, before, "{case}");
            }
            (made, expected) => panic!("{case}: {made:?} in place of {expected:?}"),
        }
    }
}

#[test]
fn a_body_that_basic_cannot_read_stays_and_goes_with_the_header() {
    let mut compressed = head(FORM);
    compressed.headers.insert("content-encoding", "gzip".parse().unwrap());
    let made = applied(&ClientSecretBasic::new("id"), &mut compressed, "client_secret=old");
    assert_eq!(made.unwrap(), "client_secret=old");
    assert!(compressed.headers.contains_key(AUTHORIZATION));
}
