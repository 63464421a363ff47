//! What a refused answer says about the token (RFC 6750 section 3, in the grammar of RFC 9110 section
//! 11.6.1).

use http::header::WWW_AUTHENTICATE;
use http::{HeaderMap, StatusCode};

/// Whether an answer says that the token is expired, revoked or otherwise not valid, so that another one
/// may be: 401 with a `Bearer` challenge whose `error` is `invalid_token` (RFC 6750 section 3.1).
pub(crate) fn refuses_token(status: StatusCode, headers: &HeaderMap) -> bool {
    status == StatusCode::UNAUTHORIZED
        && headers
            .get_all(WWW_AUTHENTICATE)
            .iter()
            .any(|value| names_invalid_token(value.as_bytes()))
}

/// Reads the challenges of one header. What does not follow the grammar is passed over: on doubt, the
/// answer is the caller's.
fn names_invalid_token(value: &[u8]) -> bool {
    let mut rest = Reader { rest: value };
    let mut bearer = false;
    // A scheme stands at the beginning of a challenge alone; what follows it without a comma is a
    // parameter or a token68.
    let mut begins = true;
    while let Some(byte) = rest.peek() {
        match byte {
            b' ' | b'\t' => rest.skip(1),
            b',' => {
                rest.skip(1);
                begins = true;
            }
            b'"' => drop(rest.quoted()),
            _ => {
                let name = rest.token();
                if name.is_empty() {
                    // No character of a token: of a token68, or a mistake.
                    rest.skip(1);
                    begins = false;
                    continue;
                }
                match rest.parameter_value() {
                    Some(value) if bearer && name.eq_ignore_ascii_case(b"error") => {
                        if value == b"invalid_token" {
                            return true;
                        }
                    }
                    None if begins => bearer = name.eq_ignore_ascii_case(b"bearer"),
                    Some(_) | None => {}
                }
                begins = false;
            }
        }
    }
    false
}

struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn peek(&self) -> Option<u8> {
        self.rest.first().copied()
    }

    fn skip(&mut self, count: usize) {
        self.rest = &self.rest[count..];
    }

    fn skip_spaces(&mut self) {
        while let Some(b' ' | b'\t') = self.peek() {
            self.skip(1);
        }
    }

    /// RFC 9110 section 5.6.2.
    fn token(&mut self) -> &'a [u8] {
        let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
        let length = self.rest.iter().take_while(|byte| is_part(byte)).count();
        let (token, rest) = self.rest.split_at(length);
        self.rest = rest;
        token
    }

    /// The value behind a name, if this is a parameter.
    fn parameter_value(&mut self) -> Option<Vec<u8>> {
        let before = self.rest;
        self.skip_spaces();
        if self.peek() != Some(b'=') {
            self.rest = before;
            return None;
        }
        self.skip(1);
        self.skip_spaces();
        Some(match self.peek() {
            Some(b'"') => self.quoted(),
            _ => self.token().to_vec(),
        })
    }

    /// RFC 9110 section 5.6.4. One that does not end has no value.
    fn quoted(&mut self) -> Vec<u8> {
        self.skip(1);
        let mut value = Vec::new();
        while let Some(byte) = self.peek() {
            self.skip(1);
            match byte {
                b'"' => return value,
                b'\\' => {
                    value.extend(self.peek());
                    self.skip(self.rest.len().min(1));
                }
                byte => value.push(byte),
            }
        }
        Vec::new()
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn invalid_token_is_found_in_every_form_the_grammar_allows() {
        for value in [
            r#"Bearer error="invalid_token""#,
            r#"Bearer realm="example", error="invalid_token", error_description="The access token expired""#,
            r#"bearer ERROR=invalid_token"#,
            r#"Bearer realm="a, Basic b=\"c\"" , error = "invalid_token""#,
            r#"Bearer error="invalid\_token""#,
            r#"Basic realm="x", Bearer error="invalid_token""#,
            r#"Negotiate YII+/abc==, Bearer scope="a b",error="invalid_token""#,
            r#"Bearer realm="x", error="invalid_token", Basic realm="y""#,
            "BEARER\terror=\"invalid_token\"",
            r#", ,Bearer error="invalid_token","#,
            r#"Bearer authorization_uri="https://login.example/a?b=c", error="invalid_token""#,
        ] {
            assert!(names_invalid_token(value.as_bytes()), "{value}");
        }
    }

    #[test]
    fn what_is_not_invalid_token_of_bearer_is_not_taken_for_it() {
        for value in [
            "",
            "Bearer",
            r#"Bearer realm="example""#,
            r#"Bearer error="insufficient_scope""#,
            r#"Bearer error="invalid_token_x""#,
            r#"Bearer error="INVALID_TOKEN""#,
            r#"Bearer error="invalid_request", error_description="invalid_token""#,
            r#"Bearer realm="error=\"invalid_token\"""#,
            r#"Bearer realm="x", error_uri="invalid_token""#,
            r#"DPoP error="invalid_token""#,
            r#"Bearer realm="x", DPoP error="invalid_token""#,
            r#"Basic realm="Bearer", error="invalid_token""#,
            r#"Negotiate Bearer, error="invalid_token""#,
            r#"error="invalid_token""#,
            r#"Bearer error="invalid_token"#,
            r#"Bearer error="invalid_token\"#,
            r#"XBearer error="invalid_token""#,
            r#"Bearer error=="invalid_token""#,
            "\"Bearer\" error=\"invalid_token\"",
        ] {
            assert!(!names_invalid_token(value.as_bytes()), "{value}");
        }
    }

    #[test]
    fn no_value_makes_it_panic() {
        let pieces: [&[u8]; 10] =
            [b"Bearer", b" ", b"=", b"\"", b"\\", b",", b"error", b"invalid_token", b"\xff", b"/"];
        let mut values: Vec<Vec<u8>> = vec![Vec::new()];
        for _ in 0..4 {
            let longer = values.iter().flat_map(|value| {
                pieces.iter().map(move |piece| [value.as_slice(), piece].concat())
            });
            values = longer.collect();
            for value in &values {
                let _ = names_invalid_token(value);
            }
        }
    }

    #[test]
    fn only_a_401_refuses_a_token_and_every_header_is_read() {
        let mut headers = HeaderMap::new();
        assert!(!refuses_token(StatusCode::UNAUTHORIZED, &headers));
        headers.append(WWW_AUTHENTICATE, HeaderValue::from_static(r#"Basic realm="x""#));
        assert!(!refuses_token(StatusCode::UNAUTHORIZED, &headers));
        let invalid = HeaderValue::from_static(r#"Bearer error="invalid_token""#);
        headers.append(WWW_AUTHENTICATE, invalid);
        assert!(refuses_token(StatusCode::UNAUTHORIZED, &headers));
        for status in [200, 400, 403, 407, 500] {
            assert!(!refuses_token(StatusCode::from_u16(status).unwrap(), &headers), "{status}");
        }
    }
}
