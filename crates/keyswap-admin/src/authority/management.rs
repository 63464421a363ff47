//! The access token of a management client, and the requests that carry it.

use std::time::Duration;

use http::StatusCode;
use keyswap_core::SecretRing;
use keyswap_oauth::{Token, TokenError, TokenSource};
use keyswap_reqwest::FallbackMiddleware;
use keyswap_tower::{ClientSecretPost, Profile};
use reqwest::RequestBuilder;
use url::Url;

use super::http::{Answer, DEFAULT_PAUSE, MOST_ASKED, cause, lost, send, unreachable};
use super::pace::{LONGEST_PAUSE, Turns, with_jitter};
use super::{AuthorityError, AuthorityErrorKind, ChangeAnswer};

/// Where a management client's access tokens come from.
#[derive(Clone, Debug)]
pub(super) struct ManagementTokens(TokenSource);

/// A management request without an answer.
pub(super) enum Failure {
    /// It was not sent.
    NoToken(TokenError),
    Lost(reqwest::Error),
}

impl ManagementTokens {
    pub(super) fn new(tokens: TokenSource) -> Self {
        Self(tokens)
    }

    /// Those that a client gets at this endpoint, which shows its secret in the body, and the next one where that is
    /// refused.
    pub(super) fn of_client(
        (client, secrets): (String, SecretRing),
        (http, endpoint): (&reqwest::Client, Url),
        profile: Profile,
    ) -> Self {
        let fallback = FallbackMiddleware::new(secrets, ClientSecretPost::new(client));
        let http = reqwest_middleware::ClientBuilder::new(http.clone());
        Self(TokenSource::new(http.with(fallback.profile(profile)).build(), endpoint))
    }

    /// Sends this with each request for a token.
    pub(super) fn parameter(self, name: &str, value: &str) -> Self {
        Self(self.0.parameter(name, value))
    }

    /// Has the one that the next request carries. Without it nothing is sent, and the request says why.
    pub(super) async fn ready(&self) {
        let _ = self.0.token().await;
    }

    /// A token, for what only asks: asked for again while the token endpoint says when to come back, which it
    /// does where the management client has a rate limit or a quota of its own.
    pub(super) async fn to_ask(&self) -> Result<Token, TokenError> {
        let mut asked = 1;
        loop {
            let error = match self.0.token().await {
                Ok(token) => return Ok(token),
                Err(error) => error,
            };
            match error.retry_after() {
                Some(pause) if asked < MOST_ASKED && pause <= LONGEST_PAUSE => {
                    tokio::time::sleep(with_jitter(pause, rand::random())).await;
                }
                _ => return Err(error),
            }
            asked += 1;
        }
    }

    /// Sends a request. A token that is refused is renewed once, and the same request is sent again: it was
    /// turned away before it was looked at.
    pub(super) async fn send(
        &self,
        turns: &Turns,
        request: impl Fn() -> RequestBuilder,
    ) -> Result<Answer, Failure> {
        let with = async |token: &Token| {
            send(turns, request().bearer_auth(token.expose())).await.map_err(Failure::Lost)
        };
        let token = self.0.token().await.map_err(Failure::NoToken)?;
        let answer = with(&token).await?;
        if answer.status != StatusCode::UNAUTHORIZED {
            return Ok(answer);
        }
        with(&self.0.renew(&token).await.map_err(Failure::NoToken)?).await
    }
}

impl Failure {
    /// What it means for a question to the server at this address.
    pub(super) fn into_error(
        self,
        base: &Url,
        no_token: impl FnOnce(&TokenError) -> AuthorityError,
    ) -> AuthorityError {
        match self {
            Self::NoToken(error) => no_token(&error),
            Self::Lost(error) => unreachable(base, &error),
        }
    }

    /// What it means for a change.
    pub(super) fn into_change(
        self,
        no_token: impl FnOnce(&TokenError) -> AuthorityError,
    ) -> ChangeAnswer {
        match self {
            Self::NoToken(error) if error.is_transient() => {
                ChangeAnswer::RetryAfter(error.retry_after().unwrap_or(DEFAULT_PAUSE))
            }
            Self::NoToken(error) => ChangeAnswer::Refused(no_token(&error)),
            Self::Lost(error) => ChangeAnswer::Unknown(lost(&error)),
        }
    }
}

/// That there is no token for management requests, why, and the way out.
pub(super) fn no_token(
    error: &TokenError,
    kind: AuthorityErrorKind,
    way_out: &str,
) -> AuthorityError {
    let mut message = format!("no management token: {error}");
    if let Some(pause) = error.retry_after().filter(|pause| *pause > Duration::ZERO) {
        message.push_str(&format!(", and says to wait {} s", pause.as_secs()));
    }
    if let Some(source) = std::error::Error::source(error) {
        message.push_str(&format!(" ({})", cause(source)));
    }
    AuthorityError::new(kind, format!("{message}; {way_out}"))
}
