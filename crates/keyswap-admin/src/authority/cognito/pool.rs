//! The authority: one app client of a user pool.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use keyswap_core::Secret;
use serde::Deserialize;
use serde_json::json;
use url::Url;
use zeroize::Zeroizing;

use super::super::described::{Asked, Request, written_down};
use super::super::http::json_with_secret;
use super::super::pace::Turns;
use super::super::probe::ProbeRequest;
use super::super::{
    AddAnswer, Authority, AuthorityError, AuthorityErrorKind, Capabilities, ChangeAnswer, Listed,
    NewSecret, Probe, Slot, SlotId,
};
use super::app_client::{AppClient, Described, Proof};
use super::builder::CognitoBuilder;
use super::requests::Action;
use super::signing::Signer;
use crate::finding::Finding;

/// One app client of an Amazon Cognito user pool. With the feature `cognito`.
///
/// Management requests are signed with AWS credentials from where AWS's own tools have them (environment, profile, role of the
/// container or machine, web identity) that may `cognito-idp:DescribeUserPoolClient`, `ListUserPoolClientSecrets`,
/// `AddUserPoolClientSecret` and `DeleteUserPoolClientSecret` for the user pool. The region is that of the pool's id.
///
/// A secret is proved at the pool's domain: by a client-credentials request, or, where the app client is one to which users
/// sign in, by a request for a token by a refresh token that there is not.
///
/// ```no_run
/// use keyswap_admin::Cognito;
///
/// # fn example() -> Result<Cognito, keyswap_admin::AuthorityError> {
/// let domain = "https://shop.auth.eu-west-1.amazoncognito.com".parse().expect("an address");
/// Cognito::builder("eu-west-1_AbCdEfGhI", "1example23456789", domain)
///     .scope("orders/read")
///     .build()
/// # }
/// ```
pub struct Cognito {
    pub(super) http: reqwest::Client,
    pub(super) signer: Arc<Signer>,
    pub(super) endpoint: Url,
    pub(super) pool: String,
    pub(super) client: String,
    pub(super) domain: Url,
    pub(super) scope: Option<String>,
    pub(super) by_client_credentials: ProbeRequest,
    pub(super) by_refresh_token: ProbeRequest,
    /// How a secret is proved, once that was found out. Never held over an await.
    pub(super) proof: Mutex<Option<Proof>>,
    pub(super) server_chooses: bool,
    pub(super) propagation_window: Duration,
    pub(super) turns: Turns,
}

impl Cognito {
    /// What a Cognito can do, unless the builder says otherwise.
    #[must_use]
    pub fn usual() -> Capabilities {
        super::usual()
    }

    /// The app client of the user pool, whose tokens come from `domain`: for instance
    /// `https://shop.auth.eu-west-1.amazoncognito.com`, or one of your own.
    pub fn builder(
        user_pool_id: impl Into<String>,
        client_id: impl Into<String>,
        domain: Url,
    ) -> CognitoBuilder {
        CognitoBuilder::new(user_pool_id.into(), client_id.into(), domain)
    }

    /// Another app client of the same user pool, which shares the connections, the AWS credentials and the
    /// [`Pace`](crate::authority::Pace) with this one.
    pub fn another(&self, client_id: impl Into<String>) -> CognitoBuilder {
        Self::builder(self.pool.clone(), client_id, self.domain.clone())
            .endpoint(self.endpoint.clone())
            .server_chooses(self.server_chooses)
            .propagation_window(self.propagation_window)
            .pace(self.turns.pace.clone())
            .beside(self.http.clone(), Arc::clone(&self.signer))
    }

    pub(super) fn host(&self) -> &str {
        self.endpoint.host_str().unwrap_or("an unnamed host")
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Secrets {
    client_secrets: Vec<Descriptor>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Added {
    client_secret_descriptor: Descriptor,
}

/// The value is in it: no `Debug`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Descriptor {
    client_secret_id: SlotId,
    /// Where Cognito chose it, and in the answer to that request alone.
    client_secret_value: Option<Zeroizing<String>>,
}

impl Authority for Cognito {
    fn capabilities(&self) -> Capabilities {
        Self::usual()
            .chosen_by_caller(!self.server_chooses)
            .propagation_window(self.propagation_window)
    }

    async fn ready(&self) {
        self.signer.ready().await;
        self.turns.take_ahead().await;
    }

    async fn check(&self) -> Result<(), AuthorityError> {
        let client = self.app_client().await?;
        if self.list().await?.is_empty() {
            return Err(AuthorityError::new(
                AuthorityErrorKind::UnsupportedClient,
                format!(
                    "app client {} has no client secret that could be rotated: it is a public client",
                    self.client
                ),
            ));
        }
        match self.find_proof(&client)? {
            Proof::ClientCredentials => Ok(()),
            Proof::RefreshToken => self.check_proof().await,
        }
    }

    async fn look(&self) -> Vec<Finding> {
        match self.app_client().await {
            Ok(client) => client.findings(),
            // It was there a moment ago.
            Err(_) => Vec::new(),
        }
    }

    async fn describe(&self, asked: &Asked<'_>) -> Vec<Request> {
        written_down(self, asked).await
    }

    async fn probe(&self, secret: &Secret) -> Probe {
        let known = *self.known_proof();
        let proof = match known {
            Some(proof) => proof,
            // A rotation that is resumed does not check the server first.
            None => match self.app_client().await.and_then(|client| self.find_proof(&client)) {
                Ok(proof) => proof,
                Err(error) => return Probe::Inconclusive(error.to_string()),
            },
        };
        self.request(proof).send(secret).await
    }

    async fn slots(&self, _known: &[Secret]) -> Listed {
        match self.list().await {
            // It shows nothing but ids and times.
            Ok(secrets) => Listed::Slots(
                secrets.into_iter().map(|secret| Slot::new(secret.client_secret_id)).collect(),
            ),
            Err(error) => Listed::Unavailable(error.to_string()),
        }
    }

    async fn add_secret(&self, new: &NewSecret) -> AddAnswer {
        let ids = format!("\"UserPoolId\":\"{}\",\"ClientId\":\"{}\"", self.pool, self.client);
        // The same bytes each time: a request that is repeated adds the same value.
        let body = match new {
            NewSecret::Known(secret) => {
                json_with_secret(&format!("{{{ids},\"ClientSecret\":"), secret, "}")
            }
            NewSecret::Awaited(_) => Bytes::from(format!("{{{ids}}}")),
        };
        let answer = match self.change(Action::Add, body).await {
            Ok(answer) => answer,
            Err(change) => return AddAnswer::without_a_secret(change),
        };
        let Some(Added { client_secret_descriptor: added }) = answer.json() else {
            return AddAnswer::Unknown(format!("{} with something else", answer.said()));
        };
        let id = added.client_secret_id;
        match (new, added.client_secret_value) {
            (NewSecret::Known(secret), None) => AddAnswer::Added(id, secret.clone()),
            (NewSecret::Known(secret), Some(value)) if secret.matches(&value) => {
                AddAnswer::Added(id, secret.clone())
            }
            (NewSecret::Known(_), Some(_)) => {
                AddAnswer::Unknown("the answer names another secret".to_owned())
            }
            (NewSecret::Awaited(name), Some(value)) => {
                match Secret::new(name.clone(), value.as_str()) {
                    Ok(secret) => AddAnswer::Added(id, secret),
                    Err(_) => AddAnswer::Unknown("the answer holds no secret".to_owned()),
                }
            }
            (NewSecret::Awaited(_), None) => {
                AddAnswer::Unknown("the answer holds no secret".to_owned())
            }
        }
    }

    async fn remove_secret(&self, slot: &SlotId) -> ChangeAnswer {
        let body = json!({
            "UserPoolId": self.pool, "ClientId": self.client, "ClientSecretId": slot,
        });
        match self.change(Action::Delete, Bytes::from(body.to_string())).await {
            Ok(_) => ChangeAnswer::Applied,
            Err(change) => change,
        }
    }
}

impl Cognito {
    async fn app_client(&self) -> Result<AppClient, AuthorityError> {
        self.ask::<Described>(Action::Describe).await.map(|described| described.user_pool_client)
    }

    async fn list(&self) -> Result<Vec<Descriptor>, AuthorityError> {
        self.ask::<Secrets>(Action::List).await.map(|secrets| secrets.client_secrets)
    }

    fn known_proof(&self) -> std::sync::MutexGuard<'_, Option<Proof>> {
        self.proof.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How a secret of this app client is proved.
    fn find_proof(&self, client: &AppClient) -> Result<Proof, AuthorityError> {
        let proof = client.proof(&self.client, self.scope.as_deref())?;
        *self.known_proof() = Some(proof);
        Ok(proof)
    }

    fn request(&self, proof: Proof) -> &ProbeRequest {
        match proof {
            Proof::ClientCredentials => &self.by_client_credentials,
            Proof::RefreshToken => &self.by_refresh_token,
        }
    }

    /// Whether a secret that nobody has is refused: else an acceptance would be no proof.
    async fn check_proof(&self) -> Result<(), AuthorityError> {
        let unexpected = |message| AuthorityError::new(AuthorityErrorKind::Unexpected, message);
        let generator = Self::usual().value.generator();
        let generator = generator.map_err(|error| unexpected(error.to_string()))?;
        let nobodys = generator.generate().map_err(|error| unexpected(error.to_string()))?;
        let domain = self.domain.host_str().unwrap_or("an unnamed host");
        match self.by_refresh_token.send(&nobodys).await {
            Probe::Refused => Ok(()),
            Probe::Accepted => Err(unexpected(format!(
                "the domain {domain} looks at a refresh token before it looks at the secret of app client {}, so \
                 none can be proved",
                self.client
            ))),
            Probe::Inconclusive(reason) => Err(unexpected(format!(
                "whether the domain {domain} refuses a wrong secret cannot be told ({reason}), so none can be \
                 proved: check that it is the domain of user pool {}",
                self.pool
            ))),
        }
    }
}

impl fmt::Debug for Cognito {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cognito")
            .field("pool", &self.pool)
            .field("client", &self.client)
            .finish_non_exhaustive()
    }
}
