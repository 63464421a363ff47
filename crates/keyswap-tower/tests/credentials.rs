//! What the credentials put on the wire.

mod apply;

use apply::{FORM, JSON, applied, head, secret};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::HeaderName;
use http::header::AUTHORIZATION;
use keyswap_tower::credential::{
    Applied, ClientIds, ClientSecretBasic, ClientSecretJwt, ClientSecretPost, Credential,
    HeaderSecret, is_single_use,
};
use proptest::prelude::*;

fn post(content_type: &str, id: &str, value: &str, body: &str) -> Result<Vec<u8>, String> {
    let body = Bytes::copy_from_slice(body.as_bytes());
    let credential = ClientSecretPost::new(id);
    match credential.apply(&secret(value), &mut head(content_type), Some(&body)) {
        Ok(Applied::ToBody(body) | Applied::ToBodyInstead(body)) => Ok(body.to_vec()),
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
fn a_header_secret_replaces_its_own_header_and_nothing_else() {
    let mut head = head(FORM);
    head.headers.append("x-api-key", "one".parse().unwrap());
    head.headers.append("x-api-key", "two".parse().unwrap());
    head.headers.insert(AUTHORIZATION, "Bearer user".parse().unwrap());
    let key = HeaderSecret::new(HeaderName::from_static("x-api-key"));
    let made = applied(&key, &mut head, "client_secret=stays").unwrap();
    assert_eq!(made, "client_secret=stays");
    assert_eq!(head.headers.get_all("x-api-key").iter().collect::<Vec<_>>(), ["Vq3hCc0Z"]);
    assert!(head.headers["x-api-key"].is_sensitive());
    assert_eq!(head.headers[AUTHORIZATION], "Bearer user");
    let bearer = HeaderSecret::new(AUTHORIZATION).prefix("Bearer ");
    applied(&bearer, &mut head, "").unwrap();
    assert_eq!(head.headers[AUTHORIZATION], "Bearer Vq3hCc0Z");
}

#[test]
fn a_secret_that_would_not_arrive_in_a_header_is_not_sent() {
    let name = HeaderName::from_static("x-api-key");
    let plain = HeaderSecret::new(name.clone());
    let prefixed = HeaderSecret::new(name.clone()).prefix("Key ");
    let broken = HeaderSecret::new(name.clone()).prefix("Key\r\nx-evil: 1 ");
    let value_of = |credential: &HeaderSecret, value: &str| {
        let mut head = head(FORM);
        let error = credential.apply(&secret(value), &mut head, None).err();
        assert!(!error.is_some_and(|error| error.to_string().contains("hunter2")));
        head.headers.get(&name).map(|value| value.as_bytes().to_vec())
    };
    assert_eq!(value_of(&plain, " hunter2"), None);
    assert_eq!(value_of(&plain, "hunter2 "), None);
    assert_eq!(value_of(&prefixed, "hunter2 "), None);
    assert_eq!(value_of(&broken, "hunter2"), None);
    assert_eq!(value_of(&prefixed, " hunter2").unwrap(), b"Key  hunter2");
    assert_eq!(value_of(&plain, "h\u{fc}nter2").unwrap(), "h\u{fc}nter2".as_bytes());
}

#[test]
fn each_secret_goes_out_with_the_client_id_that_it_is_paired_with() {
    let ids = ClientIds::paired([("s".parse().unwrap(), "key of s"), ("t".parse().unwrap(), "t")]);
    let stale = "client_id=key+of+t&a=b";
    let made = applied(&ClientSecretPost::new(ids.clone()), &mut head(FORM), stale).unwrap();
    assert_eq!(made, "a=b&client_id=key+of+s&client_secret=Vq3hCc0Z");
    let mut signed = head(FORM);
    let basic = ClientSecretBasic::new(ids.clone());
    // A second id in the body would contradict the one in the header.
    assert_eq!(applied(&basic, &mut signed, stale).unwrap(), "a=b&client_id=key+of+s");
    assert_eq!(
        signed.headers[AUTHORIZATION],
        format!("Basic {}", STANDARD.encode("key+of+s:Vq3hCc0Z"))
    );
    assert_eq!(applied(&basic, &mut head(FORM), "a=b").unwrap(), "a=b");
    let json = applied(&basic, &mut head(JSON), r#"{"client_id":1,"b":2}"#).unwrap();
    assert_eq!(json, r#"{"b":2,"client_id":"key of s"}"#);
    let jwt = ClientSecretJwt::new(ids).audience("https://auth.example");
    let made = applied(&jwt, &mut head(FORM), stale).unwrap();
    assert!(made.starts_with("a=b&client_id=key+of+s&client_assertion_type="), "{made}");
}

#[test]
fn a_secret_without_a_client_id_is_not_sent() {
    let none = ClientIds::paired([("other".parse().unwrap(), "id")]);
    let asked = ClientIds::by(|id| (id.as_str() == "other").then(|| "id".into()));
    for ids in [none, asked] {
        let credentials: [&dyn Credential; 3] = [
            &ClientSecretBasic::new(ids.clone()),
            &ClientSecretPost::new(ids.clone()),
            &ClientSecretJwt::new(ids.clone()).audience("a"),
        ];
        for credential in credentials {
            let mut head = head(FORM);
            let reason = applied(credential, &mut head, "a=b").unwrap_err();
            assert_eq!(reason, "no client id is known for the secret");
            assert!(!head.headers.contains_key(AUTHORIZATION));
        }
    }
}

#[test]
fn codes_and_refresh_tokens_are_single_use_wherever_they_can_be_read() {
    let read = |content_type: &str, body: &str| is_single_use(&head(content_type), body.as_bytes());
    for grant in [
        "authorization_code",
        "refresh_token",
        "urn:ietf:params:oauth:grant-type:device_code",
        "urn:openid:params:grant-type:ciba",
        "urn:ietf:params:oauth:grant-type:jwt-bearer",
        "urn:ietf:params:oauth:grant-type:saml2-bearer",
        "http://auth0.com/oauth/grant-type/mfa-otp",
    ] {
        let encoded: String = form_urlencoded::byte_serialize(grant.as_bytes()).collect();
        assert!(read(FORM, &format!("scope=a&grant_type={encoded}&code=x")), "{grant}");
        assert!(read("Application/JSON; charset=utf-8", &format!(r#"{{"grant_type":"{grant}"}}"#)));
    }
    assert!(read(FORM, "grant%5Ftype=refresh%5ftoken"));
    assert!(read(FORM, "%67rant_type=refresh_token"));
    assert!(read(JSON, r#"{"grant_type":"refresh\u005ftoken"}"#));
    // Nobody knows which of the two the server takes.
    assert!(read(FORM, "grant_type=refresh_token&grant_type=client_credentials"));
    assert!(read(FORM, "grant_type=client_credentials&grant_type=refresh_token"));
    assert!(read(JSON, r#"{"grant_type":7,"grant_type":"refresh_token"}"#));
    for body in [
        "",
        "grant_type=client_credentials",
        "grant_type=password&x=refresh_token",
        "grant_types=refresh_token",
        "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Atoken-exchange",
        "grant_type",
        "grant_type=",
        "&&=refresh_token&",
    ] {
        assert!(!read(FORM, body), "{body}");
    }
    for body in ["", "[]", r#"{"grant_type":7}"#, r#"{"a":{"grant_type":"refresh_token"}}"#] {
        assert!(!read(JSON, body), "{body}");
    }
    assert!(!read("text/plain", "grant_type=refresh_token"));
}

#[test]
fn debug_of_credentials_and_of_what_they_made_shows_no_secret() {
    let value = "Vq3hCc0Zc1JxZ9";
    let basic = ClientSecretBasic::new("id");
    let post = ClientSecretPost::new(ClientIds::by(|_| Some("id".into())));
    let jwt = ClientSecretJwt::new(ClientIds::paired([("s".parse().unwrap(), "id")])).audience("a");
    let key = HeaderSecret::new(AUTHORIZATION).prefix("Bearer ");
    let credentials: [&dyn Credential; 4] = [&basic, &post, &jwt, &key];
    let mut shown = format!("{basic:?} {post:?} {jwt:?} {key:?}");
    for credential in credentials {
        let mut head = head(FORM);
        let made = credential.apply(&secret(value), &mut head, Some(&Bytes::new())).unwrap();
        shown += &format!("{made:?} {made:#?} {head:?}");
    }
    for secret in [value, &STANDARD.encode(format!("id:{value}")), "eyJ"] {
        assert!(!shown.contains(secret), "{shown}");
    }
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
