//! `client_secret_jwt`: what the server gets to verify.

mod apply;

use apply::{FORM, JSON, applied, head, secret};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use http::header::AUTHORIZATION;
use keyswap_tower::credential::{Applied, ClientSecretJwt, Credential, HmacAlgorithm};

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
            let Applied::ToBodyInstead(made) = made else { panic!("{made:?}") };
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
