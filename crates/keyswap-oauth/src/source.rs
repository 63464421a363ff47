//! The token that all callers share.

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use reqwest_middleware::ClientWithMiddleware;
use serde::Deserialize;
use url::Url;
use zeroize::Zeroizing;

use crate::error::{TokenError, TokenErrorKind};
use crate::token::{Life, Token};

/// Of a token's life, the last part in which a new one is fetched: a tenth, at most a minute, and up to
/// half as much again so that programs that started together do not ask together.
const LONGEST_MARGIN: Duration = Duration::from_secs(60);
/// How long a token that is still good is used after another one could not be had, before the next try.
const AFTER_FAILURE: Duration = Duration::from_secs(10);
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
    kept: Mutex<Kept>,
    /// Held over the fetch, so that there is one at a time.
    fetching: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct Kept {
    token: Option<Token>,
    /// Until when a failure to renew lets an aging token be used without another try.
    spared_until: Option<Instant>,
}

/// What can be done with the token that is kept.
#[derive(Debug)]
enum Look {
    Use(Token),
    /// It is good for a while yet: whoever comes first renews it, the others use it.
    Renew(Token),
    Fetch,
}

impl Kept {
    fn look(&self, now: Instant) -> Look {
        match &self.token {
            Some(token) if token.is_expired(now) => Look::Fetch,
            Some(token)
                if token.is_aging(now) && self.spared_until.is_none_or(|until| now >= until) =>
            {
                Look::Renew(token.clone())
            }
            Some(token) => Look::Use(token.clone()),
            None => Look::Fetch,
        }
    }
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
                kept: Mutex::default(),
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
                kept: Mutex::default(),
                fetching: tokio::sync::Mutex::new(()),
            }),
        }
    }

    /// A token that is good now.
    ///
    /// Towards the end of its life one caller fetches the next one, while the others go on with it; if
    /// that fails, it serves until it is over, with a try every ten seconds.
    ///
    /// # Errors
    ///
    /// [`TokenError`] if there is none and none can be had.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future lets another caller fetch.
    pub async fn token(&self) -> Result<Token, TokenError> {
        match self.look() {
            Look::Use(token) => return Ok(token),
            Look::Renew(token) => return self.renew_ahead(token).await,
            Look::Fetch => {}
        }
        let _fetching = self.shared.fetching.lock().await;
        // Whoever held the lock before may have fetched it.
        if let Look::Use(token) | Look::Renew(token) = self.look() {
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
        match self.look() {
            Look::Use(token) | Look::Renew(token) if !token.is(refused) => return Ok(token),
            _ => {}
        }
        self.fetch().await
    }

    async fn renew_ahead(&self, aging: Token) -> Result<Token, TokenError> {
        let Ok(_fetching) = self.shared.fetching.try_lock() else { return Ok(aging) };
        if let Look::Use(token) = self.look() {
            return Ok(token);
        }
        match self.fetch().await {
            Err(_) if !aging.is_expired(Instant::now()) => {
                self.kept().spared_until = Some(Instant::now() + AFTER_FAILURE);
                Ok(aging)
            }
            fetched => fetched,
        }
    }

    fn look(&self) -> Look {
        self.kept().look(Instant::now())
    }

    fn kept(&self) -> std::sync::MutexGuard<'_, Kept> {
        self.shared.kept.lock().unwrap_or_else(PoisonError::into_inner)
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
        let token = read_answer(&host, status.as_u16(), &body, asked, chance())?;
        *self.kept() = Kept { token: Some(token.clone()), spared_until: None };
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

/// A number from 0 to 1 that differs from time to time and from program to program.
fn chance() -> f64 {
    (RandomState::new().hash_one(0u8) >> 11) as f64 / (1u64 << 53) as f64
}

fn read_answer(
    host: &str,
    status: u16,
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
    let life = answer.expires_in.filter(|seconds| *seconds >= 0.0).map(|seconds| {
        let life = Duration::try_from_secs_f64(seconds).unwrap_or(FARTHEST).min(FARTHEST);
        let margin = (life / 10).min(LONGEST_MARGIN).mul_f64(1.0 + chance / 2.0);
        Life { renew: asked + (life - margin), end: asked + life }
    });
    Ok(Token::new(std::mem::take(&mut *answer.access_token), life, answer.scope))
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

    fn token(body: &str, asked: Instant, chance: f64) -> Token {
        read_answer("h", 200, body.as_bytes(), asked, chance).unwrap()
    }

    #[test]
    fn a_token_is_renewed_in_the_last_tenth_of_its_life_or_somewhat_sooner() {
        let asked = Instant::now();
        let after = |seconds| asked + Duration::from_secs(seconds);
        for (life, chance, renewed) in
            [(100, 0.0, 90), (100, 1.0, 85), (86_400, 0.0, 86_340), (86_400, 1.0, 86_310)]
        {
            let body = format!(r#"{{"access_token":"t","expires_in":{life}}}"#);
            let token = token(&body, asked, chance);
            assert!(!token.is_aging(after(renewed - 1)), "{life}");
            assert!(token.is_aging(after(renewed)), "{life}");
            assert!(!token.is_expired(after(life - 1)), "{life}");
            assert!(token.is_expired(after(life)), "{life}");
        }
        for strange in ["1e400", "-5", "1e300", "null"] {
            let body = format!(r#"{{"access_token":"t","expires_in":{strange}}}"#);
            if let Ok(token) = read_answer("h", 200, body.as_bytes(), asked, 0.5) {
                assert!(!token.is_expired(asked), "{strange}");
            }
        }
    }

    #[test]
    fn after_a_failed_renewal_an_aging_token_serves_until_the_next_try_or_its_end() {
        let asked = Instant::now();
        let after = |seconds| asked + Duration::from_secs(seconds);
        let token = token(r#"{"access_token":"t","expires_in":100}"#, asked, 0.0);
        let mut kept = Kept { token: Some(token), spared_until: None };
        assert!(matches!(kept.look(after(89)), Look::Use(_)));
        assert!(matches!(kept.look(after(90)), Look::Renew(_)));
        kept.spared_until = Some(after(95));
        assert!(matches!(kept.look(after(94)), Look::Use(_)));
        assert!(matches!(kept.look(after(95)), Look::Renew(_)));
        kept.spared_until = Some(after(200));
        assert!(matches!(kept.look(after(100)), Look::Fetch));
    }

    #[test]
    fn an_error_holds_the_code_and_nothing_else_of_the_answer() {
        let body = br#"{"error":"access_denied","error_description":"hunter2"}"#;
        let error = read_answer("auth.example", 401, body, Instant::now(), 0.0).unwrap_err();
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
            let error = read_answer("auth.example", status, body, Instant::now(), 0.0).unwrap_err();
            assert!(!format!("{error} {error:?}").contains("hunter2"), "{error:?}");
        }
    }

    #[test]
    fn debug_shows_no_token() {
        let token = token(r#"{"access_token":"hunter2"}"#, Instant::now(), 0.0);
        assert!(!format!("{token:?}").contains("hunter2"));
        assert!(!token.is_expired(Instant::now() + Duration::from_secs(1 << 30)));
    }
}
