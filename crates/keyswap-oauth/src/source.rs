//! The token that all callers share.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use reqwest_middleware::ClientWithMiddleware;
use serde::Deserialize;
use url::Url;
use zeroize::Zeroizing;

use crate::error::{TokenError, TokenErrorKind};
use crate::token::Token;

/// Of a token's life, the last part in which a new one is fetched: a tenth, at most a minute.
const LONGEST_MARGIN: Duration = Duration::from_secs(60);
/// A token answer is a few kilobytes; more is not read.
const LONGEST_ANSWER: usize = 64 * 1024;

/// Fetches access tokens by the client-credentials grant, and keeps the last one for all callers.
///
/// A clone is another handle on the same token. While one caller fetches, the others wait for its
/// result; a caller that goes away while it fetches leaves the work to the next. Nothing is spawned.
#[derive(Clone)]
pub struct TokenSource {
    shared: Arc<Shared>,
}

struct Shared {
    client: ClientWithMiddleware,
    endpoint: Url,
    parameters: Vec<(String, String)>,
    /// A std mutex: it is never held over an await.
    token: Mutex<Option<Token>>,
    /// Held over the fetch, so that there is one at a time.
    fetching: tokio::sync::Mutex<()>,
}

impl TokenSource {
    /// Tokens from this endpoint. The client puts the client authentication on the request: give it a
    /// fallback middleware.
    #[must_use]
    pub fn new(client: ClientWithMiddleware, endpoint: Url) -> Self {
        Self {
            shared: Arc::new(Shared {
                client,
                endpoint,
                parameters: vec![("grant_type".to_owned(), "client_credentials".to_owned())],
                token: Mutex::new(None),
                fetching: tokio::sync::Mutex::new(()),
            }),
        }
    }

    /// Adds a parameter to the token request: `scope`, or `audience` where the server wants one.
    ///
    /// The result keeps its own token.
    #[must_use]
    pub fn parameter(self, name: impl Into<String>, value: impl Into<String>) -> Self {
        let mut parameters = self.shared.parameters.clone();
        parameters.push((name.into(), value.into()));
        Self {
            shared: Arc::new(Shared {
                client: self.shared.client.clone(),
                endpoint: self.shared.endpoint.clone(),
                parameters,
                token: Mutex::new(None),
                fetching: tokio::sync::Mutex::new(()),
            }),
        }
    }

    /// A token that is good for a while yet.
    ///
    /// # Errors
    ///
    /// [`TokenError`] if there is none and none can be had.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future lets another caller fetch.
    pub async fn token(&self) -> Result<Token, TokenError> {
        if let Some(token) = self.cached(Instant::now()) {
            return Ok(token);
        }
        let _fetching = self.shared.fetching.lock().await;
        // Whoever held the lock before may have fetched it.
        if let Some(token) = self.cached(Instant::now()) {
            return Ok(token);
        }
        self.fetch().await
    }

    /// A token other than `refused`, which a server did not take: the one that is kept if it is
    /// another one already, or a new one.
    ///
    /// # Errors
    ///
    /// As [`token`](Self::token).
    pub async fn renew(&self, refused: &Token) -> Result<Token, TokenError> {
        let _fetching = self.shared.fetching.lock().await;
        match self.cached(Instant::now()) {
            Some(token) if !token.is(refused) => Ok(token),
            _ => self.fetch().await,
        }
    }

    fn cached(&self, now: Instant) -> Option<Token> {
        self.kept().as_ref().filter(|token| !token.is_expired(now)).cloned()
    }

    fn kept(&self) -> std::sync::MutexGuard<'_, Option<Token>> {
        self.shared.token.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn fetch(&self) -> Result<Token, TokenError> {
        let shared = &self.shared;
        let host = shared.endpoint.host_str().unwrap_or("an unnamed host").to_owned();
        // The life of a token counts from before the request, since the server's clock started then.
        let asked = Instant::now();
        let mut response = shared
            .client
            .post(shared.endpoint.clone())
            .header("accept", "application/json")
            .form(&shared.parameters)
            .send()
            .await
            .map_err(|error| TokenError::unreachable(&host, error))?;
        let status = response.status();
        let mut body = Zeroizing::new(Vec::new());
        while let Some(chunk) =
            response.chunk().await.map_err(|error| TokenError::unreachable(&host, error.into()))?
        {
            if body.len() + chunk.len() > LONGEST_ANSWER {
                body.clear();
                break;
            }
            body.extend_from_slice(&chunk);
        }
        let token = read_answer(&host, status.as_u16(), &body, asked)?;
        *self.kept() = Some(token.clone());
        Ok(token)
    }
}

#[derive(Deserialize)]
struct Answer {
    access_token: Zeroizing<String>,
    expires_in: Option<f64>,
    scope: Option<String>,
}

#[derive(Deserialize)]
struct Refusal {
    error: String,
}

fn read_answer(host: &str, status: u16, body: &[u8], asked: Instant) -> Result<Token, TokenError> {
    if !(200..300).contains(&status) {
        let code = serde_json::from_slice::<Refusal>(body).ok().map(|refusal| refusal.error);
        // Codes are names (RFC 6749 section 5.2); anything else is not repeated.
        let code = code.filter(|code| {
            code.len() <= 64
                && code.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        });
        let code =
            code.map_or_else(|| "no OAuth error code".to_owned(), |code| format!("`{code}`"));
        return Err(TokenError::new(
            TokenErrorKind::Refused { status },
            format!("the token endpoint at {host} answers {status} with {code}"),
        ));
    }
    let unexpected = || {
        TokenError::new(
            TokenErrorKind::Unexpected { status },
            format!(
                "the token endpoint at {host} answers {status} with something that is not a token"
            ),
        )
    };
    let mut answer: Answer = serde_json::from_slice(body).map_err(|_| unexpected())?;
    if answer.access_token.is_empty() {
        return Err(unexpected());
    }
    let expires = answer.expires_in.filter(|seconds| *seconds >= 0.0).map(|seconds| {
        let life = Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX).min(FARTHEST);
        asked + (life - (life / 10).min(LONGEST_MARGIN))
    });
    Ok(Token::new(std::mem::take(&mut *answer.access_token), expires, answer.scope))
}

/// Beyond any token's life, and near enough to be added to an instant.
const FARTHEST: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

impl fmt::Debug for TokenSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenSource")
            .field("endpoint", &self.shared.endpoint.host_str())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_renewed_in_the_last_tenth_of_its_life() {
        let asked = Instant::now();
        let token =
            read_answer("h", 200, br#"{"access_token":"t","expires_in":100}"#, asked).unwrap();
        assert!(!token.is_expired(asked + Duration::from_secs(89)));
        assert!(token.is_expired(asked + Duration::from_secs(90)));
        let day =
            read_answer("h", 200, br#"{"access_token":"t","expires_in":86400}"#, asked).unwrap();
        assert!(!day.is_expired(asked + Duration::from_secs(86_339)));
        assert!(day.is_expired(asked + Duration::from_secs(86_340)));
        for strange in ["1e400", "-5", "1e300", "null"] {
            let body = format!(r#"{{"access_token":"t","expires_in":{strange}}}"#);
            if let Ok(token) = read_answer("h", 200, body.as_bytes(), asked) {
                assert!(!token.is_expired(asked), "{strange}");
            }
        }
    }

    #[test]
    fn an_error_holds_the_code_and_nothing_else_of_the_answer() {
        let body = br#"{"error":"access_denied","error_description":"hunter2"}"#;
        let error = read_answer("auth.example", 401, body, Instant::now()).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the token endpoint at auth.example answers 401 with `access_denied`"
        );
        for (status, body) in [
            (401, &br#"{"error":"hunter2 and more"}"#[..]),
            (502, b"<html>hunter2</html>"),
            (200, b"<html>hunter2</html>"),
            (200, br#"{"access_token":""}"#),
            (200, br#"{"token":"hunter2"}"#),
        ] {
            let error = read_answer("auth.example", status, body, Instant::now()).unwrap_err();
            assert!(!format!("{error} {error:?}").contains("hunter2"), "{error:?}");
        }
    }

    #[test]
    fn debug_shows_no_token() {
        let token =
            read_answer("h", 200, br#"{"access_token":"hunter2"}"#, Instant::now()).unwrap();
        assert!(!format!("{token:?}").contains("hunter2"));
        assert!(!token.is_expired(Instant::now() + Duration::from_secs(1 << 30)));
    }
}
