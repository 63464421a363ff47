//! What the credentials put on the wire.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::request::Parts;
use keyswap_core::Secret;
use keyswap_tower::credential::{Applied, ClientSecretBasic, ClientSecretPost, Credential};
use proptest::prelude::*;

fn secret(value: &str) -> Secret {
    Secret::new("s".parse().unwrap(), value).unwrap()
}

fn head(content_type: &str) -> Parts {
    let request = http::Request::post("/token").header("content-type", content_type);
    request.body(()).unwrap().into_parts().0
}

const FORM: &str = "application/x-www-form-urlencoded";

fn post(content_type: &str, id: &str, value: &str, body: &str) -> Result<Vec<u8>, String> {
    let body = Bytes::copy_from_slice(body.as_bytes());
    let credential = ClientSecretPost::new(id);
    match credential.apply(&secret(value), &mut head(content_type), Some(&body)) {
        Ok(Applied::ToBody(body)) => Ok(body.to_vec()),
        Ok(other) => panic!("{other:?}"),
        Err(reason) => Err(reason.to_string()),
    }
}

fn basic(credential: &ClientSecretBasic, value: &str) -> String {
    let mut head = head(FORM);
    credential.apply(&secret(value), &mut head, None).unwrap();
    let header = &head.headers["authorization"];
    assert!(header.is_sensitive());
    let pair = header.to_str().unwrap().strip_prefix("Basic ").unwrap().to_owned();
    String::from_utf8(STANDARD.decode(pair).unwrap()).unwrap()
}

fn decode(text: &str) -> String {
    form_urlencoded::parse(format!("x={text}").as_bytes()).next().unwrap().1.into_owned()
}

#[test]
fn basic_encodes_the_characters_of_base64_and_raw_leaves_them() {
    let credential = ClientSecretBasic::new("a b:c");
    assert_eq!(basic(&credential, "x+y/z=="), "a+b%3Ac:x%2By%2Fz%3D%3D");
    assert_eq!(basic(&ClientSecretBasic::new("ab").raw(), "x+y/z=="), "ab:x+y/z==");
}

#[test]
fn a_raw_client_id_with_a_colon_is_not_sent() {
    let credential = ClientSecretBasic::new("a:b").raw();
    let error = credential.apply(&secret("Vq3hCc0Z"), &mut head(FORM), None).unwrap_err();
    assert!(error.to_string().contains("colon"), "{error}");
}

#[test]
fn basic_replaces_every_authorization_header_of_the_caller() {
    let mut head = head(FORM);
    head.headers.append("authorization", "Bearer one".parse().unwrap());
    head.headers.append("authorization", "Bearer two".parse().unwrap());
    ClientSecretBasic::new("id").apply(&secret("Vq3hCc0Z"), &mut head, None).unwrap();
    assert_eq!(head.headers.get_all("authorization").iter().count(), 1);
}

#[test]
fn a_form_keeps_the_callers_bytes_and_loses_earlier_credentials() {
    let body = "grant_type=client_credentials&client_id=other&scope=a%20b+c&client%5Fsecret=old&\
                audience=https%3a//api&&flag";
    let made = post(FORM, "id", "new", body).unwrap();
    let expected = "grant_type=client_credentials&scope=a%20b+c&audience=https%3a//api&flag&\
                    client_id=id&client_secret=new";
    assert_eq!(String::from_utf8(made).unwrap(), expected);
    assert_eq!(post(FORM, "id", "new", "").unwrap(), b"client_id=id&client_secret=new");
}

#[test]
fn json_keeps_order_and_numbers_and_loses_earlier_credentials() {
    let body = r#" {"z": 1.00, "client_secret": "old", "big": 123456789012345678901234567890,
        "a": {"client_id": 1}, "client_id": null} "#;
    let made = post("application/json; charset=utf-8", "id", "ne\"w", body).unwrap();
    let expected = r#"{"z":1.00,"big":123456789012345678901234567890,"a":{"client_id": 1},"client_id":"id","client_secret":"ne\"w"}"#;
    assert_eq!(String::from_utf8(made).unwrap(), expected);
    assert_eq!(
        post("application/json", "id", "new", "{}").unwrap(),
        br#"{"client_id":"id","client_secret":"new"}"#
    );
}

#[test]
fn what_cannot_hold_the_secret_is_named_without_it() {
    for (content_type, body) in [
        ("text/plain", "a=b"),
        ("multipart/form-data; boundary=x", "--x--"),
        ("application/json", "[1]"),
        ("application/json", "{\"a\": "),
        ("application/json", ""),
    ] {
        let error = post(content_type, "id", "Vq3hCc0Z", body).unwrap_err();
        assert!(!error.is_empty() && !error.contains("Vq3hCc0Z"), "{error}");
    }
    let mut compressed = head(FORM);
    compressed.headers.insert("content-encoding", "gzip".parse().unwrap());
    let body = Bytes::from("a=b");
    let credential = ClientSecretPost::new("id");
    assert!(credential.apply(&secret("Vq3hCc0Z"), &mut compressed, Some(&body)).is_err());
    assert!(credential.apply(&secret("Vq3hCc0Z"), &mut head(FORM), None).is_err());
}

#[test]
fn debug_of_credentials_and_of_what_they_made_shows_no_secret() {
    let value = "Vq3hCc0Zc1JxZ9";
    let mut head = head(FORM);
    let basic = ClientSecretBasic::new("id");
    let post = ClientSecretPost::new("id");
    let one = basic.apply(&secret(value), &mut head, None).unwrap();
    let other = post.apply(&secret(value), &mut head, Some(&Bytes::new())).unwrap();
    let shown = format!("{basic:?} {post:?} {one:?} {other:#?} {head:?}");
    assert!(!shown.contains(value), "{shown}");
    assert!(!shown.contains(&STANDARD.encode(format!("id:{value}"))), "{shown}");
}

proptest! {
    #[test]
    fn a_server_that_decodes_basic_gets_id_and_secret_back(
        id in "[^\\p{Cc}]{1,40}",
        value in "[^\\p{Cc}]{1,80}",
        base64 in "[A-Za-z0-9+/]{40}={0,2}",
    ) {
        for value in [&value, &base64] {
            let pair = basic(&ClientSecretBasic::new(id.as_str()), value);
            let (sent_id, sent_value) = pair.split_once(':').unwrap();
            prop_assert_eq!(&decode(sent_id), &id);
            prop_assert_eq!(&decode(sent_value), value);
        }
    }

    #[test]
    fn a_server_that_reads_the_form_gets_all_parameters_back(
        id in "[^\\p{Cc}]{1,40}",
        value in "[^\\p{Cc}]{1,80}",
        others in proptest::collection::vec(("[^\\p{Cc}]{1,12}", "[^\\p{Cc}]{0,20}"), 0..5),
    ) {
        let form = form_urlencoded::Serializer::new(String::new()).extend_pairs(&others).finish();
        let made = post(FORM, &id, &value, &form).unwrap();
        let mut expected = others;
        expected.push(("client_id".into(), id));
        expected.push(("client_secret".into(), value));
        let read: Vec<_> = form_urlencoded::parse(&made).into_owned().collect();
        prop_assert_eq!(read, expected);
    }

    #[test]
    fn a_server_that_reads_json_gets_all_parameters_back(
        id in "[^\\p{Cc}]{1,40}",
        value in "[^\\p{Cc}]{1,80}",
        others in proptest::collection::btree_map("\\PC{1,12}", "\\PC{0,20}", 0..5),
    ) {
        let body = serde_json::to_string(&others).unwrap();
        let made = post("application/json", &id, &value, &body).unwrap();
        let mut expected = others;
        expected.insert("client_id".into(), id);
        expected.insert("client_secret".into(), value);
        let read: std::collections::BTreeMap<String, String> = serde_json::from_slice(&made).unwrap();
        prop_assert_eq!(read, expected);
    }
}
