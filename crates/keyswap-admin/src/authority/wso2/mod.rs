//! WSO2 Identity Server and Asgardeo: two secrets an application, chosen by the server, of which the one that was added
//! last is never removed.
//!
//! Sources: `applications.yaml` and `OAuthInboundFunctions` of wso2/identity-api-server (c2446d9c, 2026-08-21),
//! `OAuthAdminServiceImpl`, `OAuthAppDAO`, `OAuth2Util.isClientSecretValid` and `AccessTokenIssuer` of
//! wso2-extensions/identity-inbound-auth-oauth (c4c32bb3, 2026-08-21). It was not tried at a live server. What
//! `POST .../regenerate-secret` does, which is all that earlier versions have, ends all secrets and all tokens at once,
//! and is not made use of.

mod builder;
mod listed;
mod refusal;

use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use http::StatusCode;
use http::header::CONTENT_TYPE;
use keyswap_core::{Secret, SecretId};
use keyswap_tower::Profile;
use serde_json::json;
use url::Url;

pub use self::builder::Wso2Builder;
use self::listed::{Application, FIRST_SECRET, Secrets, Shown, mark};
use super::described::{Asked, Request, written_down};
use super::endpoint::TokenEndpoint;
use super::http::{Answer, ask, leased_body, with_segments};
use super::management::ManagementTokens;
use super::pace::Turns;
use super::probe::{ClientAuthentication, ProbeRequest};
use super::{
    AddAnswer, Authority, AuthorityError, AuthorityErrorKind, Capabilities, ChangeAnswer, Listed,
    NewSecret, Probe, SlotId,
};

/// What the management client asks for.
const SCOPES: [&str; 4] = [
    "internal_application_mgt_view",
    "internal_application_mgt_client_secret_view",
    "internal_application_mgt_client_secret_create",
    "internal_application_mgt_client_secret_delete",
];

/// One application of a WSO2 Identity Server, or of an organization of Asgardeo.
///
/// WSO2 chooses the value of a secret, and takes the one of before beside it. It never removes the one that was added
/// last, so a rotation that has added one goes on: see [`Capabilities::removes_newest`]. It keeps no text with a secret,
/// but a time at which it ends. The secrets that keyswap adds end in the 23rd century, at a second that tells which one
/// each is, so that one whose answer was lost is found, and its value read, where the server keeps values.
///
/// A secret is proved by a client-credentials request; an application that may not use that grant is told so only after
/// it has shown the right secret.
///
/// ```no_run
/// use keyswap_admin::Wso2;
/// use keyswap_core::SecretRing;
///
/// # fn example(management: SecretRing) -> Result<Wso2, keyswap_admin::AuthorityError> {
/// // An organization other than the first one is in the path, as at Asgardeo.
/// let server = "https://api.asgardeo.io/t/shop".parse().expect("an address");
/// Wso2::builder(server, "Xk2hW8vPq0dN5cRt", "7bce1d9a-3f0e-4b6b-9a43-2b1f0d5c8e77")
///     .management("rotator", management)
///     .build()
/// # }
/// ```
pub struct Wso2 {
    http: reqwest::Client,
    turns: Turns,
    base: Url,
    protocol_url: Url,
    secrets_url: Url,
    client: String,
    application: String,
    /// Who makes the management requests.
    management: String,
    tokens: ManagementTokens,
    probe: ProbeRequest,
    authentication: ClientAuthentication,
    propagation_window: Duration,
    remarks: Mutex<Vec<String>>,
}

impl Wso2 {
    /// Where programs get their tokens from the server at this address, which is also the issuer's (`/oauth2/token`).
    ///
    /// # Errors
    ///
    /// When the address cannot be one.
    pub fn token_endpoint(base: &Url) -> Result<TokenEndpoint, AuthorityError> {
        let url = with_segments(base, &["oauth2", "token"])?;
        let endpoint = TokenEndpoint::new(url.clone(), Profile::Wso2, ClientAuthentication::Basic);
        Ok(endpoint.issuer(url))
    }

    /// What WSO2 can do, unless the builder says otherwise.
    #[must_use]
    pub fn usual() -> Capabilities {
        Capabilities::new("wso2")
            // `MaxSecretCount`; the API does not say what it is set to.
            .slots(2)
            .chosen_by_caller(false)
            .removes_newest(false)
            .needs("a client with internal_application_mgt_view and ..._client_secret_view, _create and _delete")
    }

    /// The application with this client id and this id (of the application, as the address of its page in the console
    /// shows it), of the server or organization at `base`: `https://login.example`, `https://login.example/t/TENANT` or
    /// `https://api.asgardeo.io/t/ORGANIZATION`.
    pub fn builder(
        base: Url,
        client_id: impl Into<String>,
        application_id: impl Into<String>,
    ) -> Wso2Builder {
        Wso2Builder::new(base, client_id.into(), application_id.into())
    }

    /// Another application there, which shares the connections, the management token and the [`Pace`](super::Pace)
    /// with this one.
    pub fn another(
        &self,
        client_id: impl Into<String>,
        application_id: impl Into<String>,
    ) -> Wso2Builder {
        Self::builder(self.base.clone(), client_id, application_id)
            .propagation_window(self.propagation_window)
            .pace(self.turns.pace.clone())
            .beside(self.http.clone(), self.tokens.clone(), self.management.clone())
    }
}

impl Authority for Wso2 {
    fn capabilities(&self) -> Capabilities {
        Self::usual().propagation_window(self.propagation_window)
    }

    async fn check(&self) -> Result<(), AuthorityError> {
        let token = self.tokens.to_ask().await.map_err(|error| self.no_token(&error))?;
        // A scope that would be missing only at a change is missed now.
        if let Some(granted) = token.scope() {
            let lacks = |scope: &&&str| !granted.split(' ').any(|one| one == **scope);
            if let Some(scope) = SCOPES.iter().find(lacks) {
                return Err(self.missing_scope(scope));
            }
        }
        let answer = self.read(&self.protocol_url).await?;
        if !answer.status.is_success() {
            return Err(self.refused(&answer, "read it", SCOPES[0]));
        }
        let application: Application = answer.json().ok_or_else(|| self.not_wso2(&answer))?;
        self.check_application(&application)?;
        let secrets = self.secrets().await?;
        let mut remarks = self.remarks.lock().unwrap_or_else(PoisonError::into_inner);
        *remarks = secrets.are_hashed().then(|| self.values_are_not_kept()).into_iter().collect();
        Ok(())
    }

    fn remarks(&self) -> Vec<String> {
        self.remarks.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    async fn ready(&self) {
        self.tokens.ready().await;
        self.turns.take_ahead().await;
    }

    async fn describe(&self, asked: &Asked<'_>) -> Vec<Request> {
        written_down(self, asked).await
    }

    async fn probe(&self, secret: &Secret) -> Probe {
        self.probe.send(secret).await
    }

    async fn slots(&self, known: &[Secret]) -> Listed {
        match self.secrets().await {
            Ok(secrets) => Listed::Slots(secrets.slots(known)),
            Err(error) => Listed::Unavailable(error.to_string()),
        }
    }

    async fn add_secret(&self, new: &NewSecret) -> AddAnswer {
        match new {
            NewSecret::Awaited(id) => {
                self.add(id).await.unwrap_or_else(|answer| answer.into_answer())
            }
            NewSecret::Known(_) => {
                AddAnswer::Refused(self.cannot("take a value that it did not choose"))
            }
        }
    }

    /// The one that a request without an answer has added is found by when it ends, and is the one: it could not be
    /// removed, and there would be no room for another.
    async fn add_secret_again(&self, new: &NewSecret, _: &Secret) -> AddAnswer {
        let secrets = match self.secrets().await {
            Ok(secrets) => secrets,
            Err(error) => return AddAnswer::Unknown(error.to_string()),
        };
        let Some(shown) = secrets.marked(new.id()) else { return self.add_secret(new).await };
        if let Some(secret) =
            shown.value().and_then(|value| Secret::new(new.id().clone(), value).ok())
        {
            return AddAnswer::Added(shown.slot(), secret);
        }
        // Where there is room, another one makes the one that nobody knows removable.
        match self.add(new.id()).await {
            Err(Refused::NoRoom(_)) => AddAnswer::Refused(self.value_is_lost(&shown.slot())),
            Err(answer) => answer.into_answer(),
            Ok(answer) => answer,
        }
    }

    async fn remove_secret(&self, slot: &SlotId) -> ChangeAnswer {
        let name = match slot.as_str() == FIRST_SECRET {
            true => match self.secrets().await {
                Ok(secrets) => match secrets.named(slot) {
                    Some(name) => name.clone(),
                    None => return ChangeAnswer::Applied,
                },
                Err(error) => return ChangeAnswer::Unknown(error.to_string()),
            },
            false => slot.clone(),
        };
        let url = match with_segments(&self.secrets_url, &[name.as_str()]) {
            Ok(url) => url,
            Err(error) => return ChangeAnswer::Refused(error),
        };
        let answer = self.tokens.send(&self.turns, || self.http.delete(url.clone())).await;
        let answer = match answer {
            Ok(answer) => answer,
            Err(failure) => return failure.into_change(|error| self.no_token(error)),
        };
        if refusal::knows_no_such_secret(&answer) {
            return ChangeAnswer::Applied;
        }
        let refused = || match refusal::is_the_newest(&answer) {
            true => self.stays(slot),
            false => self.refused(&answer, "remove one of its secrets", SCOPES[3]),
        };
        match answer.as_change(refused) {
            Some(change) => change,
            None if answer.status == StatusCode::NO_CONTENT => ChangeAnswer::Applied,
            None => ChangeAnswer::Unknown(format!("{} to a removal", answer.said())),
        }
    }
}

/// Why there is no new secret.
enum Refused {
    /// There are as many as there may be.
    NoRoom(AuthorityError),
    Otherwise(AddAnswer),
}

impl Refused {
    fn into_answer(self) -> AddAnswer {
        match self {
            Self::NoRoom(error) => AddAnswer::Refused(error),
            Self::Otherwise(answer) => answer,
        }
    }
}

impl Wso2 {
    async fn read(&self, url: &Url) -> Result<Answer, AuthorityError> {
        let request = || self.http.get(url.clone());
        let answer = ask(|| self.tokens.send(&self.turns, request)).await;
        answer.map_err(|failure| failure.into_error(&self.base, |error| self.no_token(error)))
    }

    async fn secrets(&self) -> Result<Secrets, AuthorityError> {
        let answer = self.read(&self.secrets_url).await?;
        if refusal::has_no_such_call(&answer) {
            return Err(self.lacks_the_call());
        }
        if !answer.status.is_success() {
            return Err(self.refused(&answer, "list its secrets", SCOPES[1]));
        }
        answer.json().ok_or_else(|| self.not_wso2(&answer))
    }

    fn check_application(&self, application: &Application) -> Result<(), AuthorityError> {
        let (client, id) = (&self.client, &self.application);
        let error = |kind, message| Err(AuthorityError::new(kind, message));
        if application.client_id != *client {
            return error(
                AuthorityErrorKind::Configuration,
                format!(
                    "the application {id} has another client id than {client}: check `application_id`, which stands \
                     in the address of the application's page in the console"
                ),
            );
        }
        if application.public_client {
            return error(
                AuthorityErrorKind::UnsupportedClient,
                format!("client {client} is a public client: there is no client secret to rotate"),
            );
        }
        if application.state.as_deref() == Some("REVOKED") {
            return error(
                AuthorityErrorKind::UnsupportedClient,
                format!(
                    "client {client} is revoked, so no secret of it is taken: reactivate the application in the \
                     console (Protocol) first"
                ),
            );
        }
        self.authentication.check(client, application.method())
    }

    /// Has the server choose a secret, once.
    async fn add(&self, id: &SecretId) -> Result<AddAnswer, Refused> {
        let body = bytes::Bytes::from(json!({ "expiresAt": mark(id) }).to_string());
        let request = || {
            let request = self.http.post(self.secrets_url.clone());
            request.header(CONTENT_TYPE, "application/json").body(leased_body(body.clone()))
        };
        let otherwise = |change| Refused::Otherwise(AddAnswer::without_a_secret(change));
        let answer = self.tokens.send(&self.turns, request).await;
        let answer = answer
            .map_err(|failure| otherwise(failure.into_change(|error| self.no_token(error))))?;
        if refusal::has_no_room(&answer) {
            return Err(Refused::NoRoom(self.no_room()));
        }
        if let Some(change) = answer.as_change(|| self.refused(&answer, "add a secret", SCOPES[2]))
        {
            return Err(otherwise(change));
        }
        let unknown = |reason| Err(Refused::Otherwise(AddAnswer::Unknown(reason)));
        let Some(shown) = answer.json::<Shown>() else {
            return unknown(format!("{} with something else", answer.said()));
        };
        match shown.value().map(|value| Secret::new(id.clone(), value)) {
            Some(Ok(secret)) => Ok(AddAnswer::Added(shown.slot(), secret)),
            _ => unknown("the answer holds no secret".to_owned()),
        }
    }
}

impl fmt::Debug for Wso2 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wso2")
            .field("server", &self.base.host_str())
            .field("client", &self.client)
            .finish_non_exhaustive()
    }
}
