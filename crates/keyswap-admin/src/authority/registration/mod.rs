//! Dynamic client registration (RFC 7591, RFC 7592): a client changes its own registration at its client
//! configuration endpoint, with its registration access token.
//!
//! RFC 7592 has no request that means "another secret": a server may issue one in its answer to any update,
//! and a client may not choose one (section 2.2). So which way a server has cannot be asked. What is sent is
//! an update that changes nothing; a server that answers it with the secret that there was has changed
//! nothing, and says so before any program was told of anything.
//!
//! Measured with the npm package oidc-provider 9.13.3: it keeps the secret at an update unless a policy of
//! the deployment says otherwise, gives a new token with each update, refuses the four members that it alone
//! writes, and destroys a token that is used for another client.

mod answer;
mod token;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{Method, StatusCode};
use keyswap_core::{Secret, SecretId};
use keyswap_store::{SecretStore, StoreError};
use keyswap_tower::Profile;
use serde::Deserialize;
use url::Url;

pub use self::token::RegistrationToken;

use self::answer::Registered;
use super::described::{Asked, Request, asking, written_down};
use super::http::{
    Answer, DEFAULT_PAUSE, MOST_ASKED, authorization, client_for, error_code, lost, send,
    unreachable,
};
use super::pace::{Pace, Turns};
use super::probe::{ClientAuthentication, ProbeRequest};
use super::{
    AddAnswer, Authority, AuthorityError, AuthorityErrorKind, Capabilities, ChangeAnswer, Probe,
    ReadBack,
};
use crate::rotation::Timestamp;

type Said = Arc<dyn Fn(&str) + Send + Sync>;

/// A client at its client configuration endpoint (RFC 7592).
///
/// At a server that issues a new secret with an update, a rotation has to
/// [accept](crate::Rotator::accept_gap) that token requests fail for a while, even if the server takes the old
/// one for some time: nobody can hand out the new one before, and a process may end in between. One that
/// keeps the secret is told by the first request, which changes nothing there. For one that lets a client
/// choose, against the RFC, there is [`client_chooses`](RegistrationBuilder::client_chooses).
///
/// The registration access token is in a [place of its own](RegistrationToken) in a store, and a new one that
/// comes with an answer is there before anything else is done with that answer. With an answer that is lost,
/// such a token is lost as well. Then the rotation stops, since nobody but the server's administrator can do
/// anything at the registration any more; once another token was stored, it is resumed.
///
/// ```no_run
/// use keyswap_admin::authority::{Registration, RegistrationToken};
/// use keyswap_store::FileStore;
///
/// # fn example(store: FileStore) -> Result<Registration<FileStore>, keyswap_admin::AuthorityError> {
/// let uri = "https://auth.example/register/billing".parse().expect("an address");
/// let token_endpoint = "https://auth.example/token".parse().expect("an address");
/// Registration::builder(uri, token_endpoint, "billing", RegistrationToken::new(store)).build()
/// # }
/// ```
pub struct Registration<S> {
    http: reqwest::Client,
    client_uri: Url,
    client: String,
    token: RegistrationToken<S>,
    probe: ProbeRequest,
    authentication: ClientAuthentication,
    client_chooses: bool,
    propagation_window: Duration,
    turns: Turns,
    said: Said,
}

/// Makes a [`Registration`].
#[must_use]
pub struct RegistrationBuilder<S> {
    client_uri: Url,
    token_endpoint: Url,
    client: String,
    token: RegistrationToken<S>,
    scope: Option<String>,
    profile: Profile,
    authentication: ClientAuthentication,
    client_chooses: bool,
    propagation_window: Duration,
    pace: Pace,
    said: Said,
}

/// What a server of RFC 7592 can do, unless the builder says otherwise.
#[must_use]
pub(super) fn usual() -> Capabilities {
    Capabilities::new("registration")
        .chosen_by_caller(false)
        // Nobody knows which server it is.
        .propagation_window(Duration::from_secs(30))
        .needs("the client's registration access token, in keyswap's own store")
}

impl<S: SecretStore> Registration<S> {
    /// What a server of RFC 7592 can do, unless the builder says otherwise.
    #[must_use]
    pub fn usual() -> Capabilities {
        usual()
    }

    /// The client `client_id`, whose `registration_client_uri` and token endpoint these are.
    pub fn builder(
        registration_client_uri: Url,
        token_endpoint: Url,
        client_id: impl Into<String>,
        token: RegistrationToken<S>,
    ) -> RegistrationBuilder<S> {
        RegistrationBuilder {
            client_uri: registration_client_uri,
            token_endpoint,
            client: client_id.into(),
            token,
            scope: None,
            profile: Profile::default(),
            authentication: ClientAuthentication::Basic,
            client_chooses: false,
            propagation_window: usual().propagation_window,
            pace: Pace::default(),
            said: Arc::new(|_| {}),
        }
    }
}

impl<S: SecretStore> RegistrationBuilder<S> {
    /// The scope of the token requests that prove a secret.
    pub fn scope(mut self, scope: impl Into<String>) -> Self {
        self.scope = Some(scope.into());
        self
    }

    /// How the server says that a secret is wrong; as RFC 6749 has it by default.
    pub fn profile(mut self, profile: Profile) -> Self {
        self.profile = profile;
        self
    }

    /// How the client authenticates (its `token_endpoint_auth_method`). Basic by default, as in RFC 7591.
    pub fn authentication(mut self, authentication: ClientAuthentication) -> Self {
        self.authentication = authentication;
        self
    }

    /// Whether an update may bring a secret of the client's own choice, which RFC 7592 forbids and some
    /// servers take. Then every program has the new secret before the server does.
    pub fn client_chooses(mut self, chooses: bool) -> Self {
        self.client_chooses = chooses;
        self
    }

    /// How long nodes may disagree after a change. 30 s by default.
    pub fn propagation_window(mut self, window: Duration) -> Self {
        self.propagation_window = window;
        self
    }

    /// The pace of the requests, which other clients of the same server may share.
    pub fn pace(mut self, pace: Pace) -> Self {
        self.pace = pace;
        self
    }

    /// Is told what a person should know of the registration: when a secret expires, or a token that could
    /// not be stored.
    pub fn on_said(mut self, said: impl Fn(&str) + Send + Sync + 'static) -> Self {
        self.said = Arc::new(said);
        self
    }

    /// The authority. Nothing is sent yet.
    ///
    /// # Errors
    ///
    /// [`AuthorityErrorKind::Configuration`] if an address is neither https nor loopback.
    pub fn build(self) -> Result<Registration<S>, AuthorityError> {
        let http = client_for("registration", &[&self.client_uri, &self.token_endpoint])?;
        let mut probe = ProbeRequest::new(http.clone(), self.token_endpoint, self.client.clone())
            .profile(self.profile)
            .authentication(self.authentication);
        if let Some(scope) = self.scope {
            probe = probe.parameter("scope", scope);
        }
        Ok(Registration {
            http,
            client_uri: self.client_uri,
            client: self.client,
            token: self.token,
            probe,
            authentication: self.authentication,
            client_chooses: self.client_chooses,
            propagation_window: self.propagation_window,
            turns: Turns::new(self.pace),
            said: self.said,
        })
    }
}

/// An error of the endpoint. Its description is left alone: it may repeat what was sent.
#[derive(Deserialize)]
struct Refusal {
    error: Option<String>,
}

/// Why there is no answer that says what the registration is.
enum Unanswered {
    /// The token cannot be had now.
    Token(StoreError),
    Lost(reqwest::Error),
    /// Something else came.
    Other(Answer),
}

impl<S: SecretStore> Authority for Registration<S> {
    fn capabilities(&self) -> Capabilities {
        usual()
            .chosen_by_caller(self.client_chooses)
            .read_back(self.client_chooses)
            .propagation_window(self.propagation_window)
    }

    async fn ready(&self) {
        self.turns.take_ahead().await;
    }

    async fn check(&self) -> Result<(), AuthorityError> {
        let registered = self.read().await.map_err(|why| self.not_read(why))?;
        if let Some(uri) = registered.uri().filter(|uri| *uri != self.client_uri) {
            (self.said)(&format!(
                "client {} is registered at another address than the configured one: {uri}",
                self.client
            ));
        }
        self.tell_expiry("the present secret", &registered);
        self.authentication.check(&self.client, registered.method())
    }

    async fn describe(&self, asked: &Asked<'_>) -> Vec<Request> {
        written_down(self, asked).await
    }

    async fn probe(&self, secret: &Secret) -> Probe {
        self.probe.send(secret).await
    }

    /// Where the server takes a chosen secret.
    async fn set_secret(&self, secret: &Secret) -> ChangeAnswer {
        let before = match self.read().await {
            Ok(before) => before,
            Err(why) => return self.not_sent(why),
        };
        let answered = match self.update(&before, Some(secret)).await {
            Ok(answered) => answered,
            Err(why) => return self.not_answered(why, "take a secret of the client's choice"),
        };
        match answered.client_secret {
            Some(value) if secret.matches(&value) => ChangeAnswer::Applied,
            Some(value) if before.client_secret.as_ref() == Some(&value) => {
                ChangeAnswer::Refused(self.ignores_a_chosen_one())
            }
            _ => ChangeAnswer::Unknown("the answer does not name the new secret".to_owned()),
        }
    }

    async fn read_back(&self, known: &[Secret]) -> ReadBack {
        let registered = match self.read().await {
            Ok(registered) => registered,
            Err(why) => return ReadBack::Unavailable(self.not_read(why).to_string()),
        };
        match registered.client_secret {
            Some(value) => match known.iter().find(|secret| secret.matches(&value)) {
                Some(secret) => ReadBack::Holds(secret.id().clone()),
                None => ReadBack::Other,
            },
            None => ReadBack::Unavailable("the server does not show the secret".to_owned()),
        }
    }

    async fn regenerate_secret(&self, id: &SecretId) -> AddAnswer {
        let before = match self.read().await {
            Ok(before) => before,
            Err(why) => return AddAnswer::without_a_secret(self.not_sent(why)),
        };
        let present = before.secret(id);
        let mut answered = match self.update(&before, present.as_ref()).await {
            Ok(answered) => answered,
            Err(why) => return AddAnswer::without_a_secret(self.not_answered(why, "update it")),
        };
        if answered.client_secret.is_none() && present.is_some() {
            // A server that shows the secret when it is asked may leave it out elsewhere.
            match self.read().await {
                Ok(read) => answered = read,
                Err(why) => return AddAnswer::Unknown(self.not_read(why).to_string()),
            }
        }
        match answered.secret(id) {
            Some(next)
                if present.as_ref().is_none_or(|before| before.expose() != next.expose()) =>
            {
                self.tell_expiry("the new secret", &answered);
                AddAnswer::Replaced(next)
            }
            _ => AddAnswer::Refused(self.keeps_it()),
        }
    }
}

impl<S: SecretStore> Registration<S> {
    /// Reads the registration (RFC 7592 section 2.1).
    async fn read(&self) -> Result<Registered, Unanswered> {
        let mut asked = 1;
        loop {
            match asking(self.call(Method::GET, None)).await {
                Err(Unanswered::Other(answer))
                    if answer.turned_away().is_some() && asked < MOST_ASKED =>
                {
                    asked += 1;
                }
                ended => return ended,
            }
        }
    }

    /// Updates the registration (RFC 7592 section 2.2), once.
    async fn update(
        &self,
        before: &Registered,
        secret: Option<&Secret>,
    ) -> Result<Registered, Unanswered> {
        self.call(Method::PUT, Some(before.update(secret))).await
    }

    /// Whatever is asked, a token that comes with the answer is stored before the answer is given on.
    async fn call(
        &self,
        method: Method,
        body: Option<reqwest::Body>,
    ) -> Result<Registered, Unanswered> {
        let held = self.token.hold().await.map_err(Unanswered::Token)?;
        let mut request = self.http.request(method, self.client_uri.clone());
        if let Some(bearer) = authorization("Bearer", &held.token) {
            request = request.header(AUTHORIZATION, bearer);
        }
        if let Some(body) = body {
            request = request.header(CONTENT_TYPE, "application/json").body(body);
        }
        let answer = send(&self.turns, request).await.map_err(Unanswered::Lost)?;
        if !answer.status.is_success() {
            return Err(Unanswered::Other(answer));
        }
        let Some(registered) = answer.json::<Registered>() else {
            return Err(Unanswered::Other(answer));
        };
        if let Some(next) = &registered.registration_access_token
            && let Err(error) = held.keep(next).await
        {
            (self.said)(&format!(
                "client {}: {error}. It is kept in this process and tried again. If this process ends before \
                 that, the server's administrator has to issue another one",
                self.client
            ));
        }
        match registered.client_id == self.client {
            true => Ok(registered),
            false => Err(Unanswered::Other(answer)),
        }
    }

    /// What it means for a change that the request before it had no answer: it was not sent.
    fn not_sent(&self, why: Unanswered) -> ChangeAnswer {
        match why {
            Unanswered::Token(error) if error.is_held() => ChangeAnswer::RetryAfter(DEFAULT_PAUSE),
            Unanswered::Lost(_) => ChangeAnswer::RetryAfter(DEFAULT_PAUSE),
            Unanswered::Other(answer) if answer.turned_away().is_some() => {
                ChangeAnswer::RetryAfter(answer.turned_away().unwrap_or(DEFAULT_PAUSE))
            }
            Unanswered::Other(answer) if answer.status.is_server_error() => {
                ChangeAnswer::RetryAfter(DEFAULT_PAUSE)
            }
            why => ChangeAnswer::Refused(self.not_read(why)),
        }
    }

    fn not_answered(&self, why: Unanswered, doing: &str) -> ChangeAnswer {
        match why {
            Unanswered::Token(_) => self.not_sent(why),
            Unanswered::Lost(error) => ChangeAnswer::Unknown(lost(&error)),
            Unanswered::Other(answer) => {
                answer.as_change(|| self.refused(&answer, doing)).unwrap_or_else(|| {
                    ChangeAnswer::Unknown(format!("{} with something else", answer.said()))
                })
            }
        }
    }

    fn not_read(&self, why: Unanswered) -> AuthorityError {
        match why {
            Unanswered::Token(error) if error.is_held() => {
                AuthorityError::new(AuthorityErrorKind::Throttled, error.to_string())
            }
            Unanswered::Token(error) => {
                AuthorityError::new(AuthorityErrorKind::Configuration, error.to_string())
            }
            Unanswered::Lost(error) => unreachable(&self.client_uri, &error),
            Unanswered::Other(answer) if answer.status.is_success() => AuthorityError::new(
                AuthorityErrorKind::Unexpected,
                format!(
                    "{} at {} with something that is not the registration of client {}: check that \
                         `registration_client_uri` is the one that the server gave this client",
                    answer.said(),
                    self.host(),
                    self.client
                ),
            ),
            Unanswered::Other(answer) => self.refused(&answer, "read it"),
        }
    }

    fn tell_expiry(&self, what: &str, registered: &Registered) {
        if let Some(at) = registered.expires() {
            let at = Timestamp::from_milliseconds(at);
            (self.said)(&format!(
                "{what} of client {} expires at {at}: rotate before that",
                self.client
            ));
        }
    }

    fn host(&self) -> &str {
        self.client_uri.host_str().unwrap_or("an unnamed host")
    }

    fn keeps_it(&self) -> AuthorityError {
        AuthorityError::new(
            AuthorityErrorKind::Unsupported,
            format!(
                "the server at {} took an update of client {} and issued no other secret: it keeps the one that \
                 there is, and RFC 7592 has no request for another. Nothing was changed. Have it issue one with \
                 an update, or set the secret in another way (kind = \"exec\"). `keyswap rollback` ends this \
                 rotation",
                self.host(),
                self.client
            ),
        )
    }

    fn ignores_a_chosen_one(&self) -> AuthorityError {
        AuthorityError::new(
            AuthorityErrorKind::Unsupported,
            format!(
                "the server at {} took an update of client {} and left out the secret that it brought: it lets no \
                 client choose one (RFC 7592 section 2.2). Leave `client_chooses` out of the configuration. \
                 `keyswap rollback` ends this rotation",
                self.host(),
                self.client
            ),
        )
    }

    fn refused(&self, answer: &Answer, doing: &str) -> AuthorityError {
        if let Some(error) = answer.as_transient() {
            return error;
        }
        let code = answer.json::<Refusal>().and_then(|refusal| refusal.error).and_then(error_code);
        let code = code.map(|code| format!(" ({code})")).unwrap_or_default();
        let (client, host, status) = (&self.client, self.host(), answer.status.as_u16());
        let (kind, message) = match answer.status {
            StatusCode::UNAUTHORIZED => (
                AuthorityErrorKind::Credentials,
                format!(
                    "the server at {host} does not take the registration access token of client {client}{code}. \
                     If it gives a new token with each update, an update whose answer was lost took that with \
                     it: the update may have been made, and the secret be one that nobody was told. Only the \
                     server's administrator can issue another token: store it with `keyswap init \
                     --registration-token-file FILE`, and then `keyswap resume`. The rotation goes on with \
                     another secret. Also possible: the client is gone, or the token is another client's"
                ),
            ),
            StatusCode::FORBIDDEN => (
                AuthorityErrorKind::Permissions,
                format!(
                    "the registration access token of client {client} may not {doing} at {host}{code}: have \
                     the server let clients manage their registration"
                ),
            ),
            StatusCode::NOT_FOUND => (
                AuthorityErrorKind::NoSuchClient,
                format!(
                    "the server at {host} has no client configuration endpoint for client {client} there{code}: \
                     check `registration_client_uri`, and that the server has dynamic client registration \
                     management (RFC 7592) switched on"
                ),
            ),
            StatusCode::METHOD_NOT_ALLOWED | StatusCode::NOT_IMPLEMENTED => (
                AuthorityErrorKind::Unsupported,
                format!(
                    "the client configuration endpoint of client {client} at {host} has no call to {doing} \
                     with status {status}{code} (RFC 7592 section 2)"
                ),
            ),
            _ => (
                AuthorityErrorKind::Refused,
                format!(
                    "the server at {host} refuses to {doing} (client {client}) with status {status}{code}. Nothing \
                     was changed; `keyswap rollback` ends a rotation that is under way"
                ),
            ),
        };
        AuthorityError::new(kind, message)
    }
}

impl<S> fmt::Debug for Registration<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registration")
            .field("host", &self.client_uri.host_str())
            .field("client", &self.client)
            .finish_non_exhaustive()
    }
}

impl<S> fmt::Debug for RegistrationBuilder<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RegistrationBuilder").field("client", &self.client).finish_non_exhaustive()
    }
}
