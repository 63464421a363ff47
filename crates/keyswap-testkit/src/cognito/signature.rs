//! Signature Version 4 of a request (IAM User Guide, "Create a signed AWS API request"), computed anew.

use hmac::{Hmac, KeyInit, Mac};
use http::HeaderMap;
use http::header::AUTHORIZATION;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

const ALGORITHM: &str = "AWS4-HMAC-SHA256";

/// What the `Authorization` header of a request says.
pub(super) struct Signature<'a> {
    pub(super) access_key: &'a str,
    /// Date, region, service, and `aws4_request`.
    scope: &'a str,
    signed_headers: &'a str,
    signature: &'a str,
}

impl<'a> Signature<'a> {
    pub(super) fn of(headers: &'a HeaderMap) -> Option<Self> {
        let text = headers.get(AUTHORIZATION)?.to_str().ok()?.strip_prefix(ALGORITHM)?;
        let part = |name: &str| {
            let mut parts = text.split(',').map(str::trim);
            parts.find_map(|part| part.strip_prefix(name)?.strip_prefix('='))
        };
        let (access_key, scope) = part("Credential")?.split_once('/')?;
        let (signed_headers, signature) = (part("SignedHeaders")?, part("Signature")?);
        Some(Self { access_key, scope, signed_headers, signature })
    }

    /// Whether it is that of a `POST` to `/` with these headers and this body, by whoever has this key, for this service.
    pub(super) fn is_right(&self, key: &str, headers: &HeaderMap, body: &[u8]) -> bool {
        let [date, region, service, "aws4_request"] = self.scope.split('/').collect::<Vec<_>>()[..]
        else {
            return false;
        };
        let value = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let Some(time) = value("x-amz-date").filter(|time| time.starts_with(date)) else {
            return false;
        };
        let mut names = self.signed_headers.split(';');
        // What says what is asked for, and of whom, is part of what is signed.
        let signs = |name| self.signed_headers.split(';').any(|one| one == name);
        let session = value("x-amz-security-token").is_none() || signs("x-amz-security-token");
        if service != "cognito-idp" || !session || !signs("host") || !signs("x-amz-target") {
            return false;
        }
        let line = |name: &str| Some(format!("{name}:{}\n", value(name)?.trim()));
        let Some(canonical) = names.by_ref().map(line).collect::<Option<String>>() else {
            return false;
        };
        let request = format!(
            "POST\n/\n\n{canonical}\n{}\n{}",
            self.signed_headers,
            hex(&Sha256::digest(body))
        );
        let digest = hex(&Sha256::digest(request));
        let to_sign = format!("{ALGORITHM}\n{time}\n{}\n{digest}", self.scope);
        let mut signed = format!("AWS4{key}").into_bytes();
        for part in [date, region, service, "aws4_request", &to_sign] {
            signed = mac(&signed, part);
        }
        hex(&signed).as_bytes().ct_eq(self.signature.as_bytes()).into()
    }
}

fn mac(key: &[u8], text: &str) -> Vec<u8> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes a key of any length");
    mac.update(text.as_bytes());
    mac.finalize().into_bytes().to_vec()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A request, and a signature that was made elsewhere (Python's `hmac` and `hashlib`).
    fn headers(target: &str) -> HeaderMap {
        let authorization = "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20261127/eu-west-1/cognito-idp/aws4_request, \
             SignedHeaders=content-type;host;x-amz-date;x-amz-target, Signature=b207ef63aed8b7d5afef0524440f025d614a2b0c63fd52cf38960d281aab3926";
        [
            ("content-type", "application/x-amz-json-1.1"),
            ("host", "cognito-idp.eu-west-1.amazonaws.com"),
            ("x-amz-date", "20261127T100000Z"),
            ("x-amz-target", target),
            ("authorization", authorization),
        ]
        .into_iter()
        .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()))
        .collect()
    }
    const TARGET: &str = "AWSCognitoIdentityProviderService.ListUserPoolClientSecrets";
    const KEY: &str = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY";

    #[test]
    fn a_signature_is_right_for_its_key_its_headers_and_its_body_alone() {
        let right = headers(TARGET);
        let signature = Signature::of(&right).unwrap();
        assert_eq!(signature.access_key, "AKIDEXAMPLE");
        assert!(signature.is_right(KEY, &right, b"{}"));
        assert!(!signature.is_right("another", &right, b"{}"));
        assert!(!signature.is_right(KEY, &right, b"{ }"));
        let other = headers("AWSCognitoIdentityProviderService.DeleteUserPoolClientSecret");
        assert!(!Signature::of(&other).unwrap().is_right(KEY, &other, b"{}"));
        let mut none = right.clone();
        none.remove(AUTHORIZATION);
        assert!(Signature::of(&none).is_none());
    }
}
