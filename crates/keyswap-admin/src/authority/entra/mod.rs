//! Microsoft Entra ID: several secrets an application, chosen by the server, each of which ends by itself.
//!
//! Sources: the Microsoft Graph reference (`application: addPassword`, `removePassword`, `get`; `passwordCredential`),
//! "Validation differences by supported account types" for how many there may be, "OAuth 2.0 client credentials
//! flow on the Microsoft identity platform". That a new secret is refused for some seconds, and that what Graph lists lags
//! behind what was changed, is from reports (microsoft-graph-docs 17966, msgraph-bicep-types 193).

mod activity;
mod application;
mod builder;
mod refusal;

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http::StatusCode;
use keyswap_core::Secret;
use serde_json::json;
use url::Url;

use self::application::{Added, Application, Principal, label};
pub use self::builder::EntraBuilder;
use super::described::{Asked, Request, written_down};
use super::http::{Answer, ask, leased_body, with_segments};
use super::management::ManagementTokens;
use super::pace::Turns;
use super::probe::ProbeRequest;
use super::{
    AddAnswer, Authority, AuthorityError, AuthorityErrorKind, Capabilities, ChangeAnswer, Listed,
    NewSecret, Probe, SlotId,
};
use crate::finding::Finding;
use crate::rotation::Timestamp;

/// "Maximum of two client secrets" for applications that let personal accounts sign in.
const MOST_WITH_PERSONAL_ACCOUNTS: u32 = 2;

/// One application of a Microsoft Entra tenant.
///
/// The management client is an application of the same tenant that has the application permission
/// `Application.ReadWrite.OwnedBy` of Microsoft Graph and is an owner of this one, or `Application.ReadWrite.All`, with
/// an administrator's consent.
///
/// Microsoft chooses the value and shows it once. Each secret that keyswap adds bears `keyswap ID` as its display name, so
/// that one whose answer was lost is known by it and removed. A new secret [ends by itself](EntraBuilder::lifetime) after
/// 180 days, unless another lifetime is set.
///
/// With the permission `AuditLog.Read.All` as well, a [look](Authority::look) at it says when each of its secrets was last used.
///
/// A secret is proved by a client-credentials request for [`scope`](EntraBuilder::scope), by default that of Microsoft
/// Graph, which every application may ask for.
///
/// ```no_run
/// use keyswap_admin::Entra;
/// use keyswap_core::SecretRing;
///
/// # fn example(management: SecretRing) -> Result<Entra, keyswap_admin::AuthorityError> {
/// Entra::builder("contoso.onmicrosoft.com", "11112222-bbbb-3333-cccc-4444dddd5555")
///     .management("00001111-aaaa-2222-bbbb-3333cccc4444", management)
///     .build()
/// # }
/// ```
pub struct Entra {
    http: reqwest::Client,
    turns: Turns,
    tenant: String,
    login: Url,
    graph: Url,
    application_url: Url,
    /// Where it is named by its client id, and not by the object id.
    principal_url: Option<Url>,
    client: String,
    tokens: ManagementTokens,
    probe: ProbeRequest,
    lifetime: Duration,
    propagation_window: Duration,
    /// Whether the look at the application has shown that it lets personal accounts sign in.
    has_personal_accounts: AtomicBool,
}

impl Entra {
    /// What Microsoft Entra ID can do, unless the builder says otherwise.
    #[must_use]
    pub fn usual() -> Capabilities {
        Capabilities::new("entra")
            // "A global limit of about 1000 items across all the collection properties".
            .slots(1000)
            .chosen_by_caller(false)
            // Microsoft does not say; 4 to 18 s were reported.
            .propagation_window(Duration::from_secs(120))
            .needs("a client with Application.ReadWrite.OwnedBy or .All of Microsoft Graph")
    }

    /// The application with this client id (`appId`), in the tenant with this id or domain.
    pub fn builder(tenant: impl Into<String>, client_id: impl Into<String>) -> EntraBuilder {
        EntraBuilder::new(tenant.into(), client_id.into())
    }

    /// Another application of the same tenant, which shares the connections, the management token and the
    /// [`Pace`](super::Pace) with this one.
    pub fn another(&self, client_id: impl Into<String>) -> EntraBuilder {
        let builder = Self::builder(self.tenant.clone(), client_id)
            .login_url(self.login.clone())
            .graph_url(self.graph.clone())
            .lifetime(self.lifetime)
            .propagation_window(self.propagation_window)
            .pace(self.turns.pace.clone());
        builder.beside(self.http.clone(), self.tokens.clone())
    }
}

impl Authority for Entra {
    fn capabilities(&self) -> Capabilities {
        let usual = Self::usual().propagation_window(self.propagation_window);
        match self.has_personal_accounts.load(Ordering::Relaxed) {
            true => usual.slots(MOST_WITH_PERSONAL_ACCOUNTS),
            false => usual,
        }
    }

    async fn check(&self) -> Result<(), AuthorityError> {
        let token = self.tokens.to_ask().await.map_err(|error| self.no_token(&error))?;
        // A permission that would be missing only at the change is missed now.
        if application::roles(&token).is_some_and(|roles| !refusal::may_change(&roles)) {
            return Err(self.missing_permission("change its secrets"));
        }
        let answer = self.read(&self.application_url, application::FIELDS).await?;
        if answer.status == StatusCode::NOT_FOUND {
            let principal = self.principal().await;
            return Err(self.no_application(&answer, principal.as_ref()));
        }
        let application = self.application(&answer)?;
        if !application.is_of(&self.client) {
            return Err(AuthorityError::new(
                AuthorityErrorKind::Configuration,
                format!(
                    "the application with this object id has another client id than {}: check which \
                     application it is",
                    self.client
                ),
            ));
        }
        if let Some(instead) = application.authenticates_otherwise() {
            return Err(AuthorityError::new(
                AuthorityErrorKind::UnsupportedClient,
                format!(
                    "client {} has no client secret that could be rotated: it authenticates by {instead}",
                    self.client
                ),
            ));
        }
        let personal = application.takes_personal_accounts();
        self.has_personal_accounts.store(personal, Ordering::Relaxed);
        Ok(())
    }

    async fn look(&self) -> Vec<Finding> {
        vec![activity::look(self).await]
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
        let answer = match self.read(&self.application_url, application::FIELDS).await {
            Ok(answer) => answer,
            Err(error) => return Listed::Unavailable(error.to_string()),
        };
        match self.application(&answer) {
            Ok(application) => Listed::Slots(application.slots(known, Timestamp::now())),
            Err(error) => Listed::Unavailable(error.to_string()),
        }
    }

    async fn add_secret(&self, new: &NewSecret) -> AddAnswer {
        let NewSecret::Awaited(id) = new else {
            return AddAnswer::Refused(self.cannot("take a value that it did not choose"));
        };
        let ends = Timestamp::now().after(self.lifetime);
        let credential = json!({ "displayName": label(id), "endDateTime": ends.to_string() });
        let body = json!({ "passwordCredential": credential });
        let answer = match self.change("addPassword", &body, "add a secret").await {
            Ok(answer) => answer,
            Err(change) => return AddAnswer::without_a_secret(change),
        };
        // Only this answer ever shows the value.
        let Some(Added { key_id, secret_text }) = answer.json() else {
            return AddAnswer::Unknown(format!("{} with something else", answer.said()));
        };
        match Secret::new(id.clone(), secret_text.as_str()) {
            Ok(secret) => AddAnswer::Added(key_id, secret),
            Err(_) => AddAnswer::Unknown("the answer holds no secret".to_owned()),
        }
    }

    async fn remove_secret(&self, slot: &SlotId) -> ChangeAnswer {
        let body = json!({ "keyId": slot });
        match self.change("removePassword", &body, "remove one of its secrets").await {
            Ok(answer) if answer.status == StatusCode::NO_CONTENT => ChangeAnswer::Applied,
            Ok(answer) => ChangeAnswer::Unknown(format!("{} to a removal", answer.said())),
            Err(change) => change,
        }
    }
}

impl Entra {
    async fn read(&self, url: &Url, fields: &str) -> Result<Answer, AuthorityError> {
        let mut url = url.clone();
        url.query_pairs_mut().append_pair("$select", fields);
        self.get(&url).await
    }

    async fn get(&self, url: &Url) -> Result<Answer, AuthorityError> {
        let request = || self.http.get(url.clone());
        let answer = ask(|| self.tokens.send(&self.turns, request)).await;
        answer.map_err(|failure| failure.into_error(&self.graph, |error| self.no_token(error)))
    }

    /// What stands for the client in this tenant, if it is not found by its client id.
    async fn principal(&self) -> Option<Principal> {
        let url = self.principal_url.as_ref()?;
        let answer = self.read(url, Principal::FIELDS).await.ok()?;
        answer.json().filter(|_| answer.status.is_success())
    }

    fn application(&self, answer: &Answer) -> Result<Application, AuthorityError> {
        if !answer.status.is_success() {
            return Err(self.refused(answer, "read it"));
        }
        answer.json().ok_or_else(|| self.not_graph(answer))
    }

    /// Asks for a change of the application's secrets, once. The answer is one of success.
    async fn change(
        &self,
        action: &str,
        body: &serde_json::Value,
        doing: &str,
    ) -> Result<Answer, ChangeAnswer> {
        let url = with_segments(&self.application_url, &[action]).map_err(ChangeAnswer::Refused)?;
        let body = bytes::Bytes::from(body.to_string());
        let request = || {
            self.http
                .post(url.clone())
                .header(http::header::CONTENT_TYPE, "application/json")
                .body(leased_body(body.clone()))
        };
        let answer = self.tokens.send(&self.turns, request).await;
        let answer = answer.map_err(|failure| failure.into_change(|error| self.no_token(error)))?;
        // The list tells whether it is gone, or was not there yet at the replica that was asked.
        if refusal::knows_no_such_secret(&answer) {
            return Err(ChangeAnswer::Applied);
        }
        match answer.as_change(|| self.refused(&answer, doing)) {
            Some(change) => Err(change),
            None => Ok(answer),
        }
    }
}

impl fmt::Debug for Entra {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entra")
            .field("tenant", &self.tenant)
            .field("client", &self.client)
            .finish_non_exhaustive()
    }
}
