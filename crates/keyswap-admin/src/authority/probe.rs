//! The token request that proves a secret.

use std::fmt;

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE};
use keyswap_core::{Secret, Verdict};
use keyswap_tower::credential::{Applied, Credential};
use keyswap_tower::verdict::ReadVerdict;
use keyswap_tower::{ClientSecretBasic, ClientSecretPost, Profile};
use serde::Deserialize;
use url::Url;
use url::form_urlencoded::Serializer;

use super::described::unless_written_down;
use super::http::{REQUEST_TIMEOUT, error_code, lost};
use super::{AuthorityError, AuthorityErrorKind, Probe};

/// A token answer is a few kilobytes; more is not read.
const LONGEST_ANSWER: usize = 64 * 1024;

/// How the client authenticates at the token endpoint (RFC 6749 section 2.3.1).
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
#[non_exhaustive]
pub enum ClientAuthentication {
    /// In the body: `client_secret_post`.
    #[default]
    Post,
    /// In the `Authorization` header, form-encoded: `client_secret_basic`.
    Basic,
}

impl ClientAuthentication {
    /// Whether a client that is registered for `method` (`token_endpoint_auth_method`, RFC 7591 section
    /// 2) can be rotated, and authenticates in this way.
    pub(super) fn check(self, client: &str, method: Option<&str>) -> Result<(), AuthorityError> {
        let expected = match self {
            Self::Post => "client_secret_post",
            Self::Basic => "client_secret_basic",
        };
        match method {
            Some(method @ ("none" | "private_key_jwt" | "tls_client_auth")) => {
                Err(AuthorityError::new(
                    AuthorityErrorKind::UnsupportedClient,
                    format!(
                        "client {client} authenticates with {method}: there is no client secret to \
                         rotate"
                    ),
                ))
            }
            Some(method) if method != expected => Err(AuthorityError::new(
                AuthorityErrorKind::Configuration,
                format!(
                    "client {client} is registered for {method}, and keyswap is configured for \
                     {expected}: make them agree"
                ),
            )),
            _ => Ok(()),
        }
    }
}

/// Proves a secret with one client-credentials request, without a fallback and without a redirect.
#[derive(Clone)]
pub struct ProbeRequest {
    http: reqwest::Client,
    endpoint: Url,
    client: String,
    authentication: ClientAuthentication,
    profile: Profile,
    parameters: Vec<(String, String)>,
    /// Errors, and how their descriptions begin, that are answered to a client that was authenticated.
    past_authentication: &'static [(&'static str, &'static str)],
}

impl ProbeRequest {
    /// A request of `client_id` to this token endpoint. The client comes from
    /// [`keyswap_reqwest::client_builder`], so that no redirect carries the secret on.
    #[must_use]
    pub fn new(http: reqwest::Client, endpoint: Url, client_id: impl Into<String>) -> Self {
        Self {
            http,
            endpoint,
            client: client_id.into(),
            authentication: ClientAuthentication::default(),
            profile: Profile::default(),
            parameters: vec![("grant_type".to_owned(), "client_credentials".to_owned())],
            past_authentication: &[],
        }
    }

    /// Asks by a request for this grant that is not complete, for clients that may not use the client
    /// credentials grant: a server that looks at the client first gives one of these errors, with a
    /// description that begins so, to one that showed the right secret.
    pub(super) fn incomplete(
        mut self,
        grant_type: &str,
        past_authentication: &'static [(&'static str, &'static str)],
    ) -> Self {
        self.parameters = vec![("grant_type".to_owned(), grant_type.to_owned())];
        self.past_authentication = past_authentication;
        self
    }

    /// Asks what the server knows of this token, at an endpoint of RFC 7662, for clients that may not use the client
    /// credentials grant: whoever shows the right secret is told that it is not active.
    pub(super) fn introspecting(mut self, token: &str) -> Self {
        self.parameters = vec![("token".to_owned(), token.to_owned())];
        self
    }

    /// How the client authenticates. Post by default.
    #[must_use]
    pub fn authentication(mut self, authentication: ClientAuthentication) -> Self {
        self.authentication = authentication;
        self
    }

    /// How the server says that a secret is wrong.
    #[must_use]
    pub fn profile(mut self, profile: Profile) -> Self {
        self.profile = profile;
        self
    }

    /// Adds a parameter: `scope`, or `audience` where the server wants one.
    #[must_use]
    pub fn parameter(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.parameters.push((name.into(), value.into()));
        self
    }

    /// Sends it with this secret.
    pub async fn send(&self, secret: &Secret) -> Probe {
        match self.exchange(secret).await {
            Ok(probe) => probe,
            Err(reason) => Probe::Inconclusive(reason),
        }
    }

    async fn exchange(&self, secret: &Secret) -> Result<Probe, String> {
        let request = self.request(secret)?;
        let Some(request) = unless_written_down(request).await else {
            return Err("it was not sent".to_owned());
        };
        let response = self.http.execute(request).await.map_err(|error| lost(&error))?;
        let response: http::Response<reqwest::Body> = response.into();
        let (head, body) = response.into_parts();
        let limited = http_body_util::Limited::new(body, LONGEST_ANSWER);
        let body = match self.profile.read_head(&head) {
            Some(Verdict::Accepted) => return Ok(Probe::Accepted),
            Some(verdict) if verdict.is_refusal() => return Ok(Probe::Refused),
            _ => http_body_util::BodyExt::collect(limited)
                .await
                .map_err(|_| format!("{}, and its answer could not be read", said(&head, b"")))?
                .to_bytes(),
        };
        Ok(match self.profile.read_head(&head) {
            None => match self.profile.read_body(&head, &body) {
                Verdict::Accepted => Probe::Accepted,
                verdict if verdict.is_refusal() => Probe::Refused,
                _ if self.is_past_authentication(&head, &body) => Probe::Accepted,
                _ => Probe::Inconclusive(said(&head, &body)),
            },
            Some(_) => Probe::Inconclusive(said(&head, &body)),
        })
    }

    fn is_past_authentication(&self, head: &http::response::Parts, body: &[u8]) -> bool {
        let refusal = serde_json::from_slice::<OAuthError>(body).ok();
        let refusal = refusal.filter(|_| head.status == http::StatusCode::BAD_REQUEST);
        refusal.is_some_and(|OAuthError { error, description }| {
            let mut expected = self.past_authentication.iter();
            expected.any(|(code, begins)| error == *code && description.starts_with(begins))
        })
    }

    fn request(&self, secret: &Secret) -> Result<reqwest::Request, String> {
        let form = Serializer::new(String::new()).extend_pairs(&self.parameters).finish();
        let body = Bytes::from(form);
        let (mut head, ()) = http::Request::post(self.endpoint.as_str())
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .header(ACCEPT, "application/json")
            .body(())
            .map_err(|error| error.to_string())?
            .into_parts();
        let client = self.client.as_str();
        let applied = match self.authentication {
            ClientAuthentication::Post => {
                ClientSecretPost::new(client).apply(secret, &mut head, Some(&body))
            }
            ClientAuthentication::Basic => {
                ClientSecretBasic::new(client).apply(secret, &mut head, Some(&body))
            }
        };
        let body = match applied.map_err(|unsuitable| unsuitable.to_string())? {
            Applied::ToBody(body) => body,
            _ => body,
        };
        let mut request = reqwest::Request::try_from(http::Request::from_parts(head, body))
            .map_err(|_| "the address of the token endpoint is not one".to_owned())?;
        *request.timeout_mut() = Some(REQUEST_TIMEOUT);
        Ok(request)
    }
}

#[derive(Deserialize)]
struct OAuthError {
    error: String,
    /// Compared, and never shown: a server may repeat what it was sent.
    #[serde(default, rename = "error_description")]
    description: String,
}

/// The answer in words: the status, and the OAuth error code if it is one. Descriptions are left out:
/// a server may repeat what it was sent.
fn said(head: &http::response::Parts, body: &[u8]) -> String {
    let refusal = serde_json::from_slice::<OAuthError>(body).ok();
    let code = refusal.and_then(|refusal| error_code(refusal.error));
    let status = head.status.as_u16();
    match code {
        Some(code) if status == 403 || code == "invalid_scope" => format!(
            "the token endpoint answered {status} {code}: give the client an API or scope that it may ask for"
        ),
        Some(code) => format!("the token endpoint answered {status} {code}"),
        None => format!("the token endpoint answered {status}"),
    }
}

impl fmt::Debug for ProbeRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProbeRequest")
            .field("endpoint", &self.endpoint.host_str())
            .field("client", &self.client)
            .finish_non_exhaustive()
    }
}
