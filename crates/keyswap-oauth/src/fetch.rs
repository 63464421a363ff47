//! The token request, and what its answer means.

use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, Instant};

use http::HeaderMap;
use http::header::RETRY_AFTER;
use reqwest_middleware::ClientWithMiddleware;
use serde::Deserialize;
use url::Url;
use zeroize::Zeroizing;

use crate::error::{TokenError, TokenErrorKind};
use crate::token::{Life, Token};

/// Of a token's life, the last part in which a new one is fetched: a tenth, at most a minute, and up to
/// half as much again so that programs that started together do not ask together.
const LONGEST_MARGIN: Duration = Duration::from_secs(60);
/// A token answer is a few kilobytes; more is not read.
const LONGEST_ANSWER: usize = 64 * 1024;
/// Beyond any token's life, and near enough to be added to an instant.
const FARTHEST: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// What is sent, and where to.
#[derive(Clone)]
pub(crate) struct TokenRequest {
    pub(crate) client: ClientWithMiddleware,
    pub(crate) endpoint: Url,
    pub(crate) parameters: Vec<(String, String)>,
}

impl TokenRequest {
    pub(crate) async fn send(&self) -> Result<Token, TokenError> {
        let host = self.endpoint.host_str().unwrap_or("an unnamed host");
        // The life of a token counts from before the request, since the server's clock started then.
        let asked = now();
        let mut response = self
            .client
            .post(self.endpoint.clone())
            .header("accept", "application/json")
            .form(&self.parameters)
            .send()
            .await
            .map_err(|error| TokenError::unreachable(host, error))?;
        let status = response.status();
        let retry_after = retry_after(status.as_u16(), response.headers());
        let mut body = Zeroizing::new(Vec::new());
        while let Some(chunk) =
            response.chunk().await.map_err(|error| TokenError::unreachable(host, error.into()))?
        {
            if body.len() + chunk.len() > LONGEST_ANSWER {
                body.clear();
                break;
            }
            body.extend_from_slice(&chunk);
        }
        read_answer(host, (status.as_u16(), retry_after), &body, asked, chance())
    }
}

/// Tokio's clock, so that it stands still where a test stops it. Otherwise it is that of std.
#[inline]
pub(crate) fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

#[derive(Deserialize)]
struct Answer {
    access_token: Zeroizing<String>,
    token_type: Option<String>,
    expires_in: Option<Seconds>,
    scope: Option<String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Seconds {
    Number(f64),
    /// Some servers put them into quotes, the first version of Entra's endpoint among them.
    Text(String),
}

impl Seconds {
    fn duration(&self) -> Option<Duration> {
        let seconds = match self {
            Self::Number(number) => Some(*number),
            Self::Text(text) => text.parse().ok(),
        };
        let seconds = seconds.filter(|seconds: &f64| *seconds >= 0.0)?;
        Some(Duration::try_from_secs_f64(seconds).unwrap_or(FARTHEST).min(FARTHEST))
    }
}

#[derive(Deserialize)]
struct Refusal {
    error: String,
}

/// A number from 0 to 1 that differs from time to time and from program to program.
fn chance() -> f64 {
    (RandomState::new().hash_one(0u8) >> 11) as f64 / (1u64 << 53) as f64
}

/// How long a server that turns requests away asks to wait, in seconds. A date is left alone: clocks differ.
fn retry_after(status: u16, headers: &HeaderMap) -> Option<Duration> {
    let value = headers.get(RETRY_AFTER).filter(|_| matches!(status, 429 | 503))?;
    let seconds = value.to_str().ok()?.trim().parse().ok()?;
    Some(Duration::from_secs(seconds).min(FARTHEST))
}

fn read_answer(
    host: &str,
    (status, retry_after): (u16, Option<Duration>),
    body: &[u8],
    asked: Instant,
    chance: f64,
) -> Result<Token, TokenError> {
    if !(200..300).contains(&status) {
        let code = serde_json::from_slice::<Refusal>(body).ok().map(|refusal| refusal.error);
        // Codes are names (RFC 6749 section 5.2); anything else is not repeated.
        let code = code.filter(|code| {
            code.len() <= 64
                && code.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        });
        return Err(TokenError::refused(host, status, code, retry_after));
    }
    let unexpected = |what| {
        TokenError::new(
            TokenErrorKind::Unexpected { status },
            format!("the token endpoint at {host} answers {status} with {what}"),
        )
    };
    let Answer { access_token, token_type, expires_in, scope } =
        serde_json::from_slice(body).map_err(|_| unexpected("something that is not a token"))?;
    // RFC 6749 section 7.1: a token of a type that is not understood must not be used. Servers that
    // leave the type out mean this one.
    if token_type.is_some_and(|name| !name.eq_ignore_ascii_case("bearer")) {
        return Err(unexpected("a token of another type than Bearer"));
    }
    let life = expires_in.and_then(|seconds| seconds.duration()).map(|life| {
        let margin = (life / 10).min(LONGEST_MARGIN).mul_f64(1.0 + chance / 2.0);
        Life { renew: asked + (life - margin), end: asked + life }
    });
    Token::new(&access_token, life, scope)
        .map_err(|_| unexpected("a token that fits into no header"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(body: &str, asked: Instant, chance: f64) -> Token {
        read_answer("h", (200, None), body.as_bytes(), asked, chance).unwrap()
    }

    #[test]
    fn a_token_is_renewed_in_the_last_tenth_of_its_life_or_somewhat_sooner() {
        let asked = Instant::now();
        let after = |seconds| asked + Duration::from_secs(seconds);
        for (life, chance, renewed) in
            [(100, 0.0, 90), (100, 1.0, 85), (86_400, 0.0, 86_340), (86_400, 1.0, 86_310)]
        {
            for quote in ["", "\""] {
                let body = format!(r#"{{"access_token":"t","expires_in":{quote}{life}{quote}}}"#);
                let token = token(&body, asked, chance);
                assert_eq!(token.renew_at(), Some(after(renewed)), "{life}");
                assert!(!token.is_expired(after(life - 1)), "{life}");
                assert!(token.is_expired(after(life)), "{life}");
            }
        }
        for strange in ["1e400", "-5", "1e300", "null", "\"soon\"", "\"NaN\"", "\"inf\"", "{}"] {
            let body = format!(r#"{{"access_token":"t","expires_in":{strange}}}"#);
            if let Ok(token) = read_answer("h", (200, None), body.as_bytes(), asked, 0.5) {
                assert!(!token.is_expired(asked), "{strange}");
            }
        }
    }

    #[test]
    fn a_server_says_for_how_long_it_turns_requests_away_in_seconds() {
        let asked = |status, value: &'static str| {
            let headers = [(RETRY_AFTER, value.parse().unwrap())].into_iter().collect();
            retry_after(status, &headers).map(|time| time.as_secs())
        };
        assert_eq!(asked(429, "7"), Some(7));
        assert_eq!(asked(503, " 7 "), Some(7));
        assert_eq!(asked(429, "Fri, 27 Nov 2026 21:00:00 GMT"), None);
        assert_eq!(asked(429, "-7"), None);
        assert_eq!(asked(401, "7"), None, "it did not turn the request away");
        assert!(retry_after(429, &HeaderMap::new()).is_none());
        let error =
            read_answer("h", (429, Some(Duration::from_secs(7))), b"{}", Instant::now(), 0.0);
        assert_eq!(error.unwrap_err().retry_after(), Some(Duration::from_secs(7)));
    }

    #[test]
    fn chance_is_a_share_and_differs() {
        let drawn: Vec<f64> = (0..100).map(|_| chance()).collect();
        assert!(drawn.iter().all(|chance| (0.0..1.0).contains(chance)));
        assert!(drawn.windows(2).any(|pair| pair[0] != pair[1]));
    }

    #[test]
    fn a_token_of_another_type_is_not_used() {
        let answer = |kind: &str| {
            let body = format!(r#"{{"access_token":"hunter2","token_type":{kind}}}"#);
            read_answer("h", (200, None), body.as_bytes(), Instant::now(), 0.0)
        };
        for kind in ["\"Bearer\"", "\"bearer\"", "\"BEARER\"", "null"] {
            assert_eq!(answer(kind).unwrap().expose(), "hunter2", "{kind}");
        }
        for kind in ["\"DPoP\"", "\"mac\"", "\"\""] {
            let error = answer(kind).unwrap_err();
            assert_eq!(
                error.to_string(),
                "the token endpoint at h answers 200 with a token of another type than Bearer"
            );
        }
    }

    #[test]
    fn an_error_holds_the_code_and_nothing_else_of_the_answer() {
        let body = br#"{"error":"access_denied","error_description":"hunter2"}"#;
        let error =
            read_answer("auth.example", (401, None), body, Instant::now(), 0.0).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the token endpoint at auth.example answers 401 with `access_denied`"
        );
        for (status, body) in [
            (401, &br#"{"error":"hunter2 and more"}"#[..]),
            (502, b"<html>hunter2</html>"),
            (200, b"<html>hunter2</html>"),
            (200, br#"{"access_token":""}"#),
            (200, br#"{"access_token":"hunter2\r\nx: y"}"#),
            (200, br#"{"access_token":"t","token_type":"hunter2"}"#),
            (200, br#"{"token":"hunter2"}"#),
        ] {
            let error =
                read_answer("auth.example", (status, None), body, Instant::now(), 0.0).unwrap_err();
            assert!(!format!("{error} {error:?}").contains("hunter2"), "{error:?}");
        }
    }
}
