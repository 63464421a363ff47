//! What a [`Cognito`] is made of.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_credential_types::Credentials;
use keyswap_core::Secret;
use keyswap_tower::Profile;
use url::Url;

use super::super::endpoint::TokenEndpoint;
use super::super::http::{client_for, with_segments};
use super::super::pace::{Pace, Turns};
use super::super::probe::{ClientAuthentication, ProbeRequest};
use super::super::{AuthorityError, AuthorityErrorKind};
use super::pool::Cognito;
use super::signing::Signer;

/// Makes a [`Cognito`].
#[derive(Debug)]
#[must_use]
pub struct CognitoBuilder {
    pool: String,
    client: String,
    domain: Url,
    endpoint: Option<Url>,
    access_key: Option<(String, Secret)>,
    session_token: Option<Secret>,
    scope: Option<String>,
    authentication: ClientAuthentication,
    server_chooses: bool,
    propagation_window: Duration,
    pace: Pace,
    beside: Option<(reqwest::Client, Arc<Signer>)>,
}

impl CognitoBuilder {
    pub(super) fn new(pool: String, client: String, domain: Url) -> Self {
        Self {
            pool,
            client,
            domain,
            endpoint: None,
            access_key: None,
            session_token: None,
            scope: None,
            authentication: ClientAuthentication::Post,
            server_chooses: false,
            propagation_window: Cognito::usual().propagation_window,
            pace: Pace::new(),
            beside: None,
        }
    }

    /// Over these connections, with these credentials.
    pub(super) fn beside(mut self, http: reqwest::Client, signer: Arc<Signer>) -> Self {
        self.beside = Some((http, signer));
        self
    }

    /// Where the API is; that of the region by default. For an endpoint of a VPC, or one for tests.
    pub fn endpoint(mut self, url: Url) -> Self {
        self.endpoint = Some(url);
        self
    }

    /// An access key in place of the credentials of AWS's own tools.
    pub fn access_key(mut self, id: impl Into<String>, key: Secret) -> Self {
        self.access_key = Some((id.into(), key));
        self
    }

    /// The session token of a temporary [access key](Self::access_key).
    pub fn session_token(mut self, token: Secret) -> Self {
        self.session_token = Some(token);
        self
    }

    /// The scope of the client-credentials requests that prove a secret. By default all that the app client may have.
    pub fn scope(mut self, scope: impl Into<String>) -> Self {
        self.scope = Some(scope.into());
        self
    }

    /// How the client sends its secret. Post by default; Cognito takes either.
    pub fn authentication(mut self, authentication: ClientAuthentication) -> Self {
        self.authentication = authentication;
        self
    }

    /// Lets Cognito choose the new value. The caller does by default: a value whose answer was lost is then found by a token
    /// request.
    pub fn server_chooses(mut self, server_chooses: bool) -> Self {
        self.server_chooses = server_chooses;
        self
    }

    /// How long nodes may disagree after a change. 30 s by default: Amazon does not say.
    pub fn propagation_window(mut self, window: Duration) -> Self {
        self.propagation_window = window;
        self
    }

    /// The pace of the management requests, which other clients of the same account may share.
    pub fn pace(mut self, pace: Pace) -> Self {
        self.pace = pace;
        self
    }

    /// The authority. Nothing is sent yet, and no credentials are asked for.
    ///
    /// # Errors
    ///
    /// [`AuthorityErrorKind::Configuration`] if the id of the user pool or of the app client cannot be one, or an address is
    /// neither https nor loopback.
    pub fn build(self) -> Result<Cognito, AuthorityError> {
        let region = region_of(&self.pool).ok_or_else(no_pool)?;
        // `[\w+]+`
        let is_word = |byte: u8| byte.is_ascii_alphanumeric() || b"_+".contains(&byte);
        if self.client.is_empty() || !self.client.bytes().all(is_word) {
            return Err(configuration(
                "the client id cannot be one: it is that of an app client, of letters and digits",
            ));
        }
        let endpoint = match self.endpoint {
            Some(url) => url,
            None => api_of(region)?,
        };
        let (http, signer) = match self.beside {
            Some(shared) => shared,
            None => {
                let given = self.access_key.map(|(id, key)| {
                    let token = self.session_token.map(|token| token.expose().to_owned());
                    Credentials::new(id, key.expose(), token, None, "given to keyswap")
                });
                let http = client_for("cognito", &[&endpoint, &self.domain])?;
                (http, Arc::new(Signer::new(region.to_owned(), given)))
            }
        };
        let token_endpoint = Cognito::token_endpoint(&self.pool, &self.domain)?.url;
        let probe = ProbeRequest::new(http.clone(), token_endpoint, self.client.clone())
            .profile(Profile::Cognito)
            .authentication(self.authentication);
        let mut by_client_credentials = probe.clone();
        if let Some(scope) = &self.scope {
            by_client_credentials = by_client_credentials.parameter("scope", scope);
        }
        let by_refresh_token = probe
            .incomplete("refresh_token", &[("invalid_grant", "")])
            .parameter("refresh_token", "none");
        Ok(Cognito {
            http,
            signer,
            endpoint,
            pool: self.pool,
            client: self.client,
            domain: self.domain,
            scope: self.scope,
            by_client_credentials,
            by_refresh_token,
            proof: Mutex::new(None),
            server_chooses: self.server_chooses,
            propagation_window: self.propagation_window,
            turns: Turns::new(self.pace),
        })
    }
}

fn no_pool() -> AuthorityError {
    configuration("the id of the user pool cannot be one: it looks like eu-west-1_AbCdEfGhI")
}

/// Where AWS has the API of a region.
fn api_of(region: &str) -> Result<Url, AuthorityError> {
    let url = format!("https://cognito-idp.{region}.{}/", Partition::of(region).suffix);
    url.parse().map_err(|_| configuration("the region cannot be one"))
}

impl Cognito {
    /// Where programs get their tokens: at the domain of the user pool, whose issuer is at the API of its region.
    ///
    /// # Errors
    ///
    /// When the id of the user pool, or the domain, cannot be one.
    pub fn token_endpoint(pool: &str, domain: &Url) -> Result<TokenEndpoint, AuthorityError> {
        let region = region_of(pool).ok_or_else(no_pool)?;
        let url = with_segments(domain, &["oauth2", "token"])?;
        let endpoint = TokenEndpoint::new(url, Profile::Cognito, ClientAuthentication::Post);
        Ok(endpoint.issuer(with_segments(&api_of(region)?, &[pool])?))
    }
}

fn configuration(message: &str) -> AuthorityError {
    AuthorityError::new(AuthorityErrorKind::Configuration, format!("cognito: {message}"))
}

/// The region in the id of a user pool: `[\w-]+_[0-9a-zA-Z]+`.
pub(super) fn region_of(pool: &str) -> Option<&str> {
    let is_region = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-';
    let (region, rest) = pool.split_once('_')?;
    let is_one = !region.is_empty()
        && region.bytes().all(is_region)
        && !rest.is_empty()
        && rest.bytes().all(|byte| byte.is_ascii_alphanumeric());
    is_one.then_some(region)
}

/// A part of AWS that is apart from the others.
pub(super) struct Partition {
    /// As resources are named there.
    pub(super) name: &'static str,
    /// As addresses end there.
    suffix: &'static str,
}

impl Partition {
    pub(super) fn of(region: &str) -> Self {
        let (name, suffix) = match region.split('-').next() {
            Some("cn") => ("aws-cn", "amazonaws.com.cn"),
            Some("eusc") => ("aws-eusc", "amazonaws.eu"),
            Some("us") if region.starts_with("us-gov-") => ("aws-us-gov", "amazonaws.com"),
            _ => ("aws", "amazonaws.com"),
        };
        Self { name, suffix }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn builder(pool: &str, client: &str) -> CognitoBuilder {
        let domain = "https://shop.auth.eu-west-1.amazoncognito.com".parse().unwrap();
        let key = Secret::new("key".parse().unwrap(), "access-key-value").unwrap();
        let token = Secret::new("token".parse().unwrap(), "session-token-value").unwrap();
        Cognito::builder(pool, client, domain).access_key("AKIDEXAMPLE", key).session_token(token)
    }

    #[test]
    fn the_region_is_that_of_the_user_pool() {
        for (pool, host) in [
            ("eu-west-1_AbC", "cognito-idp.eu-west-1.amazonaws.com"),
            ("cn-north-1_AbC", "cognito-idp.cn-north-1.amazonaws.com.cn"),
            ("us-gov-west-1_AbC", "cognito-idp.us-gov-west-1.amazonaws.com"),
            ("eusc-de-east-1_AbC", "cognito-idp.eusc-de-east-1.amazonaws.eu"),
        ] {
            assert_eq!(builder(pool, "1example").build().unwrap().host(), host);
        }
    }

    #[test]
    fn what_cannot_be_is_named_before_anything_is_sent() {
        let refused = |builder: CognitoBuilder| {
            let error = builder.build().unwrap_err();
            assert_eq!(error.kind(), AuthorityErrorKind::Configuration);
            error.to_string()
        };
        for pool in ["", "eu-west-1", "_AbC", "eu-west-1_", "eu.example/_AbC", "eu-west-1_A\"B"] {
            assert!(refused(builder(pool, "1example")).contains("id of the user pool"), "{pool}");
        }
        for client in ["", "a\"b", "a b"] {
            assert!(refused(builder("eu-west-1_AbC", client)).contains("client id"), "{client}");
        }
        let plain = builder("eu-west-1_AbC", "1example");
        let plain = plain.endpoint("http://aws.example".parse().unwrap());
        assert!(refused(plain).contains("cognito: "));
    }

    #[test]
    fn neither_the_authority_nor_what_makes_it_shows_the_key() {
        let builder = builder("eu-west-1_AbC", "1example");
        let shown = format!("{builder:?}");
        let cognito = builder.build().unwrap();
        let shown = format!("{shown} {cognito:?} {:?}", cognito.signer);
        assert!(shown.contains("1example") && !shown.contains("-value"), "{shown}");
    }
}
