//! What the credentials put on the wire.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use bytes::Bytes;
use http::HeaderName;
use http::header::AUTHORIZATION;
use http::request::Parts;
use keyswap_core::Secret;
use keyswap_tower::credential::{
    Applied, ClientIds, ClientSecretBasic, ClientSecretJwt, ClientSecretPost, Credential,
    HeaderSecret, HmacAlgorithm, is_single_use,
};
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

/// What a credential makes of a request: its body afterwards, or the reason why there is none.
fn applied(credential: &dyn Credential, head: &mut Parts, body: &str) -> Result<String, String> {
    let body = Bytes::copy_from_slice(body.as_bytes());
    let after = match credential.apply(&secret("Vq3hCc0Z"), head, Some(&body)) {
        Ok(Applied::ToHead) => body,
        Ok(Applied::ToBody(body)) => body,
        Ok(other) => panic!("{other:?}"),
        Err(reason) => return Err(reason.to_string()),
    };
    Ok(String::from_utf8(after.to_vec()).unwrap())
}

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

const JSON: &str = "application/json";

#[test]
fn a_body_that_basic_cannot_read_stays_and_goes_with_the_header() {
    let mut compressed = head(FORM);
    compressed.headers.insert("content-encoding", "gzip".parse().unwrap());
    let made = applied(&ClientSecretBasic::new("id"), &mut compressed, "client_secret=old");
    assert_eq!(made.unwrap(), "client_secret=old");
    assert!(compressed.headers.contains_key(AUTHORIZATION));
}

/// Header, claims and signature of an assertion, after a look at all parameters around it.
fn assertion(form: &str) -> (serde_json::Value, serde_json::Value, Vec<u8>, String) {
    let parameters: Vec<_> = form_urlencoded::parse(form.as_bytes()).into_owned().collect();
    let [.., id, kind, assertion] = &parameters[..] else { panic!("{parameters:?}") };
    assert_eq!((id.0.as_str(), id.1.as_str()), ("client_id", "s6BhdRkqt3"));
    assert_eq!(kind.0, "client_assertion_type");
    assert_eq!(kind.1, "urn:ietf:params:oauth:client-assertion-type:jwt-bearer");
    assert_eq!(assertion.0, "client_assertion");
    let decode = |part: &str| URL_SAFE_NO_PAD.decode(part).unwrap();
    let [header, claims, signature] = assertion.1.split('.').collect::<Vec<_>>()[..] else {
        panic!("{assertion:?}")
    };
    let signed = format!("{header}.{claims}");
    let (header, claims) = (decode(header), decode(claims));
    (
        serde_json::from_slice(&header).unwrap(),
        serde_json::from_slice(&claims).unwrap(),
        decode(signature),
        signed,
    )
}

#[test]
fn an_assertion_names_the_client_and_the_endpoint_and_is_signed_with_the_secret() {
    let value = "Vq3hCc0Zc1JxZ9";
    let mut identifiers = std::collections::HashSet::new();
    let algorithms = [
        (HmacAlgorithm::Hs256, "HS256"),
        (HmacAlgorithm::Hs384, "HS384"),
        (HmacAlgorithm::Hs512, "HS512"),
    ];
    for (algorithm, name) in algorithms {
        let credential = ClientSecretJwt::new("s6BhdRkqt3").algorithm(algorithm);
        for _ in 0..20 {
            let mut head = head(FORM);
            head.uri = "https://auth.example/token?x=1".parse().unwrap();
            let body =
                Bytes::from("grant_type=x&client_assertion=old&client_assertion_type=saml&a=b");
            let made = credential.apply(&secret(value), &mut head, Some(&body)).unwrap();
            assert!(!head.headers.contains_key(AUTHORIZATION));
            let Applied::ToBody(made) = made else { panic!("{made:?}") };
            let made = String::from_utf8(made.to_vec()).unwrap();
            assert!(made.starts_with("grant_type=x&a=b&client_id="), "{made}");
            assert!(!made.contains(value), "{made}");
            let (header, claims, signature, signed) = assertion(&made);
            assert_eq!(header, serde_json::json!({"alg": name, "typ": "JWT"}));
            assert_eq!(
                (&claims["iss"], &claims["sub"]),
                (&"s6BhdRkqt3".into(), &"s6BhdRkqt3".into())
            );
            assert_eq!(claims["aud"], "https://auth.example/token");
            let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
            let issued = claims["iat"].as_u64().unwrap();
            assert!(issued <= now.as_secs() && issued + 60 > now.as_secs());
            assert_eq!(claims["exp"].as_u64().unwrap(), issued + 60);
            assert!(identifiers.insert(claims["jti"].as_str().unwrap().to_owned()));
            verify(algorithm, value.as_bytes(), &signed, &signature);
        }
    }
}

fn verify(algorithm: HmacAlgorithm, key: &[u8], signed: &str, signature: &[u8]) {
    use hmac::{Hmac, KeyInit, Mac};
    macro_rules! with {
        ($hash:ty) => {{
            let mut mac = Hmac::<$hash>::new_from_slice(key).unwrap();
            mac.update(signed.as_bytes());
            mac.verify_slice(signature).unwrap();
        }};
    }
    match algorithm {
        HmacAlgorithm::Hs256 => with!(sha2::Sha256),
        HmacAlgorithm::Hs384 => with!(sha2::Sha384),
        HmacAlgorithm::Hs512 => with!(sha2::Sha512),
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_assertion_goes_into_json_as_well_and_its_audience_can_be_given() {
    let credential = ClientSecretJwt::new("s6BhdRkqt3").audience("https://auth.example/\"issuer");
    let mut head = head(JSON);
    let body = r#"{"grant_type": "x", "client_assertion": 7, "n": 1.0}"#;
    let made = applied(&credential, &mut head, body).unwrap();
    assert!(made.starts_with(r#"{"grant_type":"x","n":1.0,"client_id":"s6BhdRkqt3","#), "{made}");
    let made: serde_json::Value = serde_json::from_str(&made).unwrap();
    let token = made["client_assertion"].as_str().unwrap();
    let claims = URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap();
    let claims: serde_json::Value = serde_json::from_slice(&claims).unwrap();
    assert_eq!(claims["aud"], "https://auth.example/\"issuer");
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
    ] {
        let encoded: String = form_urlencoded::byte_serialize(grant.as_bytes()).collect();
        assert!(read(FORM, &format!("scope=a&grant_type={encoded}&code=x")), "{grant}");
        assert!(read("Application/JSON; charset=utf-8", &format!(r#"{{"grant_type":"{grant}"}}"#)));
    }
    assert!(read(FORM, "grant%5Ftype=refresh%5ftoken"));
    assert!(read(JSON, r#"{"grant_type":"refresh\u005ftoken"}"#));
    for body in [
        "",
        "grant_type=client_credentials",
        "grant_type=password&x=refresh_token",
        "grant_types=refresh_token",
        "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Atoken-exchange",
        "grant_type=refresh_token&grant_type=client_credentials",
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
